"""Secrets out of commands, files, systemd and refused keyrings. The real keyring: tests/desktop."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading

import pytest

from spamd import credentials, paths
from spamd.credentials import (
    CommandSecrets,
    FileSecrets,
    KeyringSecrets,
    Secrets,
    SystemdSecrets,
    run_password_command,
)
from spamd.domain import Account, AccountName
from spamd.errors import CredentialError
from spamd.settings import Settings

HOME = AccountName("home")
WORK = AccountName("ann@work.example")


def python(code):
    return f'{sys.executable} -c "{code}"'


class TestChoice:
    def test_each_word_has_its_place(self, tmp_path):
        places = paths.find({"SPAMD_HOME": str(tmp_path)})
        kinds = {
            "keyring": KeyringSecrets,
            "systemd": SystemdSecrets,
            "command": CommandSecrets,
            "file": FileSecrets,
        }
        for word, kind in kinds.items():
            assert type(Secrets.choose(Settings(secrets=word), places, {})) is kind
        assert not (tmp_path / "config").exists()

    def test_installations_side_by_side_do_not_share_a_keyring_entry(self, tmp_path):
        names = {
            credentials.service_name(paths.find(env), env)
            for env in ({}, {"SPAMD_HOME": str(tmp_path / "a")}, {"SPAMD_HOME": str(tmp_path / "b")})
        }
        assert len(names) == 3
        assert "spamd-desktop" in names


class TestCommand:
    def test_first_line(self):
        assert run_password_command(python("print('a b'); print('user: ann')")) == "a b"
        assert run_password_command(python("print('grün', end='')")) == "grün"

    def test_no_shell(self, tmp_path):
        target = tmp_path / "made"
        printed = run_password_command(
            f"{sys.executable} -c 'import sys; print(sys.argv[1:])' ; touch {target} | $HOME `id` $(id) > {target}"
        )
        assert "$HOME" in printed
        assert "$(id)" in printed
        assert not target.exists()

    def test_tilde_is_home(self, home):
        assert (
            run_password_command(f"{sys.executable} -c 'import sys; print(sys.argv[1])' ~/x") == f"{home}/x"
        )

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("", "is empty"),
            ("'open", "cannot be read"),
            ("/nowhere/at/all", "cannot be run"),
            (python("import sys; print('out', file=sys.stderr); sys.exit(3)"), r"failed \(3\). It said: out"),
            (python("pass"), "password is empty"),
            (python("import sys; sys.stdout.buffer.write(bytes([255, 254]))"), "no text"),
            (python("print('a' + chr(0) + 'b')"), "cannot be a password"),
        ],
    )
    def test_failures_are_told(self, command, said):
        with pytest.raises(CredentialError, match=said):
            run_password_command(command)

    def test_what_it_printed_is_not_told(self):
        with pytest.raises(CredentialError) as failed:
            run_password_command(python("print('s3cret'); import sys; sys.exit(1)"))
        assert "s3cret" not in str(failed.value)

    @pytest.mark.skipif(os.name != "posix", reason="process groups")
    def test_one_that_never_ends_is_killed_with_its_children(self, tmp_path):
        fifo = tmp_path / "alive"
        os.mkfifo(fifo)
        # The grandchild holds the writing end: the reader sees the end of the file when it is dead.
        script = f"exec 3>{fifo}; sleep 600 & wait"
        held = []
        reader = threading.Thread(target=lambda: held.append(fifo.open("rb").read()))
        reader.start()
        with pytest.raises(CredentialError, match="did not end"):
            run_password_command(f"sh -c '{script}'", seconds=2)
        reader.join(60)
        assert held == [b""]

    def test_as_a_place(self):
        place = CommandSecrets({HOME: python("print(1234)"), WORK: ""})
        assert place.get(HOME) == "1234"
        for account in (WORK, AccountName("nobody")):
            with pytest.raises(CredentialError, match="no password command"):
                place.get(account)
        with pytest.raises(CredentialError):
            place.set(HOME, "x")
        place.delete(HOME)
        assert place.describe()

    def test_the_accounts_own_commands_are_used(self, tmp_path):
        account = Account(HOME, host="h", password_command=python("print(99)"))
        chosen = Secrets.choose(
            Settings(secrets="command", accounts=(account,)), paths.find({"SPAMD_HOME": str(tmp_path)}), {}
        )
        assert chosen.get(HOME) == "99"


class TestSystemd:
    def test_files_of_the_service(self, tmp_path):
        (tmp_path / "spamd-home").write_text("one\n")
        (tmp_path / str(WORK)).write_text("two")
        place = Secrets.choose(
            Settings(secrets="systemd"), paths.find({}), {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        )
        assert (place.get(HOME), place.get(WORK)) == ("one", "two")
        with pytest.raises(CredentialError, match="no password"):
            place.get(AccountName("other"))
        with pytest.raises(CredentialError, match="no password"):
            place.get(AccountName("../spamd-home"))
        with pytest.raises(CredentialError) as refused:
            place.set(HOME, "x")
        assert "systemd-creds" in refused.value.hint
        assert place.describe()

    def test_none_given(self):
        with pytest.raises(CredentialError, match="CREDENTIALS_DIRECTORY"):
            SystemdSecrets("").get(HOME)
        assert "none given" in SystemdSecrets("").describe()


class TestFile:
    @pytest.fixture
    def place(self, tmp_path):
        return FileSecrets(tmp_path / "config" / "secrets.json")

    def test_set_get_delete(self, place):
        with pytest.raises(CredentialError, match="no password"):
            place.get(HOME)
        place.set(HOME, "grün und lang " * 50)
        place.set(WORK, "two")
        assert (place.get(HOME), place.get(WORK)) == ("grün und lang " * 50, "two")
        place.delete(HOME)
        place.delete(HOME)
        with pytest.raises(CredentialError):
            place.get(HOME)
        assert json.loads(place.path.read_text()) == {WORK: "two"}
        if os.name == "posix":
            assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
        assert "not encrypted" in place.describe()

    @pytest.mark.parametrize("secret", ["", "a\nb", "a\x00", "x" * 70000])
    def test_what_cannot_be_a_password(self, place, secret):
        with pytest.raises(CredentialError):
            place.set(HOME, secret)
        assert not place.path.exists()

    @pytest.mark.skipif(os.name != "posix", reason="rights")
    def test_readable_by_others_is_refused(self, place):
        place.set(HOME, "x")
        place.path.chmod(0o644)
        with pytest.raises(CredentialError) as refused:
            place.get(HOME)
        assert refused.value.hint.startswith("chmod 600")

    @pytest.mark.parametrize("content", [b"[]", b'{"home": 1, "work": "two"}', b"{", b"\xff"])
    def test_something_else_in_its_place(self, place, content):
        paths.write_private(place.path, content)
        with pytest.raises(CredentialError):
            place.get(HOME)
        with pytest.raises(CredentialError):
            place.set(HOME, "x")
        assert place.path.read_bytes() == content

    def test_many_threads(self, place):
        threads = [
            threading.Thread(target=lambda n=n: place.set(AccountName(f"a{n}"), str(n))) for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {place.get(AccountName(f"a{n}")) for n in range(20)} == {str(n) for n in range(20)}


class Backend:
    """A keyring back end in memory; `module` is where it pretends to come from."""

    name = "test"

    def __init__(self):
        self.kept = {}

    def get_password(self, service, account):
        return self.kept.get((service, account))

    def set_password(self, service, account, secret):
        self.kept[service, account] = secret

    def delete_password(self, service, account):
        from keyring.errors import PasswordDeleteError

        if self.kept.pop((service, account), None) is None:
            raise PasswordDeleteError("none")


def backend_from(module):
    return type("Keyring", (Backend,), {"__module__": module})()


class TestKeyring:
    @pytest.fixture
    def use(self, monkeypatch):
        def use(backend):
            import keyring

            monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
            return KeyringSecrets(seconds=30)

        return use

    def test_set_get_delete(self, use):
        place = use(backend_from("keyring.backends.SecretService"))
        place.set(HOME, "x")
        assert place.get(HOME) == "x"
        place.delete(HOME)
        place.delete(HOME)
        with pytest.raises(CredentialError, match="no password"):
            place.get(HOME)
        assert place.describe() == "the keyring of this desktop (test)"

    @pytest.mark.parametrize(
        "secret", ["x" * 1200, "x" * 1201, "grün" * 2000, "spamd-parts:2:x", "spamd-parts:"]
    )
    def test_long_secrets_fit_where_entries_are_small(self, use, secret):
        backend = backend_from("keyring.backends.Windows")
        place = use(backend)
        for kept in ("y" * 9000, secret):
            place.set(HOME, kept)
            assert place.get(HOME) == kept
        assert all(len(part.encode("utf-16-le")) <= 2560 for part in backend.kept.values())
        if len(secret) > 1200:
            last = max(name for _, name in backend.kept)
            del backend.kept[place.service, last]
            with pytest.raises(CredentialError, match="no password"):
                place.get(HOME)
        place.delete(HOME)
        assert backend.kept == {}

    @pytest.mark.parametrize(
        ("module", "said"),
        [
            ("keyrings.alt.file", "plain file"),
            ("keyring.backends.null", "switched off"),
            ("keyring.backends.fail", "no keyring on this computer"),
        ],
    )
    def test_one_that_keeps_nothing_or_keeps_it_readable_is_refused(self, use, module, said):
        backend = backend_from(module)
        place = use(backend)
        for ask in (lambda: place.set(HOME, "x"), lambda: place.get(HOME), place.describe):
            with pytest.raises(CredentialError, match=said) as refused:
                ask()
            assert "secrets file" in refused.value.hint
        assert backend.kept == {}

    def test_a_chain_gives_its_first_good_one(self, use):
        from keyring.backends.chainer import ChainerBackend

        plain, good = backend_from("keyrings.alt.file"), backend_from("keyring.backends.SecretService")

        class Chain(ChainerBackend):
            backends = (plain, good)

        use(Chain()).set(HOME, "x")
        assert (plain.kept, len(good.kept)) == ({}, 1)

    def test_one_that_forgets_is_noticed(self, use):
        backend = backend_from("some.keyring")
        backend.set_password = lambda *_: None
        with pytest.raises(CredentialError, match="did not keep"):
            use(backend).set(HOME, "x")

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            ("KeyringLocked", "is locked"),
            ("InitError", "prompt was closed"),
            ("NoKeyringError", "There is no keyring"),
            ("KeyringError", "failed"),
        ],
    )
    def test_its_errors_become_ours(self, use, error, said):
        import keyring.errors

        backend = backend_from("some.keyring")

        def fail(*_):
            raise getattr(keyring.errors, error)("s3cret detail")

        backend.get_password = fail
        with pytest.raises(CredentialError, match=said) as failed:
            use(backend).get(HOME)
        assert failed.value.hint
        assert "s3cret" not in str(failed.value)

    def test_a_prompt_nobody_answers_ends(self, use):
        answered = threading.Event()
        backend = backend_from("some.keyring")
        backend.get_password = lambda *_: answered.wait(60) and "late"
        place = use(backend)
        place.seconds = 0.05
        try:
            with pytest.raises(CredentialError, match="did not answer"):
                place.get(HOME)
        finally:
            answered.set()

    def test_without_any_service(self):
        """The tests' environment names keyring.backends.fail."""
        with pytest.raises(CredentialError):
            KeyringSecrets().describe()
