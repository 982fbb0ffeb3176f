"""`setup`: from an address to a filter that starts with the session. Nothing is written before it was tried."""

from __future__ import annotations

import dataclasses
import re
import sys
import time

import click

from spamd import paths, settings
from spamd.answers import ServerGuess
from spamd.cli.account import daemon_runs, describe_check, read_password
from spamd.cli.output import plain
from spamd.domain import Account, AccountName, AuthMethod, FolderName, SourceKind, TlsMode
from spamd.errors import (
    ConfigError,
    CredentialError,
    MailboxError,
    PasswordsRefused,
    RequestError,
    SignInError,
    SpamdError,
)
from spamd.paths import Paths, write_private

TRIES = 3  # refused sign-ins before a warning; more would lock accounts with some providers
START_SECONDS = 60.0  # for the filter to answer after its start


@click.command()
@click.option("--address", default=None, help="Your mail address; asked for unless given.")
@click.option("--name", default=None, help="A short name for the account.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--yes", is_flag=True, help="Take every suggestion.")
@click.option("--no-service", is_flag=True, help="Do not offer to start with the session.")
def setup(address: str | None, name: str | None, password_stdin: bool, yes: bool, no_service: bool) -> None:
    """Set up an account: find the server, sign in, find Junk, learn from your folders, start by itself.

    What was wrong is asked for again, the rest is kept. Broken off at any point, nothing is left half done.
    """
    here = paths.find()
    here.make()
    config = settings.load(here.config_file)
    ask = not yes and sys.stdin.isatty() and not password_stdin
    if name is not None:
        _check_name(name, config)
    if address is None and (not sys.stdin.isatty() or password_stdin):
        raise RequestError("The address is missing.", "spamdctl setup --address you@example.org")
    address, made = _choose_server(address, config, ask=ask)
    made = dataclasses.replace(made, name=AccountName(name or _name_for(address, config)))
    store = _choose_secret_store(here, config, ask=ask)
    made, secret = _sign_in(made, here, config, password_stdin=password_stdin, ask=ask)
    _keep(made, secret, here, config, store, ask=ask)
    click.echo(f"Added {made.name}. It watches and learns now; nothing is moved before it has proven itself.")
    learn = yes or (
        ask and click.confirm("Learn from the folders you have (Junk, Archive, answered mail)?", default=True)
    )
    if not no_service and (
        yes
        or (
            ask
            and click.confirm("Start with your session from now on, with an icon in the tray?", default=True)
        )
    ):
        _start_with_session(here)
    if learn:
        _learn(made.name)
    if not daemon_runs():
        click.echo("Start it with `spamdctl run`. The page: `spamdctl open`.")
    else:
        click.echo("It runs. The page: `spamdctl open`.")
    click.echo(
        "If you use Thunderbird: `spamdctl thunderbird install`, and switch off its own junk filter in the account's"
        " settings. It marks good mail, too, and its marks look like yours."
    )


def _tell(error: SpamdError) -> None:
    click.echo(f"{plain(error.title)} {plain(error.hint)}".strip())


def _check_name(name: str, config: settings.Settings) -> None:
    settings.check_account_name(name)
    if there := config.namesake(name):
        raise RequestError(f"There is already an account {there.name!r}.", "Give another --name.")


def _name_for(address: str, config: settings.Settings) -> str:
    """A short name nobody has yet: the domain's first word, else the address."""
    word = address.rpartition("@")[2].partition(".")[0].lower()
    word = re.sub(r"[^a-z0-9-]", "", word) or "mail"
    names = (word if number == 1 else f"{word}{number}" for number in range(1, 1000))
    return next(name for name in names if config.namesake(name) is None)


def _choose_server(given: str | None, config: settings.Settings, *, ask: bool) -> tuple[str, Account]:
    """The address, and where its mailbox is. A wrong address is asked for again."""
    while True:
        address = (given if given is not None else str(click.prompt("Your mail address"))).strip()
        try:
            return address, _server_of(address, config, ask=ask)
        except RequestError as exc:
            if not ask:
                raise
            _tell(exc)
            given = None


