"""Where passwords and OAuth grants are: keyring in, secret out. The only room that knows `keyring`.

Nothing falls back to plain text by itself: a CredentialError says what to do about it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from spamd.domain import AccountName
from spamd.errors import CredentialError, SecretMissing
from spamd.paths import Paths, find, write_private
from spamd.settings import Settings

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SERVICE = "spamd-desktop"
DESCRIBE_SECONDS = 5.0  # only its name is asked: no prompt can be waiting
KEYRING_SECONDS = 30.0  # a desktop's prompt may wait for the person for ever; a daemon may not
COMMAND_SECONDS = 30.0
PART = 1200  # characters: Windows keeps 2,560 bytes of UTF-16 in one entry, an OAuth grant may have more
SPLIT = "spamd-parts:"
SECRET_LIMIT = 65536  # characters
_ANEW = "Move it away, then enter the passwords anew: `spamdctl account password NAME`."
_COMMAND = "Look at password_command: a program that prints the password."
ELSEWHERE = 'Or choose another place: `spamdctl settings set secrets file` (also: "command", "systemd").'


class Secrets(Protocol):
    """A place where secrets are. `Secrets.choose` picks the person's. Thread-safe; may block."""

    def get(self, account: AccountName) -> str:
        """CredentialError if there is none, or it cannot be reached."""
        ...

    def set(self, account: AccountName, secret: str) -> None: ...

    def delete(self, account: AccountName) -> None:
        """Nothing happens if there is none."""
        ...

    def describe(self) -> str:
        """Which place it is, in words. CredentialError if it cannot be used."""
        ...

    @staticmethod
    def choose(settings: Settings, paths: Paths, env: Mapping[str, str] | None = None) -> Secrets:
        """The place the person chose. Touches nothing yet."""
        environment = os.environ if env is None else env
        if settings.secrets == "systemd":
            return SystemdSecrets(environment.get("CREDENTIALS_DIRECTORY", ""))
        if settings.secrets == "command":
            return CommandSecrets({one.name: one.password_command for one in settings.accounts})
        if settings.secrets == "file":
            return FileSecrets(paths.secrets_file)
        return KeyringSecrets(service_name(paths, environment))


def service_name(paths: Paths, env: Mapping[str, str]) -> str:
    """What our entries are called in the keyring; installations side by side do not share them."""
    return (
        SERVICE if paths.config == find({**env, "SPAMD_HOME": ""}).config else f"{SERVICE} ({paths.config})"
    )


def _missing(account: AccountName, place: str) -> SecretMissing:
    return SecretMissing(
        f"There is no password of account {account!r} in {place}.", "Enter it again in the settings."
    )


def _checked(secret: str) -> str:
    if not secret:
        raise CredentialError("The password is empty.")
    if len(secret) > SECRET_LIMIT or any(one in secret for one in "\r\n\x00"):
        raise CredentialError("That cannot be a password: it is more than one line.")
    return secret


# ---- the desktop's keyring


