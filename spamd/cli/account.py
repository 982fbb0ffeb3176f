"""`account`: the mailboxes. Works on config.toml and the secret store; a running daemon notices by itself."""

from __future__ import annotations

import contextlib
import getpass
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from spamd import paths, settings
from spamd.cli.commands import Group
from spamd.cli.output import confirm, json_option, plain, print_json, table, tell, yes_option
from spamd.domain import Account, AccountName, AuthMethod, FolderName, Mode, SourceKind, TlsMode
from spamd.errors import (
    CredentialError,
    DoneInPart,
    NotRunning,
    RequestError,
    SignInError,
    SpamdError,
    StoreError,
)

if TYPE_CHECKING:
    from spamd.answers import AccountCheck


@click.group(cls=Group)
def account() -> None:
    """The mailboxes spamd looks after."""


def known(name: str) -> Account:
    """The account of that name. RequestError, with the names there are."""
    all_of_them = settings.load(paths.find().config_file)
    found = all_of_them.account(name)
    if found is None:
        names = ", ".join(one.name for one in all_of_them.accounts)
        raise RequestError(
            f"There is no account {name!r}.",
            f"There is: {names}." if names else "Add one with `spamdctl setup`.",
        )
    return found


def read_password(*, stdin: bool, command: str, user: str) -> str:
    """The password, from where the person said. CredentialError if there is none."""
    if stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif command:
        from spamd.credentials import run_password_command

        secret = run_password_command(command)
    elif sys.stdin.isatty():
        secret = getpass.getpass(f"Password of {user}: ")
    else:
        raise CredentialError(
            "There is no terminal to ask for the password.", "Use --password-stdin or --password-command."
        )
    if not secret:
        raise CredentialError("The password is empty.", "Nothing was changed.")
    return secret


@account.command()
@click.argument("name")
@click.option("--host", default="", help="IMAP server.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Default: 993, or 143 with starttls.")
@click.option("--user", default="", help="Name to sign in with.")
@click.option(
    "--tls",
    type=click.Choice([one.value for one in TlsMode]),
    default="implicit",
    show_default=True,
    help="none only for this computer.",
)
@click.option("--ca", "ca_file", default="", metavar="FILE", help="Certificate authority of the server.")
@click.option("--maildir", default="", metavar="FOLDER", help="A local Maildir instead of a server.")
@click.option("--mbox", default="", metavar="FILE", help="A local mbox file instead of a server.")
@click.option("--junk", default="", help="The Junk folder; found by itself unless given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--password-command", default="", metavar="COMMAND", help="A program that prints the password.")
@click.option("--oauth", default="", metavar="PROVIDER", help="Sign in with google, microsoft, ...")
@click.option("--mode", type=click.Choice([one.value for one in Mode]), default=None, help="Your word.")
@click.option("--no-test", is_flag=True, help="Do not sign in now.")
def add(name: str, **given: Any) -> None:
    """Add an account. It begins by watching only; nothing is moved until there is evidence (or your word)."""
    here = paths.find()
    here.make()
    now = settings.load(here.config_file)
    if there := now.namesake(name):
        raise RequestError(
            f"There is already an account {there.name!r}.", "Choose another name, or remove it."
        )
    local = settings.account_value_from_text("path", given["maildir"] or given["mbox"])
    if not local and not (given["host"] and given["user"]):
        raise RequestError(
            "--host and --user are needed (or --maildir, --mbox).",
            "`spamdctl setup` finds the server for your address.",
        )
    made = Account(
        name=AccountName(name),
        kind=SourceKind.MAILDIR
        if given["maildir"]
        else SourceKind.MBOX
        if given["mbox"]
        else SourceKind.IMAP,
        host=given["host"],
        port=given["port"],
        user=given["user"],
        tls=TlsMode(given["tls"]),
        ca_file=settings.account_value_from_text("ca_file", given["ca_file"]),
        auth=AuthMethod.OAUTH if given["oauth"] else AuthMethod.PASSWORD,
        oauth_provider=given["oauth"],
        password_command=given["password_command"] if now.secrets == "command" else "",
        path=local,
        junk=FolderName(given["junk"]) if given["junk"] else None,
        mode=Mode(given["mode"]) if given["mode"] else None,
    )
    settings.check_account_name(made.name)
    settings.check_account(made)
    secret = None
    if made.kind is SourceKind.IMAP and made.auth is AuthMethod.PASSWORD and not made.password_command:
        secret = read_password(
            stdin=given["password_stdin"], command=given["password_command"], user=made.user
        )
    elif made.auth is AuthMethod.OAUTH:
        from spamd.cli.setup import sign_in_with_provider

        secret = sign_in_with_provider(made)
    if not given["no_test"]:
        click.echo(describe_check(made, secret))
    store_secret(made.name, secret)
    settings.add_account(here.config_file, made)
    click.echo(f"Added {name}.")
    if not daemon_runs():
        click.echo("Start the filter with `spamdctl run`, or with your session: `spamdctl service install`.")


