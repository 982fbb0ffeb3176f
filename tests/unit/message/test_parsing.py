"""Bytes to ParsedMessage: what mail programs would show, inside the limits, whatever the bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from spamd.message import parsing
from spamd.message.dense import PROVEN, authentication, sender_proof, sender_proven
from spamd.message.links import registered
from spamd.message.parsing import ParsedMessage

MAILS = Path(__file__).parents[2] / "data" / "tricks"


def parse(name: str) -> ParsedMessage:
    return parsing.parse((MAILS / f"{name}.eml").read_bytes())


@pytest.mark.parametrize(
    ("name", "text", "defect"),
    [
        ("no-boundary", "Casino bonus waits", "no boundary"),
        ("boundary-never-comes", "Casino bonus waits", "empty multipart"),
        ("broken-base64", "Casino bonus waits", "bad base64"),
        ("bad-charset", "Grüße aus München", "bad charset"),
        ("cp1251-mislabelled", "Здравствуйте, вы выиграли", "bad charset"),
        ("koi8-unlabelled", "Здравствуйте, вы выиграли", None),
        ("gb-unlabelled", "您好，我公司可以代开发票", None),
        ("shift-jis-unlabelled", "あなたのアカウントを確認してください", None),
        ("iso-2022-jp", "あなたのアカウントを確認してください", None),
        ("headers-without-end", "Casino bonus waits\nfor you here", None),
        ("mbox-line", "hello", None),
        ("smime-signed", "signed words", None),
        ("raw-utf8-headers", "Grüße", None),
    ],
)
def test_text_is_read_as_meant(name: str, text: str, defect: str | None) -> None:
    message = parse(name)
    assert text in message.plain + message.html
    assert (defect is None and not message.defects) or defect in message.defects


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("winmail", "tnef"),
        ("calendar", "calendar"),
        ("bounce", "bounce"),
        ("smime-encrypted", "smime"),
        ("smime-signed", "smime-signature"),
        ("pgp-encrypted", "pgp"),
        ("nested-message", "nested-message"),
        ("uuencode", "uuencode"),
    ],
)
def test_special_mail_is_recognised(name: str, fact: str) -> None:
    assert fact in parse(name).facts


def test_invitations_are_read() -> None:
    assert parse("calendar").plain == "Claim your bitcoin, now\nOpen https://evil.example.ru/pay today"


def test_the_inner_mail_of_a_forward_is_read() -> None:
    message = parse("nested-message")
    assert (message.plain, message.html.strip()) == ("see below", "<p>inner casino</p>")
    assert message.subject == "Fwd: x"


def test_encoded_words_and_parameters() -> None:
    message = parse("encoded-words")
    assert (message.subject, message.sender_name, message.sender) == (
        "Größe geändert ok",
        "Jürgen Groß",
        "j@b.example",
    )
    assert [part.filename for part in message.attachments] == ["Rechänung x.pdf"]
    assert parse("cut-character").subject == "üü"
    assert parse("gb-unlabelled").subject == "发票优惠"
    assert parse("iso-2022-jp").subject == "アカウント確認"


def test_raw_utf8_headers() -> None:
    message = parse("raw-utf8-headers")
    assert (message.subject, message.sender_name, message.sender) == (
        "Größe geändert",
        "Jürgen Groß",
        "jürgen@bücher.example",
    )


def test_verdicts_of_other_filters_are_not_read() -> None:
    message = parse("verdict-headers")
    assert [name for name, _ in message.headers] == ["from", "subject"]
    assert message.clean == b"From: a@b.example\nSubject: x\n\nhello\n"


@pytest.mark.parametrize(
    "name",
    ["X-RC-Spam", "X-BitDefenderWKS-Spam", "X-Exchange-Antispam-Report-Test", "X-Example-MailScanner-SpamCheck",
     "X-SBB-Virus-Status", "X-CM-Score", "X-Mailgun-Sflag", "SpamTally", "X-Rspamd-Server"],
)  # fmt: skip
def test_a_verdict_is_known_by_its_name(name: str) -> None:
    message = parsing.parse(f"From: a@b.example\n{name}: no\nX-Mailer: x\n\nhello\n".encode())
    assert [field for field, _ in message.headers] == ["from", "x-mailer"]
    assert name.encode() not in message.clean


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64 (so)", "text/plain", "Casino"),
        ("Content-Transfer-Encoding: base64;", "text/plain", "Casino"),
        ('Content-Transfer-Encoding: "Base64"', "text/plain", "Casino"),
        ("Content-Type: text/html (page); charset=utf-8\nContent-Transfer-Encoding: base64", "text/html", "Casino"),
        ("Content-Type: text/html charset=utf-8\nContent-Transfer-Encoding: base64", "text/html", "Casino"),
        ("Content-Type: text/\nContent-Transfer-Encoding: base64", "text/plain", "Casino"),
        ("Content-Type: /html\nContent-Transfer-Encoding: base64", "text/plain", "Casino"),
        ("Content-Type: text/spam\nContent-Transfer-Encoding: base64", "text/spam", "Casino"),
    ],
)  # fmt: skip
def test_what_mail_programs_read_over(fields: str, kind: str, text: str) -> None:
    """Each of these once hid all words of a mail from the filter, and from nobody else."""
    message = parsing.parse(f"From: a@b.example\n{fields}\n\nQ2FzaW5v\n".encode())
    assert [(part.kind, part.text) for part in message.parts] == [(kind, text)]


def test_a_file_of_text_is_not_what_the_mail_says() -> None:
    body = "--b\n\nhello\n--b\nContent-Type: text/x-patch\n\n+ int x;\n--b--\n"
    message = parsing.parse(f"Content-Type: multipart/mixed; boundary=b\n\n{body}".encode())
    assert [part.text for part in message.parts] == ["hello", None]


@pytest.mark.parametrize(
    ("field", "fact"),
    [
        ("application/vnd.ms-tnef", "tnef"),
        ("application/octet-stream; name=smime.p7m", "smime"),
        ("application/octet-stream; name=SMIME.P7S", "smime-signature"),
    ],
)
def test_special_parts_by_other_names(field: str, fact: str) -> None:
    assert fact in parsing.parse(f"From: a@b.example\nContent-Type: {field}\n\nx\n".encode()).facts


def test_a_space_before_the_colon_makes_no_mbox_line() -> None:
    message = parsing.parse(b"From : Ann <a@b.example>\nSubject : hello\n\nx\n")
    assert (message.sender, message.subject) == ("a@b.example", "hello")


def test_depth_and_parts_are_limited() -> None:
    assert "nested too deep" in parse("deep-nesting").defects
    many = parse("many-parts")
    assert "too many parts" in many.defects
    assert len(many.parts) == parsing.DEFAULT.parts


def test_only_the_head_of_a_big_mail_is_read() -> None:
    raw = b"From: a@b.example\r\nSubject: x\r\n\r\n" + b"word " * 1_000_000
    message = parsing.parse(raw)
    assert message.size == len(raw)
    assert "cut" in message.defects
    assert len(message.plain) <= parsing.DEFAULT.bytes


@pytest.mark.parametrize(
    ("limits", "raw", "defect"),
    [
        (parsing.Limits(part_bytes=10), b"Content-Transfer-Encoding: base64\n\nd29yZHMgd29yZHMgd29yZHM=", "part cut"),
        (parsing.Limits(bytes=60), b"Subject: x\n\n" + b"word " * 20, "cut"),
        (parsing.Limits(depth=1), b"Content-Type: message/rfc822\n\n" * 3 + b"x", "nested too deep"),
        (parsing.Limits(parts=2), b"Content-Type: multipart/mixed; boundary=b\n" + b"\n--b\n\nx" * 5, "too many parts"),
        (parsing.Limits(headers=2), b"A: b\n" * 3 + b"\nx", "too many headers"),
        (parsing.Limits(header_bytes=4), b"Subject: longer\n\nx", "long header"),
    ],
)  # fmt: skip
def test_each_limit_holds_and_is_told(limits: parsing.Limits, raw: bytes, defect: str) -> None:
    cut = parsing.parse(raw, limits=limits)
    assert defect in cut.defects
    assert defect not in parsing.parse(raw).defects
    assert len(cut.parts) <= limits.parts
    assert len(cut.headers) <= limits.headers
    assert all(len(value) <= limits.header_bytes for _, value in cut.headers)
    assert all(len(part.text or "") <= min(limits.part_bytes, limits.bytes) for part in cut.parts)


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (b"Subject: x\nno field\nTo: y\n\nx", "bad header line"),
        (b"", "no headers"),
        (b"Content-Transfer-Encoding: x-magic\n\nx", "unknown encoding"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", "unclosed multipart"),
        (b"\n\nSubject: x\n\nx", "leading blank lines"),
        (b"From: a@b.example\nFrom: c@d.example\n\nx", "repeated from"),
    ],
)
def test_what_is_wrong_with_a_mail_is_told(raw: bytes, defect: str) -> None:
    assert defect in parsing.parse(raw).defects
    assert not parsing.parse(b"From: a@b.example\nSubject: x\n\nx").defects


def test_header_limits() -> None:
    message = parsing.parse(b"Subject: " + b"x" * 40_000 + b"\n" + b"A: b\n" * 1_000 + b"\nbody")
    assert "long header" in message.defects
    assert "too many headers" in message.defects
    assert len(message.subject) == parsing.DEFAULT.header_bytes
    assert message.plain == "body"


@pytest.mark.parametrize(
    ("field", "name", "address"),
    [
        ("Ann Miller <ann@b.example>", "Ann Miller", "ann@b.example"),
        ('"Miller, Ann" <Ann@B.example>', "Miller, Ann", "ann@b.example"),
        ("ann@b.example (Ann Miller)", "Ann Miller", "ann@b.example"),
        ("ann@b.example", "", "ann@b.example"),
        ('"ceo@bank.example" <x@evil.example>', "ceo@bank.example", "x@evil.example"),
        ("<ann@b.example> Ann", "", "ann@b.example"),
        ("Ann <> <ann@b.example>", "Ann <>", "ann@b.example"),
        ("nobody", "nobody", ""),
        ("", "", ""),
        ("a@b.example, c@d.example", "", "a@b.example"),
        ("((((((((((" * 500, "", None),
        ('"Ann"ann@b.example', "Ann", "ann@b.example"),
        ('<"ann m"@b.example>', "", '"ann m"@b.example'),
        ("=?utf-8?q?ann=20b?=@b.example", "", "ann b@b.example"),
        ('=?utf-8?q?Ann_=22A=22?= "Miller" (me) <ann@b.example>', 'Ann "A" "Miller" (me)', "ann@b.example"),
        ("=?utf-8?q?Ann_=3Cann=40b=2Eexample=3E?=", "Ann", "ann@b.example"),
        ("Bank <info@bank.example>, Ann <ann@b.example>", "Bank <info@bank.example>, Ann", "ann@b.example"),
        ("<" * 5_000, None, None),
    ],
)
def test_addresses(field: str, name: str | None, address: str | None) -> None:
    found = parsing.address(field)
    if name is not None and address is not None:
        assert found[:2] == (name, address)


SEVERAL = (
    b"<info@bank.org> <x@evil.example>",
    b'"a <info@bank.org>" <x@evil.example>',
    b"x@evil.example (<info@bank.org>)",
    b'"<info@bank.org>" x@evil.example',
    b"(info@bank.org) x@evil.example",
    b'(") <x@evil.example> (") <info@bank.org>',
    b"(a (b) <info@bank.org>) x@evil.example",
    b'x@evil.example "a ) <info@bank.org>"',
    b"x@evil.example =?utf-8?q?=3Cinfo=40bank=2Eorg=3E?=",
    b"=?utf-8?q?=22?= <x@evil.example> =?utf-8?q?=22?= <info@bank.org>",
    b"=?utf-8?q?x=40evil=2Eexample?= =?utf-8?q?=3Cinfo=40bank=2Eorg=3E?=",
    b"info@bank.org, x@evil.example",
    b"info@bank.org <x@evil.example>",
    b"<x@evil.example> info@bank.org",
    b"x@evil.example\r\nFrom: info@bank.org",
    b"info@bank.org\r\nFrom: x@evil.example",
    "x@evil.example (<info@bänk.org>)".encode(),
)


@pytest.mark.parametrize("field", SEVERAL)
def test_a_server_that_vouches_for_one_address_in_from_vouches_for_no_other(field: bytes) -> None:
    """Whichever is taken for the sender, in tokens, lists, exemption and imitations alike."""
    for proven in (b"evil.example", b"bank.org"):
        found = b"; dmarc=pass header.from=" + proven
        for more in (found, b"; dkim=pass header.d=" + proven + found, b"; dmarc=pass"):
            head = b"Received: from a by mx.home.example\r\nAuthentication-Results: mx.home.example" + more
            message = parsing.parse(head + b"\r\nFrom: " + field + b"\r\n\r\nHello\r\n")
            theirs = registered(message.sender.rpartition("@")[2]).encode() == proven
            if found in more:
                assert (authentication(message).get("dmarc") == "pass") is theirs
                assert (sender_proof(message) == PROVEN) is theirs
                assert theirs or authentication(message).get("dmarc", "fail") == "fail"
            elif authentication(message)["dmarc"] == "pass":
                assert message.sender == "x@evil.example", "there is no other in that field"


def test_gmail_is_believed_though_its_store_stands_above_it() -> None:
    """Before, of mail at Gmail nobody's sender was ever proven: no exemption, and a forgery took the real mail along."""
    inside = "Received: by 2002:a05:6a10:1234:b0:2a1:b2c3:d4e5 with SMTP id ab1csp123; Mon, 24 Nov 2025 10:18:12 -0800\r\n"
    more = "X-Received: by 2002:a17:90b:1:b0:2e2 with SMTP id x;\r\nReturn-Path: <b@parcel.com>\r\n"
    taken_in = "Received: from {} by {} with ESMTPS id q for <me@gmail.com>;\r\n"
    found = "Authentication-Results: {}; dkim=pass header.i=@parcel.com; dmarc={} (p=REJECT) header.from=parcel.com\r\n"
    end = "From: Parcel <info@parcel.com>\r\n\r\nHello\r\n"
    google = taken_in.format("mail.parcel.com", "mx.google.com")
    theirs = taken_in.format("x.evil.example", "mx.evil.example")

    def said(*parts: str) -> str:
        return authentication(parsing.parse("".join([*parts, end]).encode())).get("dmarc", "")

    for above in (inside + more, inside + inside + more):
        assert said(above, google, found.format("mx.google.com", "pass")) == "pass"
        assert said(above, google, found.format("mx.google.com", "fail")) == "fail"
        assert said(above, google, found.format("mx.evil.example", "pass"), theirs) == ""
        assert said(above, theirs, found.format("mx.evil.example", "pass")) == "", "no server of Google's"
        assert said(above, found.format("mx.google.com", "pass")) == ""
    assert said(theirs, google, found.format("mx.google.com", "pass")) == ""
    assert said("Received: from a by 2002:a05::1; x\r\n", google, found.format("mx.google.com", "pass")) == ""


