"""What the command line does without a running filter, each command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spamd import paths as places
from spamd.cli.commands import ROWS
from spamd.daemon.pauses import Pauses
from spamd.daemon.process import lock
from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource, ListEntry
from spamd.store.database import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def spamdctl(home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SPAMD_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "spamd", *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, spamd.cli\n"
        "assert spamd.cli.run(['--help']) == 0\n"
        "heavy = {'numpy', 'sqlite_utils', 'sqlite3', 'httpx', 'imapclient', 'starlette', 'keyring', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert done.stderr.strip() == "[]"
    assert "account" in done.stdout


@pytest.mark.parametrize("name", ROWS)
def test_every_command_has_its_help(name: str) -> None:
    from spamd.cli.commands import spamdctl as tree

    command = tree.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help


def test_a_slip_of_the_finger_gets_a_suggestion(home: Path) -> None:
    done = spamdctl(home, "statsu")
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


def test_without_the_filter_one_is_told_how_to_start_it(home: Path) -> None:
    fresh = spamdctl(home, "status")
    assert fresh.returncode == 1
    assert "no account yet: begin with `spamdctl setup`" in fresh.stderr
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    here.config_file.write_text('[accounts.far]\nhost = "imap.mail.example"\nuser = "u"\n')
    done = spamdctl(home, "status")
    assert done.returncode == 1
    assert "`spamdctl run`" in done.stderr
    assert "not running" in done.stderr
    assert "doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_accounts_are_written_and_read(home: Path) -> None:
    added = spamdctl(
        home, "account", "add", "home", "--host", "imap.mail.example", "--user", "anna", "--no-test",
        "--password-command", "echo secret",
    )  # fmt: skip
    assert added.returncode in (0, 1), added.stderr
    if added.returncode == 1:  # no keyring on this machine: nothing half done, and a way out is named
        assert "settings set secrets file" in added.stderr
        assert not json.loads(spamdctl(home, "account", "list", "--json").stdout)
    assert spamdctl(home, "settings", "set", "secrets", "file").returncode == 0
    if added.returncode == 1:
        added = spamdctl(
            home, "account", "add", "home", "--host", "imap.mail.example", "--user", "anna", "--no-test",
            "--password-stdin", stdin="secret\n",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
    listed = json.loads(spamdctl(home, "account", "list", "--json").stdout)
    assert [one["name"] for one in listed] == ["home"]
    assert spamdctl(home, "account", "set", "home", "wait_seconds=10", "junk=Spam").returncode == 0
    assert spamdctl(home, "account", "mode", "home", "filtering").returncode == 0
    (account,) = json.loads(spamdctl(home, "account", "list", "--json").stdout)
    assert (account["wait_seconds"], account["junk"], account["mode"]) == (10.0, "Spam", "filtering")
    config = (home / "config" / "config.toml").read_text()
    assert "secret\n" not in config.replace('secrets = "file"\n', "")
    assert spamdctl(home, "account", "remove", "home").returncode == 1, "asks first"
    here = places.find({"SPAMD_HOME": str(home)})
    Store(here.rescued_database).close()
    assert spamdctl(home, "account", "remove", "home", "--yes").returncode == 0
    assert not here.rescued_database.exists(), "what is known of it is wiped wherever it lies"
    assert json.loads(spamdctl(home, "account", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("account", "add", "x"), "--host and --user"),
        (
            ("account", "add", "x", "--host", "far.example", "--user", "u", "--tls", "none", "--no-test",
             "--password-stdin"),
            "only for a server on this computer",
        ),
        (("account", "test", "nobody"), "There is no account 'nobody'"),
        (("account", "set", "nobody", "a=b"), "There is no account"),
        (("settings", "set", "promise", "two"), "expected a number"),
        (("settings", "set", "promise", "2"), "between 0.00001 and 0.05"),
        (("settings", "set", "nothing", "2"), "`spamdctl settings` shows all"),
        (("settings", "set", "promise_", "0.1"), "Did you mean 'promise'"),
        (("undo",), "Say what to undo"),
        (("undo", "1", "--since", "2h"), "Either one mail, or many"),
        (("wipe", "everything"), "cannot be wiped"),
        (("wipe", "all"), "Add --yes"),
        (("logs",), "There is no log yet"),
        (("restore", "none.age", "--passphrase-stdin", "--yes"), "none.age"),
        (("pause", "soon"), "not running"),
        (("account", "add", "x", "--maildir", "/nowhere"), "cannot be read"),
        (("account", "add", "x", "--mbox", "/nowhere"), "is not there"),
        (("account", "add", "x", "--mbox", "/"), "cannot be read"),
        (("account", "add", "x", "--host", "imap.mail.example", "--user", "u", "--no-test", "--password-command", ""),
         "no terminal"),
        (("account", "add", "x", "--host", "imap.mail.example", "--user", "u", "--no-test", "--password-command", "false"),
         "failed (1)"),
        (("account", "add", "x", "--host", "imap.mail.example", "--user", "u", "--no-test", "--password-command", "/no"),
         "cannot be run"),
    ],
)  # fmt: skip
def test_a_wrong_word_says_what_to_do(home: Path, arguments: tuple[str, ...], said: str) -> None:
    done = spamdctl(home, *arguments, stdin="x\n")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2, "what is wrong, and what to do"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("why", "3"), "Did you mean 'explain'?"),
        (("lists", "add", "x@y.example"), "Did you mean 'keep' or 'junk'?"),
        (("service", "installs"), "Did you mean 'install'?"),
        (("account", "nonsense"), "No such command 'nonsense'."),
    ],
)
def test_a_command_that_is_called_otherwise_here(home: Path, arguments: tuple[str, ...], meant: str) -> None:
    done = spamdctl(home, *arguments)
    assert (done.returncode, done.stderr.splitlines()[-1].endswith(meant)) == (2, True), done.stderr


@pytest.mark.parametrize(
    "group", ["account", "labels", "lists", "model", "settings", "service", "thunderbird"]
)
def test_the_help_of_a_group_is_whole(home: Path, group: str) -> None:
    said = spamdctl(home, group, "--help").stdout
    assert "Commands:" in said and "...\n" not in said.partition("Commands:")[2]


def test_without_a_keyring_only_who_needs_one_is_told_that_something_is_wrong(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    done = spamdctl(home, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    told = {one["area"]: (one["level"], one["hint"]) for one in json.loads(done.stdout)}
    assert told["secrets"][0] == "warn" and "settings set secrets file" in told["secrets"][1], (
        "before set-up asks"
    )
    assert list(told).index("secrets") < list(told).index("account"), "in the order in which one mends them"
    for name in ("cur", "new", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    made = spamdctl(home, "account", "add", "local", "--maildir", str(tmp_path / "mail"))
    assert made.returncode == 0, made.stderr
    done = spamdctl(home, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert [one["level"] for one in json.loads(done.stdout) if one["area"] == "secrets"] == ["warn"]
    config = home / "config" / "config.toml"
    config.write_text(config.read_text() + '\n[accounts.far]\nhost = "imap.mail.example"\nuser = "u"\n')
    done = spamdctl(home, "doctor", "--json")
    assert done.returncode == 1
    assert [one["level"] for one in json.loads(done.stdout) if one["area"] == "secrets"] == ["bad"]


def test_nothing_is_wiped_under_the_feet_of_a_filter_that_begins(home: Path, tmp_path: Path) -> None:
    """It has the lock before it can be asked."""
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    word = LabelRecord(AccountName("x"), Identity("hash:1"), Label.SPAM, LabelSource.DRAG, 1.0, 1.0)
    with Store(here.database) as store:
        store.add_label(word)
    saved = spamdctl(home, "backup", str(tmp_path / "one.age"), "--passphrase-stdin", stdin="correct horse\n")
    assert saved.returncode == 0, saved.stderr
    with lock(here.lock_file):
        for command in (("wipe", "all"), ("restore", str(tmp_path / "one.age"), "--passphrase-stdin")):
            done = spamdctl(home, *command, "--yes", stdin="correct horse\n")
            assert (done.returncode, "runs already" in done.stderr) == (1, True), done.stderr
    with Store(here.database) as store:
        assert len(store.labels()) == 1
    assert spamdctl(home, "wipe", "all", "--yes").returncode == 0
    with Store(here.database) as store:
        assert store.labels() == []


def test_a_pause_goes_with_its_account(home: Path, tmp_path: Path) -> None:
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    here.config_file.write_text(f"[accounts.home]\nkind = 'maildir'\npath = '{tmp_path}'\n")
    with Store(here.database) as store:
        Pauses(store, time.time).pause(AccountName("home"), None)
        Pauses(store, time.time).pause(AccountName("work"), None)
    done = spamdctl(home, "account", "remove", "home", "--yes")
    assert done.returncode == 0, done.stderr
    with Store(here.database) as store:
        assert store.state("pauses") == '{"work": null}'


def test_a_backup_whose_settings_run_commands_asks_for_a_yes_to_just_that(home: Path, tmp_path: Path) -> None:
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    ran = tmp_path / "ran"
    theirs = f'secrets = "command"\n[accounts.home]\nhost = "imap.evil.example"\npassword_command = "touch {ran}"\n'
    here.config_file.write_text(theirs)
    file = str(tmp_path / "one.age")
    saved = spamdctl(home, "backup", file, "--passphrase-stdin", stdin="correct horse\n")
    assert saved.returncode == 0, saved.stderr
    here.config_file.write_text(mine := "keep_days = 30\n")
    restore = ("restore", file, "--passphrase-stdin", "--yes")
    done = spamdctl(home, *restore, stdin="correct horse\n")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert f"For the password of home this command is run: touch {ran}" in done.stderr
    assert "--trust-settings" in done.stderr.splitlines()[-1]
    assert here.config_file.read_text() == mine and not list(here.config.glob("*before-restore*"))
    done = spamdctl(home, *restore, "--trust-settings", stdin="correct horse\n")
    assert (done.returncode, f"touch {ran}" in done.stderr) == (0, True), done.stderr
    assert here.config_file.read_text() == theirs and not ran.exists()


def test_an_account_is_not_removed_under_the_feet_of_a_filter_that_begins(home: Path, tmp_path: Path) -> None:
    here = places.find({"SPAMD_HOME": str(home)})
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    added = spamdctl(home, "account", "add", "home", "--maildir", str(maildir), "--no-test")
    assert added.returncode == 0, added.stderr
    with lock(here.lock_file):
        done = spamdctl(home, "account", "remove", "home", "--yes")
    assert (done.returncode, "runs already" in done.stderr) == (1, True), done.stderr
    assert len(json.loads(spamdctl(home, "account", "list", "--json").stdout)) == 1
    here.rescued_database.write_bytes(b"no database" * 1000)
    done = spamdctl(home, "account", "remove", "home", "--yes")
    assert (done.returncode, done.stdout) == (2, ""), "not wholly done, so it is not said to be"
    assert done.stderr.startswith(
        "Removed home. What was learned of it could not be wiped for good: The database"
    )
    assert "Nothing in it was wiped" in done.stderr and "spamdctl wipe all" in done.stderr
    assert "password" not in done.stderr, "a folder has none"
    assert json.loads(spamdctl(home, "account", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    "what", [("password", "--password-stdin"), ("sign-in",), ("sign-in", "--with", "google")]
)
def test_nobody_signs_in_to_a_mail_folder(home: Path, tmp_path: Path, what: tuple[str, ...]) -> None:
    """A password that was stored for one stayed behind when the account was removed."""
    here = places.find({"SPAMD_HOME": str(home)})
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    assert spamdctl(home, "settings", "set", "secrets", "file").returncode == 0
    assert spamdctl(home, "account", "add", "local", "--maildir", str(maildir)).returncode == 0
    before = here.config_file.read_text()
    command, *more = what
    done = spamdctl(home, "account", command, "local", *more, stdin="secret\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is a mail folder" in done.stderr and str(maildir) in done.stderr
    assert here.config_file.read_text() == before and not here.secrets_file.exists()


def test_a_password_that_stays_behind_is_not_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    here.config_file.write_text('[accounts.far]\nhost = "imap.mail.example"\nuser = "u"\n')
    with Store(here.database) as store:
        word = LabelRecord(AccountName("far"), Identity("hash:1"), Label.SPAM, LabelSource.DRAG, 1.0, 1.0)
        store.add_label(word)
    done = spamdctl(home, "account", "remove", "far", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Removed far. Its password could not be removed: ")
    assert json.loads(spamdctl(home, "account", "list", "--json").stdout) == []
    with Store(here.database) as store:
        assert store.labels() == [], "the rest is done all the same"


@pytest.mark.parametrize("which", ["rescued", "database"])
def test_a_damaged_database_is_wiped_whole_or_not_at_all(home: Path, which: str) -> None:
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    damaged = here.rescued_database if which == "rescued" else here.database
    damaged.write_bytes(b"private, and no database" * 1000)
    copy = here.database.with_name(f"{here.database.name}.before-restore")
    copy.write_bytes(b"private")
    (here.personal_models / "personal-1").mkdir()
    (here.personal_models / "personal-1" / "card.json").write_text("private")

    def left() -> int:
        return len([one for one in home.rglob("*") if one.is_file() and b"private" in one.read_bytes()])

    for what in ("display", "account:home"):
        done = spamdctl(home, "wipe", what, "--yes")
        assert done.returncode == 1
        assert "Nothing in it was wiped" in done.stderr and "spamdctl wipe all" in done.stderr
        assert left() == 3
    done = spamdctl(home, "wipe", "all", "--yes")
    assert (done.returncode, done.stdout.strip()) == (0, "Wiped."), done.stderr
    assert left() == 0
    with Store(here.database) as store:
        assert store.wiped_at(AccountName("x"))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another database"])
@pytest.mark.parametrize("kept", ["rescued", "copy", "models", "ends"])
def test_a_wipe_takes_what_is_left_of_an_earlier_run(home: Path, kept: str, beside: bool) -> None:
    here = places.find({"SPAMD_HOME": str(home)})
    here.make()
    copy = here.database.with_name(f"{here.database.name}.before-restore")
    left = {
        "rescued": here.rescued_database,
        "copy": copy,
        "models": here.personal_models / "personal-1",
        "ends": here.state / "unreadable.json",
    }[kept]
    if kept == "models":
        left.mkdir()
        (left / "card.json").write_text("private")
    elif kept == "ends":
        left.write_text("private")
    else:
        word = LabelRecord(AccountName("x"), Identity("hash:1"), Label.SPAM, LabelSource.DRAG, 1.0, 1.0)
        with Store(left) as store:
            store.add_list_entry(ListEntry("private.example", Label.SPAM, 1.0))
            store.add_label(word)
    if beside:
        Store(here.database).close()
    done = spamdctl(home, "wipe", "all", "--yes")
    assert (done.returncode, done.stdout.strip()) == (0, "Wiped."), done.stderr
    assert not left.exists()
    assert not [one for one in home.rglob("*") if one.is_file() and b"private" in one.read_bytes()]
    with Store(here.database) as store:
        assert store.wiped_at(AccountName("x")), "what lies in the inbox is not judged anew"


def test_where_nothing_is_left_there_is_nothing_to_wipe(home: Path) -> None:
    assert spamdctl(home, "wipe", "all", "--yes").stdout.strip() == "There is nothing to wipe."
    assert not places.find({"SPAMD_HOME": str(home)}).database.exists()


def test_scoring_goes_on_after_an_unreadable_file(home: Path, tmp_path: Path) -> None:
    mail = ROOT / "spamd" / "demo" / "mail"
    spam, ham = next(iter(sorted(mail.glob("spam/*.eml")))), next(iter(sorted(mail.glob("ham/*.eml"))))
    done = spamdctl(home, "score", str(spam), str(tmp_path / "gone.eml"), str(tmp_path), str(ham))
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 2
    assert "gone.eml: No such file" in done.stderr
    rows = [
        json.loads(line)
        for line in spamdctl(home, "score", "--json", str(spam), str(ham)).stdout.splitlines()
    ]
    assert rows[0]["probability"] > rows[1]["probability"]
    assert {"file", "probability", "logit", "verdict", "model"} <= set(rows[0])
    piped = spamdctl(home, "score", "-", stdin=ham.read_text())
    assert piped.returncode == 0


def test_explaining_a_file_needs_no_filter(home: Path) -> None:
    spam = sorted((ROOT / "spamd" / "demo" / "mail" / "spam").glob("*.eml"))[0]
    done = spamdctl(home, "explain", str(spam), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reasons"]
    assert found["subject"]
    assert found["personal_logit"] == pytest.approx(0, abs=1e-3), "nothing was learned here"
    assert found["visible_text"]
    assert found["raw_text"].startswith(spam.read_bytes()[:40].decode())
    links = {flag for name in ("link-user-in-url", "link-text-differs") for flag in flags_of(home, name)}
    assert {"user-in-url", "text-differs"} <= links


def test_explaining_names_the_link_that_lies(home: Path) -> None:
    done = spamdctl(home, "explain", str(ROOT / "tests" / "data" / "tricks" / "link-text-differs.eml"))
    assert (
        "Link: evil.example.ru shown as “https://www.mybank.com/login”: not encrypted, leads elsewhere than it says\n"
        in done.stdout
    )


def flags_of(home: Path, name: str) -> set[str]:
    done = spamdctl(home, "explain", str(ROOT / "tests" / "data" / "tricks" / f"{name}.eml"), "--json")
    return {flag for link in json.loads(done.stdout)["links"] for flag in link["flags"]}


def test_a_file_that_holds_nothing_is_no_mail(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.eml").write_bytes(b"\r\n")
    done = spamdctl(home, "explain", str(tmp_path / "empty.eml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no mail to look at" in done.stderr


def test_the_doctor_finds_what_is_wrong(home: Path) -> None:
    fresh = spamdctl(home, "doctor", "--json")
    areas = {one["area"] for one in json.loads(fresh.stdout)}
    assert {"settings", "daemon", "database", "model", "training", "account"} <= areas
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "config.toml").write_text("promise = [")
    (home / "state").mkdir(parents=True, exist_ok=True)
    (home / "state" / "spamd.db").write_bytes(b"this is no database" * 500)
    broken = spamdctl(home, "doctor")
    assert broken.returncode == 1
    assert "not valid TOML" in broken.stdout
    assert broken.stdout.count("BAD") == 2
    assert "Traceback" not in broken.stderr


def test_completion_is_printed(home: Path) -> None:
    done = spamdctl(home, "completion", "bash")
    assert done.returncode == 0
    assert "_SPAMDCTL_COMPLETE" in done.stdout


def test_a_sender_is_never_cut_unseen() -> None:
    """The end of a domain says whose it is, and "…bank.exampl" would be another's."""
    from spamd.cli import daily

    assert daily._who("a@b.example") == "a@b.example"
    cut = daily._who("remboursement@a-very-long-domain.example")
    assert len(cut) == daily.SENDER_WIDTH and cut.endswith("…")


