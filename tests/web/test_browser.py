"""A person with a browser: every page, hostile mail, keys, a phone, no scripts. Real Chromium, through Playwright."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright

from spamd import settings
from spamd.answers import (
    AccountCheck,
    AccountPhase,
    CalibrationBin,
    HostCount,
    NightView,
    Progress,
    PromiseCheck,
    Trends,
)
from spamd.domain import DayCount, Label, LabelSource, Mode, ModelId, Verdict
from spamd.web import charts
from tests.programs import CHROMIUM, NO_CHROMIUM
from tests.web.world import HOME, HOSTILE_RAW, JUNK_RAW, WORK, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(NO_CHROMIUM), reason=NO_CHROMIUM or "-"),
]
SECONDS = 120_000  # milliseconds: generous, the machine may be busy
expect.set_options(timeout=SECONDS)

PAGES = [
    "/",
    "/review",
    "/labels",
    "/search?q=ticket",
    "/why/{why}",
    "/similar/{why}",
    "/trends",
    "/model?a={base}&b=personal-a1b2c3d4e5",
    "/accounts",
    "/accounts/home",
    "/setup",
    "/lists",
    "/try",
    "/settings",
    "/log",
    "/undo?since=2020-01-01T00:00",
    "/no-such-page",
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(world, path, **context) -> a page in a session of its own. Any stray request or error fails the test."""
    contexts, trouble = [], []

    def open_page(world: World, path: str = "/", **options):
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()

        def requested(request):
            if urlsplit(request.url).netloc != f"127.0.0.1:{world.server.port}":
                trouble.append(f"request to {request.url}")

        def said(message):
            if message.type in ("error", "warning") and "status of 40" not in message.text:
                trouble.append(f"console: {message.text}")

        page.on("request", requested)
        page.on("console", said)
        page.on("pageerror", lambda error: trouble.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(f"{world.server.url}/open?code={world.server.access.new_code()}")
        page.wait_for_url(lambda url: "/open" not in url)
        if path != "/":
            page.goto(world.server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def violations(page, only: str = "") -> list[str]:
    """WCAG 2.1 A and AA, by axe-core (injected past the page's policy, which allows no other script).

    Of long lists only the first rows: the others are made the same way.
    """
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    wanted = {"type": "rule", "values": [only]} if only else {"type": "tag", "values": rules}
    alike = [".mail:nth-child(n+5)", "tbody tr:nth-child(n+5)", ".question:nth-child(n+4)"]
    context = {"exclude": [[one] for one in alike]}
    found = Axe().run(page, context=context, options={"runOnly": wanted, "resultTypes": ["violations"]})
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_accessible_and_fits_a_phone(world, visit, path):
    page = visit(world, path.format(why=world.why_id, base=world.base), bypass_csp=True)
    expect(page.locator("h1")).to_have_count(1)
    assert page.title().endswith("· spamd")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, only="color-contrast") == []
    page.set_viewport_size({"width": 360, "height": 740})
    wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, pre, .skip, .unseen')"
        " && one.getBoundingClientRect().right > 360.5).map((one) => one.outerHTML.slice(0, 120))"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, wide


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/review",
        "/search?q=evil",
        "/why/{why}",
        "/similar/{why}",
        "/labels",
        "/undo?since=2020-01-01T00:00",
    ],
)
def test_hostile_mail_is_only_text(world, visit, path):
    page = visit(world, path.format(why=world.why_id))
    assert page.title() != "owned"
    assert page.evaluate(
        "[...document.scripts].every((one) => one.src.startsWith(location.origin + '/static/'))"
    )
    assert page.evaluate("[...document.images].every((one) => one.src.startsWith(location.origin))")
    assert (
        page.evaluate(
            "document.querySelectorAll('main iframe, main object, main embed, main link, main style, main base').length"
        )
        == 0
    )
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every((one) => ![...one.attributes].some((a) => a.name.startsWith('on') || a.name === 'style'))"
    )
    assert page.evaluate("[...document.links].every((one) => one.origin === location.origin)")
    assert len(page.content()) < 400_000  # a subject of 1 MB is clipped