def test_icloud_is_believed_in_all_its_fields() -> None:
    store = "Received: from {} by p44-mailgateway-smtp-77b-glq (mailgateway 2403B92) with SMTP id x;\r\n"
    inside = "p00-icloudmta-smtpin-us-1k-100-percent-4"
    taken_in = (
        "Received: from mail.parcel.com (mail.parcel.com [1.2.3.4]) by {} (Postfix) with ESMTPS id q;\r\n"
    )
    server = taken_in.format(inside)
    found = "Authentication-Results: bimi.icloud.com; bimi=none\r\nX-ARC-Info: arc=none\r\n"
    found += "Authentication-Results: dmarc.icloud.com; dmarc={} header.from=parcel.com\r\n"
    found += "Authentication-Results: dkim-verifier.icloud.com;\r\n\tdkim=pass (1024-bit key) header.d={} header.b=a\r\n"
    found += "Authentication-Results: spf.icloud.com; spf=pass (of x@esp.net) smtp.mailfrom=x@esp.net\r\n"
    forged = "Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=parcel.com\r\n"
    end = "From: Parcel <info@parcel.com>\r\n\r\nHello\r\n"

    def read(*parts: str) -> ParsedMessage:
        return parsing.parse("".join([*parts, end]).encode())

    for dmarc, domain, proof in (
        ("pass", "parcel.com", PROVEN),
        ("pass", "esp.net", PROVEN),
        ("none", "parcel.com", PROVEN),
        ("none", "esp.net", "dkim=pass dmarc=none spf=pass"),
        ("fail", "parcel.com", "dkim=pass dmarc=fail spf=pass"),
    ):
        message = read(store.format(inside), server, found.format(dmarc, domain), forged)
        assert authentication(message) == {"dmarc": dmarc, "dkim": "pass", "spf": "pass"}
        assert sender_proof(message) == proof
    passed = found.format("pass", "parcel.com")
    assert (
        authentication(read("Received: from a by mx.home.example\r\n", store.format(inside), server, passed))
        == {}
    )
    assert authentication(read(store.format("p00-icloudmta-asmtp-us-1"), server, forged)) == {}, "not checked"
    assert (
        authentication(
            read(store.format(inside), server, "Authentication-Results: mx.evil.org; dmarc=pass\r\n")
        )
        == {}
    )


