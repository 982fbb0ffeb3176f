"""Every setting once: type, default, help, check. Reads and writes config.toml and keeps its comments.

Secrets are never in that file. A wrong value is a ConfigError that says where (`At 'accounts.home.port': …`);
an unknown key is only a warning, so that an older version can read a newer one's file.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamd.domain import Account, AccountName, AuthMethod, Mode, SourceKind, TlsMode
from spamd.errors import ConfigError
from spamd.paths import write_private

if TYPE_CHECKING:
    import tomlkit

Check = Callable[[Any], str | None]
"""Says in words what is wrong with a value of the right type, or None."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. kind: bool, int, float, str or a StrEnum; choices: for text that is one of a few words."""

    name: str
    kind: type
    default: Any
    help: str
    check: Check | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False  # "" in the file means: none
    title: str = ""  # what the page calls it; an account's options have words of their own there


def _between(low: float, high: float) -> Check:
    return lambda value: None if low <= value <= high else f"must be between {_plain(low)} and {_plain(high)}"


def _at_least(low: float) -> Check:
    return lambda value: None if value >= low else f"must be {_plain(low)} or more"


def _plain(value: float) -> str:
    """0.00001, not 1e-05."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _time_of_day(value: str) -> str | None:
    return (
        None if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value) else 'must be a time of day such as "02:00"'
    )


def _quiet_hours(value: str) -> str | None:
    if not value:
        return None
    start, dash, end = value.partition("-")
    if dash and _time_of_day(start) is None and _time_of_day(end) is None:
        return None
    return 'must be two times of day such as "22:00-07:00", or ""'


def _no_line_break(value: str) -> str | None:
    return "must be one line" if any(ord(one) < 32 or ord(one) == 127 for one in value) else None


def _host(value: str) -> str | None:
    if re.fullmatch(r"[^\s/@]*", value) and _no_line_break(value) is None:
        return None
    return "must be a host name only, without user, spaces or path"


def about(
    help: str,  # noqa: A002
    *,
    title: str,
    check: Check | None = None,
    choices: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What a field of Settings says of itself; `OPTIONS` is made from it. title: what the page calls it."""
    return {"help": help, "title": title, "check": check, "choices": choices}


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the person chose. Accounts are in the order of the file."""

    promise: float = field(
        default=0.001,
        metadata=about(
            "At most this share of your good mail may land in Junk (0.001: 1 in 1,000).",
            title="Good mail that may land in Junk",
            check=_between(0.00001, 0.05),
        ),
    )
    display: str = field(
        default="headers",
        metadata=about(
            "What is kept of a mail so that pages can show it: nothing, headers (sender and subject)"
            " or snippet (also its first words). Choosing less wipes what is there.",
            title="What is kept of a mail",
            choices=("nothing", "headers", "snippet"),
        ),
    )
    keep_days: int = field(
        default=90,
        metadata=about("Days after which that is wiped.", title="Days it is kept", check=_between(1, 3650)),
    )
    secrets: str = field(
        default="keyring",
        metadata=about(
            "Where passwords are: keyring, systemd (credentials of the service), command (each account's"
            " password_command) or file (a file only you can read; not encrypted).",
            title="Where passwords are kept",
            choices=("keyring", "systemd", "command", "file"),
        ),
    )
    night_start: str = field(
        default="02:00",
        metadata=about(
            "From when the nightly training may run.",
            title="Training begins at the earliest",
            check=_time_of_day,
        ),
    )
    night_end: str = field(
        default="06:00",
        metadata=about("Until when it may start.", title="Training begins at the latest", check=_time_of_day),
    )
    night_min_labels: int = field(
        default=8,
        metadata=about(
            "Train only after this many new labels.",
            title="New labels before it trains",
            check=_between(1, 100_000),
        ),
    )
    on_battery: bool = field(
        default=False, metadata=about("Train on battery power, too.", title="Train on battery")
    )
    keep_models: int = field(
        default=3,
        metadata=about(
            "Personal models kept to go back to.",
            title="Models kept to go back to",
            check=_between(3, 50),
        ),
    )
    hold_labels: int = field(
        default=50,
        metadata=about(
            "If more mails than this change folders at once, ask before learning from them.",
            title="Mails moved at once before it asks",
            check=_between(5, 100_000),
        ),
    )
    notifications: bool = field(
        default=True,
        metadata=about(
            "Desktop notices: sign-in needed, doubtful mail (one digest), the brake.", title="Show notices"
        ),
    )
    quiet_hours: str = field(
        default="",
        metadata=about(
            'No notices between these times, such as "22:00-07:00".',
            title="No notices between",
            check=_quiet_hours,
        ),
    )
    look_up_servers: bool = field(
        default=False,
        metadata=about(
            "When an account is added, ask the provider's and Mozilla's directory for its servers.",
            title="Ask directories for servers",
        ),
    )
    oauth_file: str = field(
        default="",
        metadata=about(
            "A TOML file with client ids (and further providers) for signing in with the browser.",
            title="File for signing in by browser",
            check=_no_line_break,
        ),
    )
    daily_bytes: int = field(
        default=0,
        metadata=about(
            "Bytes to download per day and account at most; 0: most of what the provider allows, where that is known.",
            title="Bytes downloaded a day",
            check=_at_least(0),
        ),
    )
    log_level: str = field(
        default="info",
        metadata=about(
            "How much the log says.",
            title="How much is logged",
            choices=("debug", "info", "warning", "error"),
        ),
    )
    accounts: tuple[Account, ...] = ()
    warnings: tuple[str, ...] = ()  # about the file that was read

    def account(self, name: str) -> Account | None:
        return next((one for one in self.accounts if one.name == name), None)

    def namesake(self, name: str) -> Account | None:
        """An account here that a new one of this name would be taken for: Windows' credentials and file names know no case."""
        return next((one for one in self.accounts if one.name.casefold() == name.casefold()), None)

    def same_mailbox(self, account: Account) -> Account | None:
        """An account here that is this mailbox already: two would take each other's moves for the person's."""
        wanted = _mailbox(account)
        return next((one for one in self.accounts if wanted[0] and _mailbox(one) == wanted), None)


