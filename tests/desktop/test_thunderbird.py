"""Thunderbird, the add-on, a real Dovecot and the real daemon: each thing a person does ends in the right label and
folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from spamd.answers import AccountPhase
from spamd.domain import Label, LabelRecord, LabelSource, Mode, Verdict
from tests.desktop import session
from tests.desktop.marionette import MISSING, Thunderbird
from tests.desktop.running import PATIENCE, RunningDaemon
from tests.desktop.session import DesktopSession
from tests.servers.dovecot import Dovecot
from tests.servers.mailhost import PASSWORD, mail

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "-"),
    pytest.mark.timeout(600),
]

GOOD = (
    "Hi Anna,\r\n\r\nthanks for the notes from Tuesday. I put the minutes into the shared folder and will bring the\r\n"
    "printed plan to our meeting on Thursday at ten. Could you ask Peter whether the room is free?\r\n\r\n"
    "Best regards\r\nMartin\r\n"
)
BAD = (
    "Dear winner!!! You have WON 1,000,000 USD in the online lottery. Buy cheap viagra and cialis now, 100% free,\r\n"
    "no prescription, click here http://win.example.biz/claim to claim your prize money today. Act now!\r\n"
)


@dataclass
class World:
    server: Dovecot
    folder: Path  # Thunderbird's HOME
    user: str
    daemon: RunningDaemon
    thunderbird: Thunderbird
    pictures: Path

    def arrive(self, name: str, *, bad: bool = False, folder: str = "INBOX", open_end: bool = False) -> str:
        """A mail arrives; its Message-ID. open_end: its last line is not ended."""
        message_id = f"{name}@thunderbird.example"
        text = mail(
            f"{'You WON the lottery' if bad else 'Minutes and Thursday'}: {name}",
            BAD if bad else GOOD,
            message_id=message_id,
            sender="Prize <claim@win.example.biz>" if bad else "Martin Vogt <martin@office.example>",
        )
        self.server.append(self.user, text.rstrip() if open_end else text, folder=folder)
        return message_id

    def old_folder(self) -> None:
        """One that the daemon does not watch."""
        with self.server.oracle(self.user) as imap:
            imap.create("Old")  # it may be there already
            imap.subscribe("Old")

    def folders(self, message_id: str) -> list[str]:
        wanted = f"<{message_id}>".encode()
        return [lying.folder for lying in self.server.contents(self.user) if wanted in lying.raw]

    def until_in(self, message_id: str, folder: str) -> None:
        self.daemon.until(
            lambda: self.folders(message_id) == [folder],
            f"{message_id} is not in {folder} alone but in {self.folders(message_id)}",
        )

    def label(self, message_id: str, label: Label, source: LabelSource | None = None) -> LabelRecord:
        """Wait for it."""
        identity = self.daemon.judged(message_id).identity

        def find() -> LabelRecord | None:
            for record in self.daemon.client.labels():
                if record.identity == identity and record.label is label and source in (None, record.source):
                    return record
            return None

        found: LabelRecord = self.daemon.until(find, f"{message_id} was not labelled {label}, {source}")
        return found


def spamdctl(daemon: RunningDaemon, home: Path, *words: str) -> str:
    """What the real command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "spamd", *words],
        env={**os.environ, **daemon.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def world(_dovecots, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("thunderbird")
    server = _dovecots(fresh=True)
    user = server.new_user()
    server.append(user, mail("Welcome", GOOD, message_id="welcome@thunderbird.example"))
    account = replace(server.account(user), mode=Mode.FILTERING, stamp=True)
    daemon = RunningDaemon(folder, account)
    thunderbird = None
    try:
        daemon.start()
        # By rule, not by model: these tests are about what happens to a verdict, whatever model is shipped.
        daemon.client.add_to_list("office.example", Label.HAM)
        daemon.client.add_to_list("win.example.biz", Label.SPAM)
        spamdctl(daemon, folder, "thunderbird", "install")
        thunderbird = Thunderbird(folder, port=server.port, user=user)
        thunderbird.install(daemon.paths.data / "spamd-thunderbird.xpi")
        thunderbird.sign_in()
        yield World(server, folder, user, daemon, thunderbird, tmp_path_factory.mktemp("pictures"))
    finally:
        if thunderbird is not None:
            thunderbird.close()
        daemon.close()


def test_the_options_page_finds_the_daemon_by_itself(world: World) -> None:
    text = world.thunderbird.addon_page(
        "return document.body.dataset.looked && document.body.innerText;", "options/options.html"
    )
    assert f"Connected to spamd {world.daemon.client.version} (found by itself)." in text
    assert "filtering" in text
    world.thunderbird.close_tab()


def test_verdict_and_reasons_on_the_open_mail(world: World) -> None:
    message_id = world.arrive("verdict")
    judged = world.daemon.judged(message_id)
    assert judged.decision.verdict is Verdict.KEEP
    world.thunderbird.open_mail(message_id)
    button = world.thunderbird.wait_for_button(title="Good mail", image="icons/keep.svg")
    assert not button["badge"]
    text = world.thunderbird.popup("return document.querySelector('#reasons li') && document.body.innerText;")
    assert "Good mail" in text
    assert len(text.splitlines()) > 5, "verdict, sentence, reasons"
    world.thunderbird.close_popup()


def test_the_junk_button_teaches_and_moves(world: World) -> None:
    message_id = world.arrive("button-junk")
    world.daemon.judged(message_id)
    world.thunderbird.open_mail(message_id)
    world.thunderbird.popup(
        """
        const button = document.getElementById("junk");
        if (document.body.dataset.done) return true;
        if (!button.disabled && document.querySelector("#reasons li")) button.click();
        return false;
        """
    )
    world.label(message_id, Label.SPAM, LabelSource.ADDON)
    world.until_in(message_id, "Junk")
    world.thunderbird.close_popup()


def test_the_daemons_own_move_is_seen_and_taken_back_by_the_not_junk_button(world: World) -> None:
    message_id = world.arrive("own-move", bad=True)
    assert world.daemon.judged(message_id).decision.verdict is Verdict.JUNK
    world.until_in(message_id, "Junk")
    world.thunderbird.open_mail(message_id, "Junk")
    world.thunderbird.wait_for_button(title="Junk", badge="!", image="icons/junk.svg")
    world.thunderbird.popup(
        """
        if (document.body.dataset.done) return true;
        if (document.querySelector("#reasons li")) document.getElementById("good").click();
        return false;
        """
    )
    world.label(message_id, Label.HAM, LabelSource.ADDON)
    world.until_in(message_id, "INBOX")
    world.thunderbird.close_popup()
    world.thunderbird.open_mail(message_id)  # and Thunderbird shows it there
    world.thunderbird.wait_for_button(title="Good mail: you said so")


def test_j_marks_a_stamped_mail_and_teaches_it_stays_where_it_is(world: World) -> None:
    message_id = world.arrive("key-j")
    world.daemon.judged(message_id)
    world.thunderbird.run("Services.prefs.setBoolPref('mail.spam.manualMark', false);")
    world.thunderbird.open_mail(message_id)
    world.thunderbird.keys("j")
    world.label(message_id, Label.SPAM, LabelSource.KEYWORD)
    world.thunderbird.keys("\ue008", "J")
    world.label(message_id, Label.HAM, LabelSource.KEYWORD)
    assert world.folders(message_id) == ["INBOX"]


def test_j_that_moves_and_shift_j_that_moves_back(world: World) -> None:
    """As the options page advises: junk marked by hand goes to the Junk folder."""
    message_id = world.arrive("key-j-move")
    world.daemon.judged(message_id)
    world.thunderbird.run("Services.prefs.setBoolPref('mail.spam.manualMark', true);")
    try:
        world.thunderbird.open_mail(message_id)
        world.thunderbird.keys("j")
        world.until_in(message_id, "Junk")
        world.label(message_id, Label.SPAM)
        world.thunderbird.open_mail(message_id, "Junk")
        world.thunderbird.keys("\ue008", "J")
        world.until_in(message_id, "INBOX")
        world.label(message_id, Label.HAM)
    finally:
        world.thunderbird.run("Services.prefs.setBoolPref('mail.spam.manualMark', false);")


def test_moved_to_junk_and_back_by_hand(world: World) -> None:
    message_id = world.arrive("move")
    world.daemon.judged(message_id)
    world.thunderbird.open_mail(message_id)
    world.thunderbird.move_selected("Junk")
    world.until_in(message_id, "Junk")
    world.label(message_id, Label.SPAM, LabelSource.DRAG)
    world.thunderbird.open_mail(message_id, "Junk")
    world.thunderbird.move_selected("INBOX")
    world.until_in(message_id, "INBOX")
    world.label(message_id, Label.HAM, LabelSource.DRAG)


@pytest.fixture
def on_screen(world: World, tmp_path: Path) -> Iterator[tuple[DesktopSession, Thunderbird]]:
    """A second Thunderbird on the same account, with a screen and a mouse."""
    if session.missing():
        pytest.skip(session.missing())
    if shutil.which("openbox") is None:
        pytest.skip("openbox is not installed (Debian: apt install openbox)")
    desktop = DesktopSession(tmp_path, "", size=(1280, 760))
    thunderbird = None
    try:
        desktop.start("openbox")
        folder = tmp_path / "thunderbird"
        display = {"DISPLAY": desktop.env["DISPLAY"]}
        thunderbird = Thunderbird(folder, port=world.server.port, user=world.user, environ=display)
        thunderbird.sign_in()
        for window in desktop.windows("thunderbird"):
            desktop.xdotool("windowmove", window, 0, 0, "windowsize", window, 1278, 738)
        yield desktop, thunderbird
    finally:
        if thunderbird is not None:
            thunderbird.close()
        desktop.close()


def test_dragged_to_junk_and_back_with_the_mouse(
    world: World, on_screen: tuple[DesktopSession, Thunderbird]
) -> None:
    desktop, thunderbird = on_screen
    message_id = world.arrive("drag")
    world.daemon.judged(message_id)
    thunderbird.open_mail(message_id)
    thunderbird.drag(desktop.xdotool, message_id, "Junk")
    world.until_in(message_id, "Junk")
    world.label(message_id, Label.SPAM, LabelSource.DRAG)
    thunderbird.open_mail(message_id, "Junk")
    thunderbird.drag(desktop.xdotool, message_id, "INBOX")
    world.until_in(message_id, "INBOX")
    world.label(message_id, Label.HAM, LabelSource.DRAG)


def test_a_mail_the_daemon_never_judged_is_tried_and_moved_by_thunderbird(world: World) -> None:
    world.old_folder()
    message_id = world.arrive("old", bad=True, folder="Old")
    world.thunderbird.open_mail(message_id, "Old")
    text = world.thunderbird.popup("return document.querySelector('#reasons li') && document.body.innerText;")
    assert "has not judged this mail" in text
    # Thunderbird moves it at once, and the popup goes with the mail.
    world.thunderbird.popup("document.getElementById('junk').click(); return true;")
    world.until_in(message_id, "Junk")
    world.thunderbird.close_popup()
    # The daemon cannot see that it was moved from a folder nobody watched: it was shown the mail.
    (taught,) = [one for one in world.daemon.client.labels() if one.source is LabelSource.TEACH]
    assert (taught.label, taught.account) == (Label.SPAM, world.daemon.account.name)


def test_a_copied_message_id_does_not_borrow_a_verdict(world: World) -> None:
    """Two mails, one Message-ID: each shows its own verdict, though Thunderbird no longer knows the good one's size.

    Its last line has no end; Thunderbird adds one while it downloads, and writes down the size that it then has
    (as it does with what it got of a download that broke off).
    """
    good = world.arrive("twin", open_end=True)
    world.daemon.judged(good)
    world.thunderbird.open_mail(good)
    world.thunderbird.wait_for_button(title="Good mail")
    (lying,) = (one for one in world.server.contents(world.user) if good.encode() in one.raw)
    world.thunderbird.until("return messageWindow().gMessage.messageSize === args[0] + 2;", len(lying.raw))
    world.arrive("twin", bad=True)
    client = world.daemon.client
    world.daemon.until(
        lambda: [one for one in client.judgements(verdict=Verdict.JUNK) if one.subject.endswith(": twin")],
        "the second mail was not judged",
    )
    world.thunderbird.open_mail(good, "Junk")
    world.thunderbird.wait_for_button(title="Junk", badge="!")
    world.thunderbird.open_folder("INBOX")
    world.thunderbird.until(  # that the daemon moved the other one away
        """
        pane().gFolder.updateFolder(null);
        const rows = Array.from({ length: pane().gDBView?.rowCount ?? 0 }, (_, row) => row);
        return rows.filter((row) => pane().gDBView.getMsgHdrAt(row).messageId === args[0]).length === 1;
        """,
        good,
    )
    twins = [one for one in client.judgements() if one.subject.endswith(": twin")]
    assert [one.label for one in twins] == [None, None], "nobody said anything of either"
    world.thunderbird.open_mail(good)
    world.thunderbird.wait_for_button(title="Good mail", image="icons/keep.svg")


def test_an_old_mail_does_not_borrow_the_verdict_of_junk_that_copied_its_message_id(world: World) -> None:
    """Only the forged one was judged; a word about the old mail is not a word about the junk."""
    world.old_folder()
    message_id = world.arrive("aged", folder="Old")
    world.arrive("aged", bad=True)
    assert world.daemon.judged(message_id).decision.verdict is Verdict.JUNK
    world.thunderbird.open_mail(message_id, "Old")
    world.thunderbird.wait_for_button(title="has not judged this mail")
    world.thunderbird.popup(
        """
        if (document.body.dataset.done) return true;
        if (document.querySelector("#reasons li")) document.getElementById("good").click();
        return false;
        """
    )
    world.thunderbird.close_popup()
    assert world.daemon.judged(message_id).label is None
    taught = [one for one in world.daemon.client.labels() if one.source is LabelSource.TEACH]
    assert taught[0].label is Label.HAM
    assert sorted(world.folders(message_id)) == ["Junk", "Old"]


def test_one_letter_in_two_accounts_is_answered_where_it_was_read(world: World) -> None:
    """Same bytes, same Message-ID: the word counts for the account in whose folder the mail is open."""
    client, account = world.daemon.client, world.daemon.account
    other = world.server.new_user()
    client.add_account(
        "other",
        host=account.host,
        port=account.port,
        user=other,
        secret=PASSWORD,
        tls=account.tls,
        mode=Mode.FILTERING,
    )
    try:
        world.daemon.until(
            lambda: client.account("other").state.phase is AccountPhase.WATCHING,
            "the other account is not watched",
        )
        letter = mail("To both", GOOD, message_id="both@thunderbird.example", sender="x@club.example")
        for user in (world.user, other):
            world.server.append(user, letter)
        world.daemon.until(
            lambda: len([one for one in client.judgements() if one.subject == "To both"]) == 2,
            "the letter was not judged twice",
        )
        inbox = world.thunderbird.add_account(other, world.server.port)
        world.thunderbird.open_mail("both@thunderbird.example", inbox)
        world.thunderbird.wait_for_button(title="junk")
        world.thunderbird.popup(
            """
            if (document.body.dataset.done) return true;
            if (document.querySelector("#reasons li")) document.getElementById("junk").click();
            return false;
            """
        )
        world.thunderbird.close_popup()
        world.daemon.until(
            lambda: [one.folder for one in world.server.contents(other)] == ["Junk"], "it was not moved there"
        )
        assert world.folders("both@thunderbird.example") == ["INBOX"]
        labels = {one.account: one.label for one in client.judgements() if one.subject == "To both"}
        assert labels == {"other": Label.SPAM, account.name: None}
    finally:
        client.remove_account("other")


def test_a_mail_in_a_local_folder_keeps_its_verdict(world: World) -> None:
    """There it has another size, and other line ends."""
    message_id = world.arrive("local")
    world.daemon.judged(message_id)
    world.thunderbird.open_mail(message_id)
    world.thunderbird.wait_for_button(title="Good mail")
    local = world.thunderbird.copy_to_local("Kept here")
    world.thunderbird.open_mail(message_id, local)
    world.thunderbird.wait_for_button(title="Good mail", image="icons/keep.svg")


def test_a_mail_from_a_file_is_tried_and_taught(world: World, tmp_path: Path) -> None:
    file = tmp_path / "offer.eml"
    file.write_bytes(mail("You WON", BAD, message_id="file@thunderbird.example", sender="x@file.example"))
    world.thunderbird.open_file(file)
    world.thunderbird.wait_for_button(title="has not judged this mail")
    text = world.thunderbird.popup(
        """
        if (document.body.dataset.done) return document.body.innerText;
        if (document.querySelector("#reasons li")) document.getElementById("junk").click();
        return "";
        """
    )
    assert "spamd has learned it" in text
    assert "It stays where it is" in text
    world.thunderbird.close_popup()
    world.thunderbird.close_file()
    taught = [one for one in world.daemon.client.labels() if one.source is LabelSource.TEACH]
    assert taught[0].label is Label.SPAM


def test_an_encrypted_mail_has_its_verdict(world: World) -> None:
    """What is shown to the daemon is what came, not what Thunderbird makes of it."""
    lines = [
        "From: Eve <eve@office.example>",
        "To: me@example.net",
        "Subject: ...",
        "Date: Mon, 02 Nov 2026 10:00:00 +0000",
        "Message-ID: <encrypted@thunderbird.example>",
        "MIME-Version: 1.0",
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"',
        "",
        "--b",
        "Content-Type: application/pgp-encrypted",
        "",
        "Version: 1",
        "--b",
        'Content-Type: application/octet-stream; name="encrypted.asc"',
        "",
        "-----BEGIN PGP MESSAGE-----",
        "",
        "hF4DAAAAAAAAAAASAQdAAAAA",
        "-----END PGP MESSAGE-----",
        "--b--",
    ]
    world.server.append(world.user, "\r\n".join(lines).encode())  # the last line open: its size will not do
    message_id = "encrypted@thunderbird.example"
    assert world.daemon.judged(message_id).decision.verdict is Verdict.KEEP
    world.thunderbird.open_mail(message_id)
    world.thunderbird.wait_for_button(title="Good mail")
    text = world.thunderbird.popup("return document.querySelector('#reasons li') && document.body.innerText;")
    assert "on your list of senders to keep" in text
    world.thunderbird.close_popup()


def test_no_verdict_stays_on_the_button_when_thunderbird_does_not_tell_of_the_next_mail(world: World) -> None:
    """It tells when the text of a mail was loaded; where another loading came between, it may not."""
    first, second = world.arrive("told"), world.arrive("untold", bad=True)
    assert world.daemon.judged(second).decision.verdict is Verdict.JUNK
    world.until_in(second, "Junk")
    world.thunderbird.open_mail(second, "Junk")
    world.thunderbird.wait_for_button(title="Junk", badge="!")
    world.daemon.judged(first)
    world.thunderbird.run(
        """
        win.spamdSilence = (event) => event.stopImmediatePropagation();
        for (const name of ["MsgLoaded", "MsgsLoaded"]) pane().addEventListener(name, win.spamdSilence, true);
        """
    )
    try:
        world.thunderbird.open_mail(first)
        world.thunderbird.wait_for_button(title="Good mail")
        text = world.thunderbird.popup(
            "return document.querySelector('#reasons li') && document.body.innerText;"
        )
        assert "Good mail" in text
        world.thunderbird.close_popup()
    finally:
        world.thunderbird.run(
            """
            for (const name of ["MsgLoaded", "MsgsLoaded"]) {
              pane().removeEventListener(name, win.spamdSilence, true);
            }
            """
        )


def test_review_in_a_tab_and_its_count_on_the_button(world: World) -> None:
    client = world.daemon.client
    client.set_mode(world.daemon.account.name, Mode.SUGGESTING)
    try:
        message_id = world.arrive("review", bad=True)
        judged = world.daemon.judged(message_id)
        assert not judged.moved
        world.daemon.until(lambda: client.status().review_waiting, "nothing waits for review")
        world.thunderbird.open_mail(message_id)  # Thunderbird has seen it, too
        world.thunderbird.until(
            """
            const button = win.document.querySelector("#spacesToolbarAddonsContainer button");
            button?.click();
            const shown = win.document.getElementById("tabmail").currentTabInfo.browser?.currentURI?.spec;
            return Boolean(shown?.endsWith("/review/review.html"));
            """
        )
        row = f'[data-judgement="{judged.id}"]'
        text = world.thunderbird.addon_page(
            f"return document.querySelector('{row}')?.innerText;", "review/review.html"
        )
        assert "You WON the lottery: review" in text
        world.thunderbird.screenshot(world.pictures / "review.png")
        # The subject opens the mail itself.
        world.thunderbird.addon_page(
            f"document.querySelector('{row} button.link').click(); return true;", "review/review.html"
        )
        world.thunderbird.until(
            """
            const tab = win.document.getElementById("tabmail").currentTabInfo;
            return tab.mode.name === "mailMessageTab" && tab.message?.messageId === args[0];
            """,
            message_id,
        )
        world.thunderbird.close_tab()
        world.thunderbird.addon_page(
            f"""
            const row = document.querySelector('{row}');
            if (!row) return true;
            row.querySelector("button.junk:enabled")?.click();
            return false;
            """,
            "review/review.html",
        )
        world.label(message_id, Label.SPAM, LabelSource.ADDON)
        world.until_in(message_id, "Junk")
        world.thunderbird.close_tab()
    finally:
        client.set_mode(world.daemon.account.name, Mode.FILTERING)


def test_the_addon_survives_a_restart_of_the_daemon(world: World) -> None:
    """Another port, another token: found again by itself, and the mail that is open gets its verdict."""
    message_id = world.arrive("restart")
    world.daemon.judged(message_id)
    world.daemon.stop()
    world.thunderbird.open_mail(message_id)
    world.thunderbird.wait_for_button(title="spamd is not running", badge="×")
    world.daemon.start()
    world.thunderbird.wait_for_button(title="Good mail", seconds=3 * PATIENCE)


def test_the_options_page_tells_which_account_waits_for_the_person(world: World) -> None:
    client, name = world.daemon.client, world.daemon.account.name
    client.set_secret(name, "wrong")
    world.server.stop()
    world.server.start()
    try:
        world.daemon.until(
            lambda: client.account(name).state.phase is AccountPhase.SIGN_IN,
            "the wrong password was not noticed",
        )
        text = world.thunderbird.addon_page(
            "return document.querySelector('#accounts .trouble')?.innerText;", "options/options.html"
        )
        assert "stopped, needs you to sign in" in text
    finally:
        client.set_secret(name, PASSWORD)
        world.daemon.until(
            lambda: client.account(name).state.phase is AccountPhase.WATCHING,
            "the right password does not help",
        )
    world.thunderbird.close_tab()


def test_a_pasted_key_connects_where_programs_may_not_be_started(world: World) -> None:
    """As for Thunderbird from Snap or Flatpak: without the native-messaging host."""
    spamdctl(world.daemon, world.folder, "thunderbird", "uninstall")
    key = spamdctl(world.daemon, world.folder, "thunderbird", "token")
    page = "options/options.html"
    text = world.thunderbird.addon_page(
        """
        if (!document.body.dataset.looked) return "";
        document.getElementById("again").click();
        const state = document.getElementById("state").innerText;
        return state.includes("not found") && state;
        """,
        page,
    )
    assert text == "spamd was not found."
    text = world.thunderbird.addon_page(
        """
        document.getElementById("pasted").value = args[0];
        document.getElementById("save").click();
        const state = document.getElementById("state").innerText;
        return state.includes("pasted key") && state;
        """,
        page,
        key,
    )
    assert text.startswith("Connected to spamd")
    # Pasted once: the next run of the daemon has another token, and is found all the same.
    world.daemon.stop()
    world.daemon.start()
    text = world.thunderbird.addon_page(
        """
        const state = document.getElementById("state");
        if (!document.body.dataset.restarted) {
          document.body.dataset.restarted = "yes";
          state.innerText = "";
          document.getElementById("again").click();
        }
        return state.innerText;
        """,
        page,
    )
    assert text.startswith("Connected to spamd") and "pasted key" in text
    world.thunderbird.close_tab()
