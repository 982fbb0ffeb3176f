"""`spamdctl setup` on a terminal, against a real Dovecot: the way through, and broken off at each question."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest

from spamd import paths, settings
from spamd.credentials import Secrets
from spamd.domain import AccountName, AuthMethod
from tests.cli.program import Program, Said, Terminal, spamdctl, wait_for
from tests.servers.authorisation import authorisation
from tests.servers.dovecot import Dovecot
from tests.servers.mailhost import PASSWORD, MailHost, mail

__all__ = ["authorisation"]

ADDRESS = "anna@home.example"  # no provider of ours: its server must be typed


@pytest.fixture
def server(dovecot) -> Dovecot:
    running: Dovecot = dovecot()
    return running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spamd"


class Setup(Terminal):
    """The questions of set-up, in their order."""

    def __init__(self, root: Path, server: MailHost, user: str, *more: str, **env: str) -> None:
        super().__init__(root, "setup", *more, **env)
        self.server, self.user = server, user

    def typed_server(self, *, port: int | None = None) -> None:
        for question, answer in (
            ("IMAP server", "127.0.0.1"),
            ("TLS", "none"),
            ("Port", str(port or self.server.port)),
            ("User", self.user),
        ):
            self.expect(question)
            self.say(answer)

    def guessed(self, address: str = ADDRESS) -> None:
        """Up to the server that is guessed, without the network."""
        self.expect("Ask your provider's and Mozilla's directory?")
        self.say("n")
        self.expect("Is that right?")
        self.say("n")

    def as_far_as(self, question: str) -> None:
        """Answer everything before this question."""
        answers = {
            "Your mail address": ADDRESS,
            "Mozilla's directory?": "n",
            "Is that right?": "n",
            "IMAP server": "127.0.0.1",
            "TLS": "none",
            "Port": str(self.server.port),
            "User": self.user,
            "Keep passwords in": "y",
            "Password of": "wrong",
            "What was wrong": "password",
            "Password of ": PASSWORD,
            "Learn from the folders": "n",
            "Start with your session": "n",
        }
        for asked, answer in answers.items():
            self.expect(asked)
            if asked == question:
                return
            self.say(answer)


def config(root: Path) -> settings.Settings:
    return settings.load(paths.find({"SPAMD_HOME": str(root)}).config_file)


def nothing_kept(root: Path) -> None:
    """No account, no choice, no password."""
    here = paths.find({"SPAMD_HOME": str(root)})
    assert config(root).accounts == ()
    assert config(root).secrets == "keyring", "the choice of where passwords are is not kept either"
    assert not here.secrets_file.exists()


def test_the_whole_way(root: Path, server: Dovecot, home: Path) -> None:
    """No keyring, a mistyped address, a typed server, a wrong password first, no systemd, no display."""
    user = server.new_user()
    server.append(user, mail(), mail())
    server.append(user, mail("cheap"), folder="Junk")
    program = Program(root, server)
    with Setup(root, server, user, DISPLAY="", WAYLAND_DISPLAY="") as terminal:
        terminal.expect("Your mail address")
        terminal.say("anna at home")
        terminal.expect("It should look like name@example.org.")
        terminal.expect("Your mail address")
        terminal.say(ADDRESS)
        terminal.guessed()
        terminal.typed_server()
        terminal.expect("Keep passwords in")
        terminal.say("y")
        terminal.expect("Password of")
        terminal.say("")
        terminal.expect("The password is empty.")
        terminal.expect("Password of")
        terminal.say("not this one")
        terminal.expect("What was wrong")
        nothing_kept(root)
        terminal.say("")
        terminal.expect("Password of")
        terminal.say(PASSWORD)
        terminal.expect("Signed in. 2 mails in INBOX, 1 in Junk.")
        terminal.expect("Added home. It watches and learns now")
        terminal.expect("Learn from the folders you have")
        terminal.say("y")
        terminal.expect("Start with your session")
        terminal.say("y")
        terminal.expect("No icon now: ")
        terminal.expect("It runs.")
        terminal.expect("switch off its own junk filter")
        try:
            assert terminal.end() == 0
            assert "not this one" not in terminal.text
            assert PASSWORD + "\r\n" not in terminal.text.replace("Password of", ""), "nothing typed is shown"
            assert "Traceback" not in terminal.text
            (account,) = config(root).accounts
            assert (account.name, account.host, account.user) == ("home", "127.0.0.1", user)
            assert account.mode is None, "nothing is moved before there is evidence"
            here = paths.find({"SPAMD_HOME": str(root)})
            assert Secrets.choose(config(root), here).get(AccountName("home")) == PASSWORD
            entries = {one.name for one in (home / ".config" / "autostart").glob("*.desktop")}
            assert "spamd-desktop.desktop" in entries or (home / ".config" / "systemd" / "user").is_dir()
            assert str(root) in "".join(one.read_text() for one in home.rglob("spamd-desktop.*")), (
                "it finds this home"
            )
            wait_for(lambda: program("labels", "list", "--json").json, "the first lesson")
        finally:
            stop(program)


def stop(program: Program) -> None:
    """The filter that set-up started: it is nobody's child."""
    assert program("stop").code == 0
    wait_for(lambda: program("status").code == 1, "the filter to be gone")