def _mailbox(account: Account) -> tuple[str, str]:
    if account.kind is not SourceKind.IMAP:
        return (str(Path(account.path).expanduser().absolute()) if account.path else ""), ""
    return account.host.lower().rstrip("."), account.user


OPTIONS: tuple[Option, ...] = tuple(
    Option(
        one.name,
        type(one.default),
        one.default,
        one.metadata["help"],
        one.metadata["check"],
        one.metadata["choices"],
        title=one.metadata["title"],
    )
    for one in dataclasses.fields(Settings)
    if one.metadata
)


def _account_option(name: str, kind: type, help: str, check: Check | None = None) -> Option:  # noqa: A002
    default = next(one.default for one in dataclasses.fields(Account) if one.name == name)
    return Option(name, kind, default, help, check, optional=default is None)


ACCOUNT_OPTIONS: tuple[Option, ...] = (
    _account_option("kind", SourceKind, "imap, maildir or mbox."),
    _account_option("host", str, "The IMAP server.", _host),
    _account_option("port", int, "Its port; 0: 993, or 143 with starttls and none.", _between(0, 65535)),
    _account_option("user", str, "The name to sign in with.", _no_line_break),
    _account_option("tls", TlsMode, "implicit, starttls, or none (only for a server on this computer)."),
    _account_option(
        "ca_file",
        str,
        "A file with the certificate authority of the server, if not a public one.",
        _no_line_break,
    ),
    _account_option("auth", AuthMethod, "password or oauth."),
    _account_option("oauth_provider", str, "With oauth: google, microsoft, ...", _no_line_break),
    _account_option(
        "password_command", str, 'With secrets = "command": prints the password.', _no_line_break
    ),
    _account_option("path", str, "The folder (maildir) or file (mbox) of a local mailbox.", _no_line_break),
    _account_option("junk", str, 'The Junk folder; "": found by itself.', _no_line_break),
    _account_option(
        "unsure_folder",
        str,
        'A folder for doubtful mail, and while the account only suggests also for what looks like junk; "": it stays '
        "where it is.",
        _no_line_break,
    ),
    _account_option(
        "gmail_label",
        str,
        "On Gmail, until the account filters, what looks like junk gets this label and stays, as a move to Spam "
        'reports the sender to Google; "none": no label.',
        _no_line_break,
    ),
    _account_option("mode", Mode, 'learning, suggesting or filtering; "": as the evidence allows.'),
    _account_option("promise", float, "As promise above, for this account.", _between(0.00001, 0.05)),
    _account_option("stamp", bool, "Write the keywords NonJunk and Junk on judged mail."),
    _account_option(
        "wait_seconds", float, "Seconds between the arrival of junk and its move.", _between(0, 86400)
    ),
    _account_option(
        "max_moves_per_hour", int, "Stop and ask when more would be moved.", _between(1, 100_000)
    ),
    _account_option("paused", bool, "Leave this account alone."),
)