def store_secret(name: AccountName, secret: str | None) -> None:
    if secret is None:
        return
    from spamd.credentials import Secrets

    here = paths.find()
    Secrets.choose(settings.load(here.config_file), here).set(name, secret)


def daemon_runs() -> bool:
    from spamd.client import Client

    try:
        Client.connect(paths.find()).close()
    except NotRunning:
        return False
    return True


def check(made: Account, secret: str | None) -> AccountCheck:
    """Sign in, look, sign out; what was found. Raises MailboxError where that fails."""
    from spamd import opening
    from spamd.answers import AccountCheck

    here = paths.find()
    with opening.checking(made, here, settings.load(here.config_file), secret=secret) as session:
        inbox = session.status(FolderName("INBOX")).messages
        junk = session.junk_folder()
        in_junk = session.status(junk).messages if junk else 0
        held = f"{in_junk} in {junk}" if junk else "no Junk folder yet"
        able = session.abilities
        names = ("move", "uidplus", "condstore", "idle", "server_ids", "keywords")
        return AccountCheck(
            ok=True,
            text=f"{'Signed in' if made.kind is SourceKind.IMAP else 'Found'}. {inbox} mails in INBOX, {held}.",
            folders=tuple(one.name for one in session.folders() if one.selectable),
            junk_folder=junk,
            abilities=tuple(name for name in names if getattr(able, name)),
            inbox_messages=inbox,
            junk_messages=in_junk,
            remarks=opening.remarks(able.quirk, made),
        )


def describe_check(made: Account, secret: str | None) -> str:
    """The same in a sentence, and what one should know of this kind of server in a line each."""
    found = check(made, secret)
    return "\n".join(plain(line) for line in (found.text, *found.remarks))