def test_the_source_of_a_mail_is_shown_as_text(world, visit):
    page = visit(world, f"/why/{world.why_id}")
    page.get_by_text("Source of the mail").click()
    expect(page.locator("pre", has_text="<script>document.title='owned'</script>").first).to_be_visible()
    expect(page.locator("pre", has_text="hidden words to fool a filter").first).to_be_visible()
    expect(page.get_by_text("Hidden text", exact=True)).to_be_visible()
    assert page.title() == "Why · spamd"


def test_direction_marks_do_not_leave_their_subject(world, visit):
    page = visit(world, "/search?q=invoice")
    row = page.locator(".mail").first
    subject, side = row.locator(".mail-subject bdi"), row.locator("time")
    assert subject.bounding_box()["x"] < side.bounding_box()["x"]
    assert not {
        c for c in subject.inner_text() if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    }


def test_review_by_keys(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review")
    waiting = [item.judgement.id for item in world.control.review.items(30)]
    now = page.locator(".question.now")
    expect(now).to_have_attribute("data-id", str(waiting[0]))
    expect(page.locator(".question:visible")).to_have_count(1)
    page.keyboard.press("n")
    expect(now).to_have_attribute("data-id", str(waiting[1]))
    page.keyboard.press("s")
    expect(now).to_have_attribute("data-id", str(waiting[2]))
    page.keyboard.press("j")
    expect(now).to_have_attribute("data-id", str(waiting[3]))
    expect(page.locator(".toast")).to_contain_text("Learned as junk")
    assert (
        word(world, waiting[0]) is Label.HAM
        and word(world, waiting[1]) is None
        and word(world, waiting[2]) is Label.SPAM
    )
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("Taken back")
    expect(now).to_have_attribute("data-id", str(waiting[2]))
    assert word(world, waiting[2]) is None
    page.keyboard.press("w")
    expect(page.locator("h1.subject")).to_be_visible()


def test_review_to_the_end(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review")
    for _ in range(world.control.review.waiting()):
        here = page.locator(".question.now").get_attribute("data-id")
        page.keyboard.press("j")
        expect(page.locator(f".question.now[data-id='{here}']")).to_have_count(0)
    expect(page.get_by_text("Nothing to review.")).to_be_visible()


def test_review_without_scripts(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review", java_script_enabled=False)
    first = world.control.review.items(1)[0].judgement.id
    count = page.locator(".question").count()
    assert count > 3  # all are there, each with its buttons
    page.locator(f".question[data-id='{first}']").get_by_role("button", name="Not junk").click()
    expect(page.locator(".said.good")).to_contain_text("Learned")
    expect(page.locator(".question")).to_have_count(count - 1)
    assert word(world, first) is Label.HAM


def test_who_moved_very_many_at_once_is_answered_on_a_phone(fresh, visit):
    world = fresh(hostile=False)
    mails = [one for one in world.store.judgements(account=HOME, limit=50) if one.label is None][:30]
    for mail in mails:
        world.say(mail, Label.SPAM, LabelSource.DRAG, world.now, held=True)
    page = visit(world, "/review", bypass_csp=True, viewport={"width": 360, "height": 740})
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="A program: forget it").click()
    expect(page.locator(".said.good")).to_contain_text(f"Forgotten: {len(mails)} labels.")
    expect(page.get_by_role("button", name="A program: forget it")).to_have_count(0)
    assert world.control.labels.held_back() == []


def test_a_moved_mail_is_put_back(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/?show=junk")
    page.locator(".mail", has_text="moved to Junk").first.get_by_role("button", name="Put back").click()
    expect(page.locator(".said.good")).to_contain_text("goes back")
    assert page.url.endswith("/?show=junk")
    assert world.store.label_of(*mail_key(world, world.why_id)).source is LabelSource.UNDO
    assert not world.store.judgement(world.why_id).moved


def test_many_are_put_back_after_a_look(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/undo")
    page.get_by_label("Of model").select_option(world.base)
    page.get_by_role("button", name="Preview").click()
    heading = page.locator(".card h2")
    expect(heading).to_contain_text("would go back")
    assert not [call for call in world.engine.calls if call[0] == "put_back"]
    page.get_by_role("button", name="Put").click()
    expect(page.locator(".said.good")).to_contain_text("are going back")
    assert [call for call in world.engine.calls if call[0] == "put_back"]


def test_a_mailbox_without_junk_is_added_as_it_is(fresh, visit):
    """Nobody is made to name a folder of theirs that is none."""
    world = fresh(accounts=False, mails=False)
    page = visit(world)
    page.get_by_label("Your mail address").fill("me@new.example")
    page.get_by_role("button", name="Find the server").click()
    world.engine.check = AccountCheck(True, "Signed in.", folders=("INBOX", "Work"), junk_folder=None)
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator(".said.good")).to_contain_text("make one in your mail program")
    expect(page.get_by_label("Which folder is Junk?")).to_have_value("")
    page.get_by_label("start with my session").uncheck()
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator("h1")).to_contain_text("new.example")
    assert settings.load(world.paths.config_file).account("new.example").junk is None


def test_the_first_visit_leads_through_the_set_up(fresh, visit, home, monkeypatch):
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", "XFCE")
    world = fresh(accounts=False, mails=False)
    page = visit(world)
    expect(page.locator("h1")).to_have_text("Welcome")
    page.get_by_label("Your mail address").fill("me@new.example")
    page.get_by_role("button", name="Find the server").click()
    expect(page.get_by_label("IMAP server")).to_have_value("imap.new.example")
    page.get_by_role("button", name="Ask them").click()
    expect(page.get_by_role("button", name="Ask them")).to_have_count(0)
    assert ("look up", "me@new.example") in world.engine.calls
    page.get_by_role("button", name="mail.new.example:143").click()
    expect(page.get_by_label("IMAP server")).to_have_value("mail.new.example")
    page.get_by_role("button", name="imap.new.example:993").click()
    expect(page.get_by_label("IMAP server")).to_have_value("imap.new.example")
    world.engine.check = AccountCheck(
        False, "The server refused the password.", "It may want an app password.", wrong="sign-in"
    )
    page.get_by_label("Password").fill("wrong-secret")
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator(".said.bad")).to_contain_text("app password")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    assert "wrong-secret" not in page.content()
    world.engine.check = AccountCheck(False, "imap.new.example does not answer.", wrong="server")
    page.get_by_label("Password").fill("right-secret")
    page.get_by_role("button", name="Test and add").click()
    expect(page.get_by_label("IMAP server")).to_be_focused()
    assert "right-secret" not in page.content()
    world.engine.check = AccountCheck(True, "Signed in.", folders=("INBOX", "Mist"), junk_folder=None)
    page.get_by_role("button", name="Test and add").click()
    page.get_by_label("Which folder is Junk?").select_option("Mist")
    assert settings.load(world.paths.config_file).accounts == (), "nothing is kept before it is whole"
    expect(page.get_by_label("start with my session")).to_be_checked()
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator("h1")).to_contain_text("new.example")
    expect(page.locator(".said.good")).to_contain_text("It starts with your session from now on.")
    assert len(list(home.rglob("autostart/*.desktop"))) == 2
    account = settings.load(world.paths.config_file).account("new.example")
    assert account.host == "imap.new.example" and account.junk == "Mist"
    assert world.secrets.get("new.example") == "right-secret"
    assert ("read", "new.example") in world.engine.calls
    page.goto(world.server.url + "/setup")
    expect(page.get_by_label("start with my session")).to_have_count(0)
    page.get_by_label("Your mail address").fill("me@new.example")
    page.get_by_role("button", name="Find the server").click()
    page.get_by_label("Password").fill("right-secret")
    page.get_by_role("button", name="Test and add").click()
    expect(page.locator(".said.bad")).to_contain_text("looked after already, as new.example")