@pytest.mark.parametrize(
    "taken_in",
    [
        'from evil.example ([1.2.3.4]) by mx.home.example with esmtp (Exim 4.96)\r\n\t(envelope-from <"{}"@evil.example>) id 1q;',
        "from x {} (unknown [1.2.3.4]) by mx.home.example with ESMTP id 1q;",
        "from {} (unknown [1.2.3.4])\r\n\tby mx.home.example with ESMTP id 1q;",
        "from evil.example (HELO {}) (1.2.3.4) by mx.home.example with SMTP;",
        'from evil.example by mx.home.example with ESMTP id 1q for <"me+{}"@home.example>;',
    ],
)
def test_what_a_sender_brings_into_the_line_of_another_server_makes_no_icloud_of_it(taken_in: str) -> None:
    """Before, each proved any sender wherever the receiving server writes so: Exim does for the envelope."""
    for brought in (
        "by p44-mailgateway-smtp-77b-glq (mailgateway 2403B92) with SMTP id x",
        "from p00-icloudmta-smtpin-us-1k by p44-mailgateway-smtp-77b-glq (mailgateway 2403B92) with SMTP id x",
        "p00-icloudmta-smtpin-us-1k by p44-mailgateway-smtp-77b-glq (mailgateway 2403B92) with SMTP id x",
    ):
        message = parsing.parse(
            f"Received: {taken_in.format(brought)} Mon, 24 Nov 2025 10:18:12 -0800\r\n"
            "Authentication-Results: mx.home.example; dmarc=fail header.from=parcel.com\r\n"
            "Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=parcel.com\r\n"
            "From: Parcel <info@parcel.com>\r\n\r\nHello\r\n".encode()
        )
        assert sender_proof(message) != PROVEN
        assert authentication(message).get("dmarc") in (None, "fail")


