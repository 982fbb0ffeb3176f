"""Models on disk: the shipped one and the person's own, each a folder with a .tflite file and its card.

    shipped/            base.tflite  card.json  reference.npz
    personal/current    {"current": "personal-…" or null, "before": [ids in order of use]}
    personal/<id>/      model.tflite  card.json  weights.npz

A model is taken by writing its whole folder under another name, fsync, rename, and only then replacing the pointer
file: at any moment of a crash either the old or the new model is the current one, never half of one. Whatever is
damaged, foreign or made for other features is refused, and the one used before it serves; in the end the shipped one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spamd.domain import ModelCard, ModelId
from spamd.errors import ModelError, SchemaMismatch
from spamd.message.vector import READABLE, SCHEMA

MODEL, SHIPPED_MODEL, CARD, WEIGHTS, POINTER = (
    "model.tflite",
    "base.tflite",
    "card.json",
    "weights.npz",
    "current",
)
MAX_MODEL_BYTES = 8 * 2**20
MAX_CARD_BYTES = 256 * 2**10
Names = list[str]  # the class below has a method named list
_HINT = "Go back to an earlier model, or reset it."


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model: its card, its .tflite file and the folder both lie in."""

    card: ModelCard
    path: Path
    folder: Path


def digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(folder: Path, card: ModelCard) -> None:
    """card.json, written whole and flushed to the disk."""
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    _write_whole(folder / CARD, text.encode())


def read_card(folder: Path) -> ModelCard:
    """ModelError when it is missing or is no card."""
    path = folder / CARD
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(f"The model card in {folder.name} is too long.", _HINT)
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"The model {folder.name} has no readable card.", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The card of the model {folder.name} is damaged.", _HINT) from error
    try:
        return _card(data)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ModelError(f"The card of the model {folder.name} is not a model card.", _HINT) from error


def _card(data: Any) -> ModelCard:
    if not isinstance(data, Mapping):
        raise TypeError("no object")
    known = {field.name for field in fields(ModelCard)}
    values = {name: value for name, value in data.items() if name in known}
    for name in ("id", "schema", "sha256", "architecture", "taught"):
        if not isinstance(values.get(name, ""), str):
            raise TypeError(name)
    if not _safe_name(values["id"]):
        raise ValueError("id")
    for name in ("created_at", "alpha", "junk_threshold", "known_until"):
        if name in values:
            values[name] = _number(values[name])
    a, b = values["calibration"]
    values["calibration"] = (_number(a), _number(b))
    if values.get("sureness") is not None:
        a, b = values["sureness"]
        values["sureness"] = (_number(a), _number(b))
    for name in ("reasons", "doubted", "overruled"):
        values[name] = tuple(str(one) for one in values.get(name, ()))
    values["labels"] = {str(key): int(value) for key, value in dict(values.get("labels", {})).items()}
    values["figures"] = {str(key): _number(value) for key, value in dict(values.get("figures", {})).items()}
    if "files" in values:
        values["files"] = {str(key): str(value) for key, value in dict(values["files"]).items()}
    return ModelCard(**values)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _safe_name(name: str) -> bool:
    return (
        0 < len(name) <= 80
        and name[0].isalnum()
        and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    )


def verify(folder: Path, schema: str = SCHEMA) -> Bundle:
    """The model in a folder, if it is whole and made for these features.

    ModelError: missing, damaged, unreadable or foreign. SchemaMismatch: made for other features.
    """
    card = read_card(folder)
    try:
        return _verified(folder, card, schema)
    except OSError as error:  # rights, or a disk that fails: another model serves
        raise ModelError(f"The model {card.id} cannot be read: {error.strerror}.", _HINT) from error