def test_an_account_is_steered(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/accounts/home")
    page.get_by_label("Learning: only watch").check()
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator(".said.good")).to_be_visible()
    assert world.control.accounts.one("home").account.mode is Mode.LEARNING
    page.get_by_label("Moves per hour at most").fill("lots")
    page.get_by_role("button", name="Save").nth(1).click()
    expect(page.locator(".said.bad")).to_contain_text("number")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator(".said.good")).to_contain_text("Signed in")
    page.get_by_role("button", name="Learn from existing folders").click()
    expect(page.locator(".progress")).to_contain_text("120 of 400")
    world.engine.states[HOME] = world.engine.states[HOME].__class__(HOME, AccountPhase.BRAKE)
    page.reload()
    page.get_by_role("button", name="It is junk: go on").click()
    expect(page.locator("h1")).to_contain_text("watching")
    page.get_by_role("button", name="Remove the account").click()
    expect(page.locator(".said.bad")).to_contain_text("Nothing was removed")
    page.get_by_label("yes, stop filtering this account").check()
    page.get_by_role("button", name="Remove the account").click()
    expect(page.locator(".said.good")).to_contain_text("was removed")


def test_training_shows_its_progress(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/model")
    if not world.control.models.all().can_train:
        expect(page.get_by_text("training extra")).to_be_visible()
        return
    page.get_by_role("button", name="Train now").click()
    expect(page.locator(".progress")).to_contain_text("Epoch 3 of 12")
    until(lambda: world.control.feed.heard_by)
    world.control.feed.publish("progress", progress(done=9, text="Epoch 9 of 12"))
    expect(page.locator(".progress")).to_contain_text("Epoch 9 of 12")
    assert page.locator("progress").evaluate("(one) => one.value") == 9
    world.engine.work = []
    world.control.feed.publish("progress", progress(done=12, text="Taken.", finished=True))
    expect(page.locator(".progress")).to_have_count(0)


def test_models_are_compared_and_changed(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/model")
    page.get_by_label(f"A {world.base}").check()
    page.get_by_label("B personal-a1b2c3d4e5").check()
    page.get_by_role("button", name="Compare A and B").click()
    expect(page.get_by_text("good mails learned from", exact=True)).to_be_visible()
    page.get_by_role("button", name="Use the shipped model").click()
    expect(page.locator("h2", has_text="In use")).to_contain_text(world.base)
    page.locator("select[name=id]").select_option("personal-a1b2c3d4e5")
    page.get_by_role("button", name="Use this model").click()
    expect(page.locator("h2", has_text="In use")).to_contain_text("personal-a1b2c3d4e5")


def test_a_mail_is_tried_dropped_and_taught(fresh, visit, tmp_path):
    world = fresh(hostile=False)
    page = visit(world, "/try")
    page.get_by_label("Source of the mail").fill(JUNK_RAW.decode())
    page.get_by_role("button", name="Judge it").click()
    expect(page.locator("h2", has_text="What made it")).to_be_visible()
    file = tmp_path / "hostile.eml"
    file.write_bytes(HOSTILE_RAW)
    page.wait_for_load_state()  # its script reads the file
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("pre", has_text="hidden words to fool a filter").first).to_be_visible()
    expect(page).to_have_title("Try it · spamd")
    count = len(world.control.labels.newest(limit=1000))
    page.get_by_role("button", name="Teach: junk").click()
    expect(page.locator(".said.good")).to_contain_text("Learned")
    assert len(world.control.labels.newest(limit=1000)) == count + 1


def test_lists_settings_labels_and_log(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/lists")
    page.get_by_label("Address or domain").fill("Friend@Example.org")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("td", has_text="friend@example.org")).to_be_visible()
    page.get_by_role("button", name="Remove friend@example.org").click()
    expect(page.locator("td", has_text="friend@example.org")).to_have_count(0)
    page.get_by_label("Address or domain").fill("nonsense")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".said.bad")).to_contain_text("neither an address nor a domain")

    page.goto(world.server.url + "/settings")
    page.get_by_label("Days it is kept").fill("30")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".said.good")).to_have_text("Saved.")
    assert settings.load(world.paths.config_file).keep_days == 30
    page.get_by_role("button", name="Wipe").click()
    expect(page.locator(".said.bad")).to_contain_text("Nothing was wiped")
    page.get_by_label("yes, wipe it").check()
    page.get_by_role("button", name="Wipe").click()
    expect(page.locator(".said.good")).to_contain_text("Wiped")
    page.goto(world.server.url + "/?show=junk")
    expect(page.get_by_text("no subject kept").first).to_be_visible()

    page.goto(world.server.url + "/labels")
    rows = page.locator("tbody tr").count()
    page.get_by_role("button", name="Take back").first.click()
    expect(page.locator("tbody tr")).to_have_count(rows - 1)

    page.goto(world.server.url + "/log")
    page.get_by_label("Until").fill("2020-01-01")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing in this time.")).to_be_visible()