PROTON = "Received: from out.esp.net (out.esp.net [192.0.2.1]) by mailin043.protonmail.ch (Postfix) with ESMTPS id 1; Fri, 11 Sep 2026\r\n"
PROTON_FOUND = "Authentication-Results: mail.protonmail.ch; "


@pytest.mark.parametrize(
    ("above", "proof"),
    [
        (
            "Received: from 127.0.0.1\r\n by atlas-production.v2-mail-prod1-bf1.omega.yahoo.com pod-id atlas--production-bf1-f5 with HTTP;"
            " Thu, 25 Jan 2024 12:14:01 +0000\r\nAuthentication-Results: atlas-production.v2-mail-prod1-bf1.omega.yahoo.com;\r\n"
            " dkim=pass header.i=@parcel.com header.s=d;\r\n spf=pass smtp.mailfrom=esp.net;\r\n dmarc=pass(p=NONE) header.from=parcel.com;\r\n",
            PROVEN,
        ),
        (
            "Received: from 10.222.142.150\r\n by atlas206.aol.mail.ne1.yahoo.com with HTTPS; Mon, 21 Jun 2021 15:36:02 +0000\r\n"
            "Authentication-Results: atlas206.aol.mail.ne1.yahoo.com;\r\n dkim=unknown;\r\n spf=none smtp.mailfrom=esp.net;\r\n"
            " dmarc=unknown header.from=parcel.com;\r\n",
            "dkim=unknown dmarc=unknown spf=none",
        ),
        (
            "Authentication-Results:  gmx.net; dkim=pass header.i=@parcel.com\r\nReceived: from out.esp.net ([192.0.2.1]) by mx-ha.gmx.net\r\n"
            "  (mxgmx103 [212.227.17.5]) with ESMTPS (Nemesis) id 1Me for <me@gmx.de>; Thu, 30 Jun 2022 12:47:23 +0200\r\n",
            PROVEN,
        ),
        (
            "Received: from CY1NAM02HT174.eop-nam02.prod.protection.outlook.com\r\n (10.162.29.12) by BY1PR19MB0022.namprd19.prod.outlook.com"
            " with HTTPS via\r\n BY1PR16CA0002.NAMPRD16.PROD.OUTLOOK.COM; Sat, 18 Mar 2017 16:04:31 +0000\r\n"
            "Authentication-Results: spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=esp.net; hotmail.com; dkim=pass (signature was verified)\r\n"
            " header.d=parcel.com;hotmail.com; dmarc=pass action=none\r\n header.from=parcel.com;\r\n",
            PROVEN,
        ),
        (PROTON + PROTON_FOUND + "dmarc=pass (p=none dis=none)\r\n header.from=parcel.com\r\n", PROVEN),
        # Written in another order, too. Whether a field of that name from outside is taken out there is not known.
        (PROTON + PROTON_FOUND + "spf=none smtp.mailfrom=esp.net\r\n" + PROTON_FOUND + "dmarc=pass header.from=parcel.com\r\n", "spf=none"),
    ],
    ids=["Yahoo", "AOL", "GMX", "Outlook.com", "Proton", "Proton, SPF first"],
)  # fmt: skip
def test_what_providers_write_on_top_is_read(above: str, proof: str) -> None:
    """Lines as their servers wrote them, the names changed."""
    end = "Received: from x by mx.evil.example\r\nFrom: Parcel <info@parcel.com>\r\n\r\nHello\r\n"
    assert sender_proof(parsing.parse((above + end).encode())) == proof
    assert (
        sender_proof(parsing.parse(("Received: from x by mx.home.example\r\n" + above + end).encode())) == ""
    )


