"""The tree of commands. Only names and one-line helps: a command's module is imported when it is called.

`spamdctl --help` must answer at once, so nothing here may load numpy, SQLite or the mailbox.
"""

from __future__ import annotations

import importlib

import click

from spamd import __version__

SYNONYMS = {
    "add": ("setup", "keep", "junk"),
    "config": ("settings",),
    "history": ("events",),
    "install": ("service",),
    "judge": ("score",),
    "quit": ("stop",),
    "rescue": ("undo",),
    "start": ("run",),
    "try": ("explain",),
    "why": ("explain",),
}
"""What people try first, and how it is called here."""


class Group(click.Group):
    """A group that shows the first sentence of each command whole, and says what an unknown one may have meant."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(200)) for name, one in sorted(self.commands.items())]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            import difflib

            known = self.list_commands(ctx)
            near = [one for one in SYNONYMS.get(args[0], ()) if one in known]
            near = near or difflib.get_close_matches(args[0], known, 1)
            hint = f" Did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
            raise click.UsageError(f"{exc.message.rstrip('.')}.{hint}", ctx) from None


class LazyGroup(Group):
    """A group whose commands lie in modules: name -> (module, attribute, help)."""

    def __init__(self, *args: object, rows: dict[str, tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = self.rows.get(cmd_name)
        if row is None:
            return None
        module, _help = row
        found = importlib.import_module(f"spamd.cli.{module}")
        # `open` and `settings` would hide a builtin and a module: they carry another name there.
        command = next(
            one for one in vars(found).values() if isinstance(one, click.Command) and one.name == cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_module, help_) in self.rows.items()])


ROWS: dict[str, tuple[str, str]] = {
    "setup": ("setup", "Set up: find your mail server, sign in, learn from your folders, start by itself."),
    "run": ("program", "Run the filter in the foreground."),
    "status": ("daily", "How things are: accounts, today's mail, what waits for you."),
    "shadow": ("daily", "What would have been moved this week, right and wrong."),
    "open": ("daily", "Open the page in your browser."),
    "recent": ("daily", "The latest verdicts."),
    "review": ("daily", "Answer for doubtful mail, one by one."),
    "events": ("daily", "What happened: corrections, nights, what was refused, what needs you."),
    "search": ("daily", "Find judged mail by sender and subject."),
    "explain": ("daily", "Why a mail was judged as it was (a number from `recent`, or a file)."),
    "score": ("judge", "Judge mail files without touching any mailbox."),
    "label": ("daily", "Say that a judged mail is junk or good."),
    "undo": ("daily", "Put moved mail back: one, all since a time, or all of a model."),
    "pause": ("daily", "Leave mail alone for a while."),
    "resume": ("daily", "Go on after a pause."),
    "account": ("account", "Accounts: add, list, test, set, remove, mode, read, go-on."),
    "labels": ("learning", "The ledger of what you taught: list, set, forget, answer, export, import."),
    "lists": ("learning", "Senders and domains always kept or always junk."),
    "train": ("learning", "Train now instead of at night."),
    "model": ("learning", "Models: list, show, train, rollback, reset."),
    "settings": ("care", "Show and change settings."),
    "doctor": ("care", "Look for what is wrong, with what to do about it."),
    "logs": ("care", "Show the log."),
    "backup": ("care", "Save labels, lists, models and settings in one encrypted file."),
    "restore": ("care", "Bring a backup back."),
    "wipe": ("care", "Wipe what is kept of mail, of an account, or everything."),
    "service": ("program", "Start with the session: install, uninstall, status."),
    "thunderbird": ("program", "The Thunderbird add-on: install, uninstall, token."),
    "stop": ("program", "Stop the running filter."),
    "completion": ("program", "Print shell completion for bash, zsh or fish."),
}


@click.group(
    cls=LazyGroup,
    rows=ROWS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="spamdctl")
def spamdctl() -> None:
    """A private junk-mail filter for people with IMAP mail.

    Begin with `spamdctl setup`. Nothing is moved until the filter has proven itself on your own mail.
    """
