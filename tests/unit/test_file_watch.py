"""Changed files are told, whatever way they change."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from spamd.errors import ConfigError
from spamd.file_watch import Watcher

PATIENCE = 60.0  # seconds; a loaded machine may take long, a working watcher never does


class Heard:
    """Counts the calls; `again` waits for one after the moment it was last asked."""

    def __init__(self):
        self.called = threading.Event()
        self.count = 0

    def __call__(self):
        self.count += 1
        self.called.set()

    def again(self):
        heard = self.called.wait(PATIENCE)
        self.called.clear()
        return heard


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "config").mkdir()
    return tmp_path / "config" / "config.toml"


def settle(watcher):
    """Until nothing is waiting to be told any more."""
    with watcher._changed:
        while watcher._due:
            watcher._changed.wait(0.01)


def test_made_written_replaced_removed(file, heard):
    with Watcher({file: heard}, debounce=0.02):
        file.write_text("one")
        assert heard.again()
        with file.open("a") as stream:
            stream.write("two")
        assert heard.again()
        fresh = file.with_name("fresh")
        fresh.write_text("three")
        fresh.replace(file)
        assert heard.again()
        file.unlink()
        assert heard.again()


def test_the_folder_may_be_missing_and_come_and_go(tmp_path, heard):
    file = tmp_path / "a" / "b" / "config.toml"
    with Watcher({file: heard}, debounce=0.02):
        for _ in range(2):
            file.parent.mkdir(parents=True)
            file.write_text("one")
            assert heard.again()
            file.write_text("two")
            assert heard.again()
            shutil.rmtree(tmp_path / "a")
            assert heard.again()


def test_a_link_to_elsewhere(tmp_path, file, heard):
    real = tmp_path / "dotfiles" / "config.toml"
    real.parent.mkdir()
    real.write_text("one")
    file.symlink_to(real)
    with Watcher({file: heard}, debounce=0.02):
        real.write_text("two")
        assert heard.again()
        fresh = tmp_path / "dotfiles" / "fresh"
        fresh.write_text("three")
        fresh.replace(real)
        assert heard.again()


def test_a_folder_and_what_lies_in_it(tmp_path, heard):
    folder = tmp_path / "teach"
    (folder / "cur").mkdir(parents=True)
    with Watcher([folder], heard, 0.02):
        (folder / "mail.eml").write_text("x")
        assert heard.again()
        (folder / "cur" / "mail").write_text("x")
        assert heard.again()


def test_only_what_is_watched(file, heard, tmp_path):
    other = Heard()
    with Watcher({file: heard, file.with_name("other"): other}, debounce=0.02):
        file.with_name("unwatched").write_text("x")
        file.with_name("other").write_text("x")
        assert other.again()
        assert heard.count == 0


def test_reading_is_no_change(file, heard):
    file.write_text("x")
    marker = file.with_name("marker")
    seen = Heard()
    with Watcher({file: heard, marker: seen}, debounce=0.02):
        for _ in range(5):
            file.read_text()
        marker.write_text("after")
        assert seen.again()
        assert heard.count == 0


def test_many_writes_are_told_once(file, heard):
    with Watcher({file: heard}, debounce=0.5) as watcher:
        begun = time.monotonic()
        for n in range(50):
            file.write_text(str(n))
        assert heard.again()
        settle(watcher)
        took = time.monotonic() - begun
        assert heard.count <= 2 + took / 0.5  # one, unless writing or hearing of it took long


def test_an_error_in_taking_it_up_does_not_end_the_watch(file, heard):
    def refuse():
        heard()
        raise ConfigError("wrong")

    with Watcher({file: refuse}, debounce=0.02):
        for text in ("one", "two"):
            file.write_text(text)
            assert heard.again()


def test_where_the_system_tells_nothing_it_looks_itself(file, heard, monkeypatch):
    def no_inotify(self):
        raise OSError(24, "inotify instance limit reached")

    from watchdog.observers import Observer

    monkeypatch.setattr(Observer, "start", no_inotify)
    with Watcher({file: heard}, debounce=0.02, look_every=0.05):
        file.write_text("one")
        assert heard.again()
        os.utime(file, (1, 1))
        assert heard.again()
        file.unlink()
        assert heard.again()


def test_stopping(file, heard):
    watcher = Watcher({file: heard}, debounce=0.02)
    watcher.stop()
    before = threading.active_count()
    watcher.start()
    watcher.start()
    file.write_text("one")
    assert heard.again()
    watcher.stop()
    watcher.stop()
    assert threading.active_count() == before
    count = heard.count
    file.write_text("two")
    assert heard.count == count


def test_stopping_from_within(file):
    stopped = threading.Event()

    def stop():
        watcher.stop()
        stopped.set()

    watcher = Watcher({file: stop}, debounce=0.02)
    watcher.start()
    file.write_text("one")
    assert stopped.wait(PATIENCE)


def test_started_again(file, heard):
    watcher = Watcher({file: heard}, debounce=0.02)
    for text in ("one", "two"):
        watcher.start()
        file.write_text(text)
        assert heard.again()
        watcher.stop()


def test_something_to_call_is_needed(file):
    with pytest.raises(TypeError):
        Watcher([file])