FASTMAIL = (
    "Received: from ams-compute-02.internal (ams-compute-02.internal [10.64.2.62])\r\n"
    "\t by slotai03m05 (Cyrus 3.13.7-879-g3d7eacd738-fm-20260923.003-g3d7eacd7) with LMTPA;\r\n"
    "\t Tue, 29 Sep 2026 14:02:14 -0400\r\n"
    "Received: from phl-mx-04 ([10.202.2.203])\r\n  by ams-compute-02.internal (LMTPProxy); Tue, 29 Sep 2026 14:02:14 -0400\r\n"
    "Received: from phl-mx-04.messagingengine.com (localhost [127.0.0.1])\r\n"
    "\tby mailmx.phl.internal (Postfix) with ESMTP id A7\r\n\tfor <me@fastmail.example>; Tue, 29 Sep 2026 14:02:11 -0400 (EDT)\r\n"
    "Received: from mailmx.phl.internal (localhost [127.0.0.1])\r\n"
    "    by phl-mx-04.messagingengine.com (Authentication Milter) with ESMTP\r\n    id 35;\r\n    Tue, 29 Sep 2026 14:02:11 -0400\r\n"
)
FASTMAIL_FOUND = (
    "Authentication-Results: phl-mx-04.messagingengine.com;\r\n    x-csa=none;\r\n    x-me-sender=none;\r\n"
    "    x-ptr=pass smtp.helo=out.esp.net policy.ptr=out.esp.net\r\n"
    "Authentication-Results: phl-mx-04.messagingengine.com;\r\n    bimi=none (No BIMI records found)\r\n"
    "Authentication-Results: phl-mx-04.messagingengine.com;\r\n    arc=none (no signatures found)\r\n"
    "Authentication-Results: phl-mx-04.messagingengine.com;\r\n"
    "    dkim=pass (2048-bit rsa key sha256) header.d=esp.net header.i=@esp.net header.b=ZM;\r\n"
    "    dmarc={} policy.published-domain-policy=reject (p=reject,d=none,d.eval=none) policy.policy-from=p\r\n"
    "      header.from=parcel.com;\r\n    iprev=pass smtp.remote-ip=192.0.2.1 (out.esp.net);\r\n"
    "    spf=pass smtp.mailfrom=x@esp.net\r\n      smtp.helo=out.esp.net\r\n"
)