def test_figures_change_by_themselves(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world)
    expect(page.locator("[data-live=headline]")).to_have_text("Watching your mail.")
    until(lambda: world.control.feed.heard_by)
    world.engine.states[HOME] = world.engine.states[HOME].__class__(HOME, AccountPhase.OFFLINE)
    world.control.feed.publish("state", {"account": "home"})
    expect(page.locator("[data-live=headline]")).to_contain_text("not connected")


def arrives(world: World, number: int, verdict: Verdict = Verdict.KEEP) -> None:
    """A mail is judged, and told as the filter tells it."""
    row = (f"ann{number}@friends.example", f"Just in {number}", "")
    mail = world.add(number, row, verdict, 0.5, time.time(), HOME)
    world.control.feed.publish("verdict", {"id": mail.id, "account": HOME, "moved": False})


def test_a_filter_that_was_stopped_is_told(fresh, browser):
    """Else the page would go on to say "Watching your mail", and its buttons lead nowhere."""
    world = fresh()
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"{world.server.url}/open?code={world.server.access.new_code()}")
        page.wait_for_url(lambda url: "/open" not in url)
        expect(page.locator("[data-live=gone]")).to_be_hidden()
        world.server.stop()
        expect(page.locator("[data-live=gone]")).to_be_visible()
        expect(page.locator("[data-live=gone]")).to_contain_text("spamdctl open")
    finally:
        context.close()


