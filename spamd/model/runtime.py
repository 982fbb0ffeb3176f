"""Runs one .tflite model, on whichever interpreter is installed.

The file takes three inputs and gives one row per mail, (base logit, total logit):
`base_ids` and `personal_ids` are int32 bucket numbers filled up with the pad number (the bucket count itself, whose
weight is 0), `dense` is float32 and may hold NaN for what a mail does not tell.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spamd.errors import ModelError, SchemaMismatch
from spamd.message.vector import BASE_BUCKETS, BUCKETS

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

INTERPRETERS = (
    "ai_edge_litert.interpreter",
    "tflite_runtime.interpreter",
    "tensorflow.lite.python.interpreter",
)
"""Tried in this order. tflite-runtime 2.14 only works with NumPy 1."""

ROOMS = ((256, 512), (256, 1024), (256, 1536), (384, 2048), (768, 3072), (4096, 4096))
"""Sizes (base ids, personal ids) an interpreter is prepared for: time grows with the length, and most mail is short."""


class MailVector(Protocol):
    """What the model reads of one mail: message.vector.Features and StoredVector both are one."""

    @property
    def base_ids(self) -> Ints: ...
    @property
    def dense(self) -> Floats: ...
    @property
    def personal_ids(self) -> Ints: ...


def interpreter_class(names: Sequence[str] = INTERPRETERS) -> Any:
    """The first usable Interpreter class. ModelError where none is installed."""
    for name in names:
        if name.startswith("tflite_runtime") and int(np.__version__.partition(".")[0]) >= 2:
            continue  # imports, then fails with SystemError in Interpreter()
        try:
            return importlib.import_module(name).Interpreter
        except (ImportError, AttributeError):
            continue
    raise ModelError("No program to run the model is installed.", "Install the package ai-edge-litert.")


NEWS = b"INFO: Created TensorFlow Lite XNNPACK delegate"
"""What the interpreter writes on every start, past every log setting; nobody needs it."""
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _without_news() -> Iterator[None]:
    """Keeps NEWS off the terminal. All else that is written to stderr meanwhile, by any thread, comes out after it."""
    with _one_at_a_time, contextlib.ExitStack() as stack:
        try:
            aside = stack.enter_context(tempfile.TemporaryFile())
            terminal = os.dup(2)
        except OSError:  # no stderr, or no room for a file: then with the news
            yield
            return
        try:
            os.dup2(aside.fileno(), 2)
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            aside.seek(0)
            rest = b"".join(line for line in aside if not line.startswith(NEWS))
            if rest:
                with contextlib.suppress(OSError):
                    os.write(2, rest)


class _Room:
    """One interpreter of a fixed input size, with its buffers."""

    def __init__(self, kind: Any, content: bytes, base: int, personal: int) -> None:
        try:
            self._interpreter = kind(model_content=content, num_threads=1)
            inputs = {_plain(d["name"]): d for d in self._interpreter.get_input_details()}
            dense = int(inputs["dense"]["shape_signature"][-1])
            self._index = {name: int(detail["index"]) for name, detail in inputs.items()}
            shapes = {"base_ids": base, "dense": dense, "personal_ids": personal}
            if set(self._index) != set(shapes):
                raise KeyError(*sorted(self._index))
            for name, width in shapes.items():
                self._interpreter.resize_tensor_input(self._index[name], (1, width))
            with _without_news():
                self._interpreter.allocate_tensors()
            self._output = int(self._interpreter.get_output_details()[0]["index"])
        except (ValueError, KeyError, RuntimeError, TypeError, IndexError) as error:
            raise ModelError(
                f"The model cannot be run: {error}", "Go back to an earlier model, or reset it."
            ) from error
        self.dense = dense
        self.base, self.personal = base, personal
        self._base_ids = np.zeros((1, base), np.int32)
        self._personal_ids = np.zeros((1, personal), np.int32)
        self._dense = np.zeros((1, dense), np.float32)

    def score(self, vector: MailVector, base_pad: int, personal_pad: int) -> Floats:
        _fill(self._base_ids[0], vector.base_ids, base_pad)
        _fill(self._personal_ids[0], vector.personal_ids, personal_pad)
        self._dense[0] = vector.dense
        interpreter = self._interpreter
        interpreter.set_tensor(self._index["base_ids"], self._base_ids)
        interpreter.set_tensor(self._index["personal_ids"], self._personal_ids)
        interpreter.set_tensor(self._index["dense"], self._dense)
        interpreter.invoke()
        answer: Floats = interpreter.get_tensor(self._output)[0]
        return answer


def _plain(name: str) -> str:
    """ "serving_default_dense:0" -> "dense"."""
    return name.removeprefix("serving_default_").partition(":")[0]


def _fill(row: Ints, ids: Ints, pad: int) -> None:
    count = min(len(ids), len(row))
    row[:count] = ids[:count]
    row[count:] = pad


class Runtime:
    """One loaded model. Safe to use from several threads; one mail is scored at a time."""

    def __init__(
        self, path: Path, *, base_buckets: int = BASE_BUCKETS, buckets: int = BUCKETS, interpreter: Any = None
    ) -> None:
        """Loads the file at once, so that it may be replaced on disk later. ModelError if it cannot be run."""
        try:
            self._content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"The model file cannot be read: {error.strerror}.", "") from error
        if self._content[4:8] != b"TFL3":
            raise ModelError(
                "The model file is not a TFLite file.", "Go back to an earlier model, or reset it."
            )
        self._kind = interpreter or interpreter_class()
        self._pads = (base_buckets, buckets)
        self._lock = threading.Lock()
        self._rooms: dict[int, _Room] = {0: self._open(0)}

    def _open(self, number: int) -> _Room:
        return _Room(self._kind, self._content, *ROOMS[number])

    def score_logits(self, vectors: Sequence[MailVector]) -> tuple[Floats, Floats]:
        """(base logits, total logits), one of each per vector. SchemaMismatch for vectors of other features."""
        answer = np.zeros((len(vectors), 2), np.float32)
        with self._lock:
            for row, vector in enumerate(vectors):
                number = next(
                    (
                        i
                        for i, (base, personal) in enumerate(ROOMS)
                        if len(vector.base_ids) <= base and len(vector.personal_ids) <= personal
                    ),
                    len(ROOMS) - 1,
                )
                room = self._rooms.get(number)
                if room is None:
                    room = self._rooms[number] = self._open(number)
                if len(vector.dense) != room.dense:
                    raise SchemaMismatch(
                        "The model was made for other features than this mail was read with."
                    )
                answer[row] = room.score(vector, *self._pads)
        return answer[:, 0], answer[:, 1]
