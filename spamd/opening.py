"""From an account to its mailbox: session, mover and watch of the right kind, with the right secret.

Everything here may raise MailboxError, CredentialError or ConfigError.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spamd import logs
from spamd import paths as places
from spamd import settings as configuration
from spamd.answers import AccountCheck
from spamd.credentials import Secrets
from spamd.domain import Account, AccountName, AuthMethod, FolderName, SourceKind
from spamd.errors import (
    ConfigError,
    CredentialError,
    MailboxError,
    PasswordsRefused,
    SecretMissing,
    SignInError,
)
from spamd.paths import Paths
from spamd.settings import Settings
from spamd.source import Folder, FolderWatch, MailSession, MoveCommands, MoveJournal, Mover

if TYPE_CHECKING:
    from spamd.answers import ServerGuess
    from spamd.mailbox.connection import Credential
    from spamd.mailbox.oauth import OAuthProvider, PendingSignIn, Tokens
    from spamd.maildir.local import LocalMailbox, LocalSession

SecretsOf = Secrets | Callable[[Account], Secrets]

_one_importer = threading.Lock()
"""The work and the watch of an account begin at once: two threads that import imapclient by different doors meet it half
imported (Python breaks the deadlock of their import locks by an ImportError)."""


class Opening:
    """Opens mailboxes. Thread-safe; what it opens is not."""

    def __init__(
        self,
        secrets: SecretsOf,
        journal: MoveJournal | None = None,
        *,
        clock: Callable[[], float] = time.time,
        secret: str | None = None,
        paths: Paths | None = None,
    ) -> None:
        """journal: None where nothing is moved. secret: used instead of the stored one (an account that is being tried)."""
        self._secrets = secrets
        self._journal = journal
        self._clock = clock
        self._secret = secret
        self._paths = paths or places.find()
        self._tokens: dict[AccountName, Tokens] = {}
        self._lock = threading.Lock()

    def session(self, account: Account) -> MailSession:
        """A connection, signed in."""
        if account.kind is not SourceKind.IMAP:
            return _local_session(account, self._paths.state)
        with _one_importer:
            from spamd.mailbox.session import open_session

        return open_session(account, self._credential(account))

    def mover(self, session: MailSession, account: Account) -> Mover:
        """The mover for a session of this account. Takes the lease: ServerBusy if another daemon has it."""
        with _one_importer:
            from spamd.mailbox import lease
            from spamd.mailbox.move_commands import ImapCommands
            from spamd.mailbox.mover import JournaledMover
            from spamd.mailbox.session import ImapSession
            from spamd.maildir.local import LocalSession

        if self._journal is None:
            raise ConfigError("Without a journal nothing is moved.")
        lease.take(account)
        if isinstance(session, ImapSession):
            commands = ImapCommands(session)
            return JournaledMover(session, commands, self._journal, account.name, clock=self._clock)
        if isinstance(session, LocalSession):
            local = _local_commands(session)
            return JournaledMover(
                session, local, self._journal, account.name, clock=self._clock, use_lock=False
            )
        raise ConfigError(f"Nothing can be moved in account {account.name!r}.")

    def watch(self, account: Account, folder: FolderName) -> FolderWatch:
        """A connection of its own that tells when the folder changes."""
        if account.kind is not SourceKind.IMAP:
            return _local_watch(account, self._paths.state, folder)
        with _one_importer:
            from spamd.mailbox.idle import open_watch

        return open_watch(account, self._credential(account), folder)

    def forget(self, account: Account) -> None:
        """The account is gone, or its secret is a new one."""
        from spamd.mailbox import lease

        with self._lock:
            self._tokens.pop(account.name, None)
        lease.give_up(account)

    def _credential(self, account: Account) -> Credential:
        if account.auth is AuthMethod.OAUTH:
            return self._tokens_of(account)
        secret = self._secret if self._secret is not None else self._secrets_of(account).get(account.name)
        logs.hide(secret)
        return secret

    def _secrets_of(self, account: Account) -> Secrets:
        return self._secrets(account) if callable(self._secrets) else self._secrets

    def _tokens_of(self, account: Account) -> Tokens:
        """One object per account, so that its connections share one access token."""
        with _one_importer:
            from spamd.mailbox.oauth import Tokens, provider_of

        provider = provider_of(account, _providers(self._paths))
        with self._lock:
            tokens = self._tokens.get(account.name)
            if tokens is None or tokens.provider != provider:
                store: Secrets | _Given = (
                    _Given(self._secret) if self._secret is not None else self._secrets_of(account)
                )
                tokens = self._tokens[account.name] = Tokens(
                    account.name, provider, store, lock_file=_lock_file(account, self._paths)
                )
            return tokens


class _Given:
    """One secret, kept nowhere."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def get(self, account: AccountName) -> str:
        return self._secret

    def set(self, account: AccountName, secret: str) -> None:
        self._secret = secret


@contextlib.contextmanager
def checking(
    account: Account, paths: Paths, settings: Settings, *, secret: str | None = None
) -> Iterator[MailSession]:
    """A session to look at an account, closed at the end of the block. Moves nothing."""
    opening = Opening(Secrets.choose(settings, paths), secret=secret, paths=paths)
    session = opening.session(account)
    try:
        yield session
    finally:
        session.close()


