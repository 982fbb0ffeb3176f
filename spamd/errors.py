"""The errors a person may meet. Each has a headline and a hint that says what to do. Imports nothing.

SpamdError
├── ConfigError           the person's settings are wrong
├── CredentialError       no secret, a locked or missing keyring
├── MailboxError          talking to the mail server or mail folder failed
│   ├── ConnectionLost    network, TLS, time-out, server gone: try again later
│   ├── SignInError       the server refused the sign-in
│   │   ├── PasswordsRefused  the server takes no passwords at all, only sign-in with the browser
│   │   └── SignInExpired   an OAuth grant is gone: the person must sign in again
│   ├── ServerBusy        [LIMIT], [INUSE], [UNAVAILABLE]: back off
│   ├── FolderMissing     the folder is not there ([TRYCREATE], [NONEXISTENT])
│   ├── FolderChanged     another UIDVALIDITY: its UIDs name other mails now
│   ├── FolderRefused     no right to do this there ([NOPERM], read-only)
│   ├── QuotaExceeded     [OVERQUOTA]
│   └── ProtocolFault     the server answered something that cannot be understood
├── StoreError            the database
│   ├── StoreBusy         locked by another program
│   ├── StoreFull         no space left
│   └── StoreDamaged      corrupt, or written by a newer version
├── ModelError            a model file that is damaged, foreign or of another schema
│   └── SchemaMismatch    made for other features
├── TrainingError         the trainer failed, or is not installed
├── AutostartError        an entry in the session's autostart cannot be written or read
├── NotRunning            the daemon is not running
├── AlreadyRunning        another daemon has this home
├── RequestError          what was asked for cannot be done (unknown name, bad value)
│   └── NotFound            there is no such thing
└── DoneInPart            what was asked for was done, but not all of it
"""

from __future__ import annotations


class SpamdError(Exception):
    """Something a person can act on.

    title: one line, what happened. hint: what to do about it, or "".
    """

    def __init__(self, title: str, hint: str = "") -> None:
        super().__init__(title, hint)
        self.title = title
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.title} {self.hint}".strip()


class ConfigError(SpamdError):
    """The person's settings are wrong."""


class CredentialError(SpamdError):
    """There is no secret, or it cannot be reached."""

    def __init__(self, title: str, hint: str = "", *, quiet: bool = False) -> None:
        """quiet: asking again shows the person nothing, and may help soon (a keyring that is not open yet)."""
        super().__init__(title, hint)
        self.quiet = quiet


class SecretMissing(CredentialError):
    """None was ever put there."""


class MailboxError(SpamdError):
    """Talking to the mail server or mail folder failed."""


class ConnectionLost(MailboxError):
    """Network, TLS, time-out, or the server went away. Trying again later may help."""


class SignInError(MailboxError):
    """The server refused the sign-in. Trying again with the same secret does not help."""


class PasswordsRefused(SignInError):
    """The server takes no passwords at all ("Basic authentication is disabled"): sign in with the browser."""

    def __init__(self, title: str, hint: str = "", *, provider: str = "") -> None:
        """provider: the row of mailbox/oauth.py that it takes instead; "": not known."""
        super().__init__(title, hint)
        self.provider = provider


class SignInExpired(SignInError):
    """The OAuth grant is gone (invalid_grant): the person must sign in again."""


class ServerBusy(MailboxError):
    """The server asks to come back later: [LIMIT], [INUSE], [UNAVAILABLE], [OVERQUOTA] of a day's bytes."""

    def __init__(self, title: str, hint: str = "", *, seconds: float = 0.0) -> None:
        """seconds: how long the server wants to be left alone; 0: it did not say."""
        super().__init__(title, hint)
        self.seconds = seconds


class FolderMissing(MailboxError):
    """The folder is not there."""


class FolderChanged(MailboxError):
    """The folder has another UIDVALIDITY than the one known: its UIDs name other mails now."""


class FolderRefused(MailboxError):
    """The server does not allow this in this folder."""


class QuotaExceeded(MailboxError):
    """The mailbox is full."""


class ProtocolFault(MailboxError):
    """The server's answer cannot be understood."""


class ClockWrong(SpamdError):
    """This computer's clock shows a time before the program was written."""


class StoreError(SpamdError):
    """The database cannot be used."""


class StoreBusy(StoreError):
    """The database is locked by another program."""


class StoreFull(StoreError):
    """There is no space left on the disk."""


class StoreDamaged(StoreError):
    """The database is corrupt, or a newer version wrote it."""


class ModelError(SpamdError):
    """A model file is damaged or foreign."""


class Unreadable(SpamdError):
    """A mail that cannot be read without harm to the program."""


class SchemaMismatch(ModelError):
    """The model was made for other features than this version computes."""


class TrainingError(SpamdError):
    """The trainer failed, or is not installed."""


class AutostartError(SpamdError):
    """An entry in the session's autostart cannot be written, or is somebody else's."""


class NotRunning(SpamdError):
    """The daemon is not running."""


class NotAnswering(NotRunning):
    """It runs, and says nothing."""


class AlreadyRunning(SpamdError):
    """Another daemon serves this home."""


class RequestError(SpamdError):
    """What was asked for cannot be done."""


class DoneInPart(SpamdError):
    """What was asked for was done, but not all of it: the title says first what was."""

    @classmethod
    def after(cls, done: str, left: dict[str, SpamdError]) -> DoneInPart:
        """done: a sentence. left: what was not ("Its password could not be removed"), and why."""
        titles = [f"{what}: {why.title}" for what, why in left.items()]
        return cls(" ".join((done, *titles)), " ".join(why.hint for why in left.values() if why.hint))


class NotFound(RequestError):
    """There is no such account, mail, model or label."""
