"""From the first page to mail that moves: a real daemon, a real IMAP server, a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from email.message import EmailMessage

import pytest
from playwright.sync_api import expect, sync_playwright

from spamd import paths, settings
from spamd.client import Client
from spamd.errors import NotRunning
from tests.programs import CHROMIUM, NO_CHROMIUM
from tests.web.test_browser import SECONDS  # which sets it for every `expect`, too

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(NO_CHROMIUM), reason=NO_CHROMIUM or "-"),
]


def letter(subject: str, text: str, sender: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "me@example.org", subject
    mail["Message-ID"] = f"<{subject.replace(' ', '-')}@example.org>"
    mail["Date"] = "Sun, 29 Nov 2026 12:00:00 +0000"
    mail.set_content(text)
    return bytes(mail)


@pytest.fixture
def daemon(tmp_path):
    """The daemon's own process, with a home without accounts."""
    home = tmp_path / "spamd"
    here = paths.find({"SPAMD_HOME": str(home)})
    here.make()
    settings.save(here.config_file, {"secrets": "file"})
    with (tmp_path / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "spamd", "run"],
            env={**os.environ, "SPAMD_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield here
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0, (tmp_path / "output.txt").read_text(errors="replace")[-3000:]
    assert not here.run_file.exists()


def until(condition, what: str):
    waiting = threading.Event()
    for _ in range(6000):
        found = condition()
        if found:
            return found
        waiting.wait(0.02)
    raise AssertionError(f"waited two minutes for {what}")


def connected(here) -> Client | None:
    try:
        return Client.connect(here)
    except NotRunning:
        return None


def test_set_up_judge_review_and_put_back(daemon, tmp_path):
    pytest.importorskip("pymap", reason="the embedded server is not installed (pip install '.[demo]')")
    from spamd.demo.server import EmbeddedServer

    with (
        EmbeddedServer(users={"me": "s3cret"}) as server,
        until(lambda: connected(daemon), "the daemon") as client,
    ):
        server.deliver("me", letter("lunch on Tuesday", "Shall we meet at noon?", "anna@example.org"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(SECONDS)
            try:
                walk(page, client, server)
            finally:
                page.screenshot(path=str(tmp_path / "last.png"))
                browser.close()


def walk(page, client, server):
    page.goto(client.open_url())
    expect(page.locator("h1")).to_have_text("Welcome")
    page.get_by_label("Your mail address").fill("me@example.org")
    page.get_by_role("button", name="Find the server").click()
    page.get_by_label("A short name for it").fill("home")
    page.get_by_label("IMAP server").fill(server.host)
    page.get_by_label("User").fill("me")
    page.get_by_label("Password").fill("s3cret")
    page.get_by_text("Port and encryption").click()
    page.get_by_label("Port", exact=True).fill(str(server.port))
    page.get_by_label("Encryption").select_option("none")
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator("h1")).to_contain_text("home")
    until(lambda: client.account("home").state.phase in ("watching", "reading"), "the account")
    until(lambda: not [one for one in client.progress() if not one.finished], "the first reading")

    sale = letter(
        "boots for less",
        "Last hours: every pair half price. http://shoes-sale.example/x",
        "go@shoes-sale.example",
    )
    server.deliver("me", sale)
    mail = until(lambda: client.search("boots"), "the verdict")[0]
    page.goto(f"http://127.0.0.1:{client.port}/why/{mail.id}")
    expect(page.locator("h1.subject")).to_have_text("boots for less")
    expect(page.locator("pre", has_text="every pair half price").first).to_be_visible()
    page.get_by_role("button", name="Junk:").first.click()
    expect(page.locator(".said.good")).to_contain_text("Learned as junk")
    until(lambda: client.judgement(mail.id).moved, "the move to Junk")

    page.goto(f"http://127.0.0.1:{client.port}/?show=all")
    row = page.locator(".mail", has_text="boots for less")
    row.get_by_role("button", name="Put back").click()
    expect(page.locator(".said.good")).to_contain_text("goes back")
    until(lambda: not client.judgement(mail.id).moved, "the way back")
    kinds = [event.kind for event in client.events()]
    assert "account" in kinds
    page.goto(f"http://127.0.0.1:{client.port}/log")
    expect(page.locator("h1")).to_have_text("Log")