def test_fastmail_is_believed_in_all_its_fields_and_nothing_below_them() -> None:
    """Lines as their servers wrote them in September 2026."""
    server = "Received: from out.esp.net (out.esp.net [192.0.2.1])\r\n\tby phl-mx-04.messagingengine.com (Postfix) with ESMTPS id 2;\r\n"
    forged = "Authentication-Results: phl-mx-04.messagingengine.com; dmarc=pass header.from=parcel.com; spf=pass\r\n"
    end = "From: Parcel <info@parcel.com>\r\n\r\nHello\r\n"

    def read(*parts: str) -> ParsedMessage:
        return parsing.parse("".join([*parts, end]).encode())

    for dmarc, proof in (("pass", PROVEN), ("fail", "dkim=pass dmarc=fail spf=pass")):
        message = read(FASTMAIL, FASTMAIL_FOUND.format(dmarc), server, forged)
        assert authentication(message)["dmarc"] == dmarc and sender_proof(message) == proof
    none = FASTMAIL_FOUND.format("none").replace("dmarc=none", "x-dmarc=none")
    assert "dmarc" not in authentication(read(FASTMAIL, none, server, forged)), "not made up for from below"
    assert (
        authentication(
            read(FASTMAIL, FASTMAIL_FOUND.format("pass").replace("phl-mx-04", "phl-mx-05"), server)
        )
        == {}
    )
    store = FASTMAIL.partition("Received: from phl-mx")[0]
    customer = store + FASTMAIL[len(store) :].replace("phl-mx-04", "phl-mailfrontend-01")
    forged = FASTMAIL_FOUND.format("pass").replace("phl-mx-04", "phl-mailfrontend-01")
    for below in (
        customer,
        customer.partition("\r\nReceived: from phl-mailfrontend-01.")[0] + "\r\n" + FASTMAIL,
    ):
        for found_there in (forged, FASTMAIL_FOUND.format("pass")):
            message = read(below, found_there)
            assert authentication(message) == {}, "from one customer to another, which nobody checks"
    mine = "Received: from {} by mx.home.example with ESMTP id 1q; Tue, 29 Sep 2026 14:02:14 -0400\r\n"
    line = FASTMAIL.partition("\r\nReceived")[0].removeprefix("Received: ").replace("\r\n", "")
    word = f"=?us-ascii?Q?{line.removeprefix('from ').replace(' ', '_')}_by_messagingengine.com?="
    for brought in (line, line.removeprefix("from "), word, "x"):
        message = read(mine.format(brought), FASTMAIL, FASTMAIL_FOUND.format("pass"), server)
        assert authentication(message) == {}, "brought along to another server"


@pytest.mark.parametrize("gap", ["\u00a0", "\u2028", "\x0b", "\x85", "\x1c"])
def test_what_is_no_space_to_the_server_is_none_in_its_lines(gap: str) -> None:
    """Else a HELO could hide by whom the mail was taken in, and with it the server's own "fail"."""
    head = f"Received: from x{gap}by{gap}evil.example (y [192.0.2.1])\r\n\tby mx.home.example with ESMTP id 1\r\n"
    found = f"Authentication-Results: mx.home.example;\r\n\tspf=pass smtp.helo=x;{gap}arc=pass;\r\n\tdmarc=fail\r\n"
    message = parsing.parse(f"{head}{found}From: a@b.example\r\n\r\nHello\r\n".encode())
    assert authentication(message) == {"spf": "pass", "dmarc": "fail"}


