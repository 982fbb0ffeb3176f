"""Sign-ins with the browser, waited for: the grant is kept, or given back where nobody wants it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.answers import SignIn, TellPerson
from spamd.domain import Account, AccountName, AuthMethod
from spamd.errors import RequestError, SpamdError

if TYPE_CHECKING:
    from spamd.control import Control
    from spamd.credentials import Secrets
    from spamd.mailbox.oauth import PendingSignIn
    from spamd.paths import Paths


class SignIns:
    """Of all accounts; each is waited for on a thread of its own. Thread-safe."""

    def __init__(
        self,
        control: Control,
        paths: Paths,
        *,
        secrets: Callable[[], Secrets],
        signed_in: Callable[[], None],
        tell: TellPerson,
        spawn: Callable[[str, Callable[[], None]], None],
        stopping: threading.Event,
    ) -> None:
        """secrets: where they are now. signed_in: called when a grant was kept."""
        self._control = control
        self._paths = paths
        self._secrets = secrets
        self._signed_in = signed_in
        self._tell = tell
        self._spawn = spawn
        self._stopping = stopping
        self._lock = threading.Lock()
        self._pending: list[tuple[AccountName, PendingSignIn]] = []

    def begin(self, account: Account) -> SignIn:
        """The page to open. RequestError where this account has a password; SignInError."""
        from spamd.opening import begin_sign_in

        if account.auth is not AuthMethod.OAUTH:
            raise RequestError("This account signs in with a password.", "Set it on the Accounts page.")
        pending = begin_sign_in(account, self._paths)
        with self._lock:
            self._pending.append((account.name, pending))
        self._spawn(f"sign-in {account.name}", lambda: self._wait(account, pending))
        return SignIn(account.name, pending.url, pending.code, pending.expires_at)

    def cancel(self) -> None:
        """Nobody is waited for any longer."""
        with self._lock:
            pending = [one for _, one in self._pending]
        for one in pending:
            one.cancel()

    def _wait(self, account: Account, pending: PendingSignIn) -> None:
        failed: SpamdError | None = None
        kept = False
        try:
            kept = self._keep(account, pending.wait())
        except SpamdError as error:
            failed = error
        finally:
            with self._lock:
                self._pending.remove((account.name, pending))
                another = any(name == account.name for name, _ in self._pending)
        # First what the person waits for: the rest may fail (a full disk, settings that are broken).
        if failed is not None and not self._stopping.is_set():
            self._tell("account", f"The sign-in did not work. {failed}", account=account.name)
            if not another:
                self._control.accounts.sign_in_ended(account.name)
        elif kept:
            self._signed_in()
            self._tell("account", "You are signed in.", account=account.name)
            self._control.accounts.sign_in_ended(account.name)

    def _keep(self, account: Account, grant: str) -> bool:
        """False where the account was removed while the browser was open: its grant goes, too."""
        with self._control.settings.changing:
            now = self._control.settings.now().account(account.name)
            if now is not None and (now.user, now.oauth_provider) == (account.user, account.oauth_provider):
                self._secrets().set(account.name, grant)
                return True
        from spamd.opening import end_sign_in

        end_sign_in(account, grant, self._paths)
        return False