class KeyringSecrets(Secrets):
    """Keychain, Credential Locker, Secret Service or KWallet, through `keyring`."""

    def __init__(self, service: str = SERVICE, *, seconds: float = KEYRING_SECONDS) -> None:
        self.service = service
        self.seconds = seconds
        self._lock = threading.Lock()  # keyring back ends are not made for threads
        self._backend: KeyringBackend | None = None
        self._closed = (
            False  # it was asked in vain: the person is not prompted again, but may open it by itself
        )

    def get(self, account: AccountName) -> str:
        def read(backend: KeyringBackend) -> str | None:
            from keyring.errors import KeyringLocked

            if self._closed and _is_secret_service(backend) and _is_locked(backend):
                raise KeyringLocked
            return self._read(backend, account)

        try:
            secret = self._ask(read)
        except CredentialError:
            self._closed = True
            raise
        self._closed = False
        if not secret:
            raise _missing(account, "the keyring")
        return secret

    def set(self, account: AccountName, secret: str) -> None:
        _checked(secret)

        def store(backend: KeyringBackend) -> bool:
            before = self._part_count(backend, account)
            parts = [secret[start : start + PART] for start in range(0, len(secret), PART)]
            for number, part in enumerate(parts[1:], 2):
                backend.set_password(self.service, f"{account}#{number}", part)
            whole = len(parts) == 1 and not secret.startswith(SPLIT)
            backend.set_password(
                self.service, account, secret if whole else f"{SPLIT}{len(parts)}:{parts[0]}"
            )
            for number in range(len(parts) + 1, before + 1):
                self._remove(backend, f"{account}#{number}")
            return self._read(backend, account) == secret

        if not self._ask(store):
            raise CredentialError("The keyring did not keep the password.", ELSEWHERE)

    def delete(self, account: AccountName) -> None:
        def remove(backend: KeyringBackend) -> None:
            for number in range(2, self._part_count(backend, account) + 1):
                self._remove(backend, f"{account}#{number}")
            self._remove(backend, account)

        self._ask(remove)

    def _read(self, backend: KeyringBackend, account: str) -> str | None:
        first = backend.get_password(self.service, account)
        if first is None or not first.startswith(SPLIT):
            return first
        count, _, secret = first[len(SPLIT) :].partition(":")
        for number in range(2, int(count) + 1):
            part = backend.get_password(self.service, f"{account}#{number}")
            if part is None:
                return None
            secret += part
        return secret

    def _part_count(self, backend: KeyringBackend, account: str) -> int:
        first = backend.get_password(self.service, account)
        return int(first[len(SPLIT) :].partition(":")[0]) if first and first.startswith(SPLIT) else 1

    def _remove(self, backend: KeyringBackend, name: str) -> None:
        from keyring.errors import PasswordDeleteError

        try:
            backend.delete_password(self.service, name)
        except PasswordDeleteError:
            if backend.get_password(self.service, name) is not None:
                raise

    def describe(self) -> str:
        seconds = min(self.seconds, DESCRIBE_SECONDS)
        return self._ask(lambda backend: f"the keyring of this desktop ({backend.name})", seconds)

    def _ask(self, question: Callable[[KeyringBackend], T], seconds: float = 0.0) -> T:
        """In a thread of its own: the answer, or a CredentialError after `seconds` (an unanswered prompt)."""
        seconds = seconds or self.seconds
        answers: list[T] = []
        errors: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            if not self._lock.acquire(timeout=seconds):
                return  # an earlier question still hangs
            try:
                if self._backend is None:
                    self._backend = usable_backend()
                answers.append(question(self._backend))
            except BaseException as exc:  # noqa: BLE001 carried to the asking thread
                errors.append(exc)
            finally:
                self._lock.release()
                ended.set()

        threading.Thread(target=run, name="keyring", daemon=True).start()
        if not ended.wait(seconds):
            raise CredentialError(
                f"The keyring did not answer within {seconds:g} s.",
                f"Unlock it on the desktop; a prompt may be waiting there. {ELSEWHERE}",
                quiet=self._quiet(),
            )
        if errors:
            raise _as_credential_error(errors[0], quiet=self._quiet()) from errors[0]
        return answers[0]

    def _quiet(self) -> bool:
        """Whether it can be asked again without a prompt. Keychain and KWallet cannot tell that they are locked."""
        return self._backend is None or _is_secret_service(self._backend)


def _is_secret_service(backend: KeyringBackend) -> bool:
    return type(backend).__module__ == "keyring.backends.SecretService"


def _is_locked(backend: KeyringBackend) -> bool:
    """Of a Secret Service; without a prompt, which every other question to a locked one brings up."""
    import secretstorage

    chosen = getattr(backend, "preferred_collection", None)
    with contextlib.closing(secretstorage.dbus_init()) as bus:
        try:
            collection = secretstorage.Collection(bus, chosen) if chosen else secretstorage.Collection(bus)
        except secretstorage.ItemNotFoundException:
            return True  # there is none yet, and making one asks for a password
        return bool(collection.is_locked())