def _server_of(address: str, config: settings.Settings, *, ask: bool) -> Account:
    from spamd import opening

    guesses = list(opening.find_servers(address, config))
    if ask and not config.look_up_servers and all(one.source == "guess" for one in guesses):
        click.echo("I do not know this provider.")
        question = "Ask your provider's and Mozilla's directory? They learn the domain, not the address."
        if click.confirm(question, default=True):
            guesses = list(opening.find_servers(address, dataclasses.replace(config, look_up_servers=True)))
    if not config.oauth_file:  # the browser's way needs a registration of the person's own
        guesses = [one for one in guesses if one.account.auth is AuthMethod.PASSWORD] or guesses
    for one in guesses:
        _check_new(one.account, config)
    for number, one in enumerate(guesses, 1):
        click.echo(f"{f'{number}. ' if len(guesses) > 1 else ''}{_described(one)}")
        if one.note:
            click.echo(plain(one.note))
    chosen = 1
    if ask and len(guesses) > 1:
        chosen = click.prompt("Which (0: none of these)", type=click.IntRange(0, len(guesses)), default=1)
    elif ask and not click.confirm("Is that right?", default=True):
        chosen = 0
    return guesses[chosen - 1].account if chosen else _typed_server(guesses[0].account, config)


def _check_new(made: Account, config: settings.Settings) -> None:
    twin = config.same_mailbox(made)
    if twin is not None:
        raise RequestError(
            f"This mailbox is looked after already, as {twin.name}.",
            f"A new password: spamdctl account password {twin.name}",
        )


def _described(guess: ServerGuess) -> str:
    one = guess.account
    how = "sign-in in the browser" if one.auth is AuthMethod.OAUTH else "password"
    return f"Server {one.host}:{one.port or 993}, user {plain(one.user)}, {one.tls.value} TLS, {how}."