def test_what_needs_the_person_names_its_account_once(fresh, visit):
    world = fresh()
    detail = "imap.example.org refused the password."
    refused = replace(world.engine.states[HOME], phase=AccountPhase.SIGN_IN, detail=detail)
    world.engine.states[HOME] = refused
    world.store.add_event("account", f"{detail} Give the new one.", account=HOME, needs_person=True)
    world.store.add_event("account", "There is no Junk folder.", account=WORK, needs_person=True)
    page = visit(world)
    expect(page.get_by_text(detail)).to_have_count(1)
    expect(page.get_by_text("work: There is no Junk folder.")).to_be_visible()
    expect(page.locator("[data-live=headline]")).to_have_class("state bad")
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_label("New password")).to_be_in_viewport()


def test_todays_list_grows_by_itself(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world)
    kept = int(page.locator("[data-live=keep]").inner_text())
    page.mouse.move(5, 5)
    until(lambda: world.control.feed.heard_by)
    arrives(world, 9001)
    expect(page.locator(".mail").first).to_contain_text("Just in 9001")
    expect(page.locator("[data-live=keep]")).to_have_text(str(kept + 1))
    expect(page.locator(".mail")).to_have_count(40)


def test_nothing_moves_under_the_hand(fresh, visit):
    """Who is about to press a button must not hit another mail's."""
    world = fresh(hostile=False)
    page = visit(world)
    first = page.locator(".mail").first.get_attribute("data-mail")
    page.locator(".mail").first.get_by_role("button").first.hover()
    until(lambda: world.control.feed.heard_by)
    arrives(world, 9001)
    at = page.locator(".mail").first.bounding_box()
    more = page.get_by_role("button", name="1 new mail: show it")
    expect(more).to_be_visible()
    assert page.locator(".mail").first.bounding_box() == at
    assert page.locator(".mail").first.get_attribute("data-mail") == first
    arrives(world, 9002)
    more = page.get_by_role("button", name="2 new mails: show them")
    more.click()
    expect(page.locator(".mail").first).to_contain_text("Just in 9002")
    expect(more).to_be_hidden()


