"""Every command against a filter that really runs, on a real IMAP server."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from spamd.domain import Judgement
from tests.cli.program import PATIENCE, Program, wait_for
from tests.servers.mailhost import PASSWORD

HOSTILE = "=?utf-8?q?Win_=1B[2J=1B]0;owned=07_=E2=80=AE_now=0D=0Aevil?="


@pytest.fixture(scope="module")
def program(tmp_path_factory, _embedded):
    made = Program(tmp_path_factory.mktemp("cli") / "spamd", _embedded)
    server = made.server
    assert made("settings", "set", "secrets", "file").code == 0
    added = made(
        "account", "add", "home", "--host", server.host, "--port", str(server.port), "--user", made.user,
        "--tls", "none", "--mode", "filtering", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    assert added.code == 0, added.err
    assert added.out.startswith("Signed in. 0 mails in INBOX, 0 in Junk.\nAdded home.")
    made.start()
    made.until("home", "watching")
    yield made
    made.close()


def moved(program: Program, *, subject: str = "") -> Judgement:
    """A junk mail that was moved."""
    for number in range(10):
        one = program.arrive(spam=True, subject=f"{subject} {number}" if subject else "")
        assert one is not None
        if one.moved:
            return one
    raise AssertionError("nothing is moved")


def test_status(program: Program) -> None:
    told = program("status")
    assert told.code == 0
    assert "Watching your mail." in told.out
    assert "home: Filtering (your choice)" in told.out
    assert program("status", "--json").json["accounts"][0]["account"]["name"] == "home"


def test_recent_and_search(program: Program) -> None:
    moved(program, subject="a word like zanzibar")
    program.arrive(spam=False)
    recent = program("recent", "-n", "2")
    lines = recent.out.splitlines()
    assert lines[0].split("\t")[:3] == ["no", "when", "verdict"]
    assert len(lines) == 3
    assert "junk (moved)" in lines[2]
    assert [one["decision"]["verdict"] for one in program("recent", "--json", "-n", "2").json] == [
        "keep",
        "junk",
    ]
    only = program("recent", "--verdict", "junk", "--since", "1h", "--account", "home", "--json").json
    assert {one["decision"]["verdict"] for one in only} == {"junk"}
    assert "zanzibar" in program("search", "zanzibar").out
    assert program("search", "zanzibar", "--json").json[0]["subject"].startswith("a word like zanzibar")
    assert program("search", "nosuchword").out == "Nothing found.\n"
    assert "no account called 'nobody'" in program("recent", "--account", "nobody").err
    assert "no account called 'nobody'" in program("labels", "list", "--account", "nobody").err
    assert program("recent", "--since", "whenever").code == 1
    assert program("recent", "-n", "0").code == 2


def test_mail_cannot_steer_the_terminal(program: Program) -> None:
    one = moved(program, subject=HOSTILE)
    number = str(one.id)
    for arguments in (
        ("recent", "-n", "1"),
        ("search", "win"),
        ("explain", number),
        ("undo", number, "--dry-run"),
        ("undo", "--since", "1h", "--dry-run"),
        ("label", number, "junk"),
        ("recent", "--json", "-n", "1"),
    ):
        said = program(*arguments)
        assert said.code == 0, said.err
        assert not set(said.out) & set("\x1b\x07\u202e\r"), arguments
    assert "evil" in program("recent", "-n", "1").out
    assert len(program("recent", "-n", "1").out.splitlines()) == 2
    with program.terminal("recent", "-n", "3") as terminal:
        assert terminal.end() == 0
        assert "owned" in terminal.text
        assert "\x07" not in terminal.text


def test_what_happened_is_told(program: Program) -> None:
    assert program("pause", "1h").code == program("resume").code == 0
    lines = program("events", "-n", "2").out.splitlines()
    assert lines[0].split("\t") == ["when", "account", "text"]
    assert [line.split("\t")[2] for line in lines[1:]] == ["Resumed.", "Paused."], "the newest first"
    found = program("events", "--since", "1h", "-n", "2", "--json").json
    assert [one["text"] for one in found] == ["Resumed.", "Paused."]
    assert "Did you mean 'events'?" in program("history").err


def test_explain_a_number(program: Program) -> None:
    one = moved(program)
    said = program("explain", str(one.id))
    assert said.code == 0
    assert "likely to be junk (junk from" in said.out
    found = program("explain", str(one.id), "--json").json
    assert found["reasons"]
    assert found["model_id"] == one.score.model_id
    gone = program("explain", "999999")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.strip()


def test_a_label_is_learned_and_moves(program: Program) -> None:
    one = moved(program, subject="label me quickly")
    said = program("label", str(one.id), "good")
    assert said.code == 0, said.err
    with program.client() as client:  # on the server it is back a moment before the journal says so
        wait_for(lambda: not client.judgement(one.id).moved, "the mail to be back")
    assert program.where(one.subject) == ["INBOX"]
    assert program("recent", "--json").json
    told = program("label", str(one.id), "junk", "--json")
    assert told.json["label"]["label"] == "spam"
    assert told.json["move"] == "none"
    assert "stays where it is" in told.json["text"], "what was put back once is not filed again"
    kept = program.arrive(spam=False, subject="good to me junk to them")
    assert kept is not None
    assert program("label", str(kept.id), "junk", "--no-move").out == "Learned as junk.\n"
    assert "it goes to the Junk folder" in program("label", str(kept.id), "junk").out
    wait_for(lambda: program.where("good to me junk to them") == ["Junk"], "the mail to be in Junk")
    assert program("label", str(one.id), "perhaps").code == 2
    assert program("label", "999999", "junk").code == 1


def test_undo_one(program: Program) -> None:
    one = moved(program, subject="put me back once")
    number = str(one.id)
    dry = program("undo", number, "--dry-run")
    assert dry.out.startswith("Would put back:")
    assert program("undo", number, "--dry-run", "--json").json["judgement"]["id"] == one.id
    assert program.where(one.subject) == ["Junk"]
    assert program("undo", number).code == 0
    wait_for(lambda: program.where(one.subject) == ["INBOX"], "the mail to be back")

    def refused() -> bool:
        again = program("undo", number)
        return again.code == 1 and "nothing to undo" in again.err

    wait_for(refused, "the journal to say that it is back")


def test_undo_many(program: Program) -> None:
    one = moved(program, subject="one of several here")
    since = program("undo", "--since", "1h", "--dry-run")
    assert since.code == 0
    assert "one of several here" in since.out
    assert "would go back" in since.out
    plan = program("undo", "--model", one.score.model_id, "--dry-run", "--json").json
    assert plan["dry_run"]
    assert plan["count"] >= 1
    unasked = program("undo", "--model", one.score.model_id)
    assert unasked.code == 1
    assert "Add --yes" in unasked.err
    done = program("undo", "--model", one.score.model_id, "--account", "home", "--yes", "--json").json
    assert done["count"] == plan["count"]
    wait_for(lambda: program.where(one.subject) == ["INBOX"], "the mail to be back")
    wait_for(
        lambda: program("undo", "--since", "1h", "--dry-run", "--json").json["count"] == 0, "all to be back"
    )
    assert "There is nothing to put back." in program("undo", "--since", "1h", "--yes").out


def test_undo_of_nothing_is_an_error(program: Program) -> None:
    nope = program("undo", "--model", "nope")
    assert nope.code == 1
    assert "'nope'" in nope.err
    assert "spamdctl model list" in nope.err
    assert program("undo", "3", "--since", "today").code == 1
    assert program("undo", "--since", "today", "--account", "nobody").code == 1
    assert program("undo", "999999").code == 1


def test_review(program: Program) -> None:
    user = program.server.new_user()
    program("settings", "set", "secrets", "file")
    added = program(
        "account", "add", "asking", "--host", program.server.host, "--port", str(program.server.port),
        "--user", user, "--tls", "none", "--mode", "suggesting", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    assert added.code == 0, added.err
    with program.client() as client:
        wait_for(
            lambda: any(v.state.phase == "watching" for v in client.accounts() if v.account.name == "asking"),
            "asking",
        )
    for number in range(3):
        program.arrive(spam=True, subject=f"suggested {number}", user=user)
    rows = program("review", "--json").json
    mine = [one for one in rows if one["judgement"]["account"] == "asking"]
    assert mine
    assert "suggested" in program("review", "--list").out
    with program.terminal("review", "--limit", "50") as terminal:
        terminal.expect("[j]unk [g]ood [s]kip")
        terminal.say("w")
        terminal.expect("junk from")
        terminal.expect("[j]unk [g]ood [s]kip")
        terminal.say("j")
        terminal.expect("[j]unk [g]ood [s]kip", "That was all.")
        terminal.say("q")
        assert terminal.end() == 0
    left = program("review", "--json").json
    assert len(left) < len(rows)
    for impatient in (False, True):
        with program.terminal("review") as terminal:
            terminal.expect("[j]unk [g]ood [s]kip")
            assert terminal.break_off(impatient=impatient) == 130
            assert terminal.text.count("Stopped.") == 1
            assert "Aborted" not in terminal.text
            assert "Traceback" not in terminal.text
    assert program("account", "remove", "asking", "--yes").code == 0


def test_pause_and_resume(program: Program) -> None:
    said = program("pause", "1h", "--account", "home")
    assert said.code == 0 and re.fullmatch(r"Paused until [\w: ]+\. New mail stays where it is\.\n", said.out)
    program.until("home", "paused")
    status = program("status").out
    assert status.count("Paused until") == status.count("Paused") == 2, (
        "headline and account: until when, and once each"
    )
    program.arrive(spam=True, subject="came while paused", waits=False)
    assert program("resume", "--account", "home", "--json").json["text"]
    wait_for(lambda: "came while paused" in program("recent", "-n", "5").out, "what came meanwhile")
    assert program("pause", "--json").json == {"text": "Paused. New mail stays where it is."}
    program.until("home", "paused")
    assert program("status", "--json").json["paused"] is True
    assert program("resume").code == 0
    program.until("home", "watching")
    assert program("pause", "--account", "nobody").code == 1
    assert program("pause", "soon").code == 1


def test_accounts(program: Program) -> None:
    assert program("account", "list", "--json").json[0]["name"] == "home"
    tried = program("account", "test", "home")
    assert tried.out.startswith("Signed in. ")
    assert program("account", "test", "home", "--json").json["junk_folder"] == "Junk"
    assert program("account", "set", "home", "wait_seconds=1").code == 0
    assert program("account", "list", "--json").json[0]["wait_seconds"] == 1.0
    assert program("account", "set", "home", "wait_seconds=").code == 0
    assert program("account", "set", "home", "wait_seconds=soon").code == 1
    assert program("account", "set", "home", "nosuch=1").code == 1
    assert program("account", "mode", "home", "learning").out == "home: learning.\n"
    with program.client() as client:
        wait_for(lambda: client.account("home").state.mode == "learning", "the mode to be taken up")
        assert program("account", "mode", "home", "filtering").code == 0
        wait_for(lambda: client.account("home").state.mode == "filtering", "the mode to be taken up")
    program.until("home", "watching")
    assert program("account", "go-on", "home").out == "The brake is released.\n"
    wrong = program("account", "password", "home", "--password-stdin", stdin="wrong\n")
    assert wrong.code == 1
    assert "wrong" not in wrong.err.lower().split()
    assert program("account", "password", "home", "--password-stdin", stdin=f"{PASSWORD}\n").out.endswith(
        "Stored.\n"
    )
    assert program("account", "test", "home").code == 0


def test_an_account_comes_and_goes_while_the_filter_runs(program: Program) -> None:
    base = ("--host", program.server.host, "--port", str(program.server.port), "--tls", "none")
    user = program.server.new_user()
    failing = program(
        "account", "add", "third", *base, "--user", user, "--password-command",
        f"{sys.executable} -c 'raise SystemExit(\"the vault is locked\")'",
    )  # fmt: skip
    assert failing.code == 1
    assert "the vault is locked" in failing.err
    assert "third" not in program("account", "list").out
    wrong = program("account", "add", "third", *base, "--user", user, "--password-stdin", stdin="no\n")
    assert wrong.code == 1
    assert "third" not in program("account", "list").out
    right = program(
        "account", "add", "third", *base, "--user", user,
        "--password-command", f"{sys.executable} -c 'print(\"{PASSWORD}\")'",
    )  # fmt: skip
    assert right.code == 0, right.err
    with program.client() as client:
        wait_for(lambda: "third" in [v.account.name for v in client.accounts()], "the new account")
    program.until("third", "watching")
    assert program("account", "remove", "third").code == 1, "asks first"
    assert program("account", "remove", "third", "--yes").code == 0
    with program.client() as client:
        assert "third" not in [v.account.name for v in client.accounts()]
    assert "third" not in (program.paths.secrets_file).read_text()


def test_the_folders_are_read(program: Program) -> None:
    for name, folder in (("ham", "Archive"), ("spam", "Junk")):
        files = sorted((Path(__file__).parents[2] / "spamd" / "demo" / "mail" / name).glob("*.eml"))
        program.server.append(program.user, *[one.read_bytes() for one in files], folder=folder)
    assert program("account", "read", "home").code == 0
    with program.client() as client:
        wait_for(
            lambda: any(
                p.kind == "first-reading" and p.account == "home" and p.finished for p in client.progress()
            ),
            "the folders to be read",
        )
    assert len(program("labels", "list", "--json", "-n", "200").json) > 20


def test_labels(program: Program, tmp_path: Path) -> None:
    one = moved(program, subject="the ledger knows me")
    assert program("label", str(one.id), "junk").code == 0
    listed = program("labels", "list", "--source", "review", "--since", "1h")
    assert listed.code == 0
    assert one.identity in listed.out
    assert one.identity not in {
        held["identity"] for held in program("labels", "list", "--held", "--json").json
    }
    file = tmp_path / "labels.jsonl"
    exported = program("labels", "export", str(file))
    assert "labels written" in exported.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    count = len(file.read_text().splitlines())
    assert len(program("labels", "export").out.splitlines()) == count
    assert program("labels", "forget", "home", one.identity).code == 0
    assert program("labels", "forget", "home", one.identity).code == 1
    assert one.identity not in program("labels", "list", "-n", "200").out
    imported = program("labels", "import", str(file), "--json").json
    assert imported["added"] >= 1 and imported["added"] + imported["skipped"] == count
    assert one.identity in program("labels", "list", "-n", "200").out
    file.write_text(file.read_text().replace('"account": "home"', '"account": "elsewhere"'))
    assert program("labels", "forget", "home", one.identity).code == 0
    assert program("labels", "import", str(file), "--json").json["added"] == 0
    assert program("labels", "import", str(file), "--account", "home", "--json").json["added"] >= 1
    assert one.identity in program("labels", "list", "-n", "200").out
    assert "no account called" in program("labels", "import", str(file), "--account", "elsewhere").err
    assert program("labels", "set", "home", one.identity, "good").out == "Learned: good.\n"
    assert program("labels", "set", "home", "nosuch", "good").code == 1
    assert "Nothing is held back" in program("labels", "answer", "me").out
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"label": 3}\n')
    refused = program("labels", "import", str(bad))
    assert refused.code == 1
    assert "Line 1 is no label" in refused.err
    bad.write_text("[" * 100_000)
    assert program("labels", "import", str(bad)).code == 1
    assert program("labels", "import", str(tmp_path / "gone")).code == 1
    assert "cannot be written" in program("labels", "export", str(tmp_path)).err


def test_very_many_at_once_are_answered_as_a_whole(program: Program) -> None:
    assert program("settings", "set", "hold_labels", "5").code == 0
    judged = [program.arrive(spam=False, subject=f"very many {number}") for number in range(12)]
    arrived = {one.identity for one in judged if one is not None and not one.moved}
    lying = [one for one in program.server.contents(program.user) if b"very many" in one.raw]
    here = [one.uid for one in lying if one.folder == "INBOX"]
    assert len(here) == len(arrived) > 5
    program.server.move(program.user, here, "INBOX", program.server.junk)

    def held() -> set[str]:
        return {one["identity"] for one in program("labels", "list", "--held", "--json").json}

    wait_for(lambda: arrived <= held(), "the question")
    assert "Nothing is learned of it until you say so" in program("status").out
    said = program("labels", "answer", "me")
    assert (said.code, said.out) == (0, f"Learned: {len(arrived)} labels.\n")
    assert not held() & arrived and "until you say so" not in program("status").out
    drags = program("labels", "list", "--source", "drag", "--json").json
    assert arrived <= {one["identity"] for one in drags if one["label"] == "spam"}
    assert program("settings", "set", "hold_labels", "50").code == 0


def test_lists(program: Program) -> None:
    assert program("lists", "keep", "Friend@Example.org").out == "friend@example.org: always kept.\n"
    assert program("lists", "junk", "offers.example", "--days", "30", "--json").json["label"] == "spam"
    for days in ("nan", "inf", "1e9"):
        assert "days are too many" in program("lists", "junk", "offers.example", "--days", days).err
    rows = {one["value"]: one for one in program("lists", "show", "--json").json}
    assert rows["friend@example.org"]["expires_at"] is None
    assert rows["offers.example"]["expires_at"]
    assert "for ever" in program("lists", "show").out
    assert program("lists", "remove", "offers.example").code == 0
    assert program("lists", "remove", "offers.example").code == 1
    assert program("lists", "keep", "no address at all").code == 1
    assert program("lists", "remove", "friend@example.org", "--json").code == 0
    assert program("lists", "show").out == "Both lists are empty.\n"


def test_settings(program: Program) -> None:
    assert program("settings", "--json").json["display"] == "headers"
    assert program("settings", "set", "display", "snippet").code == 0
    with program.client() as client:
        wait_for(
            lambda: next(one.value for one in client.settings() if one.name == "display") == "snippet",
            "the running filter to take it up",
        )
    assert program("settings", "unset", "display").code == 0
    assert "at most" in program("settings").out.lower()
    assert program("settings", "set", "keep_days", "-3").code == 1


def test_broken_settings_are_said(program: Program) -> None:
    file = program.paths.config_file
    good = file.read_text()
    file.write_text(good + "\npromise = [\n")
    try:
        wait_for(lambda: "settings stay as they were" in program("status").out, "status to say so")
        doctor = program("doctor")
        assert doctor.code == 1
        assert doctor.out.count("not valid TOML") == 1, doctor.out
        assert program("account", "list").code == 1
    finally:
        file.write_text(good)
        with program.client() as client:
            client.reload()
            for event in client.events(needs_person=True):
                client.settle_event(event.id)


def test_doctor(program: Program) -> None:
    findings = program("doctor", "--json").json
    assert {one["area"] for one in findings} >= {
        "python",
        "settings",
        "database",
        "model",
        "daemon",
        "account",
    }
    said = program("doctor")
    assert "The filter runs" in said.out
    assert "home: signed in, without TLS" in said.out
    lines = said.out.splitlines()
    assert len(lines) == len(set(lines)), said.out
    assert said.code == (1 if any(one["level"] == "bad" for one in findings) else 0)


def test_logs_name_nobody(program: Program) -> None:
    moved(program, subject="secret of the log")
    said = program("logs", "-n", "100000")
    assert said.code == 0
    assert said.out.strip()
    assert "secret of the log" not in said.out
    assert len(program("logs", "-n", "1").out.splitlines()) == 1
    with program.terminal("logs", "-n", "1", "--follow") as terminal:
        terminal.expect("\n")
        with program.paths.log_file.open("a") as log:
            log.write("one more line\n")
        terminal.expect("one more line")
        assert terminal.break_off() == 0
        assert "Stopped" not in terminal.text


def test_open(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    with program.terminal("open", BROWSER=f"{browser} %s") as terminal:
        assert terminal.end() == 0
    assert opened.read_text().startswith(
        f"http://127.0.0.1:{json.loads(program.paths.run_file.read_text())['port']}/"
    )
    with program.terminal("open", BROWSER="/bin/false", PATH="/nowhere") as terminal:
        assert terminal.end() == 0


def test_wipe_of_what_is_shown(program: Program) -> None:
    moved(program, subject="forget this flamingo")
    assert "flamingo" in program("search", "flamingo").out
    assert program("wipe", "display").code == 1
    assert program("wipe", "display", "--yes", "--json").json["what"] == "display"
    assert program("search", "flamingo").out == "Nothing found.\n"
    assert program("wipe", "account:nobody", "--yes").code == 1
    assert program("wipe", "nonsense", "--yes").code == 1


@pytest.mark.train
@pytest.mark.timeout(600)
def test_train_says_how_it_ended_and_models_can_be_taken_back(program: Program) -> None:
    before = program("model", "list", "--json").json["current"]["id"]
    said = program("train")
    assert said.code == 0, said.err
    began, end = said.out.strip().splitlines()
    assert (
        began == "Training has begun. A new model is taken only if it does no worse on mail it has not seen."
    )
    promoted = end.startswith("A new model serves.")
    assert promoted or end.startswith(("The model stays.", "The training waits."))
    assert len(end) > 25, "the reason is said"
    now = program("model", "list", "--json").json["current"]["id"]
    assert (now != before) is promoted
    assert now in program("model", "list").out
    card = program("model", "show", "--json").json
    assert card["id"] == now
    assert program("model", "show").out.startswith(f"{now}, made ")
    assert program("model", "show", "nope").code == 1
    assert program("model", "rollback", "nope", "--yes").code == 1
    assert program("model", "reset").code == 1, "asks first"
    if promoted:
        assert program("model", "rollback", "--yes").out == f"Now {before}.\n"
        assert program("model", "rollback", now, "--yes", "--json").json["id"] == now
        assert "!" not in program("model", "list").out
        (program.paths.personal_models / now / "model.tflite").write_bytes(b"nothing")
        assert f"! The file of the model {now} is not a TFLite model." in program("model", "list").out
        assert list(program("model", "list", "--json").json["unusable"]) == [now]
    assert program("model", "reset", "--yes").code == 0
    assert program("model", "list", "--json").json["current"]["id"].startswith("base-")


def test_backup_stop_and_restore(program: Program, tmp_path: Path) -> None:
    """It is stopped, and started again."""
    assert program("label", str(moved(program).id), "junk").code == 0
    labels = program("labels", "export").out
    assert labels
    file = tmp_path / "spamd.age"
    made = program("backup", str(file), "--passphrase-stdin", stdin="correct horse\n")
    assert made.code == 0, made.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert program("backup", str(file), "--passphrase-stdin", stdin="correct horse\n").code == 1
    assert program("backup", str(file), "--passphrase-stdin", "--force", stdin="short\n").code == 1
    running = program("restore", str(file), "--passphrase-stdin", "--yes", stdin="correct horse\n")
    assert running.code == 1
    assert "spamdctl stop" in running.err

    assert program("stop").out == "Stopping.\n"
    assert program.process is not None
    assert program.process.wait(PATIENCE) == 0
    nothing = program("stop")
    assert nothing.code == 1 and nothing.err.splitlines()[1] == "There is nothing to stop."
    for arguments in (("status",), ("recent",), ("train",), ("status", "--json")):
        said = program(*arguments)
        assert (said.code, said.out) == (1, "")
        assert "spamdctl run" in said.err
    good = program.paths.config_file.read_text()
    program.paths.config_file.write_text("promise = [")
    broken = program("status")
    assert broken.code == 1
    assert "not valid TOML" in broken.err
    program.paths.config_file.write_text(good)

    assert program("wipe", "all", "--yes").code == 0
    assert program("restore", str(file), "--passphrase-stdin", "--yes", stdin="wrong words\n").code == 1
    restored = program("restore", str(file), "--passphrase-stdin", "--yes", stdin="correct horse\n")
    assert restored.code == 0, restored.err
    program.start()
    program.until("home", "watching")
    assert sorted(_essence(program("labels", "export").out)) == sorted(_essence(labels))
    assert os.environ.get("SPAMD_HOME") is None


def _essence(lines: str) -> list[tuple[str, str, str]]:
    rows = [json.loads(line) for line in lines.splitlines()]
    return [(row["account"], row["identity"], row["label"]) for row in rows]


@pytest.mark.parametrize(
    "words",
    [
        "explain 99999",
        "undo 99999",
        "pause --account nobody",
        "account test nobody",
        "account set home wait_seconds=abc",
        "account set home stamp=perhaps",
        "labels forget home nonsense",
        "labels import nofile",
        "lists remove nowhere.example",
        "model rollback nope --yes",
        "settings set promise abc",
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(program: Program, words: str) -> None:
    said = program(*words.split())
    title, hint = said.err.splitlines()
    assert said.code == 1 and title.endswith(".") and len(hint) >= 15, said.err
    assert "Errno" not in said.err


def test_a_models_figures_are_in_words(program: Program) -> None:
    from spamd.web.shown import figure_word

    figures = program("model", "show", "--json").json["figures"]
    shown = program("model", "show").out
    assert figures
    for name in figures:
        assert figure_word(name) in shown