def usable_backend() -> KeyringBackend:
    """The back end `keyring` picks, unless it keeps nothing or keeps it readable."""
    import keyring.backend
    import keyring.core

    candidates = _candidates(keyring.get_keyring())
    if all(_refusal(one) for one in candidates):
        # `keyring` looks once; one that starts later (KeePassXC, a session that is still beginning) would never be found.
        with contextlib.suppress(KeyError):  # it has not looked yet: one was named in its settings
            keyring.backend.get_all_keyring.reset()
        keyring.core.init_backend()
        candidates = _candidates(keyring.get_keyring())
    for backend in candidates:
        if not _refusal(backend):
            return backend
    raise CredentialError(
        _refusal(candidates[0]) if candidates else "There is no keyring on this computer.",
        f"On a desktop, install gnome-keyring or KWallet and sign in to the session. {ELSEWHERE}",
        quiet=True,
    )


def _candidates(found: KeyringBackend) -> list[KeyringBackend]:
    from keyring.backends.chainer import ChainerBackend

    return list(found.backends) if isinstance(found, ChainerBackend) else [found]


def _refusal(backend: KeyringBackend) -> str:
    module = type(backend).__module__
    if module.startswith("keyrings.alt"):
        return "The only keyring here is a plain file (keyrings.alt): anyone who reads it has your password."
    if module == "keyring.backends.null":
        return "The keyring is switched off (keyring.backends.null): it would keep nothing."
    if module == "keyring.backends.fail":
        return "There is no keyring on this computer, or no D-Bus session to reach it."
    return ""


def _as_credential_error(exc: BaseException, *, quiet: bool) -> BaseException:
    if isinstance(exc, CredentialError):
        return exc
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    if isinstance(exc, KeyringLocked):
        return CredentialError(
            "The keyring is locked.", f"Unlock it by signing in to the desktop. {ELSEWHERE}", quiet=quiet
        )
    if isinstance(exc, InitError):
        return CredentialError(
            "The keyring could not be opened, or its prompt was closed.",
            f"Try again. {ELSEWHERE}",
            quiet=quiet,
        )
    if isinstance(exc, NoKeyringError):
        return CredentialError("There is no keyring on this computer.", ELSEWHERE, quiet=quiet)
    if isinstance(exc, Exception):
        # KeyringError, and whatever D-Bus or the platform raises through it (no common base)
        return CredentialError(f"The keyring failed ({type(exc).__name__}).", ELSEWHERE, quiet=quiet)
    return exc


# ---- credentials of a systemd service


class SystemdSecrets(Secrets):
    """`LoadCredential=`, `LoadCredentialEncrypted=`: one file per account, spamd-ACCOUNT or ACCOUNT."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def get(self, account: AccountName) -> str:
        if not self.folder:
            raise CredentialError(
                "systemd gave this program no credentials ($CREDENTIALS_DIRECTORY is empty).",
                f"Add LoadCredential=spamd-{account}:FILE to the service, or choose another place.",
            )
        for name in (f"spamd-{account}", str(account)):
            if Path(name).name != name:
                continue
            try:
                return _checked((Path(self.folder) / name).read_text("utf-8").rstrip("\r\n"))
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as exc:
                raise CredentialError(f"The systemd credential {name} cannot be read.") from exc
        raise _missing(account, "the systemd credentials")

    def set(self, account: AccountName, secret: str) -> None:
        raise CredentialError(
            "systemd credentials cannot be written from here.",
            f"Make the file with: systemd-creds encrypt --name=spamd-{account} - FILE",
        )

    def delete(self, account: AccountName) -> None:
        """Nothing: they belong to the service."""

    def describe(self) -> str:
        return "the credentials systemd gives to the service" + ("" if self.folder else " (none given now)")


# ---- a command of the person's


class CommandSecrets(Secrets):
    """Each account's password_command, run without a shell."""

    def __init__(self, commands: Mapping[AccountName, str]) -> None:
        self.commands = commands

    def get(self, account: AccountName) -> str:
        command = self.commands.get(account, "")
        if not command:
            raise CredentialError(
                f"Account {account!r} has no password command.",
                f"Set it: spamdctl account set {account} password_command='...'",
            )
        return run_password_command(command)

    def set(self, account: AccountName, secret: str) -> None:
        raise CredentialError(
            "The password comes from your own command and is changed where that looks.",
            "For sign-in by OAuth choose the keyring or the file.",
        )

    def delete(self, account: AccountName) -> None:
        """Nothing: it is kept elsewhere."""

    def describe(self) -> str:
        return "each account's password command"


