"""What can be wrong, looked at one by one. Works with and without a running daemon; changes nothing."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator

from spamd import paths as places
from spamd import settings
from spamd.answers import Finding, Level
from spamd.domain import Account, AuthMethod, FolderName, SourceKind, TlsMode
from spamd.errors import ConfigError, CredentialError, NotRunning, SpamdError
from spamd.paths import Paths

FREE_BYTES = 200 * 2**20  # a night writes a model and the database copies itself before a migration


def examine(here: Paths) -> Iterator[Finding]:
    """Every finding once, in the order in which one would mend them.

    One cause shows in several places (a keyring that is missing: in itself, in each account, in the daemon's
    own words): the first that says it is enough.
    """
    said: set[str] = set()
    for one in _every(here):
        if one.level is Level.OK:
            yield one
            continue
        text = one.text.removeprefix(f"{one.account}: ") if one.account else one.text
        if not any(earlier in text for earlier in said):
            said.add(text)
            yield one


def _every(here: Paths) -> Iterator[Finding]:
    yield _python()
    yield from _folders(here)
    config = None
    try:
        config = settings.load(here.config_file)
    except ConfigError as exc:
        yield _bad("settings", exc)
    else:
        yield _ok("settings", f"Settings are in order ({here.config_file}).")
        for warning in config.warnings:
            yield Finding("settings", Level.WARN, warning)
    yield from _guarded("database", lambda: _database(here))
    yield from _guarded("model", lambda: _model(here))
    yield _training()
    yield from _guarded("service", lambda: _service(here, config))
    yield from _guarded("tray", _tray)
    if config is not None:
        yield from _guarded("secrets", lambda: _secrets(here, config))
        if not config.accounts:
            yield Finding("account", Level.WARN, "There is no account yet.", "Run `spamdctl setup`.")
        for account in config.accounts:
            yield from _guarded("account", functools.partial(_account, here, config, account))
    # Last: what it complains of was mostly said above, with more about it.
    yield from _guarded("daemon", lambda: _daemon(here))


def _ok(area: str, text: str) -> Finding:
    return Finding(area, Level.OK, text)


def _bad(area: str, exc: SpamdError, *, name: str = "") -> Finding:
    return Finding(area, Level.BAD, f"{name}: {exc.title}" if name else exc.title, exc.hint)


def _guarded(area: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """One broken thing must not hide the others."""
    try:
        yield from look()
    except SpamdError as exc:
        yield _bad(area, exc)
    except OSError as exc:
        yield Finding(area, Level.BAD, f"{area}: {exc.strerror or exc}.")


def _python() -> Finding:
    return _ok("python", f"Python {platform.python_version()} on {platform.system()}.")


def _folders(here: Paths) -> Iterator[Finding]:
    wrong = False
    for folder in dict.fromkeys((here.config, here.data, here.state, here.log)):
        if not folder.exists():
            continue  # made at the first start
        if not os.access(folder, os.W_OK):
            wrong = True
            yield Finding(
                "folders", Level.BAD, f"{folder} cannot be written.", "Look at its owner and rights."
            )
        elif os.name == "posix" and folder.stat().st_mode & 0o077:
            wrong = True
            yield Finding("folders", Level.WARN, f"Others can look into {folder}.", f"chmod 700 {folder}")
    place = next((one for one in (here.state, *here.state.parents) if one.exists()), None)
    if place is not None:
        free = shutil.disk_usage(place).free
        if free < FREE_BYTES:
            wrong = True
            yield Finding(
                "folders",
                Level.BAD,
                f"Only {free // 2**20} MB are free where the database is.",
                "Make room: below 200 MB no night is trained.",
            )
    if not wrong:
        yield _ok("folders", f"Folders and free space are in order ({here.state}).")


def _daemon(here: Paths) -> Iterator[Finding]:
    from spamd.client import Client

    try:
        with Client.connect(here) as client:
            status = client.status()
    except NotRunning as exc:
        yield Finding("daemon", Level.WARN, exc.title, exc.hint)
        return
    yield _ok("daemon", f"The filter runs ({status.version}). {status.headline}")
    for event in status.needs_person:
        yield Finding(
            "daemon", Level.BAD, event.text, "See the page: `spamdctl open`.", account=event.account
        )


def _database(here: Paths) -> Iterator[Finding]:
    if not here.database.exists():
        yield _ok("database", "No database yet; it is made at the first start.")
        return
    from spamd.store.database import check

    check(here.database)
    yield _ok("database", f"The database is whole ({here.database.stat().st_size / 2**20:.1f} MB).")


def _model(here: Paths) -> Iterator[Finding]:
    from spamd.model.bundle import Bundles

    bundles = Bundles(here.personal_models, places.shipped_model())
    current = bundles.current()
    yield _ok("model", f"The model {current.card.id} is whole and fits this version.")


def _training() -> Finding:
    from spamd.trainer import how_to_install

    if importlib.util.find_spec("tensorflow") is not None:
        return _ok("training", "TensorFlow is there: models can be trained at night.")
    return Finding(
        "training",
        Level.WARN,
        "TensorFlow is not installed: what you teach counts at once, but no model is trained at night.",
        how_to_install(),
    )


def _service(here: Paths, config: settings.Settings | None) -> Iterator[Finding]:
    from pathlib import Path

    from spamd import service

    mail = [Path(one.path) for one in config.accounts if one.path] if config else []
    status = service.status(here, mail=mail)
    if not status.installed:
        yield Finding(
            "service",
            Level.WARN,
            "The filter does not start with your session.",
            "`spamdctl service install`",
        )
        return
    yield _ok("service", f"The filter starts with your session ({status.kind}).")
    for note in status.notes:
        yield Finding("service", Level.WARN, note)


def _tray() -> Iterator[Finding]:
    if importlib.util.find_spec("pystray") is None:
        from spamd.tray.surroundings import INSTALL

        yield Finding("tray", Level.WARN, "The tray icon is not installed.", INSTALL)
    else:
        yield _ok("tray", "The tray icon is installed.")


def _secrets(here: Paths, config: settings.Settings) -> Iterator[Finding]:
    from spamd.credentials import Secrets

    try:
        yield _ok("secrets", f"Passwords: {Secrets.choose(config, here).describe()}")
    except CredentialError as exc:
        if any(one.kind is SourceKind.IMAP and not one.password_command for one in config.accounts):
            raise
        yield Finding("secrets", Level.WARN, exc.title, exc.hint)  # nothing is to be kept there yet


def _account(here: Paths, config: settings.Settings, account: Account) -> Iterator[Finding]:
    from spamd import opening

    name = account.name
    try:
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(opening.checking(account, here, config))
            inbox = session.status(FolderName("INBOX"))
            junk = session.junk_folder()
            abilities = session.abilities
    except SpamdError as exc:
        yield Finding("account", Level.BAD, f"{name}: {exc.title}", exc.hint, account=name)
        return
    if account.kind is SourceKind.IMAP:
        how = "signed in with OAuth" if account.auth is AuthMethod.OAUTH else "signed in"
        how += ", without TLS" if account.tls is TlsMode.NONE else ", TLS verified"
    else:
        how = f"{account.kind.value} can be read"
    yield Finding("account", Level.OK, f"{name}: {how}, {inbox.messages} mails in INBOX.", account=name)
    if junk is None:
        yield Finding(
            "account",
            Level.WARN,
            f"{name}: no Junk folder was found.",
            f"Make one in your mail program, or name yours: `spamdctl account set {name} junk=NAME`",
            account=name,
        )
    if account.kind is SourceKind.IMAP and not (abilities.move or abilities.uidplus):
        yield Finding(
            "account",
            Level.WARN,
            f"{name}: the server has neither MOVE nor UIDPLUS; while other mail in INBOX is marked as deleted, moved mail stays "
            "there, marked.",
            "Your mail program hides or expunges it.",
            account=name,
        )
    if account.kind is SourceKind.IMAP and not abilities.keywords:
        yield Finding(
            "account",
            Level.OK,
            f"{name}: the server keeps no keywords; let only one computer filter this account.",
            "A second one could not tell the first one's moves from your drags.",
            account=name,
        )
    if not abilities.idle and account.kind is SourceKind.IMAP:
        yield Finding(
            "account", Level.WARN, f"{name}: the server cannot push; it is asked every minute.", account=name
        )