def test_older_pages_and_what_was_said_stay(fresh, visit):
    """A page's own look neither brings new mail among the old nor takes a message meant for the person."""
    world = fresh(hostile=False)
    page = visit(world)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    rows = [one.get_attribute("data-mail") for one in page.locator(".mail").all()]
    until(lambda: world.control.feed.heard_by)
    with page.expect_response(lambda answer: answer.request.headers.get("x-look-again") == "yes"):
        arrives(world, 9001)
    assert [one.get_attribute("data-mail") for one in page.locator(".mail").all()] == rows
    page.locator(".mail").last.get_by_role("button", name="Not junk").or_(
        page.locator(".mail").last.get_by_role("button", name="Put back")
    ).click()
    expect(page.locator(".said.good")).to_be_visible()


def test_the_count_of_review_is_right_everywhere(fresh, visit):
    world = fresh(hostile=False)
    badge = "[data-live=review]"
    page = visit(world, "/review")
    waiting = world.control.review.waiting()
    expect(page.locator(badge)).to_have_text(f"{waiting} waiting")
    page.keyboard.press("j")
    expect(page.locator(badge)).to_have_text(f"{waiting - 1} waiting")
    page.keyboard.press("u")
    expect(page.locator(badge)).to_have_text(f"{waiting} waiting")
    other = visit(world, "/lists")
    until(lambda: world.control.feed.heard_by)
    arrives(world, 9003, Verdict.UNSURE)
    expect(other.locator(badge)).to_have_text(f"{waiting + 1} waiting")


def test_review_begins_again_when_something_comes(fresh, visit):
    world = fresh(hostile=False, mails=False)
    page = visit(world, "/review")
    expect(page.get_by_text("Nothing to review.")).to_be_visible()
    expect(page.locator("[data-live=review]")).to_be_hidden()
    until(lambda: world.control.feed.heard_by)
    arrives(world, 9004, Verdict.UNSURE)
    expect(page.locator(".question.now")).to_contain_text("Just in 9004")