_FILES = frozenset({"ca_file", "path", "oauth_file"})

_GONE = {"language": "is no longer a setting: the program speaks English"}
"""Settings of earlier versions: a file that still has one is read, with a warning; `None` takes it out."""

_BY_NAME = {option.name: option for option in OPTIONS}
_ACCOUNT_BY_NAME = {option.name: option for option in ACCOUNT_OPTIONS}
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")


# ---- reading


def load(path: Path) -> Settings:
    """The settings in the file; defaults where there is none. ConfigError if something is wrong in it."""
    return parse(_read_text(path), str(path))


def parse(text: str, name: str = "config.toml") -> Settings:
    """The settings in the text of a configuration file."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(
            f"{name} is not valid TOML: {exc}.", "Correct the line, or move the file away."
        ) from exc
    warnings: list[str] = []
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key == "accounts":
            continue
        option = _BY_NAME.get(key)
        if option is None:
            warnings.append(_unknown(key, [*_BY_NAME, "accounts"], ""))
        else:
            values[key] = _checked(option, value, key)
    tables = document.get("accounts", {})
    if not isinstance(tables, dict):
        raise ConfigError("At 'accounts': expected tables such as [accounts.home].")
    accounts = tuple(
        _account(account_name, table, values.get("promise"), warnings)
        for account_name, table in tables.items()
    )
    return Settings(**values, accounts=accounts, warnings=tuple(warnings))


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8, or move it away.") from exc
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.", "Look at its owner and rights.") from exc


def _account(name: str, table: object, promise: float | None, warnings: list[str]) -> Account:
    where = f"accounts.{name}"
    check_account_name(name)
    if not isinstance(table, dict):
        raise ConfigError(f"At {where!r}: expected a table, [{where}].")
    values: dict[str, Any] = {} if promise is None else {"promise": promise}
    for key, value in table.items():
        option = _ACCOUNT_BY_NAME.get(key)
        if option is None:
            hint = " Secrets never belong into this file." if "pass" in key or "secret" in key else ""
            warnings.append(_unknown(key, list(_ACCOUNT_BY_NAME), where) + hint)
        else:
            values[key] = _checked(option, value, f"{where}.{key}")
    account = Account(name=AccountName(name), **values)
    check_account(account)
    return account


def check_account_name(name: str) -> None:
    """ConfigError unless it can name an account everywhere: in the file, the keyring, a URL and a log."""
    if not _ACCOUNT_NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:64]!r} cannot name an account.",
            "Use letters, digits, and . _ - + @, beginning with a letter or digit, at most 64.",
        )


def check_account(account: Account) -> None:
    """What must hold between an account's settings. ConfigError that says where."""
    where = f"accounts.{account.name}"
    if account.kind is SourceKind.IMAP:
        if not account.host:
            raise ConfigError(f"At '{where}.host': the server is missing.", "Such as imap.example.org.")
        if account.tls is TlsMode.NONE and account.host.lower().strip("[]") not in LOOPBACK:
            raise ConfigError(
                f"At '{where}.tls': without TLS the password would travel readable to {account.host}.",
                'Use "implicit" or "starttls"; "none" is only for a server on this computer.',
            )
        if account.auth is AuthMethod.OAUTH and not account.oauth_provider:
            title = f"At '{where}.oauth_provider': the provider to sign in with is missing."
            raise ConfigError(title, "Such as google or microsoft.")
    elif not account.path:
        raise ConfigError(f"At '{where}.path': the mail folder is missing.", "Such as ~/Maildir.")