def test_microsoft_encodes_all_of_its_field() -> None:
    """Where the domain in From is not ASCII; seen in twelve of 3,000 mails of phishing-pot."""
    found = base64.b64encode(
        b"spf=pass smtp.mailfrom=a.example;dmarc=fail header.from=\xf0\x9d\x97\xbb.example"
    ).decode()
    head = f"Received: from a by b.prod.outlook.com\r\nAuthentication-Results: =?utf-8?B?{found}?=\r\n"
    message = parsing.parse(f"{head}From: a@b.example\r\n\r\nHello\r\n".encode())
    assert authentication(message) == {"spf": "pass", "dmarc": "fail"}


def test_a_verdict_on_another_domain_says_nothing_of_the_sender() -> None:
    """A list that puts itself into From behind the check, on the same server."""
    head = "Received: from a by mx.home.example\r\nAuthentication-Results: mx.home.example; dmarc={}\r\n"
    for verdict, sender, expected in (
        ("pass header.from=friend.example", "list@lists.example", None),
        ("fail header.from=friend.example", "list@lists.example", "fail"),
        ("pass header.from=mail.friend.org", "a@news.friend.org", "pass"),
        ("pass (p=none) header.from=a@friend.example", "a@friend.example", "pass"),
        ("pass header.from=xn--mller-kva.example", "a@müller.example", "pass"),
        ("pass header.from=müller.example", "a@xn--mller-kva.example", "pass"),
        ("pass smtp.mailfrom=header.from=b.example@x.example", "a@friend.example", "pass"),
        ("pass", "Ann <a@friend.example>", "pass"),
        ("pass", "a@friend.example <a@mail.example>", "fail"),
    ):
        raw = head.format(verdict) + f"From: {sender}\r\n\r\nHello\r\n"
        assert authentication(parsing.parse(raw.encode())).get("dmarc") == expected


MANY_SIGNATURES = f"dkim=pass header.i=@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}; " * 16


@pytest.mark.parametrize(
    ("found", "proof"),
    [
        ("dmarc=pass header.from=bank.org", PROVEN),
        ("spf=fail smtp.mailfrom=x@evil.example; dmarc=fail", "dmarc=fail spf=fail"),
        ("dkim=pass header.d=bank.org; dmarc=fail", "dkim=pass dmarc=fail"),
        ("dkim=pass header.d=bank.org", PROVEN),
        ('dkim=pass (2048-bit key; unprotected) header.d=mail.bank.org header.b="ab;c"', PROVEN),
        ("dkim=fail header.d=bank.org; spf=pass smtp.mailfrom=bounce@bank.org; dmarc=none", PROVEN),
        ("dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=a@evil.example", "dkim=pass spf=pass"),
        ("dkim=pass header.d=evil.example; dkim=pass header.i=@bank.org", PROVEN),
        ("spf=pass smtp.mailfrom=smtp.mailfrom=bank.org@evil.example", "spf=pass"),
        ('spf=pass smtp.mailfrom="; dkim=pass header.d=bank.org "@evil.example', "spf=pass"),
        ("spf=pass (x) dkim=pass header.d=bank.org) smtp.mailfrom=a@evil.example", "spf=pass"),
        ('spf=pass smtp.mailfrom="; dmarc=pass "@evil.example; dmarc=fail', "dmarc=fail spf=pass"),
        (r'spf=pass smtp.mailfrom="\"; dmarc=pass "@evil.example; dmarc=fail', "dmarc=fail spf=pass"),
        ("spf=fail (mx: domain of (dmarc=pass) evil) smtp.mailfrom=evil.example; dmarc=fail", "dmarc=fail spf=fail"),
        ('spf=pass (of "a) ; dmarc=pass (x"@evil.example) smtp.mailfrom=evil.example; dmarc=fail', "dmarc=fail spf=pass"),
        ('spf=pass smtp.mailfrom=bank.org"@evil.example; dmarc=fail', "dmarc=fail spf=pass"),
        (r"spf=pass (of a\) smtp.mailfrom=a@evil.example; dmarc=fail (p=none)", "dmarc=fail spf=pass"),
        ("spf=pass smtp.helo=a;dmarc=pass; dmarc=fail", "dmarc=fail spf=pass"),
        (MANY_SIGNATURES + "dmarc=fail", "dkim=pass dmarc=fail"),
        (MANY_SIGNATURES + "dmarc=pass", "dkim=pass"),
        ("spf=pass smtp.mailfrom=a(@evil.example; dmarc=pass", "spf=pass"),
        ("arc=pass (i=1 spf=pass dmarc=pass); spf=fail smtp.mailfrom=a@evil.example; dmarc=fail", "dmarc=fail spf=fail"),
        ("spf=pass smtp.mailfrom=bank.org header.d=evil.example", "spf=pass"),
        ("spf=pass smtp.mailfrom=dmarc=pass@evil.example; dmarc=fail", "dmarc=fail spf=pass"),
        ("dkim=pass header.i=x+dmarc=pass@evil.example; spf=pass", "dkim=pass spf=pass"),
        ("spf=pass smtp.helo=compauth=pass", "spf=pass"),
        ("spf=pass smtp.helo=\u0130compauth=pass", "spf=pass"),
        ("spf=pass smtp.mailfrom==?us-ascii?Q?=3B_dmarc=3Dpass_?=@evil.example", "spf=pass"),
        ("spf=pass smtp.helo==?utf-8?B?OyBkbWFyYz1wYXNzIA==?= smtp.mailfrom=x", "spf=pass"),
        ("spf=pass smtp.mailfrom=a@bank.org@evil.example", "spf=pass"),
        ("spf=pass smtp.helo=header.d=bank.org", "spf=pass"),
        ("spf=pass smtp.mailfrom=bounce+me=home.example@bank.org ;\tdkim = none", PROVEN),
        ("compauth=pass reason=100", PROVEN),
        ("dkim=none; spf=none", "dkim=none spf=none"),
    ],
)  # fmt: skip
def test_what_vouches_for_the_sender(found: str, proof: str) -> None:
    mail = f"Received: from a by mx.home.example\r\nAuthentication-Results: mx.home.example; {found}\r\n"
    whole = mail.encode() + b"From: Bank <info@bank.org>\r\n\r\nHello\r\n"
    assert sender_proof(parsing.parse(whole)) == proof
    assert sender_proof(parsing.parse(whole), "mx.other.example") == "", "another server's word"