@pytest.mark.parametrize(
    "question",
    [
        "Your mail address",
        "Mozilla's directory?",
        "Is that right?",
        "IMAP server",
        "TLS",
        "Port",
        "User",
        "Keep passwords in",
        "Password of",
        "What was wrong",
        "Password of ",
    ],
)
def test_broken_off_nothing_is_kept(root: Path, server: Dovecot, home: Path, question: str) -> None:
    with Setup(root, server, server.new_user()) as terminal:
        terminal.as_far_as(question)
        assert terminal.break_off() == 130
        assert "Nothing was left half done." in terminal.text
        assert "Aborted!" not in terminal.text
        assert "Traceback" not in terminal.text
    nothing_kept(root)
    assert not list(home.rglob("*.desktop"))


@pytest.mark.parametrize("question", ["Learn from the folders", "Start with your session"])
def test_broken_off_later_the_account_is_whole(
    root: Path, server: Dovecot, home: Path, question: str
) -> None:
    with Setup(root, server, server.new_user()) as terminal:
        terminal.as_far_as(question)
        assert terminal.break_off() == 130
        assert "Traceback" not in terminal.text
    assert [one.name for one in config(root).accounts] == ["home"]
    assert spamdctl(root, "account", "test", "home").code == 0
    assert not list(home.rglob("*.desktop"))
    again = spamdctl(root, "setup", "--address", ADDRESS, "--name", "home", "--yes", "--no-service")
    assert again.code == 1
    assert "There is already an account 'home'" in again.err


@pytest.mark.parametrize("wrong", ["user", "server"])
def test_only_what_was_wrong_is_asked_again(root: Path, pymap: MailHost, wrong: str) -> None:
    """The password, above all, is not typed twice."""
    server = pymap
    spamdctl(root, "settings", "set", "secrets", "file")
    user = server.new_user()
    with Setup(root, server, user, "--address", ADDRESS, "--no-service") as terminal:
        terminal.guessed()
        if wrong == "server":
            terminal.typed_server(port=1)
        else:
            terminal.user = "refuse-me"
            terminal.typed_server()
            terminal.user = user
        terminal.expect("Password of")
        terminal.say(PASSWORD)
        terminal.expect("What was wrong (password, user, server)")
        nothing_kept_but_the_choice(root)
        terminal.say(wrong)
        if wrong == "server":
            for question, answer in (
                ("IMAP server [127.0.0.1]", ""),
                ("TLS (implicit, starttls, none) [none]", ""),
                ("Port [1]", str(server.port)),
                (f"User [{user}]", ""),
            ):
                terminal.expect(question)
                terminal.say(answer)
        else:
            terminal.expect("User [refuse-me]")
            terminal.say(user)
        terminal.expect("Signed in.")
        terminal.expect("Learn from the folders")
        terminal.say("n")
        assert terminal.end() == 0
        assert terminal.text.count("Password of") == 1
    (account,) = config(root).accounts
    assert (account.port, account.user) == (server.port, user)


def nothing_kept_but_the_choice(root: Path) -> None:
    assert config(root).accounts == ()
    assert not paths.find({"SPAMD_HOME": str(root)}).secrets_file.exists()