def test_files_are_named_from_where_the_command_was_given(home: Path, tmp_path: Path, monkeypatch) -> None:
    """The filter runs elsewhere: a service, in /."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spamdctl(home, "settings", "set", "secrets", "file")
    added = spamdctl(
        home, "account", "add", "a", "--host", "imap.mail.example", "--user", "u", "--ca", "ca.pem", "--no-test",
        "--password-stdin", stdin="secret\n",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    mails = tmp_path / "Mail"
    for folder in ("cur", "new", "tmp"):
        (mails / folder).mkdir(parents=True)
    assert spamdctl(home, "account", "add", "b", "--maildir", "Mail").returncode == 0
    by_name = {one["name"]: one for one in json.loads(spamdctl(home, "account", "list", "--json").stdout)}
    assert (by_name["a"]["ca_file"], by_name["b"]["path"]) == (str(tmp_path / "ca.pem"), str(mails))
    spamdctl(home, "account", "set", "a", "ca_file=~/other.pem")
    spamdctl(home, "settings", "set", "oauth_file", "o.toml")
    (one, _) = json.loads(spamdctl(home, "account", "list", "--json").stdout)
    assert one["ca_file"] == str(tmp_path / "other.pem")
    assert json.loads(spamdctl(home, "settings", "--json").stdout)["oauth_file"] == str(tmp_path / "o.toml")


def test_an_empty_file_is_no_mail(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.eml").write_bytes(b"\n")
    done = spamdctl(home, "score", str(tmp_path / "empty.eml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no mail in it" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize("command", [["settings"], ["settings", "--json"], ["--help"]])
def test_an_answer_that_cannot_be_written_is_no_fault_of_ours(home: Path, command: list[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "spamd", *command], env={**os.environ, "SPAMD_HOME": str(home), "PYTHONPATH": str(ROOT)}, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 2), done.stderr
    assert "could not be written: No space left on device" in done.stderr


def test_it_answers_where_there_is_nowhere_to_answer_to(home: Path) -> None:
    """As under pythonw, or with standard output closed."""
    shell = 'exec "$0" -m spamd settings >&-'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable],
        env={**os.environ, "SPAMD_HOME": str(home), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["settings", "doctor", "--help"])
def test_a_reader_that_went_away_is_no_error(home: Path, command: str) -> None:
    """As `| head -1` in a script with pipefail."""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "SPAMD_HOME": str(home), "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "spamd", command], env=environment, stdout=write, stderr=subprocess.PIPE, check=False
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