def _checked(option: Option, value: object, where: str) -> Any:
    """The value as the program uses it."""
    if option.optional and value == "":
        return None
    if issubclass(option.kind, enum.Enum):
        words = [str(one.value) for one in option.kind]
        if value not in words:
            near = _near(str(value), words)
            raise ConfigError(
                f"At {where!r}: expected one of {', '.join(words)}; got {_shown(value)}.",
                f"Did you mean {near[0]!r}?" if near else "",
            )
        return option.kind(value)
    if option.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, datetime.time) and option.check is _time_of_day:
        value = value.strftime("%H:%M")  # night_start = 02:00:00 without quotes is a TOML time
    if type(value) is not option.kind:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
        raise ConfigError(f"At {where!r}: expected {names[option.kind]}, got {_shown(value)}.")
    if option.choices and value not in option.choices:
        near = _near(str(value), option.choices)
        raise ConfigError(
            f"At {where!r}: expected one of {', '.join(option.choices)}; got {_shown(value)}.",
            f"Did you mean {near[0]!r}?" if near else "",
        )
    wrong = option.check(value) if option.check else None
    if wrong:
        raise ConfigError(f"At {where!r}: {wrong}; got {_shown(value)}.", option.help)
    return value


def _near(word: str, known: Sequence[str]) -> list[str]:
    """The known word most like this one, if any is."""
    import difflib  # rarely needed

    return difflib.get_close_matches(word, known, 1)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(key: str, known: list[str], where: str) -> str:
    if not where and key in _GONE:
        return f"{key!r} {_GONE[key]}. Take it out: spamdctl settings unset {key}"
    near = _near(key, known)
    place = f"{where}.{key}" if where else key
    return f"At {place!r}: there is no such setting." + (f" Did you mean {near[0]!r}?" if near else "")


# ---- writing


def save(path: Path, changes: Mapping[str, object]) -> Settings:
    """Write changed settings; None takes a setting back to its default. Returns what now holds.

    Values may be text as typed by the person ("yes", "12"): see `from_text` for that.
    """
    for name, value in changes.items():
        option = _BY_NAME.get(name)
        if option is None and value is None and name in _GONE:
            continue
        if option is None:
            raise ConfigError(_unknown(name, list(_BY_NAME), ""), "`spamdctl settings` shows all there are.")
        if value is not None:
            _checked(option, value, name)

    def edit(document: tomlkit.TOMLDocument) -> None:
        _put(document, changes)

    return _edit(path, edit)


def from_text(name: str, text: str) -> Any:
    """The value of a setting as typed on a command line or in a form. ConfigError if it makes no sense."""
    option = _BY_NAME.get(name)
    if option is None:
        raise ConfigError(_unknown(name, list(_BY_NAME), ""), "`spamdctl settings` shows all there are.")
    return _checked(option, _typed(option, text.strip(), name), name)


def account_value_from_text(name: str, text: str) -> Any:
    """As from_text, for a setting of an account."""
    option = _ACCOUNT_BY_NAME.get(name)
    if option is None:
        there = ", ".join(_ACCOUNT_BY_NAME)
        raise ConfigError(_unknown(name, list(_ACCOUNT_BY_NAME), ""), f"An account has: {there}.")
    return _checked(option, _typed(option, text.strip(), name), name)


def _typed(option: Option, text: str, where: str) -> object:
    if text and option.name in _FILES:  # who reads it runs elsewhere: a service, in /
        return str(Path(text).expanduser().absolute())
    if option.kind is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if text.lower() not in words:
            raise ConfigError(f"At {where!r}: expected yes or no, got {_shown(text)}.", option.help)
        return words[text.lower()]
    if option.kind in (int, float):
        try:
            return int(text) if option.kind is int else float(text)
        except ValueError:
            raise ConfigError(f"At {where!r}: expected a number, got {_shown(text)}.", option.help) from None
    return text


def add_account(path: Path, account: Account) -> Settings:
    """Write a new account. ConfigError if the name is taken."""
    if there := load(path).namesake(account.name):
        raise ConfigError(
            f"There is already an account {there.name!r}.", "Choose another name, or remove it first."
        )
    return _write_account(path, account, _ACCOUNT_BY_NAME)