@account.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Show the accounts."""
    found = settings.load(paths.find().config_file).accounts
    if as_json:
        print_json(list(found))
        return
    table(
        ("account", "where", "user", "mode", "paused"),
        [
            (
                one.name,
                one.path or f"{one.host}:{one.port or (993 if one.tls is TlsMode.IMPLICIT else 143)}",
                one.user,
                one.mode or "by evidence",
                "yes" if one.paused else "",
            )
            for one in found
        ],
        empty="No account yet. Add one with `spamdctl setup`.",
    )


@account.command()
@click.argument("name")
@json_option
def test(name: str, as_json: bool) -> None:
    """Sign in, look for Junk, sign out. Changes nothing."""
    found = check(known(name), None)
    if as_json:
        print_json(found)
    else:
        click.echo(plain(found.text))


@account.command()
@click.argument("name")
@yes_option
def remove(name: str, yes: bool) -> None:
    """Forget an account, its password and what was kept of it. The mailbox itself is not touched."""
    one = known(name)
    confirm(f"Forget account {name}? The mail itself stays where it is.", yes=yes)
    from spamd.cli.care import wipe_locked
    from spamd.client import Client
    from spamd.credentials import Secrets
    from spamd.daemon.process import lock
    from spamd.opening import end_sign_in, forget_lock, forget_secret

    here = paths.find()
    with contextlib.suppress(NotRunning), Client.connect(here) as client:
        client.remove_account(name, wipe=True)  # the running filter lets go of it first
        click.echo(f"Removed {name}.")
        return
    here.make()
    left: dict[str, SpamdError] = {}
    grant = ""
    with lock(here.lock_file):  # none may begin meanwhile
        chosen = Secrets.choose(settings.load(here.config_file), here)
        settings.remove_account(here.config_file, name)
        if one.kind is SourceKind.IMAP:  # else it has no password
            try:
                grant = forget_secret(one, chosen)
            except CredentialError as exc:
                left["Its password could not be removed"] = exc
        try:
            wipe_locked(here, f"account:{name}")
            _forget_pause(here, one.name)
        except StoreError as exc:
            left["What was learned of it could not be wiped for good"] = exc
    forget_lock(one, here)
    if grant:
        try:
            end_sign_in(one, grant, here)
        except SignInError as exc:
            left["Its sign-in could not be ended"] = exc
    if left:
        raise DoneInPart.after(f"Removed {name}.", left)
    click.echo(f"Removed {name}.")


def _forget_pause(here: paths.Paths, name: AccountName) -> None:
    from spamd.daemon.pauses import Pauses
    from spamd.store.database import Store

    if here.database.exists():
        with Store(here.database) as store:
            Pauses(store, time.time).forget(name)


@account.command()
@click.argument("name")
@click.argument("mode", type=click.Choice([*(one.value for one in Mode), "evidence"]))
def mode(name: str, mode: str) -> None:
    """Say what may be done: learning (watch), suggesting (list), filtering (move), or as evidence allows."""
    known(name)
    settings.update_account(paths.find().config_file, name, mode=None if mode == "evidence" else Mode(mode))
    click.echo(f"{name}: {mode}.")


@account.command("set")
@click.argument("name")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_(name: str, pairs: tuple[str, ...]) -> None:
    """Change settings of an account: junk=Spam, wait_seconds=10, stamp=yes and others. Empty: the default.

    All of them, with what they mean: the table in the README, or what is said of a name that is none.
    """
    known(name)
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise RequestError(f"{pair!r} is not KEY=VALUE.", "Such as wait_seconds=10.")
        changes[key] = settings.account_value_from_text(key, value) if value else None
    settings.update_account(paths.find().config_file, name, **changes)
    click.echo(f"{name}: " + ", ".join(plain(pair) for pair in pairs))


def _on_a_server(name: str) -> Account:
    """As `known`. What were stored for a mail folder, nobody would ask for, and removing the account would leave it."""
    one = known(name)
    if one.kind is not SourceKind.IMAP:
        raise RequestError(f"{name} is a mail folder here: nobody signs in to it.", f"It is {one.path}.")
    return one


@account.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read it from standard input.")
def password(name: str, password_stdin: bool) -> None:
    """Store a new password, after trying it."""
    one = _on_a_server(name)
    secret = read_password(stdin=password_stdin, command="", user=one.user)
    click.echo(describe_check(one, secret))
    store_secret(one.name, secret)
    _try_now(one.name)
    click.echo("Stored.")


@account.command("sign-in")
@click.argument("name")
@click.option(
    "--with", "provider", default="", metavar="PROVIDER", help="From now on with google, microsoft, ..."
)
def sign_in(name: str, provider: str) -> None:
    """Sign in with the provider's page in the browser, anew or instead of the password."""
    from spamd.cli.setup import sign_in_with_provider

    before = _on_a_server(name)
    if not provider and before.auth is not AuthMethod.OAUTH:
        raise RequestError(
            f"{name} signs in by password.",
            f"A new one: spamdctl account password {name}. Else: --with PROVIDER.",
        )
    one = replace(before, auth=AuthMethod.OAUTH, oauth_provider=provider or before.oauth_provider)
    settings.check_account(one)
    secret = sign_in_with_provider(one)
    click.echo(describe_check(one, secret))
    file = paths.find().config_file
    if one != before:
        settings.update_account(file, name, auth=one.auth, oauth_provider=one.oauth_provider)
    try:
        store_secret(one.name, secret)
    except BaseException:  # else what is stored would be the password of an account that signs in otherwise
        if one != before:
            settings.update_account(
                file, name, auth=before.auth, oauth_provider=before.oauth_provider or None
            )
        raise
    _try_now(one.name)
    click.echo("Stored.")


def _try_now(name: AccountName) -> None:
    """A running filter that was refused would try again in an hour."""
    from spamd.client import Client

    with contextlib.suppress(NotRunning), Client.connect(paths.find()) as client:
        client.wake(name)


@account.command()
@click.argument("name")
@json_option
def read(name: str, as_json: bool) -> None:
    """Learn from the folders you already have (Junk as junk; kept and answered mail as good)."""
    from spamd.client import Client

    known(name)
    with Client.connect(paths.find()) as client:
        tell(client.start_first_reading(AccountName(name)), as_json=as_json)


@account.command("go-on")
@click.argument("name")
@json_option
def go_on(name: str, as_json: bool) -> None:
    """Release the brake: you have looked at what was to be moved, and it is right."""
    from spamd.client import Client

    known(name)
    with Client.connect(paths.find()) as client:
        tell(client.go_on(AccountName(name)), as_json=as_json)
