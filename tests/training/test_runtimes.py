"""One file, the same answer from every interpreter it may meet, and from Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spamd import paths
from spamd.message.vector import BASE_BUCKETS, BUCKETS, vectorise
from spamd.model.base import load
from spamd.model.runtime import Runtime
from tests.unit.model.made import MODERN_HAM

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]

BUILD = """
import sys, numpy as np
from pathlib import Path
from spamd import paths
from spamd.model.base import load
from spamd.message.vector import BUCKETS
from spamd.training.architectures import ARCHITECTURES, Shape
from spamd.training.export import Combined, to_tflite
base = load(paths.shipped_model()).base
weights = np.random.default_rng(3).normal(0, 0.3, BUCKETS).astype(np.float32)
weights[7] = 9.0
dense = np.random.default_rng(4).normal(0, 0.1, len(base.mean)).astype(np.float32)
Path(sys.argv[1]).write_bytes(to_tflite(Combined(base, weights, 0.7, (dense, -0.3))))
"""
RUN = """
import sys, numpy as np
kind, model, data, out = sys.argv[1:]
if kind == "tf":
    from tensorflow.lite.python.interpreter import Interpreter
else:
    from tflite_runtime.interpreter import Interpreter
rows = np.load(data)
interpreter = Interpreter(model_path=model)
inputs = {d["name"].removeprefix("serving_default_").partition(":")[0]: d["index"] for d in interpreter.get_input_details()}
for name, index in inputs.items():
    interpreter.resize_tensor_input(index, (1, rows[name].shape[1]))
interpreter.allocate_tensors()
answers = []
for row in range(len(rows["dense"])):
    for name, index in inputs.items():
        interpreter.set_tensor(index, rows[name][row : row + 1])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
np.save(out, np.array(answers))
"""
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def padded(parts: list[np.ndarray], pad: int) -> np.ndarray:
    rows = np.full((len(parts), max(map(len, parts))), pad, np.int32)
    for row, part in zip(rows, parts, strict=True):
        row[: len(part)] = part
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    subprocess.run(
        [sys.executable, "-c", BUILD, path], check=True, timeout=240, env=QUIET, capture_output=True
    )
    return path


@pytest.fixture(scope="module")
def expected(model: Path) -> tuple[Path, np.ndarray]:
    vectors = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    data = model.parent / "rows.npz"
    np.savez(
        data,
        base_ids=padded([v.base_ids for v in vectors], BASE_BUCKETS),
        personal_ids=padded([v.personal_ids for v in vectors], BUCKETS),
        dense=np.stack([v.dense for v in vectors]),
    )
    return data, np.stack(Runtime(model).score_logits(vectors), axis=1)


def test_the_file_says_what_its_numbers_say(model: Path, expected: tuple[Path, np.ndarray]) -> None:
    from spamd.message.vector import shares

    base = load(paths.shipped_model()).base
    weights = np.random.default_rng(3).normal(0, 0.3, BUCKETS).astype(np.float32)
    weights[7] = 9.0
    vectors = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    own = np.array([weights[v.personal_ids] @ shares(v.personal_ids) for v in vectors])
    dense = np.random.default_rng(4).normal(0, 0.1, len(base.mean)).astype(np.float32)
    own += base.standardise(np.stack([v.dense for v in vectors])) @ dense - 0.3
    np.testing.assert_allclose(expected[1][:, 0], base.logits(vectors), atol=0.05)
    np.testing.assert_allclose(expected[1][:, 1], 0.7 * base.logits(vectors) + own, atol=0.05)
    assert model.stat().st_size <= 1_500_000


def test_tensorflows_own_interpreter_agrees(model: Path, expected: tuple[Path, np.ndarray]) -> None:
    compare([sys.executable], "tf", model, expected)


def test_tflite_runtime_agrees(model: Path, expected: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """It needs NumPy 1 and Python 3.11 at most, so it gets an environment of its own."""
    if sys.version_info >= (3, 12) or sys.platform != "linux":
        pytest.skip("there is no tflite-runtime for this Python or system")
    python = tmp_path / "environment" / "bin" / "python"
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", tmp_path / "environment"],
            check=True,
            timeout=120,
            capture_output=True,
        )
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "tflite-runtime==2.14.0", "numpy<2"],
            check=True,
            timeout=150,
            capture_output=True,
        )
    except (subprocess.SubprocessError, OSError):
        pytest.skip("tflite-runtime cannot be installed here (no package index?)")
    compare([str(python)], "tflite", model, expected)


def compare(python: list[str], kind: str, model: Path, expected: tuple[Path, np.ndarray]) -> None:
    data, logits = expected
    out = model.parent / f"{kind}.npy"
    done = subprocess.run(
        [*python, "-c", RUN, kind, model, data, out],
        timeout=240,
        env=QUIET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(out), logits, atol=1e-3)