def test_an_answer_is_taken_back_after_the_browsers_back(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review")
    first = page.locator(".question.now").get_attribute("data-id")
    page.keyboard.press("j")
    expect(page.locator(".toast")).to_contain_text("Learned as junk")
    page.keyboard.press("w")
    expect(page.locator("h1.subject")).to_be_visible()
    page.go_back()
    expect(page.locator(".question.now")).to_be_visible()
    expect(page.locator(f".question[data-id='{first}']")).to_have_count(0)
    page.keyboard.press("u")
    expect(page.locator(".question.now")).to_have_attribute("data-id", first)
    expect(page.locator(".toast")).to_contain_text("Taken back")
    assert word(world, int(first)) is None
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("There is no answer to take back.")


def test_an_answer_that_did_not_arrive_is_asked_again(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review")
    count = page.locator("[data-live=review-left]")
    before = count.inner_text()
    first = page.locator(".question.now").get_attribute("data-id")
    page.route(
        "**/label",
        lambda route: route.fulfill(status=400, json={"error": {"title": "No.", "hint": "Later."}}),
    )
    page.reload()  # a page that is there already may send its next request past the route
    page.keyboard.press("j")
    expect(page.locator(".toast")).to_contain_text("No. Later.")
    expect(count).to_have_text(before)
    page.unroute("**/label")
    assert word(world, int(first)) is None
    for _ in range(page.locator(".question").count() - 1):
        here = page.locator(".question.now").get_attribute("data-id")
        page.keyboard.press("s")
        expect(page.locator(f".question.now[data-id='{here}']")).to_have_count(0)
    expect(page.locator(".question.now")).to_have_attribute("data-id", first)


def test_what_could_not_be_taken_back_can_be_tried_again(fresh, visit):
    world = fresh(hostile=False)
    page = visit(world, "/review")
    first = page.locator(".question.now").get_attribute("data-id")
    page.route(
        "**/unanswer",
        lambda route: route.fulfill(status=400, json={"error": {"title": "Not now.", "hint": ""}}),
    )
    page.reload()  # as above
    page.keyboard.press("j")
    expect(page.locator(".toast")).to_be_visible()
    assert word(world, int(first)) is Label.SPAM
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("Not now.")
    page.unroute("**/unanswer")
    page.keyboard.press("u")
    expect(page.locator(f".question.now[data-id='{first}']")).to_have_count(1)
    assert word(world, int(first)) is None


def test_only_the_keyboard(world, visit):
    page = visit(world)
    page.keyboard.press("Tab")
    expect(page.get_by_text("To the content")).to_be_focused()
    page.keyboard.press("Enter")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.closest('main') !== null"))
    assert all(seen)
    page.keyboard.press("/")
    page.wait_for_url("**/search")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("ticket")
    page.keyboard.press("Enter")
    expect(page.locator(".mail").first).to_contain_text("ticket")


def test_a_stranger_is_told_how_to_open_the_pages(world, browser):
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(world.server.url + "/review")
    assert answer.status == 401
    expect(page.locator("main")).to_contain_text("spamdctl open")
    context.close()


def test_another_local_page_can_neither_read_nor_change_nor_frame(world, visit, browser, tmp_path):
    """The attack as it would be made: a page on another port of this computer, in the same browser."""
    page = visit(world)
    evil = tmp_path / "evil.html"
    url = world.server.url
    evil.write_text(
        f"<iframe id=f src='{url}/'></iframe><form id=p method=post action='{url}/do/pause'><input name=long value=hour></form>"
    )
    other = page.context.new_page()
    other.goto(evil.as_uri())
    results = other.evaluate(
        """async (url) => {
          const tries = [
            fetch(url + "/api/v1/status", {credentials: "include"}),
            fetch(url + "/api/v1/pause", {method: "POST", credentials: "include", mode: "no-cors", body: "{}"}),
            fetch(url + "/api/v1/pause", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"}),
          ];
          return (await Promise.allSettled(tries)).map((one) => one.status === "fulfilled" ? one.value.type : "refused");
        }""",
        url,
    )
    assert results == ["refused"] * 3
    framed = next(frame for frame in other.frames if frame != other.main_frame)
    assert "Today" not in (framed.content() if framed.url.startswith(url) else "")
    answer = None
    try:
        with other.expect_navigation() as navigation:
            other.evaluate("document.getElementById('p').submit()")
        answer = navigation.value
    except Error:
        pass
    assert answer is None or answer.status in (401, 403)
    assert not [call for call in world.engine.calls if call[0] == "pause"]


def word(world: World, judgement_id: int) -> Label | None:
    label = world.store.label_of(*mail_key(world, judgement_id))
    return label.label if label and label.source is LabelSource.REVIEW else None


def mail_key(world: World, judgement_id: int):
    mail = world.store.judgement(judgement_id)
    return mail.account, mail.identity


def progress(**changes) -> dict:
    from spamd import wire

    return wire.to_json(
        Progress("train", None, **{"done": 0, "total": 12, "text": "", "started_at": 0.0, **changes})
    )


def until(condition) -> None:
    waiting = threading.Event()
    for _ in range(6000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("this did not happen in 60 s")


def test_the_pictures_have_their_script():
    assert (Path(__file__).parent.parent.parent / "scripts" / "screenshots.py").is_file()


@pytest.mark.parametrize("name", charts.CHARTS)
def test_no_letter_of_a_picture_is_cut_off_on_a_phone(browser, name):
    """There the letters are larger than those for which the picture was laid out."""
    day = DayCount("2026-11-29", 12_000, 1, 2, 1, 10_001, 12_500)
    trends = Trends(
        30,
        (day,),
        (PromiseCheck(HOME, 0.001, 1, 0, 0.0, 0.95),),
        (CalibrationBin(0.9, 1.0, 0.97, 0.95, 400),),
        (HostCount("a.example", 12_345),),
        (NightView(ModelId("personal-1"), time.time(), 12_000, 20, {}, ()),),
    )
    page = browser.new_page(viewport={"width": 360, "height": 740})
    try:
        page.set_content(
            f'<body style="margin:0"><div style="width:300px">{charts.draw(name, trends).decode()}</div>'
        )
        cut = page.evaluate("""() => {
            const whole = document.querySelector("svg").getBoundingClientRect();
            return [...document.querySelectorAll(".axis text, .legends text")].filter((one) => {
                const box = one.getBoundingClientRect();
                return box.width && (box.left < whole.left || box.right > whole.right || box.bottom > whole.bottom);
            }).map((one) => one.textContent);
        }""")
    finally:
        page.close()
    assert not cut