def test_nobody_is_vouched_for_where_there_is_no_sender() -> None:
    head = b"Received: from a by mx.home.example\r\nAuthentication-Results: mx.home.example; dkim=pass header.d=a.example"
    assert sender_proof(parsing.parse(head + b"\r\n\r\nHello\r\n")) == "dkim=pass"
    assert sender_proof(parsing.parse(b"From: <a@a.example>\r\n\r\nHello\r\n")) == ""


def test_only_the_receiving_server_is_believed_about_authentication() -> None:
    assert authentication(parse("forged-authentication")) == {}
    assert authentication(parse("true-authentication")) == {
        "dkim": "fail",
        "spf": "softfail",
        "dmarc": "fail",
    }
    assert authentication(parse("true-authentication"), "mx.home.example")["dmarc"] == "fail"
    assert authentication(parse("true-authentication"), "mx.other.example") == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"\r\n\r\n\r\n",
        b"\0" * 100,
        b"From ",
        b'Content-Type: multipart/mixed; boundary=""\n\n--\n--\n----\n',
        b'Content-Type: multipart/mixed; boundary="a"\n\n--a',
        b"Content-Type: multipart/mixed; boundary=a\n\n--a--\n",
        b"Content-Type: text/plain; charset=utf-7\n\n+2AA- +AGE-",
        b"Content-Type: text/plain; charset=utf-16\n\nabc",
        b"Content-Type: text/plain; charset=idna\n\nabc",
        b'Content-Type: text/plain; charset="\xff\xfe"\n\nabc',
        b"Content-Type: text/plain; charset*0*=x'y'z; charset*9999999999=q\n\nabc",
        b"Content-Type: " + b';a="' * 4_000 + b"\n\nabc",
        b"Subject: " + b"=?" * 8_000 + b"\n\nabc",
        b"Subject: =?utf-8?B?" + b"A" * 5_000 + b"?=\n\nabc",
        b"Subject: =?punycode?Q?abc?= =?hex?B?zz?= =?utf-7?Q?+2AA-?=\n\nabc",
        b"Content-Type: message/rfc822\n\n" * 1_000,
        b"\xef\xbb\xbfFrom: a@b.example\n\nabc",
        "Subject: \ud83d".encode("utf-8", "surrogatepass") + b"\n\nabc",
    ],
)
def test_nothing_makes_it_raise(raw: bytes) -> None:
    message = parsing.parse(raw)
    (message.plain + message.html + message.subject).encode("utf-8")


def test_sender_proven_needs_dmarc():
    assert sender_proven({"dmarc": "pass"}) is True
    assert sender_proven({"dmarc": "fail", "spf": "pass"}) is False
    assert sender_proven({"spf": "pass", "dkim": "pass"}) is None
    assert sender_proven({}) is None