def update_account(path: Path, name: str, **changes: Any) -> Settings:
    """Change settings of an account; None takes one back to its default."""
    account = load(path).account(name)
    if account is None:
        raise _no_account(path, name)
    for key in changes:
        if key not in _ACCOUNT_BY_NAME:
            raise ConfigError(_unknown(key, list(_ACCOUNT_BY_NAME), f"accounts.{name}"))
    defaults = {key: _ACCOUNT_BY_NAME[key].default for key, value in changes.items() if value is None}
    said = [key for key, value in changes.items() if value is not None]
    return _write_account(path, dataclasses.replace(account, **{**changes, **defaults}), changes, said)


def remove_account(path: Path, name: str) -> Settings:
    """Take an account out of the file. Its secret and what was learned are removed elsewhere."""
    if load(path).account(name) is None:
        raise _no_account(path, name)

    def edit(document: tomlkit.TOMLDocument) -> None:
        accounts: Any = document["accounts"]
        del accounts[name]

    return _edit(path, edit)


def _no_account(path: Path, name: str) -> ConfigError:
    names = [str(one.name) for one in load(path).accounts]
    return ConfigError(f"There is no account {name!r}.", f"There is: {', '.join(names)}." if names else "")


def _write_account(
    path: Path, account: Account, changed: Iterable[str], said: Iterable[str] = ()
) -> Settings:
    """Write these settings of the account; those at their default leave the file, but not what was just said."""
    explicit = frozenset(said)
    check_account_name(account.name)
    values: dict[str, object] = {}
    for name in changed:
        option = _ACCOUNT_BY_NAME[name]
        value = getattr(account, name)
        plain = value.value if isinstance(value, enum.Enum) else value
        if value is not None:
            _checked(option, plain, f"accounts.{account.name}.{name}")
        values[name] = None if value == option.default and name not in explicit else plain
    check_account(account)

    def edit(document: tomlkit.TOMLDocument) -> None:
        import tomlkit

        if "accounts" not in document:
            document["accounts"] = tomlkit.table(is_super_table=True)
        accounts: Any = document["accounts"]
        if account.name not in accounts:
            accounts[account.name] = tomlkit.table()
        _put(accounts[account.name], values)

    return _edit(path, edit)


def _put(table: Any, changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if value is None:
            if name in table:
                del table[name]
        elif name not in table or table[name] != value:
            table[name] = value.value if isinstance(value, enum.Enum) else value


def _edit(path: Path, edit: Callable[[tomlkit.TOMLDocument], None]) -> Settings:
    """Change the document, check the whole, write it whole."""
    import tomlkit  # 30 ms, only for writing

    text = _read_text(path)
    parse(text, str(path))  # say clearly what is wrong in it before we touch it
    document = tomlkit.parse(text)
    edit(document)
    written = tomlkit.dumps(document)
    settings = parse(written, str(path))
    try:
        write_private(path, written.encode("utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be written: {exc.strerror}.", "Look at its owner and rights, and at free space."
        ) from exc
    return settings


# ---- documentation


def settings_table() -> str:
    """Every setting as Markdown: for the README, compared in a test."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{option.name}` | `{_toml(option.default)}` | {option.help}{_words(option)} |"
        for option in OPTIONS
    ]
    lines += ["", "In `[accounts.NAME]`:", "", "| setting | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{option.name}` | `{_toml(option.default)}` | {option.help} |" for option in ACCOUNT_OPTIONS
    ]
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """A document with the present table between its two marks."""
    before, begin, rest = document.partition("<!-- settings -->\n")
    _, end, after = rest.partition("<!-- /settings -->")
    return f"{before}{begin}{settings_table()}{end}{after}" if begin and end else document


def example() -> str:
    """A configuration file with every setting at its default, commented out."""
    lines: list[str] = []
    for option in OPTIONS:
        lines += [f"# {option.help}{_words(option)}", f"#{option.name} = {_toml(option.default)}", ""]
    lines += ["#[accounts.home]"]
    for option in ACCOUNT_OPTIONS:
        lines += [f"# {option.help}", f"#{option.name} = {_toml(option.default)}"]
    return "\n".join(lines) + "\n"


def _words(option: Option) -> str:
    told = all(word in option.help for word in option.choices)
    return "" if told else f" One of: {', '.join(option.choices)}."


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        value = value.value
    return f'"{value}"' if isinstance(value, str) else f"{value}"
