"""`setup`: from an address to a filter that starts with the session. Nothing is written before it was tried."""

from __future__ import annotations

import dataclasses
import re
import sys

import click

from spamd import paths, settings
from spamd.answers import ServerGuess
from spamd.cli.account import daemon_runs, describe_check, read_password
from spamd.cli.output import plain
from spamd.domain import Account, AccountName, AuthMethod, FolderName, SourceKind, TlsMode
from spamd.errors import ConfigError, CredentialError, MailboxError, RequestError, SignInError, SpamdError
from spamd.paths import Paths

TRIES = 3  # sign-ins before giving up; more would lock accounts with some providers


@click.command()
@click.option("--address", default=None, help="Your mail address; asked for unless given.")
@click.option("--name", default=None, help="A short name for the account.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--yes", is_flag=True, help="Take every suggestion.")
@click.option("--no-service", is_flag=True, help="Do not offer to start with the session.")
def setup(address: str | None, name: str | None, password_stdin: bool, yes: bool, no_service: bool) -> None:
    """Set up an account: find the server, sign in, find Junk, learn from your folders, start by itself.

    Broken off at any point, nothing is left half done.
    """
    here = paths.find()
    here.make()
    config = settings.load(here.config_file)
    if address is None:
        if not sys.stdin.isatty() or password_stdin:
            raise RequestError("The address is missing.", "spamdctl setup --address you@example.org")
        address = click.prompt("Your mail address")
    ask = not yes and sys.stdin.isatty() and not password_stdin
    made = _choose_server(address.strip(), config, ask=ask)
    made = dataclasses.replace(made, name=AccountName(name or _name_for(address, config)))
    settings.check_account_name(made.name)
    if config.account(made.name):
        raise RequestError(f"There is already an account {made.name!r}.", "Give another --name.")
    store = _choose_secret_store(here, config, ask=ask)
    made, secret = _sign_in(made, here, config, password_stdin=password_stdin, ask=ask)
    _keep(made, secret, here, config, store)
    click.echo(f"Added {made.name}. It watches and learns now; nothing is moved before it has proven itself.")
    learn = yes or (
        ask and click.confirm("Learn from the folders you have (Junk, Archive, answered mail)?", default=True)
    )
    if not no_service and (
        yes or (ask and click.confirm("Start with your session from now on?", default=True))
    ):
        _start_with_session(here)
    if learn:
        _learn(made.name)
    if not daemon_runs():
        click.echo("Start it with `spamdctl run`. The page: `spamdctl open`.")
    else:
        click.echo("It runs. The page: `spamdctl open`.")
    click.echo("If you use Thunderbird: `spamdctl thunderbird install`.")


def _name_for(address: str, config: settings.Settings) -> str:
    """A short name nobody has yet: the domain's first word, else the address."""
    word = address.rpartition("@")[2].partition(".")[0].lower()
    word = re.sub(r"[^a-z0-9-]", "", word) or "mail"
    taken = {one.name for one in config.accounts}
    return next(
        name for number in range(1, 1000) if (name := word if number == 1 else f"{word}{number}") not in taken
    )


def _choose_server(address: str, config: settings.Settings, *, ask: bool) -> Account:
    from spamd import opening

    guesses = list(opening.find_servers(address, config))
    if not guesses and ask and not config.look_up_servers:
        click.echo("I do not know this provider.")
        question = "Ask your provider's and Mozilla's directory? They learn the domain, not the address."
        if click.confirm(question, default=True):
            guesses = list(opening.find_servers(address, dataclasses.replace(config, look_up_servers=True)))
    if not guesses:
        if not ask:
            raise RequestError(
                "The server of this address is not known.",
                "spamdctl account add NAME --host HOST --user USER",
            )
        return _typed_server(address, config)
    best = guesses[0]
    click.echo(_described(best))
    if best.note:
        click.echo(plain(best.note))
    if ask and not click.confirm("Is that right?", default=True):
        return _typed_server(address, config)
    return best.account


def _described(guess: ServerGuess) -> str:
    one = guess.account
    how = "sign-in in the browser" if one.auth is AuthMethod.OAUTH else "password"
    return f"Server {one.host}:{one.port or 993}, user {plain(one.user)}, {one.tls.value} TLS, {how}."


def _typed_server(address: str, config: settings.Settings) -> Account:
    host = click.prompt("IMAP server")
    tls = click.prompt("TLS", type=click.Choice([one.value for one in TlsMode]), default="implicit")
    port = click.prompt("Port", type=click.IntRange(1, 65535), default=993 if tls == "implicit" else 143)
    user = click.prompt("User", default=address)
    how = "password"
    if config.oauth_file:  # who brought client ids may want to use them here
        how = click.prompt("Sign in with: password, or a provider of your oauth_file", default=how)
    browser = how != "password"
    return Account(
        name=AccountName("new"),
        host=host.strip(),
        port=port,
        user=user,
        tls=TlsMode(tls),
        auth=AuthMethod.OAUTH if browser else AuthMethod.PASSWORD,
        oauth_provider=how if browser else "",
    )


