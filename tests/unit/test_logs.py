"""What is written to the log, and what never is."""

from __future__ import annotations

import logging
import logging.handlers
import os
import shutil
import stat

import pytest

from spamd import logs, paths
from spamd.errors import StoreError


@pytest.fixture
def places(tmp_path):
    found = paths.find({"SPAMD_HOME": str(tmp_path / "spamd")})
    yield found
    logs.close()
    logs._known_secrets.clear()


@pytest.fixture
def log(places):
    logs.configure(places, "info", foreground=False)
    return logging.getLogger("spamd.test")


def file_handler():
    """That of the log file; pytest has one of its own."""
    (found,) = [
        one for one in logging.getLogger().handlers if isinstance(one, logging.handlers.RotatingFileHandler)
    ]
    return found


def written(places):
    return places.log_file.read_text("utf-8")


def test_private_file(places, log):
    log.info("begun")
    assert "INFO    spamd.test: begun\n" in written(places)
    if os.name == "posix":
        assert stat.S_IMODE(places.log_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(places.log.stat().st_mode) == 0o700


def test_levels(places, log):
    other = logging.getLogger("imapclient.imaplib")
    log.debug("one")
    logs.set_level("debug")
    log.debug("two")
    other.info("three")
    other.debug("four")
    other.warning("five")
    text = written(places)
    assert [word in text for word in ("one", "two", "three", "four", "five")] == [
        False,
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer S3CRETtoken.abc",
        "authorization: basic S3CRETtoken",
        "header 'Bearer S3CRETtoken'",
        "password=S3CRETtoken host=x",
        '{"refresh_token": "S3CRETtoken", "a": 1}',
        "client_secret=S3CRETtoken&x=y",
        "a1 AUTHENTICATE PLAIN S3CRETtoken==",
        "a1 AUTHENTICATE XOAUTH2 S3CRETtoken==",
        "a1 LOGIN ann S3CRETtoken",
        'a1 LOGIN "ann b" "S3CRETtoken"',
        "imaps://ann:S3CRETtoken@imap.example.org/",
        "Cookie: S3CRETtoken",
        "GET /go?code=S3CRETtoken",
    ],
)
def test_secrets_by_their_look(places, log, line):
    log.warning("%s", line)
    assert "S3CRET" not in written(places)
    assert "***" in written(places) or "<address " in written(places)


def test_secrets_by_name(places, log):
    for secret in ("horse", "correct horse battery"):  # of one in another nothing is left over
        logs.hide(secret)
    logs.hide("")
    logs.hide("a")
    log.warning("said %r", ["correct horse battery"])
    text = written(places)
    assert not any(word in text for word in ("correct", "horse", "battery"))
    assert "***" in text
    assert "a" in text


def failed_on(text: str) -> None:
    """As a reader of mail may: what it says quotes the mail."""
    try:
        try:
            float(text)
        except ValueError as exc:
            raise StoreError("The disk said no.") from exc
    except StoreError:
        logging.getLogger("spamd.test").exception("a mail could not be read")


def test_a_traceback_quotes_no_mail(places, log):
    failed_on("Your biopsy results")
    text = written(places)
    assert "biopsy" not in text
    assert "in failed_on" in text
    assert "ValueError\n" in text
    assert "StoreError: The disk said no." in text
    assert text.index("ValueError") < text.index("StoreError:"), "the cause first"


def test_at_debug_a_traceback_says_all_but_secrets(places, log):
    logs.hide("correct horse battery")
    logs.set_level("debug")
    failed_on("refused: correct horse battery")
    assert "ValueError: could not convert string to float: 'refused: ***'" in written(places)


def test_what_the_system_says_is_told(places, log):
    try:
        (places.log / "missing").read_bytes()
    except OSError:
        log.exception("failed")
    assert "FileNotFoundError: No such file or directory" in written(places)


def test_addresses_have_marks(places, log):
    log.info("from Ann.Bee+x@Mail.example.org to <bob@example.org>, again ann.bee+x@mail.example.org")
    text = written(places)
    assert "example.org" not in text
    first, second, third = [part[:4] for part in text.split("<address ")[1:]]
    assert first == third != second


def test_no_forged_lines(places, log):
    log.info("subject: %s", "x\n2026-01-01 00:00:00 ERROR spamd: fake\r\x1b[2J\u202e\u2028")
    lines = written(places).splitlines()
    assert len(lines) == 1
    assert "\\n2026" in lines[0]
    assert "\x1b" not in lines[0]


def test_a_wrong_argument_does_not_lose_the_line(places, log):
    record = logging.LogRecord("spamd", logging.INFO, __file__, 1, "number %d", ("x",), None)
    assert file_handler().format(record).endswith("spamd: number %d")
    log.info("100% sure")
    log.info("lone \ud800 surrogate")
    assert "100% sure" in written(places)
    assert "lone \\ud800 surrogate" in written(places)


def test_rotation_keeps_a_few(places, log, monkeypatch):
    monkeypatch.setattr(file_handler(), "maxBytes", 2000)
    for n in range(300):
        log.info("line %d", n)
    kept = logs.files(places)
    assert len(kept) == 1 + logs.FILES_KEPT
    assert kept[0] == places.log_file
    assert "line 299" in written(places)
    if os.name == "posix":
        assert {stat.S_IMODE(one.stat().st_mode) for one in kept} == {0o600}


def test_foreground_speaks_to_the_terminal(places, capsys):
    logs.configure(places, "info", foreground=True)
    logging.getLogger("spamd").info("password=abc")
    assert "password=***" in capsys.readouterr().err
    logs.configure(places, "info", foreground=False)
    logging.getLogger("spamd").info("again")
    assert capsys.readouterr().err == ""
    assert written(places).count("again") == 1


def test_for_the_journal():
    formatter = logs.MaskingFormatter("%(name)s: %(message)s", for_journal=True)
    fault = StoreError("The disk\ntoken=abc")
    record = logging.LogRecord(
        "spamd", logging.ERROR, __file__, 1, "broken %s", ("x",), (StoreError, fault, None)
    )
    record.exc_text = "as another program's handler has formatted it: Your biopsy results"
    assert formatter.format(record) == (
        "<3>spamd: broken x\n<3>Traceback (most recent call last):\n<3>StoreError: The disk\n<3>token=***"
    )


def test_where_it_cannot_be_written_the_program_goes_on(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    logs.configure(paths.find({"SPAMD_HOME": str(tmp_path / "file")}), foreground=False)
    logging.getLogger("spamd").info("unheard")
    assert "No log file" in capsys.readouterr().err
    logs.close()


@pytest.mark.skipif(os.name == "nt", reason="no open file can be removed there")
def test_a_folder_that_is_removed_is_made_anew(places, log):
    shutil.rmtree(places.log)
    log.info("after it")
    assert "after it" in places.log_file.read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_full_disk(places, log, capsys):
    handler = file_handler()
    handler.stream.close()
    handler.stream = open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    log.info("lost")
    logs.close()
    assert capsys.readouterr().err == ""
