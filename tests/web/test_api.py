"""The API does what its document says, and what people and programs ask of it."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace

import pytest

from spamd import settings
from spamd.answers import AccountCheck, AccountPhase, imported
from spamd.client import Client
from spamd.domain import Label, LabelSource, Mode, MoveKind, MoveState, TlsMode, Verdict
from spamd.errors import ConnectionLost, DoneInPart, MailboxError, NotFound, NotRunning, RequestError
from spamd.web.api import ROUTES
from spamd.web.openapi import document
from tests.web.conftest import bearer
from tests.web.world import HOME, HOSTILE_RAW, JUNK_RAW


@pytest.fixture
def talk(fresh):
    """A fresh world and a client of it."""
    world = fresh()
    with Client.connect(world.paths) as client:
        yield world, client


def test_status_says_how_things_are(talk):
    world, client = talk
    status = client.status()
    assert status.headline == "Watching your mail."
    assert [view.account.name for view in status.accounts] == ["home", "work"]
    assert "642 good mails" in status.accounts[0].headline
    assert status.review_waiting > 5
    assert status.model and status.model.id == "personal-a1b2c3d4e5"
    assert [event.kind for event in status.needs_person] == ["mode"]
    client.settle_event(status.needs_person[0].id)
    assert client.status().needs_person == ()
    world.engine.states[HOME] = world.engine.states[HOME].__class__(HOME, AccountPhase.SIGN_IN)
    assert "sign in" in client.status().headline


def test_judgements_are_paged(talk):
    _, client = talk
    first = client.judgements(limit=10)
    second = client.judgements(limit=10, before_id=first[-1].id)
    assert len(first) == len(second) == 10
    assert first[-1].at >= second[0].at and not {m.id for m in first} & {m.id for m in second}
    assert {m.decision.verdict for m in client.judgements(verdict=Verdict.JUNK)} == {Verdict.JUNK}
    middle = first[5].at
    assert all(m.at >= middle for m in client.judgements(since=middle))
    assert all(m.at < middle for m in client.judgements(until=middle))
    assert {m.account for m in client.judgements(account="work")} == {"work"}
    with pytest.raises(NotFound):
        client.judgement(10**9)


def test_an_answer_teaches_and_moves(talk):
    world, client = talk
    unsure = next(
        item for item in client.review(50) if item.cause == "unsure" and item.judgement.account == HOME
    )
    before = world.scorer.score(stored(world, unsure.judgement)).logit
    done = client.answer(unsure.judgement.id, Label.SPAM)
    assert done.move == "junk" and ("file_junk", (unsure.judgement.id,)) in world.engine.calls
    assert client.judgement(unsure.judgement.id).label is Label.SPAM
    assert world.scorer.score(stored(world, unsure.judgement)).logit > before
    assert unsure.judgement.id not in {item.judgement.id for item in client.review(100)}
    assert done.next_id in {item.judgement.id for item in client.review(100)}

    moved = next(m for m in client.judgements(verdict=Verdict.JUNK) if m.moved)
    back = client.answer(moved.id, Label.HAM)
    assert back.move == "back" and not client.judgement(moved.id).moved
    assert world.store.past_of(moved.account, [moved.identity])[moved.identity].rescued
    assert back.label.source is LabelSource.UNDO, "the night may think no worse of it"


def test_an_answer_can_be_taken_back(talk):
    world, client = talk
    held = next(item for item in client.review(50) if item.cause == "held").judgement
    client.answer(held.id, Label.HAM, move=False)
    client.unanswer(held.id)
    assert world.store.label_of(held.account, held.identity).label is Label.SPAM  # as it was before
    unsure = next(
        item for item in client.review(50) if item.cause == "unsure" and item.judgement.account == HOME
    )
    before = world.scorer.score(stored(world, unsure.judgement)).logit
    client.answer(unsure.judgement.id, Label.SPAM)
    client.unanswer(unsure.judgement.id)
    assert world.store.label_of(unsure.judgement.account, unsure.judgement.identity) is None
    assert not client.judgement(unsure.judgement.id).moved
    assert world.scorer.score(stored(world, unsure.judgement)).logit == pytest.approx(before, abs=0.05)
    with pytest.raises(RequestError):
        client.unanswer(unsure.judgement.id)


def test_one_move_is_undone_and_learned(talk):
    world, client = talk
    moved = next(m for m in client.judgements(verdict=Verdict.JUNK) if m.moved and m.label is None)
    client.undo_move(moved.id)
    assert world.store.label_of(moved.account, moved.identity).source is LabelSource.UNDO
    assert not client.judgement(moved.id).moved
    with pytest.raises(RequestError, match="not moved"):
        client.undo_move(moved.id)


def test_a_move_that_is_under_way_is_not_undone_yet(talk):
    world, client = talk
    kept = next(m for m in client.judgements(verdict=Verdict.KEEP) if not m.moved)
    done = next(move for move in world.store.moves() if move.kind is MoveKind.JUNK)
    row = replace(done, id=0, account=kept.account, identity=kept.identity, state=MoveState.INTENT)
    world.store.intent(row)
    with pytest.raises(RequestError, match="being moved") as refused:
        client.undo_move(kept.id)
    assert refused.value.hint == "Try again in a moment."
    assert world.store.label_of(kept.account, kept.identity) is None


def test_many_moves_are_undone_after_a_preview(talk):
    world, client = talk
    since = world.now - 10 * 86400
    count = sum(1 for m in world.store.moves(since=since) if m.kind is MoveKind.JUNK)
    labels = len(client.labels(limit=1000))
    plan = client.undo(since=since)
    assert plan.dry_run and plan.count == count and len(plan.items) == count and "would go back" in plan.text
    assert not [call for call in world.engine.calls if call[0] == "put_back"]
    done = client.undo(since=since, dry_run=False)
    assert done.count == count
    assert all(m.state == "done" for m in world.store.moves(since=since, kind=MoveKind.UNDO))
    assert len(client.labels(limit=1000)) == labels  # nothing is learned from it
    again = client.undo(since=since, dry_run=False)
    assert (again.count, again.skipped) == (0, count)
    of_model = client.undo(model_id=world.base)
    assert of_model.count > 0 and client.undo(model_id="personal-nobody").count == 0
    with pytest.raises(RequestError):
        client.undo()


def test_why_reads_the_mail_where_it_lies(talk):
    world, client = talk
    why = client.why(world.why_id)
    assert why.missing == "" and why.reasons and why.judgement.id == world.why_id
    assert "hidden words to fool a filter" in why.hidden_text and "hidden words" not in why.visible_text
    assert "<script>" in why.raw_text
    assert any(link.host.endswith("evil.example") for link in why.links)
    world.engine.fetch_error = ConnectionLost("The server does not answer.")
    why = client.why(world.why_id)
    assert "does not answer" in why.missing and why.raw_text == "" and why.links


def test_a_mail_is_tried_and_taught(talk):
    _world, client = talk
    count = len(client.judgements(limit=200))
    why = client.try_mail(JUNK_RAW)
    assert why.judgement is None and why.verdict in (Verdict.JUNK, Verdict.UNSURE) and why.reasons
    assert len(client.judgements(limit=200)) == count
    record = client.teach(JUNK_RAW, Label.HAM)
    assert (record.source, record.account) == (LabelSource.TEACH, "home")
    assert client.try_mail(JUNK_RAW).copy_of is Label.HAM
    client.forget_label(record.account, record.identity)
    assert client.try_mail(JUNK_RAW).copy_of is None
    for raw in (b"", b"\xff\xfe\x00", b"\n" * 1000, HOSTILE_RAW * 50, b"Subject: " + b"=?utf-8?b?" * 3000):
        if raw.strip():
            client.try_mail(raw)
        else:
            with pytest.raises(RequestError):
                client.try_mail(raw)


def test_mail_is_found_by_words_and_time(talk):
    world, client = talk
    assert {m.sender_domain for m in client.search("ticket prag")} == {"trains.example"}
    assert client.search('" OR * NEAR( AND -') == ()
    recent = client.search("ticket", since=world.now - 10 * 86400)
    assert 0 < len(recent) < len(client.search("ticket"))
    assert client.search("", since=world.now - 86400)
    similar = client.similar(world.why_id)
    assert similar and all(one.judgement.id != world.why_id for one in similar)
    assert {one.judgement.sender_domain for one in similar if one.likeness > 0.9} == {"paypa1-verify.example"}


def test_a_mail_is_identified_by_its_message_id(talk):
    world, client = talk
    mail = client.judgement(world.why_id)
    number = int(mail.identity.removeprefix("hash:"), 16)
    assert client.identify(f"<mail-{number}@example.org>").judgement == mail
    assert client.identify("nobody@example.org").judgement is None
    with pytest.raises(RequestError):
        client.identify(" <> ")


def test_labels_are_listed_exported_and_imported(talk, monkeypatch):
    world, client = talk
    everything = client.export_labels()
    assert {one.source for one in client.labels(source=LabelSource.DRAG)} == {LabelSource.DRAG}
    assert [one.held for one in client.labels(held=True)] == [True]
    drag = client.labels(source=LabelSource.DRAG)[0]
    client.forget_label(drag.account, drag.identity)
    with pytest.raises(NotFound):
        client.forget_label(drag.account, drag.identity)
    result = client.import_labels(everything)
    assert result.added + result.skipped == len(everything) and result.added > 0
    assert ("rebuild",) in world.engine.calls
    assert world.store.label_of(drag.account, drag.identity).label is Label.SPAM
    monkeypatch.setattr("spamd.client.IMPORTED_AT_ONCE", 3)
    assert client.import_labels(everything) == imported(0, len(everything))
    assert client.import_labels(()) == imported(0, 0)
    record = client.set_label(drag.account, drag.identity, Label.HAM, LabelSource.ADDON)
    assert record.source is LabelSource.ADDON


def test_trends_count(talk):
    _world, client = talk
    trends = client.trends(30)
    assert len(trends.daily) == 30
    assert sum(day.junk for day in trends.daily) > 20
    home = next(one for one in trends.promises if one.account == "home")
    assert home.buried == 1 and 0 < home.share < home.upper <= 1
    assert trends.hosts[0].host == "cdn.links.example" and sum(b.count for b in trends.calibration) > 5
    assert [night.model_id for night in trends.nights] == ["personal-a1b2c3d4e5"]


def test_models_go_back_and_forth(talk):
    world, client = talk
    models = client.models()
    assert models.current.id == "personal-a1b2c3d4e5" and models.shipped == world.base
    assert {card.id for card in models.cards} == {models.current.id, world.base}
    assert client.reset_model().id == world.base and client.models().current.id == world.base
    assert client.roll_back("personal-a1b2c3d4e5").id == "personal-a1b2c3d4e5"
    with pytest.raises(NotFound):
        client.roll_back("personal-0000000000")
    assert "personal-a1b2c3d4e5" in client.models().history[0].text


@pytest.mark.train
def test_a_night_is_asked_for_and_followed(talk):
    world, client = talk
    client.train(from_scratch=True)
    assert world.engine.calls[-1] == ("train", True)
    assert client.models().progress.total == 12 and client.progress()[0].kind == "train"


def test_an_account_is_found_checked_added_changed_and_removed(talk):
    world, client = talk
    guess = client.find_servers("me@new.example")[0]
    assert guess.account.host == "imap.new.example"
    for bad in ("nobody", "@", "a b@example.org", "a@" + "b" * 300 + ".example"):
        with pytest.raises(RequestError):
            client.find_servers(bad)
    check = client.check_account("new", host="imap.new.example", user="me", secret="s3cret")
    assert check.ok and world.engine.calls[-1] == ("check", "new", "s3cret")
    view = client.add_account(
        "new", host="imap.new.example", user="me", secret="s3cret", tls=TlsMode.STARTTLS
    )
    assert view.account.tls is TlsMode.STARTTLS and world.secrets.get("new") == "s3cret"
    assert "s3cret" not in world.paths.config_file.read_text()
    with pytest.raises(RequestError):
        client.add_account("new", host="imap.new.example", user="me")
    for twin in (
        {"host": "IMAP.new.example."},
        {"host": "imap.new.example", "port": 143},
    ):  # under another name
        with pytest.raises(RequestError, match="as new"):
            client.add_account("again", user="me", secret="s3cret", **twin)
    with pytest.raises(NotFound):
        client.account("again")
    client.add_account("other", host="imap.new.example", user="somebody else", secret="s3cret")
    with pytest.raises(RequestError):
        client.add_account("../x", host="imap.new.example", user="me")
    with pytest.raises(RequestError):  # without TLS, not on this computer
        client.add_account("plain", host="imap.new.example", user="me", tls=TlsMode.NONE)
    assert client.set_mode("new", Mode.LEARNING).account.mode is Mode.LEARNING
    assert client.set_mode("new", None).account.mode is None
    assert client.update_account("new", {"junk": "Spam", "max_moves_per_hour": "50"}).account.junk == "Spam"
    before = client.account("new").account
    by_hand = {"path": "/x", "password_command": "x", "ca_file": "/x", "kind": "maildir"}
    # Before, whoever had the token could have the stored password sent to a server of theirs.
    password_goes = {
        "host": "imap.evil.example",
        "port": "9993",
        "tls": "none",
        "auth": "oauth",
        "oauth_provider": "x",
    }
    for name, value in (by_hand | password_goes).items():
        with pytest.raises(RequestError, match="by hand") as refused:
            client.update_account("new", {name: value})
        assert f"spamdctl account set new {name}=" in refused.value.hint
    assert client.account("new").account == before
    client.set_secret("new", "other")
    assert world.secrets.get("new") == "other"
    client.start_first_reading("new")
    assert world.engine.calls[-1] == ("read", "new")
    world.engine.check = AccountCheck(False, "The password is wrong.", "Use an app password.")
    assert client.test_account("new").hint == "Use an app password."
    client.remove_account("new", wipe=True)
    with pytest.raises(NotFound):
        client.account("new")
    with pytest.raises(NotFound):
        client.remove_account("new")
    (world.paths.config / "tests.json").unlink()
    (world.paths.config / "tests.json").mkdir()  # passwords cannot be reached
    with pytest.raises(DoneInPart, match=r"^The account other was removed\..* Its password could not be"):
        client.remove_account("other", wipe=True)
    with pytest.raises(NotFound):
        client.account("other")


def test_no_request_names_a_path_or_a_command():
    schemas = document(ROUTES)["components"]["schemas"]
    asked = {name: schema for name, schema in schemas.items() if name.endswith("Asked")}
    assert len(asked) > 20
    for name, schema in asked.items():
        assert not {"path", "file", "folder", "command", "password_command", "ca_file"} & set(
            schema["properties"]
        ), name


def test_pause_resume_brake_and_wake(talk):
    world, client = talk
    client.pause(account="home", seconds=3600)
    assert client.account("home").state.phase is AccountPhase.PAUSED and not client.status().paused
    client.pause()
    assert client.status().paused
    client.resume()
    assert not client.status().paused
    client.go_on("home")
    client.wake()
    assert ("go_on", "home") in world.engine.calls and ("wake", None) in world.engine.calls
    for wrong in (
        {"seconds": -5.0},
        {"seconds": 1e10},
        {"until": 1.0},
        {"account": "nobody"},
        {"until": 1.8e12},
    ):
        with pytest.raises(RequestError):
            client.pause(**wrong)
    world.engine.pause(None, 1.8e12)  # milliseconds, as an earlier version took them
    assert client.status().headline == "Paused."


def test_lists_take_addresses_and_domains(talk):
    _, client = talk
    assert client.add_to_list(" <Friend@Example.ORG> ", Label.HAM).value == "friend@example.org"
    assert client.add_to_list("@spam.example", Label.SPAM).value == "spam.example"
    for bad in (
        "",
        "word",
        "a b@c.example",
        "x@",
        "@",
        "a@b..c",
        "<script>alert(1)</script>.example",
        "x" * 300 + ".example",
    ):
        with pytest.raises(RequestError):
            client.add_to_list(bad, Label.SPAM)
    with pytest.raises(RequestError):
        client.add_to_list("late.example", Label.SPAM, expires_at=5.0)
    client.remove_from_list("spam.example")
    with pytest.raises(NotFound):
        client.remove_from_list("spam.example")


def test_settings_are_shown_and_changed(talk):
    world, client = talk
    shown = {one.name: one for one in client.settings()}
    assert shown["display"].choices == ("nothing", "headers", "snippet") and shown["promise"].value == "0.001"
    client.set_settings({"display": "nothing", "keep_days": "30"})
    assert world.store.judgement(world.why_id).subject == ""  # what is there already is wiped
    with pytest.raises(RequestError):
        client.set_settings({"keep_days": "many"})
    with pytest.raises(RequestError):
        client.set_settings({"nonsense": "1", "keep_days": "7"})
    assert {one.name: one.value for one in client.settings()}["keep_days"] == "30"


def test_no_setting_that_names_a_file_or_runs_a_command_is_changed_from_here(talk):
    """Before, whoever had the token could have any file read as one of client ids, and password commands run."""
    world, client = talk
    for name, value in (("oauth_file", "/etc/passwd"), ("secrets", " command ")):
        with pytest.raises(RequestError, match="by hand") as refused:
            client.set_settings({"keep_days": "7", name: value})
        assert f"spamdctl settings set {name}" in refused.value.hint
    shown = {one.name: one for one in client.settings()}
    assert [shown[name].value for name in ("oauth_file", "secrets", "keep_days")] == ["", "keyring", "90"]
    assert "command" not in shown["secrets"].choices
    assert [one.name for one in shown.values() if one.by_hand] == ["oauth_file"]
    settings.save(world.paths.config_file, {"oauth_file": "/mine.toml", "secrets": "command"})
    client.set_settings({"oauth_file": "/mine.toml", "secrets": "command", "keep_days": "7"})
    shown = {one.name: one for one in client.settings()}
    assert [shown[name].value for name in ("oauth_file", "secrets", "keep_days")] == [
        "/mine.toml",
        "command",
        "7",
    ]
    assert "command" in shown["secrets"].choices, "it is what is chosen"


def test_wiping(talk):
    world, client = talk
    client.wipe("display")
    assert world.store.judgement(world.why_id).subject == ""
    client.wipe("account:home")
    assert client.judgements(account="home") == () and client.judgements(account="work")
    client.wipe("all")
    assert client.judgements() == ()
    for wrong in ("", "everything", "account:"):
        with pytest.raises(RequestError):
            client.wipe(wrong)


def test_the_log_has_dates(talk):
    world, client = talk
    everything = client.events()
    assert len(everything) >= 4
    assert client.events(until=world.now - 86400) == ()
    assert client.events(limit=1, before_id=everything[0].id) == everything[1:2]
    assert [e.kind for e in client.events(needs_person=True)] == ["mode"]


def test_mailbox_trouble_is_not_ours(talk, monkeypatch):
    world, client = talk

    def refuse(account):
        raise ConnectionLost("The server is gone.", "Look at the network.")

    monkeypatch.setattr(world.engine, "start_first_reading", refuse)
    with pytest.raises(MailboxError, match="gone"):
        client.start_first_reading("home")


def test_a_fault_of_ours_tells_nothing(talk, monkeypatch):
    world, _client = talk

    def broken():
        raise ValueError("secret subject of a mail")

    monkeypatch.setattr(world.engine, "account_states", broken)
    with bearer(world) as caller:
        answer = caller.get("/api/v1/status")
    assert answer.status_code == 500
    assert "secret" not in answer.text and answer.json()["error"]["hint"]


def test_stop_and_open(talk):
    world, client = talk
    assert client.open_url("review").startswith(f"{world.server.url}/open?code=")
    client.stop()
    assert world.engine.stopped.is_set()
    world.server.stop()
    with pytest.raises(NotRunning):
        client.status()


def test_happenings_reach_every_listener_until_the_server_stops(talk):
    world, client = talk
    heard, open_streams = [], threading.Barrier(3)

    def listen():
        with Client.connect(world.paths) as own:
            stream = own.stream()
            open_streams.wait(120)
            heard.append([(one.kind, one.data.get("id")) for one in stream])

    threads = [threading.Thread(target=listen) for _ in range(2)]
    for thread in threads:
        thread.start()
    open_streams.wait(120)
    until(lambda: world.control.feed.heard_by == 2)
    client.answer(world.why_id, Label.SPAM)
    world.control.feed.publish("progress", {"id": 7})
    until(lambda: True)
    world.server.stop()
    for thread in threads:
        thread.join(60)
    assert heard == [[("verdict", world.why_id), ("progress", 7)]] * 2
    assert not world.control.feed.heard_by


def until(condition) -> None:
    waiting = threading.Event()
    for _ in range(12_000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("this did not happen in two minutes")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"label": "spam", "more": 1}', 400),
        (b'{"label": "ham\\ud800"}', 400),
        (b'{"label": "spam", "move": "yes"}', 400),
        (b"[" * 100_000, 400),
        (b'{"label": "spam"}' + b" " * 300_000, 413),
        (b"\xff\xfe", 400),
        (b'{"label": NaN}', 400),
    ],
)
def test_bad_bodies(world, body, status):
    with bearer(world) as caller:
        answer = caller.post(
            "/api/v1/judgements/1/label", content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"title", "hint"}


def test_bodies_are_json_only(world):
    with bearer(world) as caller:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = caller.post("/api/v1/wake", content=b"{}", headers={"Content-Type": kind})
            assert answer.status_code == 415


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=1e3",
        "since=nan",
        "since=1e300",
        "verdict=bad",
        "nothing=1",
        "limit=1&limit=2",
        "before_id=99999999999999999999",
    ],
)
def test_bad_questions(world, query):
    with bearer(world) as caller:
        assert caller.get(f"/api/v1/judgements?{query}").status_code == 400


def test_raw_is_base64(world):
    with bearer(world) as caller:
        assert caller.post("/api/v1/try", json={"raw": "no base64!"}).status_code == 400
        good = base64.b64encode(JUNK_RAW).decode()
        assert caller.post("/api/v1/try", json={"raw": good}).status_code == 200


def test_the_document_names_every_route_and_is_served(world):
    with bearer(world) as caller:
        served = caller.get("/api/v1/openapi.json").json()
    assert served == json.loads(json.dumps(document(ROUTES)))
    listed = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    assert listed == {(route.method, f"/api/v1{route.path.replace(':int', '')}") for route in ROUTES}


def stored(world, mail):
    from spamd.message import vector

    return vector.unpack(world.store.vector_of(mail.account, mail.identity))