def test_a_mailbox_is_added_once(root: Path, server: Dovecot) -> None:
    spamdctl(root, "settings", "set", "secrets", "file")
    user = server.new_user()
    added = spamdctl(
        root, "account", "add", "home", "--host", "127.0.0.1", "--port", str(server.port), "--user", user,
        "--tls", "none", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    assert added.code == 0, added.err
    with Setup(root, server, user, "--address", ADDRESS) as terminal:
        terminal.guessed()
        terminal.typed_server()
        terminal.expect("Password of")
        terminal.say(PASSWORD)
        assert terminal.end() == 1
        assert "This mailbox is looked after already, as home." in terminal.text
    assert len(config(root).accounts) == 1


def test_no_place_for_the_password(root: Path, server: Dovecot) -> None:
    with Setup(root, server, server.new_user()) as terminal:
        terminal.as_far_as("Keep passwords in")
        terminal.say("n")
        assert terminal.end() == 1
        assert "There is no place for the password." in terminal.text
    nothing_kept(root)


def test_three_wrong_passwords_are_enough(root: Path, server: Dovecot) -> None:
    spamdctl(root, "settings", "set", "secrets", "file")
    with Setup(root, server, server.new_user(), "--address", ADDRESS) as terminal:
        terminal.guessed()
        terminal.typed_server()
        for number in range(3):
            terminal.expect("Password of")
            terminal.say("wrong")
            if number < 2:
                terminal.expect("What was wrong")
                terminal.say("")
        terminal.expect("Some providers lock an account")
        terminal.expect("Try once more?")
        terminal.say("")
        assert terminal.end() == 1
        assert "Traceback" not in terminal.text
    assert config(root).accounts == ()


def test_no_junk_folder(root: Path, dovecot) -> None:
    server = dovecot(junk="Plunder", special_use=False)  # neither the server nor its name says what it is for
    user = server.new_user()
    spamdctl(root, "settings", "set", "secrets", "file")
    with Setup(root, server, user, "--address", ADDRESS, "--no-service") as terminal:
        terminal.guessed()
        terminal.typed_server()
        terminal.expect("Password of")
        terminal.say(PASSWORD)
        terminal.expect("No Junk folder was found.")
        terminal.expect("Which one is Junk")
        terminal.say("plunder")
        terminal.expect("There is no folder 'plunder'.")
        terminal.expect("Which one is Junk")
        terminal.say("Plunder")
        terminal.expect("Learn from the folders")
        terminal.say("n")
        assert terminal.end() == 0
    assert config(root).accounts[0].junk == "Plunder"


def test_with_a_running_filter_it_learns_at_once(root: Path, server: Dovecot) -> None:
    program = Program(root, server)
    assert program("settings", "set", "secrets", "file").code == 0
    server.append(program.user, mail("cheap"), folder="Junk")
    program.start()
    try:
        with Setup(root, server, program.user, "--address", ADDRESS, "--no-service") as terminal:
            terminal.guessed()
            terminal.typed_server()
            terminal.expect("Password of")
            terminal.say(PASSWORD)
            terminal.expect("Learn from the folders")
            terminal.say("")
            terminal.expect("It runs. The page: `spamdctl open`.")
            assert terminal.end() == 0
        wait_for(lambda: program("labels", "list", "--json").json, "the first lesson")
    finally:
        program.close()


def test_in_a_script(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal nothing is asked; what is missing is said."""
    missing = spamdctl(root, "setup")
    assert missing.code == 1
    assert "--address" in missing.err
    without = spamdctl(root, "setup", "--address", ADDRESS, "--password-stdin", "--yes", stdin="x\n")
    assert without.code == 1
    assert "secrets" in without.err or "keyring" in without.err
    spamdctl(root, "settings", "set", "secrets", "file")
    far: Said = spamdctl(root, "setup", "--address", ADDRESS, "--password-stdin", "--no-service", stdin="x\n")
    assert far.code == 1
    assert far.err.strip()
    assert config(root).accounts == ()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[str]:
    """Somebody who visits what is opened, and agrees."""
    visit = tmp_path / "visit"
    visit.write_text(
        f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=60).read()\n"
    )
    visit.chmod(0o755)
    yield f"{visit} %s &"


def test_sign_in_with_the_browser(root: Path, dovecot, authorisation, tmp_path: Path, browser: str) -> None:
    server = dovecot(fresh=True, oauth_url=authorisation.introspection)
    user = authorisation.user = server.new_user()
    file = authorisation.provider_file(tmp_path)
    spamdctl(root, "settings", "set", "secrets", "file")
    assert spamdctl(root, "settings", "set", "oauth_file", str(file)).code == 0
    with Setup(root, server, user, "--address", ADDRESS, "--no-service", BROWSER=browser) as terminal:
        terminal.guessed()
        terminal.typed_server()
        terminal.expect("Sign in with")
        terminal.say("local")
        terminal.expect("Sign in in your browser")
        terminal.expect("Signed in. 0 mails in INBOX")
        terminal.expect("Learn from the folders")
        terminal.say("n")
        assert terminal.end() == 0
    (account,) = config(root).accounts
    assert (account.auth, account.oauth_provider) == (AuthMethod.OAUTH, "local")
    here = paths.find({"SPAMD_HOME": str(root)})
    assert authorisation.grants[0].refresh_token in Secrets.choose(config(root), here).get(account.name)
    assert authorisation.grants[0].refresh_token not in here.config_file.read_text()
    assert json.loads(spamdctl(root, "account", "test", account.name, "--json").out)["ok"] is True
    assert spamdctl(root, "account", "remove", account.name, "--yes").code == 0
    assert authorisation.grants[0].revoked, "with the account goes what the provider was told to allow"


@pytest.mark.parametrize("greeting", ["", "The Microsoft Exchange IMAP4 service is ready."])
def test_a_server_without_passwords_leads_to_the_browser(
    root: Path, dovecot, fault_proxy, authorisation, tmp_path: Path, browser: str, greeting: str
) -> None:
    """ "Basic authentication is disabled": no further password is asked for, the browser opens, and it works."""
    server = dovecot(fresh=True, oauth_url=authorisation.introspection, greeting=greeting)
    user = authorisation.user = server.new_user()
    file = authorisation.provider_file(tmp_path)
    name = "microsoft" if greeting else "local"  # known by what the server is, or told by the person
    file.write_text(file.read_text("utf-8").replace("[local]", f"[{name}]"), "utf-8")
    proxy = fault_proxy(server.port)
    proxy.refuse("AUTHENTICATE PLAIN|^LOGIN", answer="NO Basic authentication is disabled.")
    spamdctl(root, "settings", "set", "secrets", "file")
    assert spamdctl(root, "settings", "set", "oauth_file", str(file)).code == 0
    with Setup(root, server, user, "--address", ADDRESS, "--no-service", BROWSER=browser) as terminal:
        terminal.guessed()
        terminal.typed_server(port=proxy.port)
        terminal.expect("Sign in with")
        terminal.say("password")
        terminal.expect("Password of")
        terminal.say(PASSWORD)
        terminal.expect("accepts no passwords any more")
        if greeting:
            terminal.expect("Sign in in the browser instead, with microsoft?")
            terminal.say("y")
            terminal.expect("type the code")
        else:
            terminal.expect("Sign in with")
            terminal.say("local")
            terminal.expect("Sign in in your browser")
        terminal.expect("Signed in. 0 mails in INBOX")
        terminal.expect("Learn from the folders")
        terminal.say("n")
        assert terminal.end() == 0
    (account,) = config(root).accounts
    assert (account.auth, account.oauth_provider) == (AuthMethod.OAUTH, name)


def test_an_account_that_had_a_password_signs_in_with_the_browser(
    root: Path, dovecot, authorisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def browse(url: str) -> None:
        threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=60).read(), daemon=True).start()

    monkeypatch.setattr(webbrowser, "open", browse)
    server = dovecot(fresh=True, oauth_url=authorisation.introspection)
    user = authorisation.user = server.new_user()
    spamdctl(root, "settings", "set", "secrets", "file")
    spamdctl(root, "settings", "set", "oauth_file", str(authorisation.provider_file(tmp_path)))
    add = (
        "account",
        "add",
        "home",
        "--host",
        "127.0.0.1",
        "--port",
        str(server.port),
        "--tls",
        "none",
        "--user",
        user,
    )
    assert spamdctl(root, *add, "--password-stdin", stdin=PASSWORD + "\n").code == 0
    refused = spamdctl(root, "account", "sign-in", "home")
    assert refused.code != 0
    assert "signs in by password" in refused.err
    wrong = spamdctl(root, "account", "sign-in", "home", "--with", "nobody")
    assert wrong.code != 0
    (account,) = config(root).accounts
    assert account.auth is AuthMethod.PASSWORD, "what does not work is not kept"
    here = paths.find({"SPAMD_HOME": str(root)})
    kept = here.secrets_file.rename(tmp_path / "kept")
    here.secrets_file.mkdir()  # what signs in cannot be stored
    assert spamdctl(root, "account", "sign-in", "home", "--with", "local").code != 0
    here.secrets_file.rmdir()
    kept.rename(here.secrets_file)
    (account,) = config(root).accounts
    assert (account.auth, account.oauth_provider) == (AuthMethod.PASSWORD, ""), "it goes on with its password"
    for more in (("--with", "local"), ()):  # and once more, as after the end of a grant
        done = spamdctl(root, "account", "sign-in", "home", *more)
        assert done.code == 0, done.err
        assert "Stored." in done.out
    (account,) = config(root).accounts
    assert (account.auth, account.oauth_provider) == (AuthMethod.OAUTH, "local")
    assert authorisation.grants[-1].refresh_token in Secrets.choose(config(root), here).get(account.name)
    assert json.loads(spamdctl(root, "account", "test", "home", "--json").out)["ok"] is True