def run_password_command(command: str, *, seconds: float = COMMAND_SECONDS) -> str:
    """The first line the command prints. No shell: `$`, `;`, `|` mean nothing. Or CredentialError."""
    try:
        words = [os.path.expanduser(word) for word in shlex.split(command)]  # noqa: PTH111 words, not paths
    except ValueError as exc:
        raise CredentialError(f"The password command cannot be read: {exc}.", "Look at its quotes.") from exc
    if not words:
        raise CredentialError("The password command is empty.", _COMMAND)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        title = f"The password command {words[0]!r} cannot be run: {exc.strerror}."
        raise CredentialError(title, _COMMAND) from exc
    with process:
        try:
            printed, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill_with_children(process)
            raise CredentialError(
                f"The password command {words[0]!r} did not end within {seconds:g} s.",
                "Does it ask for something?",
            ) from None
        except BaseException:
            _kill_with_children(process)
            raise
    if process.returncode != 0:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        said = f" It said: {lines[-1][:200]}" if lines else ""
        title = f"The password command {words[0]!r} failed ({process.returncode}).{said}"
        raise CredentialError(title, "Try it in a terminal: it must print the password, and ask for nothing.")
    first, _, _ = printed[:SECRET_LIMIT].partition(b"\n")
    try:
        return _checked(first.decode("utf-8").rstrip("\r"))
    except UnicodeDecodeError as exc:
        raise CredentialError(
            f"The password command {words[0]!r} printed something that is no text."
        ) from exc


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# ---- a file, by the person's own choice


class FileSecrets(Secrets):
    """A JSON file only its owner can read. Not encrypted: only where the person chose it by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def get(self, account: AccountName) -> str:
        with self._lock:
            secret = self._read().get(account)
        if not secret:
            raise _missing(account, str(self.path))
        return secret

    def set(self, account: AccountName, secret: str) -> None:
        _checked(secret)
        with self._lock:
            self._write({**self._read(), account: secret})

    def delete(self, account: AccountName) -> None:
        with self._lock:
            kept = self._read()
            if kept.pop(account, None) is not None:
                self._write(kept)

    def describe(self) -> str:
        return f"the file {self.path} (not encrypted, readable only by you)"

    def _read(self) -> dict[str, str]:
        try:
            if os.name == "posix" and self.path.stat().st_mode & 0o077:
                raise CredentialError(
                    f"{self.path} can be read by others.", f"chmod 600 {shlex.quote(str(self.path))}"
                )
            content = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise CredentialError(f"{self.path} cannot be read as a file of secrets.", _ANEW) from exc
        if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
            raise CredentialError(f"{self.path} is no file of secrets.", _ANEW)
        return content

    def _write(self, content: Mapping[str, str]) -> None:
        try:
            write_private(self.path, json.dumps(content, indent=1).encode("utf-8"))
        except OSError as exc:
            hint = "Look at its owner and rights, and at free space."
            raise CredentialError(f"{self.path} cannot be written: {exc.strerror}.", hint) from exc


__all__ = [
    "CommandSecrets",
    "FileSecrets",
    "KeyringSecrets",
    "Secrets",
    "SystemdSecrets",
    "run_password_command",
]