def _typed_server(known: Account, config: settings.Settings) -> Account:
    """Ask for the server; what is known already is kept by Enter."""
    host = click.prompt("IMAP server", default=known.host or None)
    tls = click.prompt("TLS", type=click.Choice([one.value for one in TlsMode]), default=known.tls.value)
    usual = 993 if tls == "implicit" else 143
    same = known.port and tls == known.tls.value
    port = click.prompt("Port", type=click.IntRange(1, 65535), default=known.port if same else usual)
    user = click.prompt("User", default=known.user)
    how = "password"
    if config.oauth_file:  # who brought client ids may want to use them here
        how = click.prompt("Sign in with: password, or a provider of your oauth_file", default=how)
    browser = how != "password"
    return dataclasses.replace(
        known,
        host=host.strip(),
        port=port,
        user=user.strip(),
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
    from spamd.credentials import Secrets

    try:
        Secrets.choose(config, here).describe()  # in bounded time: a D-Bus session may hang
    except CredentialError as exc:
        if not ask:
            raise
        click.echo(plain(exc.title))
        if not click.confirm(
            f"Keep passwords in {here.secrets_file}, which only you can read, but which is not encrypted?",
            default=False,
        ):
            raise CredentialError("There is no place for the password.", exc.hint) from None
        return "file"
    return "keyring"


def _keep(
    made: Account, secret: str | None, here: Paths, config: settings.Settings, store: str, *, ask: bool
) -> None:
    """Everything that is written, at once and after the last question about it.

    Where the keyring fails only now (locked, its prompt closed), the person need not type it all again.
    """
    from spamd.credentials import Secrets

    while True:
        chosen = Secrets.choose(dataclasses.replace(config, secrets=store), here)
        before = here.config_file.read_bytes() if here.config_file.exists() else None
        try:
            if secret is not None:
                chosen.set(made.name, secret)
            if store != config.secrets:
                settings.save(here.config_file, {"secrets": store})
            settings.add_account(here.config_file, made)
            return
        except CredentialError as exc:
            if not ask:
                raise
            _tell(exc)
            again = click.prompt("Where shall it be kept", type=click.Choice(["keyring", "file", "nowhere"]))
            if again == "nowhere":
                raise
            store = again
        except BaseException:
            if before is not None:
                write_private(here.config_file, before)
            else:
                here.config_file.unlink(missing_ok=True)
            if secret is not None:
                chosen.delete(made.name)
            raise


def _sign_in(
    made: Account, here: Paths, config: settings.Settings, *, password_stdin: bool, ask: bool
) -> tuple[Account, str | None]:
    """Until it works or the person gives up: only what was wrong is asked for again. Nothing is stored."""
    if made.kind is not SourceKind.IMAP:
        click.echo(describe_check(made, None))
        return made, None
    secret: str | None = None
    refused = 0
    while True:
        try:
            if secret is None and made.auth is AuthMethod.OAUTH:
                secret = sign_in_with_provider(made)
            elif secret is None:
                secret = read_password(stdin=password_stdin, command="", user=made.user)
            _check_new(made, config)
            click.echo(describe_check(made, secret))
            return _with_junk(made, here, config, secret, ask=ask), secret
        except CredentialError as exc:  # an empty password
            if not ask:
                raise
            _tell(exc)
        except (MailboxError, ConfigError) as exc:
            _tell(exc)
            if not ask:
                raise
            if isinstance(exc, PasswordsRefused) and made.auth is AuthMethod.PASSWORD:
                by_browser = _by_browser(made, exc.provider)
                if by_browser is None:
                    raise
                made, secret = by_browser, None
                continue
            refused += isinstance(exc, SignInError)
            if isinstance(exc, SignInError) and refused >= TRIES:
                click.echo("Some providers lock an account after a few more wrong passwords.")
                if not click.confirm("Try once more?", default=False):
                    raise
            made, secret = _corrected(made, secret, config, sign_in=isinstance(exc, SignInError))


def _by_browser(made: Account, provider: str) -> Account | None:
    """The account with the way to sign in that the server takes; None if the person does not want it."""
    if not provider:
        provider = click.prompt(
            "Sign in with (a provider of your oauth_file; empty: stop)", default=""
        ).strip()
    elif not click.confirm(f"Sign in in the browser instead, with {plain(provider)}?", default=True):
        provider = ""
    if not provider:
        return None
    return dataclasses.replace(made, auth=AuthMethod.OAUTH, oauth_provider=provider)


def _corrected(
    made: Account, secret: str | None, config: settings.Settings, *, sign_in: bool
) -> tuple[Account, str | None]:
    """What the person changes, and the rest as it was; secret None: to be asked for again."""
    browser = made.auth is AuthMethod.OAUTH
    parts = ["sign-in" if browser else "password", "user", "server"]
    wrong = click.prompt(
        "What was wrong", type=click.Choice(parts), default=parts[0] if sign_in or browser else "server"
    )
    if wrong == "user":
        return dataclasses.replace(made, user=click.prompt("User", default=made.user).strip()), secret
    if wrong == "server":
        typed = _typed_server(made, config)
        return typed, secret if typed.auth is made.auth else None
    return made, None


def _with_junk(made: Account, here: Paths, config: settings.Settings, secret: str, *, ask: bool) -> Account:
    from spamd import opening

    with opening.checking(made, here, config, secret=secret) as session:
        if session.junk_folder() is not None:
            return made
        names = [one.name for one in session.folders() if one.selectable and one.role != "inbox"]
    click.echo("No Junk folder was found. Until there is one, mail is only judged.")
    if not ask or not names:
        return made
    click.echo(f"Your folders: {plain(', '.join(names))}")
    while True:
        answer = click.prompt("Which one is Junk (empty: none yet)", default="", show_default=False).strip()
        if not answer:
            click.echo("You can say it later: spamdctl account set NAME junk=FOLDER")
            return made
        if answer in names:
            return dataclasses.replace(made, junk=FolderName(answer))
        click.echo(f"There is no folder {plain(answer)!r}.")


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
    """From the next sign-in on, and now."""
    from spamd import service

    try:
        found = service.install(here)
    except SpamdError as exc:
        _tell(exc)
        return
    for note in found.notes:
        click.echo(plain(note))
    try:
        if not daemon_runs():
            service.start_daemon(here)
            until = time.monotonic() + START_SECONDS
            while not daemon_runs() and time.monotonic() < until:
                time.sleep(0.1)
        trouble = service.start_tray(here)
    except OSError as exc:
        click.echo(f"It could not be started now: {exc.strerror or exc}. It starts with your next session.")
        return
    click.echo(f"No icon now: {plain(trouble)}" if trouble else "The icon is in the tray.")


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
