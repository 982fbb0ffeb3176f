"""What the icon shows and says: menus, pictures, notices, and the reasons why it cannot be shown."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spamd.answers import AccountPhase, AccountState, AccountView, Progress, Status
from spamd.domain import (
    Account,
    AccountName,
    Decision,
    EventRecord,
    Identity,
    Judgement,
    Label,
    Mode,
    ModelId,
    Score,
    Verdict,
)
from spamd.tray import notices, surroundings
from spamd.tray.notices import Memory
from spamd.tray.view import Action, Deed, Face, IconState, Item, Snapshot, shorten, tomorrow, view

NOW = datetime(2026, 3, 4, 15, 30).astimezone().timestamp()


def account(phase: AccountPhase = AccountPhase.WATCHING, mode: Mode = Mode.FILTERING) -> AccountView:
    name = AccountName("home")
    return AccountView(Account(name), AccountState(name, phase, mode=mode))


def status(*accounts: AccountView, **changes: object) -> Status:
    base = Status(
        version="1",
        now=NOW,
        started_at=NOW - 60,
        accounts=accounts or (account(),),
        today={"keep": 9, "junk": 2, "unsure": 1, "moved": 2},
        review_waiting=0,
        model=None,
        progress=(),
        needs_person=(),
        paused=False,
        headline="Filtering 1 account",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def event(number: int, text: str = "Sign in to home again.") -> EventRecord:
    return EventRecord(number, NOW, "account", AccountName("home"), text, True)


def mail(number: int = 7, **changes: object) -> Judgement:
    base = Judgement(
        id=number,
        account=AccountName("home"),
        identity=Identity(f"hash:{number}"),
        at=NOW - 3600,
        score=Score(0.99, 4.0, 3.0, ModelId("base-0")),
        decision=Decision(Verdict.JUNK, True, "score", "It looks like junk."),
        sender="prize@win.example",
        subject="You won",
        moved=True,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def lines(items: tuple[Item, ...]) -> list[str]:
    return [text for item in items for text in ([item.text] if item.text else []) + lines(item.children)]


def actions(items: tuple[Item, ...]) -> dict[str, Action]:
    found: dict[str, Action] = {}
    for item in items:
        if item.action:
            found[item.text] = item.action
        found.update(actions(item.children))
    return found


@pytest.mark.parametrize(
    ("changes", "accounts", "state"),
    [
        ({}, (account(),), IconState.FILTERING),
        ({}, (account(mode=Mode.LEARNING), account(mode=Mode.SUGGESTING)), IconState.LEARNING),
        ({}, (account(mode=Mode.LEARNING), account()), IconState.FILTERING),
        ({"paused": True}, (account(AccountPhase.PAUSED),), IconState.PAUSED),
        ({"needs_person": (event(1),)}, (account(),), IconState.ATTENTION),
        ({}, (account(AccountPhase.BRAKE),), IconState.ATTENTION),
        ({}, (account(AccountPhase.SIGN_IN),), IconState.ATTENTION),
        ({}, (account(AccountPhase.OFFLINE),), IconState.FILTERING),  # mends itself
    ],
)
def test_the_icon_tells_how_things_are(
    changes: dict[str, object], accounts: tuple[AccountView, ...], state: IconState
) -> None:
    assert view(Snapshot(status(*accounts, **changes)), NOW).face.state is state


def test_without_a_daemon_it_says_so_and_offers_to_start_it() -> None:
    shown = view(Snapshot(trouble="spamd is not running."), NOW)
    assert shown.face == Face(IconState.AWAY)
    assert "not running" in shown.title
    assert actions(shown.menu)["Start filtering"].deed is Deed.START


def test_the_menu_has_what_a_person_may_want() -> None:
    full = status(account(AccountPhase.BRAKE), review_waiting=3, needs_person=(event(4),))
    shown = view(Snapshot(full, (mail(), mail(8, label=Label.HAM))), NOW)
    texts, acts = lines(shown.menu), actions(shown.menu)
    assert texts[:2] == ["Filtering 1 account", "Today: 12 judged, 2 moved"]
    assert "14:30 prize@win.example: You won" in [" ".join(text.split()) for text in texts]
    assert acts["That was not junk"] == Action(Deed.NOT_JUNK, "7")
    assert "Taken back: good mail" in texts
    assert acts["Review 3 doubtful mails"] == Action(Deed.OPEN, "review")
    assert acts["    I have looked: go on"] == Action(Deed.GO_ON, "home")
    assert acts["Pause for an hour"] == Action(Deed.PAUSE, "3600")
    assert acts["Train now"].deed is Deed.TRAIN
    assert acts["Quit the icon (filtering goes on)"].deed is Deed.QUIT
    assert [item.text for item in shown.menu if item.default] == ["Open spamd"]


def test_paused_offers_resume_only() -> None:
    acts = actions(view(Snapshot(status(paused=True)), NOW).menu)
    assert acts["Resume filtering"].deed is Deed.RESUME
    assert not [text for text in acts if text.startswith("Pause")]


def test_training_is_shown_with_its_progress_and_cannot_be_started_twice() -> None:
    training = Progress("train", None, 3, 4, "epoch 3", NOW)
    shown = view(Snapshot(status(progress=(training,))), NOW)
    assert shown.face.progress == 0.75
    assert "Training, 75 %" in lines(shown.menu)
    assert "Train now" not in lines(shown.menu)
    assert view(Snapshot(status(progress=(replace(training, finished=True),))), NOW).face.progress is None
    assert view(Snapshot(status(progress=(replace(training, total=0),))), NOW).face.progress == 0.0


def test_a_strangers_text_stays_one_short_printable_line() -> None:
    evil = "a\nb\u202e\x00\x1b[31m" + "x" * 500
    shown = view(Snapshot(status(), (mail(subject=evil, sender=evil),)), NOW)
    for text in lines(shown.menu):
        assert text.isprintable()
        assert len(text) <= 90
    assert shorten("  a \t b ") == "a b"


def test_until_tomorrow_is_six_in_the_morning() -> None:
    then = datetime.fromtimestamp(tomorrow(NOW), UTC).astimezone()
    assert (then.day, then.hour, then.minute) == (5, 6, 0)


# Pictures


def test_every_state_has_its_own_picture_also_without_colour() -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed (the extra tray)")
    from spamd.tray import picture

    faces = [Face(state) for state in IconState]
    faces += [Face(IconState.FILTERING, 0.2), Face(IconState.FILTERING, 0.8)]
    faces.append(Face(IconState.FILTERING, waiting=True))
    grey = [picture.draw(face).convert("LA").tobytes() for face in faces]
    assert all(one != other for one, other in itertools.combinations(grey, 2))
    for face in faces:
        image = picture.draw(face)
        assert (image.mode, image.size) == ("RGBA", (64, 64))
        assert image.getpixel((0, 0))[3] == 0
        assert image.getpixel((32, 58))[3] > 0


# Notices


def tell(
    now_status: Status, memory: Memory, *, now: float = NOW, quiet: str = "", wanted: bool = True
) -> tuple[list[str], Memory]:
    told, after = notices.due(now_status, memory, wanted=wanted, quiet_hours=quiet, now=now)
    return [notice.title for notice in told], after


def test_junk_alone_never_interrupts() -> None:
    assert tell(status(today={"junk": 500, "moved": 500}), Memory()) == ([], Memory())


def test_doubtful_mail_is_told_once_a_day_and_only_when_there_is_more() -> None:
    told, memory = tell(status(review_waiting=2), Memory())
    assert told == ["Junk or not?"]
    assert tell(status(review_waiting=9), memory, now=NOW + 3600)[0] == []
    later = NOW + notices.DIGEST_EVERY
    assert tell(status(review_waiting=2), memory, now=later)[0] == []  # nothing new
    assert tell(status(review_waiting=3), memory, now=later)[0] == ["Junk or not?"]
    _, answered = tell(status(review_waiting=0), memory, now=later)
    assert tell(status(review_waiting=1), answered, now=later)[0] == ["Junk or not?"]


def test_what_needs_the_person_is_told_once() -> None:
    told, memory = tell(status(needs_person=(event(5), event(4))), Memory())
    assert told == ["spamd needs you"]
    assert tell(status(needs_person=(event(5), event(4))), memory)[0] == []
    assert tell(status(needs_person=(event(6), event(5))), memory)[0] == ["spamd needs you"]


def test_quiet_hours_keep_it_for_later() -> None:
    waits = status(review_waiting=1, needs_person=(event(5),))
    told, memory = tell(waits, Memory(), quiet="15:00-16:00")
    assert (told, memory) == ([], Memory())
    assert len(tell(waits, memory, quiet="15:00-16:00", now=NOW + 3600)[0]) == 2
    assert tell(waits, Memory(), wanted=False)[0] == []


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        ("", False),
        ("22:00-07:00", False),
        ("15:30-15:31", True),
        ("15:00-15:30", False),
        ("16:00-15:31", True),
        ("09:00-15:00", False),
    ],
)
def test_quiet_hours_cross_midnight(hours: str, quiet: bool) -> None:
    assert notices.is_quiet(hours, NOW) is quiet


# Where no icon can be shown


def start(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The real program, in an environment with nothing but this."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SPAMD_HOME": str(tmp_path / "spamd")}
    bare["PYTHONPATH"] = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-m", "spamd.tray", "--wait", "0"],
        env={**bare, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux desktops")
@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "There is no display"),
        ({"DISPLAY": ":971"}, "There is no D-Bus session"),
        ({"DISPLAY": ":971", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}, "."),
        ({"DISPLAY": ":0", "DBUS_SESSION_BUS_ADDRESS": "x", "PYSTRAY_BACKEND": "xorg"}, "gets no clicks"),
    ],
)
def test_it_says_so_in_one_line_and_ends(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed (the extra tray)")
    done = start(tmp_path, **environ)
    assert done.returncode == 3, done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("spamd-tray: ")]
    assert len(ours) == 1, done.stderr
    assert words in ours[0]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux desktops")
@pytest.mark.parametrize(
    ("gone", "words"),
    [("gi", "GTK 3 for Python is not installed."), ("PIL", "The icon's parts are not installed.")],
)
def test_what_is_not_installed_is_named_with_its_mending(tmp_path: Path, gone: str, words: str) -> None:
    """As in a plain environment of pip's, where pystray alone would show an icon that gets no clicks."""
    pytest.importorskip("PIL", reason="Pillow is not installed (the extra tray)")
    code = f"import sys; sys.modules[{gone!r}] = None; from spamd.tray import main; main(['--wait', '0'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "SPAMD_HOME": str(tmp_path / "spamd"),
            "DISPLAY": ":971",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spamd-tray: {words} ")
    assert "pipx inject spamd-desktop" in line


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux desktops")
def test_a_bus_that_never_answers_does_not_hold_it(tmp_path: Path, socket_folder: Path) -> None:
    """Not even the import of GTK, which asks the bus by itself."""
    pytest.importorskip("gi", reason="PyGObject is not installed (the extra tray)")
    pytest.importorskip("PIL", reason="Pillow is not installed (the extra tray)")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(socket_folder / "bus"))
        mute.listen(50)
        done = start(tmp_path, DISPLAY=":971", DBUS_SESSION_BUS_ADDRESS=f"unix:path={socket_folder}/bus")
    assert done.returncode == 3
    assert done.stderr == "spamd-tray: The D-Bus session does not answer. Sign out and in again.\n"


def test_a_panel_that_comes_late_is_waited_for() -> None:
    answers = iter([False, True])
    surroundings.wait_for_host(60.0, lambda: next(answers))
    with pytest.raises(surroundings.NoTray, match="shows tray icons"):
        surroundings.wait_for_host(0.0, lambda: False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which signals are blocked")
def test_a_browser_that_the_icon_starts_can_be_ended(tmp_path: Path) -> None:
    browser, told = tmp_path / "browser", tmp_path / "told"
    browser.write_text(f"#!/bin/sh\ngrep SigBlk /proc/self/status > '{told}'\n")
    browser.chmod(0o755)
    code = """
from spamd.tray.signals import Signals, open_page
Signals()
assert open_page("http://127.0.0.1/")
blocked = open("/proc/thread-self/status").read().partition("SigBlk:")[2].split()[0]
assert int(blocked, 16) & 1 << signal.SIGTERM - 1, "the icon itself ends in order"
"""
    subprocess.run(
        [sys.executable, "-c", f"import signal{code}"],
        env={**os.environ, "BROWSER": f"{browser} %s"},
        timeout=60,
        check=True,
    )
    blocked = int(told.read_text().split()[1], 16)
    assert not blocked & (1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1 | 1 << signal.SIGHUP - 1)
