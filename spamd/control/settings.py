"""config.toml as it is now, the settings a person can change, and where passwords are.

No door to here takes a file or a command: who got hold of the page's token could have it read what they like, and run it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd import settings
from spamd.answers import Done, SettingView
from spamd.control.feed import Feed
from spamd.control.kept import Kept
from spamd.control.telling import short
from spamd.domain import AccountName
from spamd.errors import ConfigError, RequestError, SpamdError
from spamd.store.judgements import DISPLAYS

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.credentials import Secrets
    from spamd.paths import Paths
    from spamd.settings import Settings
    from spamd.store.database import Store


FILES = frozenset({"oauth_file"})
"""Settings that name a file."""
RUNS = ("secrets", "command")
"""The setting, and its value, that has each account's password_command run."""


class SettingsNow:
    """Of one daemon. changing: one change of settings, accounts or models at a time."""

    def __init__(
        self,
        paths: Paths,
        secrets: Secrets,
        store: Store,
        engine: Engine,
        feed: Feed,
        kept: Kept,
    ) -> None:
        self.changing = threading.Lock()
        self.file = paths.config_file
        self._paths = paths
        self._secrets = secrets
        self._secrets_kind = settings.load(paths.config_file).secrets
        self._store = store
        self._engine = engine
        self._feed = feed
        self._kept = kept
        self._loaded: tuple[int, Settings] | None = None  # with the file's time of change

    def now(self) -> Settings:
        """As in the file now; while the file is broken, as they were before (the daemon does the same)."""
        path = self._paths.config_file
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            stamp = 0
        kept = self._loaded
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            loaded = settings.load(path)
        except ConfigError:
            if kept is None:
                raise
            return kept[1]
        self._loaded = (stamp, loaded)
        return loaded

    def all(self) -> tuple[SettingView, ...]:
        now = self.now()
        return tuple(
            SettingView(
                option.name,
                option.title,
                "choice" if option.choices else option.kind.__name__,
                value := _setting_text(getattr(now, option.name)),
                _setting_text(option.default),
                option.help,
                tuple(one for one in option.choices if (option.name, one) != RUNS or one == value),
                by_hand=option.name in FILES,
            )
            for option in settings.OPTIONS
        )

    def change(self, changes: Mapping[str, str]) -> tuple[SettingView, ...]:
        """Values as typed; all or nothing. Keeping less of mails for display wipes what is there.

        RequestError for what would have a file read or a command run (see `FILES`, `RUNS`).
        """
        values = {name: settings.from_text(name, text) for name, text in changes.items()}
        with self.changing:
            self._refuse_by_hand(values)
            moved = self._carry_secrets(values.get("secrets"))
            display = settings.save(self.file, values).display
            for name, old in moved:
                with contextlib.suppress(SpamdError):
                    old.delete(name)
        self._store.set_display(next(one for one in DISPLAYS if one == display))
        self._engine.reload_settings()
        self._kept.after_change()
        self._feed.publish("state", {"settings": sorted(values)})
        return self.all()

    def _refuse_by_hand(self, values: Mapping[str, object]) -> None:
        now = self.now()
        for name, value in values.items():
            if (name in FILES or (name, value) == RUNS) and value != getattr(now, name):
                raise RequestError(
                    f"{name} cannot be set to {short(str(value))!r} from here: files and commands are named by hand.",
                    f"In a terminal: spamdctl settings set {name} ...",
                )

    def read_again(self) -> Done:
        self._engine.reload_settings()
        self._kept.after_change()
        return Done("The settings were read again.")

    def vault(self) -> Secrets:
        """Where secrets are, by the settings of now."""
        from spamd.credentials import Secrets

        now = self.now()
        if now.secrets != self._secrets_kind:
            self._secrets = Secrets.choose(now, self._paths)
            self._secrets_kind = now.secrets
        return self._secrets

    def secret_place(self) -> str:
        """Where passwords are now, in words; or why they cannot be reached."""

        def ask() -> str:
            try:
                return self.vault().describe()
            except SpamdError as error:
                return str(error)

        place: str = self._kept.remember("secret place", 60.0, ask)  # a keyring that hangs takes its time
        return place

    def _carry_secrets(self, kind: object) -> list[tuple[AccountName, Secrets]]:
        """Passwords move along to where they will be from now on; those copied, to be removed from the old place.

        CredentialError: the new place cannot be used; nothing has changed then.
        """
        from spamd.credentials import Secrets

        now = self.now()
        if kind not in ("keyring", "file") or kind == now.secrets:
            return []
        old, new = self.vault(), Secrets.choose(replace(now, secrets=str(kind)), self._paths)
        moved = []
        for account in now.accounts:
            try:
                secret = old.get(account.name)
            except SpamdError:
                continue  # none there, or it cannot be reached: the account will ask
            new.set(account.name, secret)
            moved.append((account.name, old))
        return moved


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