def _verified(folder: Path, card: ModelCard, schema: str) -> Bundle:
    path = next((folder / name for name in (MODEL, SHIPPED_MODEL) if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"The model {card.id} has no model file.", _HINT)
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise ModelError(f"The model {card.id} is too big to be one of ours.", _HINT)
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ModelError(f"The file of the model {card.id} is not a TFLite model.", _HINT)
    if digest(path) != card.sha256:
        raise ModelError(
            f"The file of the model {card.id} is damaged: its digest is not the one in its card.", _HINT
        )
    for name, expected in card.files.items():
        other = folder / name
        if Path(name).name != name or not other.is_file() or digest(other) != expected:
            raise ModelError(
                f"The model {card.id} is damaged: {Path(name).name} is not the file its card names.", _HINT
            )
    if card.schema != schema and not (schema == SCHEMA and card.schema in READABLE):
        raise SchemaMismatch(
            f"The model {card.id} was made for other features than this version computes.",
            "Labelled mail is read again, and a night makes a new one; until then the shipped model serves.",
        )
    return Bundle(card, path, folder)


class Bundles:
    """The models of this home. Safe to use from several threads and, for readers, several processes."""

    def __init__(self, personal_dir: Path, shipped_dir: Path, *, schema: str = SCHEMA) -> None:
        self._personal = personal_dir
        self._shipped = shipped_dir
        self._schema = schema
        self._lock = threading.RLock()
        self.refused: dict[str, str] = {}  # model -> why it does not serve, of the last look

    # reading

    def current(self) -> Bundle:
        """The model that serves. Never fails for a bad personal model; ModelError if the shipped one is bad too."""
        with self._lock:
            self.refused = {}
            current, before = self._pointer()
            for name in [current, *before[::-1]] if current else []:
                if name != current and not (self._personal / name).is_dir():
                    continue  # pruned long ago
                try:
                    return verify(self._personal / name, self._schema)
                except ModelError as error:
                    self.refused[name] = error.title
            return self.shipped()

    def shipped(self) -> Bundle:
        """ModelError if the installation is damaged."""
        try:
            return verify(self._shipped, self._schema)
        except ModelError as error:
            raise type(error)(
                error.title, "Install spamd again: the model it came with is damaged."
            ) from error

    def get(self, model: ModelId) -> Bundle:
        """One of list(), verified. ModelError if it is not there or not whole."""
        shipped = self.shipped()
        if model == shipped.card.id:
            return shipped
        if not _safe_name(model) or not (self._personal / model).is_dir():
            raise ModelError(f"There is no model {model}.", "See the list of models.")
        return verify(self._personal / model, self._schema)

    def list(self) -> list[ModelCard]:
        """Cards of all models that are kept, newest first, the shipped one last. Unreadable ones are left out."""
        cards = []
        for folder in self._folders():
            with contextlib.suppress(ModelError):
                cards.append(read_card(folder))
        cards.sort(key=lambda card: card.created_at, reverse=True)
        with contextlib.suppress(ModelError):
            cards.append(read_card(self._shipped))
        return cards

    def newest(self) -> ModelCard | None:
        """Of the person's own models that are kept the one taken last, whether it serves or not; by its date where the pointer does
        not say (of an older version): a computer's clock may have been set back since.
        """
        own = [card for card in self.list() if (self._personal / card.id).is_dir()]
        name = self._taken_last()
        return next((card for card in own if card.id == name), own[0] if own else None)

    def unusable(self) -> dict[ModelId, str]:
        """Of list(), those that cannot serve (damaged, or made for other features), and why."""
        why = {}
        for card in self.list():
            folder = self._personal / card.id
            try:
                verify(folder if folder.is_dir() else self._shipped, self._schema)
            except ModelError as error:
                why[card.id] = error.title
        return why

    # changing

    def install(self, candidate_dir: Path, *, keep: int = 3) -> Bundle:
        """Take a candidate: verified, copied, flushed, then pointed to. At least `keep` (3 or more) stay on disk.

        ModelError: the candidate is not whole, or the disk refuses. Nothing has changed then.
        """
        with self._lock:
            candidate = verify(candidate_dir, self._schema)
            name = str(candidate.card.id)
            if name == str(self.shipped().card.id):
                raise ModelError("The candidate has the name of the shipped model.", "")
            incoming, final = self._personal / f".incoming-{os.getpid()}", self._personal / name
            current, before = self._pointer()
            try:
                self._personal.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(incoming, ignore_errors=True)
                incoming.mkdir(mode=0o700)
                for file in (
                    candidate.path,
                    candidate_dir / CARD,
                    *(candidate_dir / n for n in candidate.card.files),
                ):
                    _write_whole(incoming / file.name, file.read_bytes())
                verify(incoming, self._schema)
                if final.exists():
                    shutil.rmtree(final)
                incoming.replace(final)
                _flush_folder(self._personal)
            except OSError as error:
                shutil.rmtree(incoming, ignore_errors=True)
                raise ModelError(
                    f"The new model could not be saved: {error.strerror}.",
                    "Look at the disk, and at the rights of the folder.",
                ) from error
            try:
                self._point(
                    name,
                    [*(n for n in before if n != name), *([current] if current and current != name else [])],
                    taken_last=name,
                )
            except ModelError:
                if name not in (current, *before):
                    shutil.rmtree(
                        final, ignore_errors=True
                    )  # a model that never served is none to go back to
                raise
            self._prune(max(3, keep))
            return verify(final, self._schema)

    def roll_back(self, to: ModelId | None = None) -> Bundle:
        """Serve an earlier model: a named one, or the one used before this (the shipped one when there is none)."""
        with self._lock:
            current, before = self._pointer()
            if to is not None:
                bundle = self.get(to)
                if bundle.folder == self._shipped:
                    return self.reset()
                if current and current != to:
                    before = [*before, current]
                self._point(str(to), [n for n in before if n != to])
                return bundle
            while before:
                name = before.pop()
                try:
                    bundle = verify(self._personal / name, self._schema)
                except ModelError:
                    continue
                self._point(name, before)
                return bundle
            return self.reset()

    def reset(self) -> Bundle:
        """Serve the shipped model. The person's models stay on disk and can be gone back to by name."""
        with self._lock:
            current, before = self._pointer()
            self._point(None, [*before, *([current] if current else [])])
            return self.shipped()

    def wipe(self) -> None:
        """Forget every personal model for good, also those that a restored backup put aside."""
        with self._lock:
            try:
                (self._personal / POINTER).unlink(
                    missing_ok=True
                )  # no pointer is the shipped model, and needs no room
                aside = self._personal.parent.glob(f"{self._personal.name}.before-*")
                for path in [*self._folders(), *self._left_behind(), *aside]:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError as error:
                raise ModelError(
                    f"A model could not be removed: {error.strerror}.", f"Remove {self._personal} by hand."
                ) from error

    # inside

    def _left_behind(self) -> Iterable[Path]:
        """By a process that was killed while it wrote."""
        return [*self._personal.glob(".incoming-*"), *self._personal.glob(f".{POINTER}.*")]

    def _folders(self) -> Iterable[Path]:
        try:
            return sorted(p for p in self._personal.iterdir() if p.is_dir() and _safe_name(p.name))
        except OSError:
            return ()

    def _pointer(self) -> tuple[str | None, Names]:
        try:
            data = json.loads((self._personal / POINTER).read_text("utf-8"))
            current = data["current"]
            before = [name for name in data["before"] if isinstance(name, str) and _safe_name(name)]
            return (current if isinstance(current, str) and _safe_name(current) else None), before
        except FileNotFoundError:
            return None, []
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # A damaged pointer: the newest whole model is the best guess of what served.
            cards = [card for card in self.list() if (self._personal / card.id).is_dir()]
            names = [str(card.id) for card in reversed(cards)]
            return (names[-1], names[:-1]) if names else (None, [])

    def _taken_last(self) -> str | None:
        try:
            name = json.loads((self._personal / POINTER).read_text("utf-8"))["taken_last"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return name if isinstance(name, str) else None

    def _point(self, current: str | None, before: Names, *, taken_last: str | None = None) -> None:
        pointer = {
            "current": current,
            "before": before[-20:],
            "taken_last": taken_last or self._taken_last(),
        }
        text = json.dumps(pointer) + "\n"
        try:
            self._personal.mkdir(parents=True, exist_ok=True)
            _write_whole(self._personal / POINTER, text.encode())
        except OSError as error:
            raise ModelError(
                f"The choice of model could not be saved: {error.strerror}.",
                "Look at the disk, and at the rights of the folder.",
            ) from error

    def _prune(self, keep: int) -> None:
        """Drop the oldest models beyond `keep`; the current one and the ones used right before it stay."""
        current, before = self._pointer()
        wanted = [name for name in [current, *before[::-1]] if name][:keep]
        rest = [str(card.id) for card in self.list() if (self._personal / card.id).is_dir()]
        for name in [name for name in rest if name not in wanted][max(0, keep - len(wanted)) :]:
            shutil.rmtree(self._personal / name, ignore_errors=True)
        for stale in self._left_behind():
            shutil.rmtree(stale, ignore_errors=True) if stale.is_dir() else stale.unlink(missing_ok=True)


def _write_whole(path: Path, data: bytes) -> None:
    """All or nothing: written beside it, flushed, renamed over it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and the rename is journaled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
