"""scripts/bench.py: every command starts, measures, and says what it promises. A hundredth of the work; no figure counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.dovecot import BINARY

ROOT = Path(__file__).resolve().parents[1]
needs_dovecot = pytest.mark.skipif(not BINARY, reason="Dovecot is not installed")


def bench(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "scripts/bench.py", "--share", "0.01", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def measured(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bench("--json", *arguments))
    return found


def test_the_model():
    found = measured()
    assert set(found) >= {"verdict_cpu_ms", "stage_cpu_ms", "inference_us_p50", "explain_ms", "startup_ms"}
    assert set(found["verdict_cpu_ms"]) == {"8kB", "38kB", "10MB"}
    assert {"parse", "text", "features", "inference"} <= set(found["stage_cpu_ms"])
    assert found["rss_mb"] > 10
    assert found["messages_per_s"] > 0


def test_given_files():
    files = sorted((ROOT / "tests/data/modern_ham").glob("*.eml"))[:3]
    found = measured(*map(str, files))
    assert found["files"] == 3
    assert 0 < found["verdict_cpu_ms"]["median"] <= found["verdict_cpu_ms"]["max"]


@pytest.mark.parametrize("what", ["nowhere.eml", "tests"])
def test_what_is_no_file(what: str):
    run = subprocess.run(
        [sys.executable, "scripts/bench.py", what], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert f"there is no file {what}" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_person_reads_it():
    file = next((ROOT / "tests/data/modern_ham").glob("*.eml"))
    assert "first_sight_cpu_ms\n  median" in bench(str(file))


@pytest.mark.server
@needs_dovecot
def test_the_mailbox():
    found = measured("mailbox")
    assert found["poll"]["mails"] == 1500
    assert 0 < found["poll"]["quiet_bytes"] < 400
    assert found["read"]["mails"] == 100
    assert found["read"]["look_fetch_judge_write_cpu_us"] > found["read"]["judge_cpu_us"] > 0
    assert found["connections"]["ten_accounts_two_each_mb"] < 10


@pytest.mark.server
@needs_dovecot
def test_the_daemon():
    found = measured("daemon", "--minutes", "0.02")
    assert found["idle"]["rss_mb"] > 10
    for part in ("each_for_itself", "one_after_the_other"):
        assert found[part]["moved"] == 4
        assert found[part]["from_delivery"]["max_ms"] > 0
        assert sum(found[part]["woken_by"].values()) == 4
    assert found["each_for_itself"]["commands"].count("UID MOVE") == 1


def test_the_pages():
    found = measured("pages")
    assert found["/review"]["cpu_ms"] > 0
    assert all(page["kilobytes"] > 0 for page in found.values())