def check(account: Account, opening: Opening) -> AccountCheck:
    """Sign in, look, sign out. What the mailbox refuses is part of the answer, never an error."""
    try:
        session = opening.session(account)
    except (MailboxError, CredentialError, ConfigError) as error:
        wrong = "sign-in" if isinstance(error, (SignInError, CredentialError)) else "server"
        browser = error.provider if isinstance(error, PasswordsRefused) else ""
        return AccountCheck(False, error.title, error.hint, wrong=wrong, browser=browser)
    try:
        folders = session.folders()
        junk = session.junk_folder()
        counted = {
            status.folder: status.messages
            for status in session.statuses([folder.name for folder in folders if folder.selectable][:200])
        }
        able = session.abilities
        names = ("move", "uidplus", "condstore", "idle", "server_ids", "keywords")
        inbox = next((folder.name for folder in folders if folder.name.upper() == "INBOX"), None)
        return AccountCheck(
            ok=True,
            text=f"Signed in. {len(folders)} folders.",
            hint="" if junk else "There is no Junk folder yet: make one, or name one in the settings.",
            folders=tuple(folder.name for folder in folders if folder.selectable),
            junk_folder=junk,
            abilities=tuple(name for name in names if getattr(able, name)),
            inbox_messages=counted.get(inbox, 0) if inbox else 0,
            junk_messages=counted.get(junk, 0) if junk else 0,
            remarks=remarks(able.quirk, account),
        )
    except MailboxError as error:
        return AccountCheck(False, error.title, error.hint)
    finally:
        session.close()


def remarks(quirk: str, account: Account) -> tuple[str, ...]:
    """What the person should know of this kind of server (`Abilities.quirk`), one sentence each."""
    from spamd.mailbox import quirks

    if account.kind is not SourceKind.IMAP:
        return ()
    return quirks.remarks(quirks.named(quirk), account.doubt_label or "")


def find_servers(address: str, settings: Settings) -> Sequence[ServerGuess]:
    """Where this address may have its mailbox; the network is asked only if the person allows it."""
    from spamd.mailbox import discovery

    lookup = discovery.NetworkLookup() if settings.look_up_servers else None
    return discovery.find_servers(address, lookup=lookup)


def begin_sign_in(account: Account, paths: Paths, *, browser_here: bool = True) -> PendingSignIn:
    """Start signing in with the provider's page. Its wait() gives the secret to store for the account."""
    from spamd.mailbox import oauth

    provider = oauth.provider_of(account, _providers(paths))
    return oauth.begin(account, provider, browser_here=browser_here)


def forget_secret(account: Account, secrets: Secrets) -> str:
    """Its password or grant out of where secrets are. A grant is returned, for `end_sign_in`; else "". Raises CredentialError."""
    grant = ""
    if account.auth is AuthMethod.OAUTH:
        with contextlib.suppress(SecretMissing):  # nobody ever signed in
            grant = secrets.get(account.name)
    secrets.delete(account.name)
    return grant


def forget_lock(account: Account, paths: Paths) -> None:
    """The file that bears the name of a removed account. Nobody waits for it any more."""
    with contextlib.suppress(OSError):
        _lock_file(account, paths).unlink()


def _lock_file(account: Account, paths: Paths) -> Path:
    return paths.state / "oauth" / f"{account.name}.lock"


def end_sign_in(account: Account, grant: str, paths: Paths) -> None:
    """Take a grant back at the account's provider. Blocks for up to 40 s. Raises SignInError, which says where else."""
    from spamd.mailbox import oauth

    try:
        oauth.revoke(oauth.provider_of(account, _providers(paths)), grant)
    except CredentialError:
        return  # it is none: a password, from before the account signed in with the browser
    except (MailboxError, ConfigError) as exc:
        hint = f"On the account's pages at {account.oauth_provider}, take this program's access away."
        raise SignInError(exc.title, hint) from exc


def _providers(paths: Paths) -> dict[str, OAuthProvider]:
    from spamd.mailbox import oauth

    file = configuration.load(paths.config_file).oauth_file
    return oauth.load_providers(Path(file).expanduser() if file else None)


# ---- mail on this computer


def _local_mailbox(account: Account, state: Path) -> LocalMailbox:
    from spamd.mailbox import folders as names
    from spamd.maildir.maildir import MaildirMailbox
    from spamd.maildir.mbox import MboxMailbox

    path = Path(account.path).expanduser().absolute()
    if account.kind is SourceKind.MBOX:
        return MboxMailbox(path, state, account.name, names.decode, account.junk)
    return MaildirMailbox(path, state, account.name, names.decode)


def _local_session(account: Account, state: Path) -> LocalSession:
    from spamd.maildir.local import LocalSession

    session = LocalSession(account, _local_mailbox(account, state), _classify)
    session.folders()  # is it there at all?
    return session


def _classify(names: Sequence[tuple[str, str]]) -> Sequence[Folder]:
    from spamd.mailbox import folders

    return folders.classify(
        folders.Listed(frozenset(), separator, raw.encode("utf-8", "surrogateescape"))
        for raw, separator in names
    )


def _local_commands(session: LocalSession) -> MoveCommands:
    from spamd.maildir.maildir import MaildirCommands, MaildirMailbox
    from spamd.maildir.mbox import MboxCommands

    mailbox = session.mailbox
    return MaildirCommands(mailbox) if isinstance(mailbox, MaildirMailbox) else MboxCommands()


def _local_watch(account: Account, state: Path, name: FolderName) -> FolderWatch:
    from spamd.file_watch import Watcher
    from spamd.maildir.local import LocalWatch

    folder = _local_mailbox(account, state).folder(name)
    watch: LocalWatch

    def touched() -> None:
        watch.touched()

    watcher = Watcher(folder.watched(), touched)
    watch = LocalWatch(folder, on_close=watcher.stop)
    watcher.start()
    return watch


__all__ = ["Opening", "begin_sign_in", "checking", "find_servers"]