def _choose_secret_store(here: Paths, config: settings.Settings, *, ask: bool) -> str:
    """Where the password will be: "keyring", "file", ... Writes nothing.

    A keyring that cannot be used is found out before the person has typed a password.
    """
    if config.secrets != "keyring":
        return config.secrets
    from spamd.credentials import usable_backend

    try:
        usable_backend()
    except CredentialError as exc:
        click.echo(plain(exc.title))
        if not ask:
            raise
        if not click.confirm(
            f"Keep passwords in {here.secrets_file}, which only you can read, but which is not encrypted?",
            default=False,
        ):
            raise CredentialError("There is no place for the password.", exc.hint) from None
        return "file"
    return "keyring"


def _keep(made: Account, secret: str | None, here: Paths, config: settings.Settings, store: str) -> None:
    """Everything that is written, at once and after the last question."""
    from spamd.credentials import Secrets

    chosen = Secrets.choose(dataclasses.replace(config, secrets=store), here)
    if secret is not None:
        chosen.set(made.name, secret)
    try:
        if store != config.secrets:
            settings.save(here.config_file, {"secrets": store})
        settings.add_account(here.config_file, made)
    except BaseException:
        if secret is not None:
            chosen.delete(made.name)
        raise


def _sign_in(
    made: Account, here: Paths, config: settings.Settings, *, password_stdin: bool, ask: bool
) -> tuple[Account, str | None]:
    """Try until it works or the person gives up. Only what worked is stored."""
    if made.kind is not SourceKind.IMAP:
        click.echo(describe_check(made, None))
        return made, None
    for number in range(1, TRIES + 1):
        try:
            if made.auth is AuthMethod.OAUTH:
                secret = sign_in_with_provider(made)
            else:
                secret = read_password(stdin=password_stdin, command="", user=made.user)
            click.echo(describe_check(made, secret))
        except (MailboxError, ConfigError) as exc:
            click.echo(f"{plain(exc.title)} {plain(exc.hint)}".strip())
            if not ask or number == TRIES:
                raise
            if isinstance(exc, SignInError) or made.auth is AuthMethod.OAUTH:
                if not click.confirm("Try again?", default=True):
                    raise click.Abort from None
            elif click.confirm("Type the server yourself?", default=True):
                made = dataclasses.replace(_typed_server(made.user, config), name=made.name)
            else:
                raise click.Abort from None
            continue
        return _with_junk(made, here, config, secret, ask=ask), secret
    raise AssertionError("unreachable")


def _with_junk(made: Account, here: Paths, config: settings.Settings, secret: str, *, ask: bool) -> Account:
    from spamd import opening

    with opening.checking(made, here, config, secret=secret) as session:
        if session.junk_folder() is not None:
            return made
        names = [one.name for one in session.folders() if one.selectable and one.role != "inbox"]
    click.echo("No Junk folder was found. Until there is one, mail is only judged.")
    if ask and names:
        answer = click.prompt("Its name (empty: none yet)", default="", show_default=False)
        if answer in names:
            return dataclasses.replace(made, junk=FolderName(answer))
        if answer:
            click.echo(
                f"There is no folder {plain(answer)!r}; you can say later: spamdctl account set NAME junk=NAME"
            )
    return made


def sign_in_with_provider(made: Account) -> str:
    """OAuth: the person signs in in the browser; what to store for the account. Raises MailboxError."""
    import webbrowser

    from spamd import opening

    pending = opening.begin_sign_in(made, paths.find())
    if pending.code:
        click.echo(f"Open {pending.url} and type the code {pending.code}")
    else:
        click.echo(f"Sign in in your browser: {pending.url}")
    webbrowser.open(pending.url)
    try:
        return pending.wait()
    except BaseException:
        pending.cancel()
        raise


def _start_with_session(here: Paths) -> None:
    from spamd import service

    try:
        found = service.install(here)
    except SpamdError as exc:
        click.echo(f"{plain(exc.title)} {plain(exc.hint)}".strip())
        return
    for note in found.notes:
        click.echo(plain(note))


def _learn(name: AccountName) -> None:
    """By the running filter; else it begins with the first start."""
    from spamd.client import Client
    from spamd.errors import NotRunning

    try:
        with Client.connect(paths.find()) as client:
            client.reload()
            click.echo(plain(client.start_first_reading(name).text))
    except NotRunning:
        click.echo(f"When the filter runs: spamdctl account read {name}")
