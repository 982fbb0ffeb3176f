"""One encrypted file with what was learned: labels, lists, settings, personal models. No passwords.

Format: a gzipped tar inside an age file locked with a passphrase, so that the `age` program opens it, too.
Restoring checks everything first, keeps what was there aside, and then replaces it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from spamd import settings
from spamd.domain import Account, AccountName, Identity, Judgement, LabelRecord, ListEntry
from spamd.errors import ConfigError, RequestError
from spamd.paths import Paths, write_private
from spamd.store.database import Store
from spamd.wire import from_json, to_json

VERSION = 1
PLAIN_LIMIT = 500_000_000  # bytes unpacked
MODELS = "models"
WAYS_BACK = 2
"""Restores of which what they put aside is kept."""
_MODEL_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_PARTS = frozenset(
    {"manifest.json", "labels.jsonl", "lists.jsonl", "vectors.jsonl", "judgements.jsonl", "config.toml"}
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was saved or restored, in words and in numbers."""

    text: str
    labels: int
    lists: int
    models: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup, read and checked."""

    created_at: float
    labels: tuple[LabelRecord, ...]
    lists: tuple[ListEntry, ...]
    vectors: tuple[tuple[AccountName, Identity, bytes], ...]
    judgements: tuple[Judgement, ...]
    config: str
    models: tuple[tuple[PurePosixPath, bytes], ...]


# ---- saving


def save(paths: Paths, file: Path, passphrase: str) -> Outcome:
    """Write the backup; the daemon may run meanwhile. The file appears whole and private."""
    import pyrage

    if len(passphrase) < 8:
        raise RequestError("The passphrase is too short.", "Take at least eight characters.")
    if not file.absolute().parent.is_dir():
        raise RequestError(
            f"There is no folder {file.absolute().parent}.", "Make it first, or name another file."
        )
    parts = dict(_collect(paths))
    sealed = pyrage.passphrase.encrypt(_packed(parts), passphrase)
    try:
        write_private(file, sealed)
    except OSError as exc:
        raise RequestError(
            f"{file} cannot be written: {exc.strerror}.", "Look at its folder and at free space."
        ) from exc
    labels, lists = _line_count(parts["labels.jsonl"]), _line_count(parts["lists.jsonl"])
    models = sum(name.startswith(f"{MODELS}/") for name in parts)
    text = (
        f"Saved {labels} labels, {lists} list entries, {models} model files and the settings in {file}"
        f" ({len(sealed) / 2**20:.1f} MB). Passwords are not in it."
    )
    return Outcome(text, labels, lists, models)


def _collect(paths: Paths) -> Iterator[tuple[str, bytes]]:
    yield "manifest.json", json.dumps({"version": VERSION, "created_at": time.time()}).encode()
    config = paths.config_file
    yield "config.toml", config.read_bytes() if config.is_file() else b""
    lines: dict[str, Iterable[str]] = dict.fromkeys(("labels", "lists", "vectors", "judgements"), ())
    if paths.database.is_file():
        with Store(paths.database, read_only=True) as store:
            lines = {
                "labels": [_line(to_json(replace(one, id=0))) for one in store.ledger()],
                "lists": [_line(to_json(entry)) for entry in store.list_entries()],
                "vectors": [
                    _line([name, identity, to_json(data)])
                    for name, identity, data in store.labelled_vectors()
                ],
                "judgements": [_line(to_json(one)) for one in store.labelled_judgements()],
            }
    for name, content in lines.items():
        yield f"{name}.jsonl", "".join(content).encode("utf-8")
    root = paths.personal_models
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            relative = PurePosixPath(path.relative_to(root).as_posix())
            if all(_MODEL_FILE.fullmatch(part) for part in relative.parts):  # not: half-written ".x"
                yield f"{MODELS}/{relative}", path.read_bytes()


def _line(data: object) -> str:
    return json.dumps(data, ensure_ascii=False) + "\n"


def _line_count(content: bytes) -> int:
    return content.count(b"\n")


def pack(paths: Paths) -> bytes:
    """What `save` encrypts."""
    return _packed(dict(_collect(paths)))


def _packed(parts: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


# ---- restoring


def foreign(contents: Contents, paths: Paths) -> tuple[str, ...]:
    """What the backup's settings would have run, read or told whom that the settings here do not: a sentence each, in words.

    Who made the backup could write there what they like. Empty for one's own, brought back where it was made.
    """
    there, here = settings.parse(contents.config, "the backup's settings"), _settings_here(paths)
    known = here or settings.Settings()
    found = []
    if there.oauth_file not in ("", known.oauth_file):
        found.append(f"Sign-in with the browser goes to the providers in the file {there.oauth_file}")
    for account in there.accounts:
        before = known.account(account.name)
        command = account.password_command
        if command and (
            before is None or before.password_command != command or known.secrets != there.secrets
        ):
            found.append(f"For the password of {account.name} this command is run: {command}")
        # What is stored here for an account of that name goes there. (Without settings nobody knows what is stored.)
        if account.host and (here is None if before is None else _server(account) != _server(before)):
            port = f":{account.port}" if account.port else ""
            by = f", if {account.ca_file} vouches for it" if account.ca_file else ""
            found.append(f"The password of {account.name} is sent to {account.host}{port}{by}")
    return tuple(found)


def _server(account: Account) -> tuple[str, int, str]:
    return account.host, account.port, account.ca_file


def _settings_here(paths: Paths) -> settings.Settings | None:
    """None: they are broken, or gone where a filter has run. Perhaps that is why one restores; the passwords are there still."""
    if not paths.config_file.exists() and paths.database.exists():
        return None
    try:
        return settings.load(paths.config_file)
    except ConfigError:
        return None


def put_back(paths: Paths, contents: Contents) -> Outcome:
    """Replace labels, lists, settings and personal models by those of the backup (`read`). The daemon must not run.

    What was here is kept beside it, under a name with "before-restore" in it, for `WAYS_BACK` times. The caller has shown
    the person what is `foreign`.
    """
    paths.make()
    stamp = time.strftime("before-restore-%Y%m%d-%H%M%S")
    config, models = paths.config_file, paths.personal_models
    # Beside what they replace: a rename does not leave its file system.
    fresh_config, fresh_models = (
        config.with_name(f".{config.name}.fresh"),
        models.with_name(f".{models.name}.fresh"),
    )
    try:
        shutil.rmtree(fresh_models, ignore_errors=True)
        fresh_models.mkdir()
        for relative, content in contents.models:
            write_private(fresh_models / relative, content)
        write_private(fresh_config, contents.config.encode("utf-8"))
        with Store(paths.database) as store:
            store.backup_to(paths.database.with_name(f"{paths.database.name}.{stamp}"))
            with contextlib.ExitStack() as undo:
                with store.transaction():
                    _replace_learned(store, contents)
                    # Still inside: where the files cannot be put in place, the database goes back, too.
                    _put_in_place(fresh_config, config, stamp, undo)
                    _put_in_place(fresh_models, models, stamp, undo)
                undo.pop_all()  # committed: nothing is taken back any more
        for place in (config, models, paths.database):
            _drop_older(place, stamp)
    except OSError as exc:
        hint = "Nothing was changed."
        raise RequestError(f"The backup could not be put in place: {exc.strerror}.", hint) from exc
    finally:
        fresh_config.unlink(missing_ok=True)
        shutil.rmtree(fresh_models, ignore_errors=True)
    text = (
        f"Restored {len(contents.labels)} labels, {len(contents.lists)} list entries, {len(contents.models)}"
        f" model files and the settings. What was here is kept beside them as *.{stamp}."
        " On another computer, passwords must be entered again."
    )
    return Outcome(text, len(contents.labels), len(contents.lists), len(contents.models))


def _replace_learned(store: Store, contents: Contents) -> None:
    store.forget_learned()
    for account, identity, vector in contents.vectors:
        store.put_vector(account, identity, vector)
    for judgement in contents.judgements:
        if store.judgement_of(judgement.account, judgement.identity) is None:
            store.record_judgement(judgement, vector=None)
    for record in contents.labels:
        store.add_label(record)
    for entry in contents.lists:
        store.add_list_entry(entry)


def _put_in_place(fresh: Path, place: Path, stamp: str, undo: contextlib.ExitStack) -> None:
    kept = place.with_name(f"{place.name}.{stamp}")
    if place.exists():
        place.rename(kept)
        undo.callback(kept.rename, place)
    fresh.rename(place)
    undo.callback(place.rename, fresh)


def _drop_older(place: Path, stamp: str) -> None:
    """What earlier restores put aside: who took a wrong backup first finds the way back from that, too, but the labels and addresses
    of every time are not kept.

    stamp: of the last restore, though the clock may have been ahead before.
    """
    aside = place.parent.glob(f"{place.name}.before-restore-*")
    for old in sorted(aside, key=lambda one: (one.name.endswith(stamp), one.name))[:-WAYS_BACK]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                old.unlink()


def read(file: Path, passphrase: str) -> Contents:
    """What is in the backup. RequestError if it is none, was damaged, or the passphrase is wrong."""
    return contents_of(_opened(file, passphrase))


def contents_of(packed: bytes) -> Contents:
    """The same of what was inside the encryption."""
    parts = _unpacked(packed)
    manifest = _manifest(parts.get("manifest.json", b""))
    config = _text(parts.get("config.toml", b""))
    settings.parse(config, "the backup's settings")
    return Contents(
        created_at=float(manifest.get("created_at", 0)),
        labels=tuple(_values(LabelRecord, parts, "labels.jsonl")),
        lists=tuple(_values(ListEntry, parts, "lists.jsonl")),
        vectors=tuple(_values(tuple[AccountName, Identity, bytes], parts, "vectors.jsonl")),
        judgements=tuple(_values(Judgement, parts, "judgements.jsonl")),
        config=config,
        models=tuple(
            (PurePosixPath(name).relative_to(MODELS), content)
            for name, content in parts.items()
            if name.startswith(f"{MODELS}/")
        ),
    )


def _opened(file: Path, passphrase: str) -> bytes:
    import pyrage

    try:
        sealed = file.read_bytes()
    except OSError as exc:
        raise RequestError(
            f"{file} cannot be read: {exc.strerror}.", "Give the file that `spamdctl backup` wrote."
        ) from exc
    try:
        packed: bytes = pyrage.passphrase.decrypt(sealed, passphrase)
    except pyrage.DecryptError as exc:
        raise RequestError(
            f"{file} could not be opened.", "The passphrase is wrong, or the file is damaged or no backup."
        ) from exc
    return packed


def _unpacked(packed: bytes) -> dict[str, bytes]:
    """Regular files with the names we give, and no more than fits; anything else is refused."""
    parts: dict[str, bytes] = {}
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            plain = stream.read(PLAIN_LIMIT + 1)
        if len(plain) > PLAIN_LIMIT:
            raise RequestError("The backup is larger than a backup can be.")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or not _known_name(member.name) or member.name in parts:
                    raise RequestError(f"The backup holds something foreign: {member.name[:80]!r}.")
                parts[member.name] = source.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as exc:
        raise RequestError(
            "What is in the file is no backup of this program.", "Give the file that `spamdctl backup` wrote."
        ) from exc
    return parts


def _known_name(name: str) -> bool:
    if name in _PARTS:
        return True
    first, *rest = name.split("/")
    return first == MODELS and 1 <= len(rest) <= 4 and all(_MODEL_FILE.fullmatch(part) for part in rest)


def _manifest(content: bytes) -> dict[str, float]:
    manifest = from_json(dict[str, float], _json(_text(content)))
    if manifest.get("version") != VERSION:
        raise RequestError(
            "The backup was written by another version of this program.",
            "Install the newest version, then restore.",
        )
    return manifest


def _values(cls: type[T], parts: Mapping[str, bytes], name: str) -> Iterator[T]:
    for number, line in enumerate(_text(parts.get(name, b"")).split("\n"), 1):
        if not line:
            continue
        try:
            yield from_json(cls, _json(line), ignore_unknown=True)
        except RequestError as exc:
            raise RequestError(f"The backup is damaged: {name}, line {number}: {exc.title}") from exc


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError("The backup is damaged: something in it is not JSON.") from None


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError("The backup is damaged: something in it is not text.") from None
