"""Pages without a browser: forms at their edges, redirects, and what is never shown."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from spamd import settings
from spamd.answers import AccountCheck, ServerGuess
from spamd.domain import (
    Account,
    AccountName,
    AuthMethod,
    FolderName,
    Label,
    LabelRecord,
    LabelSource,
    Verdict,
)
from spamd.errors import ConfigError, CredentialError, SecretMissing, StoreBusy
from spamd.judgement import corrections
from spamd.opening import remarks
from spamd.tray import view
from spamd.web import pages
from tests.web.conftest import signed_in
from tests.web.world import HOME, WORK, World, move


def post(client, world: World, path: str, **fields: str):
    return client.post(path, data=fields, headers={"Origin": world.server.url})


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/\r\nSet-Cookie: x=1",
        "/do/stop",
        "/ü",
        "",
    ],
)
def test_a_form_leads_back_to_our_pages_only(world, back):
    with signed_in(world) as client:
        answer = post(client, world, "/do/resume", back=back)
    assert answer.status_code == 303 and answer.headers["location"] == "/"


def test_a_form_leads_back_to_where_it_was(world):
    with signed_in(world) as client:
        answer = post(client, world, "/do/resume", back="/?show=junk&before=12")
        assert answer.headers["location"] == "/?show=junk&before=12"
        assert "Filtering goes on." in client.get("/").text
        assert "Filtering goes on." not in client.get("/").text  # said once


def test_what_is_said_is_for_that_browser(world):
    with signed_in(world) as one, signed_in(world) as other:
        post(one, world, "/do/resume", back="/")
        assert "Filtering goes on." not in other.get("/").text
        assert "Filtering goes on." in one.get("/").text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/do/answer", {}),
        ("/do/answer", {"id": "1", "label": "maybe"}),
        ("/do/answer", {"id": "-1", "label": "ham"}),
        ("/do/answer", {"id": "9" * 40, "label": "ham"}),
        ("/do/answer", {"id": "99999999", "label": "ham"}),
        ("/do/undo-move", {"id": "x"}),
        ("/do/undo", {}),
        ("/do/mode", {"account": "nobody", "mode": "filtering"}),
        ("/do/pause", {"account": "nobody"}),
        ("/do/list", {"value": "<script>", "label": "ham"}),
        ("/do/unlist", {"value": "nobody.example"}),
        ("/do/forget-label", {"account": "home", "identity": "hash:none"}),
        ("/do/held", {}),
        ("/do/teach", {"raw": "", "label": "ham"}),
        ("/do/try", {"raw": ""}),
        ("/do/settings", {"keep_days": "many"}),
        ("/do/account", {"account": "home", "promise": "2"}),
        ("/do/settle", {"id": "12345"}),
        ("/do/wipe", {"sure": "yes", "what": "everything"}),
        ("/do/roll-back", {"id": "personal-../../x"}),
        ("/setup", {"step": "find", "address": "nobody"}),
        ("/setup", {"step": "add", "name": "x", "host": "h.example", "user": "u", "port": "99999"}),
        ("/setup", {"step": "add", "name": "../x", "host": "h.example", "user": "u"}),
        ("/setup", {}),
    ],
)
def test_a_wrong_form_is_told_and_changes_nothing(world, path, fields):
    with signed_in(world) as client:
        answer = post(client, world, path, **fields)
    assert answer.status_code in (400, 404)
    assert "<h1" in answer.text
    assert not [call for call in world.engine.calls if call[0] in ("put_back", "file_junk", "pause", "train")]


def test_what_was_very_much_at_once_is_answered_as_a_whole(world):
    mails = [one for one in world.store.judgements(account=HOME, limit=50) if one.label is None][:3]
    with signed_in(world) as client:
        assert "/do/held" not in client.get("/review").text
        assert ">Answer</a>" not in client.get("/").text
        world.store.add_event("correction", "Was that you?", account=HOME, needs_person=True)
        assert '<a class="button main" href="/review">Answer</a>' in client.get("/").text
        for mail in mails[1:]:
            world.say(mail, Label.SPAM, LabelSource.DRAG, world.now, held=True)
        hint = LabelRecord(
            HOME, mails[0].identity, Label.SPAM, LabelSource.HINT, 0.3, world.now, mails[0].score.model_id
        )
        world.store.add_label(replace(hint, held=True, note=f"keyword; {corrections.AT_ONCE}"))
        asked = client.get("/review").text
        assert "3 mails changed place or keyword" in asked and "together with very many others" in asked
        answer = post(client, world, "/do/held", mine="yes", back="/review")
        assert "Learned: 3 labels." in client.get(answer.headers["location"]).text
        assert ">Answer</a>" not in client.get("/").text
    assert [one.held for one in map(world.store.label_of, [HOME] * 3, [m.identity for m in mails])] == [
        False
    ] * 3
    assert ("rebuild",) in world.engine.calls


def test_what_went_to_the_folder_for_doubtful_mail_is_not_called_moved_to_junk(world):
    unsure = next(
        one for one in world.store.judgements(verdict=Verdict.UNSURE, limit=50) if one.label is None
    )
    move(world.store, unsure, world.now, "Doubtful")
    with signed_in(world) as client:
        found = client.get("/?show=unsure").text
    row = re.search(rf'data-mail="{unsure.id}".*?</li>', found, re.DOTALL)
    assert row and "unsure, moved" in row[0] and "moved to Junk" not in row[0]


def test_todays_figures_are_those_of_the_icon(world, monkeypatch):
    """Junk that stays counts, too: an account that only learns moves none."""
    today = {"keep": 3, "unsure": 2, "junk": 5, "moved": 4, "corrected": 1}
    status = replace(world.control.status(), today=today)
    monkeypatch.setattr(world.control, "status", lambda: status)
    with signed_in(world) as client:
        page = client.get("/").text
    tiles = re.findall(r'<dt>([\w ]+)</dt><dd data-live="\w+">(\d+)</dd>', page)
    assert tiles == [("good", "3"), ("unsure", "2"), ("junk", "5"), ("moved", "4"), ("you corrected", "1")]
    assert view.today(status) == "Today: 10 judged, 4 moved, 1 corrected by you"


def test_older_labels_can_be_seen_and_taken_back(world, monkeypatch):
    monkeypatch.setattr(pages, "LABELS_SHOWN", 3)
    said = [one.identity for one in world.control.labels.newest(source=LabelSource.DRAG)]
    assert len(said) > 3
    found, path = [], "/labels?source=drag"
    with signed_in(world) as client:
        while path:
            page = client.get(path).text
            found += re.findall(r'name="identity" value="([^"]+)"', page)
            older = re.search(r'href="(\?[^"]*before=\d+)">Older', page)
            path = f"/labels{html.unescape(older[1])}" if older else ""
    assert found == said


def test_what_is_no_form_is_refused(world):
    with signed_in(world) as client:
        headers = {"Origin": world.server.url}
        for kind, body in (("application/json", b"{}"), ("multipart/form-data; boundary=x", b"--x--")):
            answer = client.post("/do/resume", content=body, headers=headers | {"Content-Type": kind})
            assert answer.status_code == 400
        many = "&".join(f"a{n}=1" for n in range(1000)).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/do/resume", content=many, headers=headers | kind).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/why/99999999",
        "/similar/99999999",
        "/accounts/nobody",
        "/charts/none.svg",
        "/nothing",
        "/why/x",
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
    ],
)
def test_what_is_not_there(world, path):
    with signed_in(world) as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "?before=x",
        "?before=" + "9" * 50,
        "?show=<script>",
        "?days=0",
        "?days=99999999999",
        "?since=x&until=y",
        "?q=%00%ff",
        "?a=x&b=y",
        "?source=x",
    ],
)
@pytest.mark.parametrize("path", ["/", "/labels", "/search", "/trends", "/model", "/log", "/charts/mail.svg"])
def test_strange_questions_are_answered(world, path, query):
    with signed_in(world) as client:
        answer = client.get(path + query)
    assert answer.status_code == 200
    assert "<script>" not in answer.text


def test_signing_in_with_a_provider(fresh):
    world = fresh(accounts=False, mails=False)
    google = Account(
        AccountName("gmail"),
        host="imap.gmail.com",
        user="me@gmail.com",
        auth=AuthMethod.OAUTH,
        oauth_provider="google",
    )
    world.engine.find_servers = lambda address, look_up: [
        ServerGuess(google, "table", "Or with an app password.")
    ]
    world.engine.check = AccountCheck(False, "Not signed in yet.")
    with signed_in(world) as client:
        found = post(client, world, "/setup", step="find", address="me@gmail.com")
        assert "in the browser, with google" in found.text and "Or with an app password." in found.text
        fields = {
            "name": "gmail",
            "host": "imap.gmail.com",
            "user": "me@gmail.com",
            "auth": "oauth",
            "oauth_provider": "google",
        }
        answer = post(client, world, "/setup", step="add", secret="typed before", **fields)
    with pytest.raises(CredentialError):  # a password is not kept as what the provider grants
        world.secrets.get(AccountName("gmail"))
    assert answer.status_code == 200 and "ABCD-EFGH" in answer.text
    assert 'href="https://login.provider.example/device"' in answer.text
    assert world.control.accounts.one("gmail").account.oauth_provider == "google"


def test_a_sign_in_that_cannot_begin_leaves_no_account(fresh):
    world = fresh(accounts=False, mails=False)
    world.engine.check = AccountCheck(False, "Not signed in yet.")

    def refuse(account):
        raise ConfigError("No client id is known for google.", "Name one in oauth_file.")

    world.engine.sign_in = refuse
    fields = {"name": "gmail", "host": "imap.gmail.com", "user": "me@gmail.com", "auth": "oauth"}
    with signed_in(world) as client:
        answer = post(client, world, "/setup", step="add", oauth_provider="google", **fields)
    assert answer.status_code == 400 and "Name one in oauth_file." in answer.text
    assert "imap.gmail.com" in answer.text, "what was typed stays"
    assert settings.load(world.paths.config_file).accounts == ()


def test_a_password_is_never_sent_back(fresh):
    world = fresh(accounts=False, mails=False)
    world.engine.check = AccountCheck(False, "Wrong.")
    fields = {"name": "n", "host": "h.example", "user": "u", "secret": "pa55w0rd"}
    with signed_in(world) as client:
        answer = post(client, world, "/setup", step="add", **fields)
        assert "pa55w0rd" not in answer.text and "h.example" in answer.text
        bad = post(client, world, "/setup", step="add", **fields, port="x")
        assert "pa55w0rd" not in bad.text


def test_a_password_is_not_kept_where_the_browser_signs_in(fresh):
    """Typed before the other way was chosen, with something else that is wrong."""
    world = fresh(accounts=False, mails=False)
    fields = {"step": "add", "name": "n", "host": "h.example", "user": "u", "port": "x"}
    with signed_in(world) as client:
        post(client, world, "/setup", **fields, secret="pa55w0rd", auth="oauth")
        again = post(client, world, "/setup", **fields)
    assert again.status_code == 400 and "as typed before" not in again.text


def test_the_choice_of_junk_outlasts_a_password_that_cannot_be_kept(fresh):
    """A keyring that is missing, or a file that is none: what was chosen stands when that is mended."""
    world = fresh(accounts=False, mails=False)
    (world.paths.config / "tests.json").mkdir()
    folders = (FolderName("INBOX"), FolderName("Mist"))
    world.engine.check = AccountCheck(True, "Signed in.", folders=folders, junk_folder=FolderName("Mist"))
    fields = {"name": "n", "host": "h.example", "user": "u", "secret": "pa55w0rd", "junk": "Mist"}
    with signed_in(world) as client:
        answer = post(client, world, "/setup", step="add", **fields)
    assert answer.status_code == 400
    assert settings.load(world.paths.config_file).accounts == ()
    assert '<option value="Mist" selected>' in answer.text and "pa55w0rd" not in answer.text


@pytest.mark.parametrize("chosen", ["Mist", ""])
def test_the_choice_of_junk_outlasts_a_port_that_is_none(fresh, chosen):
    """Nor is the password asked for again. Only on a server that has no such folder the choice is."""
    world = fresh(accounts=False, mails=False)
    folders = (FolderName("INBOX"), FolderName("Mist"))
    world.engine.check = AccountCheck(True, "Signed in.", folders=folders)
    fields = {"step": "add", "name": "n", "host": "h.example", "user": "u"}
    selected = f'<option value="{chosen}" selected>'
    with signed_in(world) as client:
        wrong = post(client, world, "/setup", **fields, secret="pa55w0rd", port="9g3")
        assert wrong.status_code == 400 and 'placeholder="as typed before"' in wrong.text
        asked = post(client, world, "/setup", **fields)
        assert 'name="junk"' in asked.text and " selected>" not in asked.text.partition('name="tls"')[0]
        wrong = post(client, world, "/setup", **fields, port="9g3", junk=chosen)
        assert wrong.status_code == 400 and 'value="9g3"' in wrong.text
        assert "<details open>" in wrong.text, "what is to be mended is in sight"
        assert '<option value="Mist"' in wrong.text and (selected in wrong.text) == bool(chosen)
        world.engine.check = AccountCheck(False, "The server did not answer.", wrong="server")
        wrong = post(client, world, "/setup", **fields, junk=chosen)
        assert '<option value="Mist"' in wrong.text and (selected in wrong.text) == bool(chosen)
        elsewhere = AccountCheck(True, "Signed in.", folders=(FolderName("INBOX"), FolderName("Spam")))
        world.engine.check = replace(elsewhere, junk_folder=FolderName(chosen) if chosen else None)
        if chosen:
            asked = post(client, world, "/setup", **fields, junk=chosen)
            assert asked.status_code == 200 and '<option value="Spam">' in asked.text
            assert settings.load(world.paths.config_file).accounts == ()
            chosen = "Spam"
        assert post(client, world, "/setup", **fields, junk=chosen).status_code == 303
    (added,) = settings.load(world.paths.config_file).accounts
    assert (added.junk or "", world.secrets.get(added.name)) == (chosen, "pa55w0rd")


def test_what_stays_of_a_removed_account_is_said_on_the_page_of_those_left(fresh):
    world = fresh()
    (world.paths.config / "tests.json").mkdir()  # passwords cannot be reached
    with signed_in(world) as client:
        answer = post(client, world, "/do/remove", account="work", sure="yes", back="/accounts/work")
        assert (answer.status_code, answer.headers["location"]) == (303, "/accounts")
        page = client.get("/accounts").text
    assert "The account work was removed." in page and "Its password could not be removed" in page
    assert "/accounts/work" not in page


def test_a_notice_leads_to_its_account_while_there_is_one(fresh):
    world = fresh()
    world.store.add_event("error", "There is no room.", account=WORK, needs_person=True)
    with signed_in(world) as client:
        assert 'href="/accounts/work">Open the account' in client.get("/").text
        world.control.accounts.remove(WORK)
        page = client.get("/").text
    assert "There is no room." in page and "/accounts/work" not in page


def test_settings_are_called_by_words_with_their_names_beside(world):
    with signed_in(world) as client:
        page = client.get("/settings").text
    for option in settings.OPTIONS:
        assert f'<label for="s-{option.name}">{option.title}</label> <code>{option.name}</code>' in page
    assert 'name="oauth_file"' not in page and "spamdctl settings set oauth_file FILE" in page
    assert "<option>command" not in page


def test_what_was_refused_can_be_mended(fresh):
    """It stands in the form again, with all that was typed beside it; once."""
    world = fresh()
    world.engine.states[HOME] = replace(world.engine.states[HOME], quirk="gmail")
    with signed_in(world) as client:
        for path, back, fields in (
            ("/do/list", "/lists", {"value": "no <address>", "label": "spam", "expires": "2099-05-04"}),
            ("/do/settings", "/settings", {"promise": "2", "keep_days": "31", "display": "nothing"}),
            (
                "/do/account",
                "/accounts/home",
                {"account": "home", "junk": "Mist", "wait_seconds": "soon", "gmail_label": "Unsure"},
            ),
        ):
            post(client, world, path, back=back, **fields)
            again, later = (client.get(back).raise_for_status().text for _ in range(2))
            for text in ("no &lt;address&gt;", "2099-05-04", "31", "Mist", "soon", "Unsure"):
                if text in {value.replace("<", "&lt;").replace(">", "&gt;") for value in fields.values()}:
                    assert f'value="{text}"' in again and f'value="{text}"' not in later
            assert (" selected>always junk" in again) is (back == "/lists")
            assert ("<option selected>nothing" in again) is (back == "/settings")
        post(client, world, "/do/secret", back="/accounts/home", account="nobody", secret="pa77w0rd")
        assert "pa77w0rd" not in client.get("/accounts/home").text
        post(client, world, "/do/unlist", back="/lists", value="gone@other.example")
        assert 'value="gone@other.example"' not in client.get("/lists").text, "another form's"


def test_a_new_password_is_tried_before_it_is_stored(fresh):
    """What the server refuses is not kept; where it does not answer, nobody knows."""
    world = fresh()
    refused = AccountCheck(False, "The server refused it.", "An app password?", wrong="sign-in")
    with signed_in(world) as client:
        for check, secret, said in (
            (refused, "pa44w0rd", "An app password? Nothing was stored."),
            (
                AccountCheck(False, "Nothing answers.", wrong="server"),
                "pa55w0rd",
                "It could not be tried yet: Nothing",
            ),
            (AccountCheck(True, "Signed in."), "pa66w0rd", "The new password is stored."),
        ):
            world.engine.check = check
            post(client, world, "/do/secret", account="home", secret=secret, back="/accounts/home")
            page = client.get("/accounts/home").text
            assert said in page and secret not in page
            assert world.engine.calls[-2 if check is not refused else -1] == ("check", HOME, secret)
            if check is refused:
                with pytest.raises(SecretMissing):
                    world.secrets.get(HOME)
            else:
                assert world.secrets.get(HOME) == secret


def test_a_busy_database_is_told(world, monkeypatch):
    def busy(*args, **kwargs):
        raise StoreBusy("The database is locked.", "Another program uses it.")

    with signed_in(world) as client:
        monkeypatch.setattr(world.store, "judgements", busy)
        world.control.kept.clear()
        answer = client.get("/search?since=2026-01-01")
    assert answer.status_code == 503 and "Another program uses it." in answer.text


def test_a_fault_is_logged_without_its_words(world, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise ValueError("subject of a private mail")

    with signed_in(world) as client:
        monkeypatch.setattr(world.store, "list_entries", broken)
        answer = client.get("/lists")
    assert answer.status_code == 500 and "private" not in answer.text
    assert "ValueError" in caplog.text and "private" not in caplog.text


def test_the_shadow_table_of_an_account_that_does_not_filter_yet(world):
    shadow = next(one for one in world.control.figures.shadow() if one.account == WORK)
    assert shadow.judged and shadow.would_move
    with signed_in(world) as client:
        page = client.get(f"/accounts/{WORK}").text
        assert "What would have been moved" in page and shadow.text in page
        assert f"/why/{shadow.mails[0].judgement.id}" in page
        assert shadow.text in client.get("/").text
        assert "What would have been moved" not in client.get(f"/accounts/{HOME}").text


def test_what_gmail_does_with_a_move_to_spam_is_said_where_it_is_set_up_and_on_its_page(fresh):
    world = fresh(mails=False)
    said = remarks("gmail", world.control.accounts.one(HOME).account)
    assert any("reports the sender to Google" in one for one in said)
    world.engine.states[HOME] = replace(world.engine.states[HOME], quirk="gmail", remarks=said)
    world.engine.check = replace(world.engine.check, remarks=said)
    with signed_in(world) as client:
        page = client.get(f"/accounts/{HOME}").text
        assert "reports the sender to Google" in page and 'name="gmail_label"' in page
        assert 'name="gmail_label"' not in client.get(f"/accounts/{WORK}").text
        post(client, world, "/do/account", account=HOME, gmail_label="Verdacht")
        assert world.control.accounts.one(HOME).account.gmail_label == "Verdacht"
        fields = {"step": "add", "name": "g", "host": "imap.gmail.com", "user": "a@gmail.com", "secret": "x"}
        answer = client.post(
            "/setup", data=fields, headers={"Origin": world.server.url}, follow_redirects=True
        )
        assert answer.status_code == 200 and "reports the sender to Google" in answer.text


def test_a_server_without_passwords_leads_to_the_browser(fresh):
    """The set-up page then has the provider chosen, and keeps what was typed."""
    world = fresh(mails=False)
    world.engine.check = replace(
        world.engine.check,
        ok=False,
        text="h.example accepts no passwords any more.",
        wrong="sign-in",
        browser="microsoft",
    )
    fields = {"step": "add", "name": "n", "host": "h.example", "user": "u", "secret": "x", "auth": "password"}
    with signed_in(world) as client:
        page = client.post("/setup", data=fields, headers={"Origin": world.server.url}).text
    assert "accepts no passwords any more" in page
    assert 'name="oauth_provider" value="microsoft"' in page
    assert 'value="oauth" checked' in page
    assert 'value="h.example"' in page
