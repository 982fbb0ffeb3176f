"""config.toml: read strictly, written carefully, described from one table."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from spamd import settings
from spamd.domain import Account, AccountName, AuthMethod, FolderName, Mode, SourceKind, TlsMode
from spamd.errors import ConfigError
from spamd.settings import ACCOUNT_OPTIONS, OPTIONS, Settings

HOME = Account(AccountName("home"), host="imap.example.org", user="ann")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config" / "config.toml"


class TestTable:
    def test_every_field_has_its_row(self):
        fields = {field.name for field in dataclasses.fields(Settings)} - {"accounts", "warnings"}
        assert fields == {option.name for option in OPTIONS}
        of_account = {field.name for field in dataclasses.fields(Account)} - {"name"}
        assert of_account == {option.name for option in ACCOUNT_OPTIONS}

    @pytest.mark.parametrize("option", [*OPTIONS, *ACCOUNT_OPTIONS], ids=lambda option: option.name)
    def test_help_and_default(self, option):
        assert option.help.endswith(".")
        assert option.default is None or option.check is None or option.check(option.default) is None
        assert not option.choices or option.default in option.choices

    def test_each_is_called_something_on_the_page_that_is_not_its_name(self):
        titles = [option.title for option in OPTIONS]
        assert all(titles) and len(set(titles)) == len(titles)
        for option in OPTIONS:
            assert "_" not in option.title and option.title.lower() != option.name.replace("_", " "), option

    def test_documents(self):
        table = settings.settings_table()
        for option in (*OPTIONS, *ACCOUNT_OPTIONS):
            assert f"| `{option.name}` | `" in table
        for option in OPTIONS:
            assert all(choice in table for choice in option.choices)

    def test_the_readme_has_the_present_table(self):
        """`make fix` renews it."""
        readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
        assert "<!-- settings -->" in readme
        assert settings.with_table(readme) == readme

    def test_the_example_is_the_defaults(self):
        assert settings.parse(settings.example()) == Settings()
        uncommented = "\n".join(
            line[1:] if line.startswith("#") and not line.startswith("# ") else line
            for line in settings.example().splitlines()
        ).replace('host = ""', 'host = "imap.example.org"')
        read = settings.parse(uncommented)
        assert dataclasses.replace(read, accounts=()) == Settings()
        assert read.warnings == ()
        assert read.accounts == (Account(AccountName("home"), host="imap.example.org"),)


class TestReading:
    def test_no_file_is_the_defaults(self, file):
        assert settings.load(file) == Settings()
        assert not file.exists()

    def test_accounts_in_their_order(self):
        read = settings.parse(
            'promise = 0.01\n[accounts.work]\nhost = "w"\njunk = "Spam"\n[accounts."ann@x.org"]\nkind = "maildir"\n'
            'path = "~/Mail"\npromise = 0.001\nmode = "filtering"\n'
        )
        work, ann = read.accounts
        assert (work.name, work.junk, work.promise, work.mode) == ("work", FolderName("Spam"), 0.01, None)
        assert (ann.kind, ann.promise, ann.mode) == (SourceKind.MAILDIR, 0.001, Mode.FILTERING)
        assert read.account("work") is work
        assert read.account("nobody") is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("promise = ", "is not valid TOML"),
            ('promise = "much"', "At 'promise': expected a number, got 'much'."),
            ("promise = 0.5", "At 'promise': must be between 0.00001 and 0.05; got 0.5."),
            ("keep_days = 1.5", "At 'keep_days': expected a whole number"),
            ("keep_days = true", "At 'keep_days': expected a whole number"),
            ("on_battery = 1", "At 'on_battery': expected true or false"),
            ('display = "header"', "At 'display': expected one of nothing, headers, snippet; got 'header'."),
            ('night_start = "25:00"', "At 'night_start': must be a time of day"),
            ('quiet_hours = "22-7"', "At 'quiet_hours': must be two times"),
            ("accounts = 3", "At 'accounts': expected tables"),
            ("[accounts]\nhome = 3", "At 'accounts.home': expected a table"),
            ('[accounts.home]\nuser = "x"', "At 'accounts.home.host': the server is missing."),
            ('[accounts.home]\nhost = "h"\nport = "993"', "At 'accounts.home.port': expected a whole number"),
            (
                '[accounts.home]\nhost = "h"\nport = 99999',
                "At 'accounts.home.port': must be between 0 and 65535",
            ),
            ('[accounts.home]\nhost = "a b"', "At 'accounts.home.host': must be a host name only"),
            ('[accounts.home]\nhost = "h"\ntls = "ssl"', "At 'accounts.home.tls': expected one of implicit"),
            ('[accounts.home]\nhost = "h"\ntls = "none"', "At 'accounts.home.tls': without TLS the password"),
            ('[accounts.home]\nhost = "h"\nuser = "a\\nb"', "At 'accounts.home.user': must be one line"),
            ('[accounts.home]\nhost = "h"\nauth = "oauth"', "At 'accounts.home.oauth_provider'"),
            ('[accounts.home]\nkind = "mbox"', "At 'accounts.home.path': the mail folder is missing."),
            ('[accounts."../x"]\nhost = "h"', "'../x' cannot name an account."),
            ('[accounts.""]\nhost = "h"', "'' cannot name an account."),
        ],
    )
    def test_errors_say_where(self, text, said):
        with pytest.raises(ConfigError) as wrong:
            settings.parse(text)
        assert said in wrong.value.title

    def test_a_near_word_is_offered(self):
        with pytest.raises(ConfigError) as wrong:
            settings.parse('display = "header"')
        assert wrong.value.hint == "Did you mean 'headers'?"

    def test_a_setting_that_is_gone_is_read_and_told(self, tmp_path):
        file = tmp_path / "config.toml"
        file.write_text('language = "de"\nkeep_days = 30\n')
        read = settings.load(file)
        assert read.keep_days == 30
        assert read.warnings == (
            "'language' is no longer a setting: the program speaks English."
            " Take it out: spamdctl settings unset language",
        )
        settings.save(file, {"keep_days": 31})
        assert 'language = "de"' in file.read_text(), "the person's file is theirs"
        with pytest.raises(ConfigError):
            settings.save(file, {"language": "de"})
        assert settings.save(file, {"language": None}).warnings == ()
        assert file.read_text() == "keep_days = 31\n"

    def test_unknown_keys_only_warn(self):
        read = settings.parse(
            'kep_days = 3\ncolour = 1\n[accounts.home]\nhost = "h"\nusr = "x"\npassword = "p"\n'
        )
        assert read.keep_days == 90
        first, second, third, fourth = read.warnings
        assert first == "At 'kep_days': there is no such setting. Did you mean 'keep_days'?"
        assert second == "At 'colour': there is no such setting."
        assert "Did you mean 'user'?" in third
        assert "Secrets never belong into this file." in fourth
        assert all("'p'" not in warning for warning in read.warnings)

    def test_none_of_tls_is_for_this_computer_only(self):
        for host in ("localhost", "127.0.0.1", "::1", "LOCALHOST"):
            settings.parse(f'[accounts.home]\nhost = "{host}"\ntls = "none"')
        for host in ("127.0.0.1.evil.example", "localhost.example"):
            with pytest.raises(ConfigError):
                settings.parse(f'[accounts.home]\nhost = "{host}"\ntls = "none"')

    def test_a_toml_time_is_a_time(self):
        assert settings.parse("night_start = 03:30:00").night_start == "03:30"

    def test_not_text(self, file):
        file.parent.mkdir()
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not UTF-8"):
            settings.load(file)
        file.unlink()
        file.mkdir()
        with pytest.raises(ConfigError, match="cannot be read"):
            settings.load(file)


class TestWriting:
    TEXT = """# my settings
promise = 0.002   # a bit more

[accounts.home] # at home
host = "imap.example.org"
# the name there
user = "ann"
"""

    @pytest.fixture
    def written(self, file):
        file.parent.mkdir()
        file.write_text(self.TEXT)
        return file

    def test_comments_stay(self, written):
        assert settings.save(written, {"promise": 0.01, "night_start": "01:00"}).promise == 0.01
        text = written.read_text()
        assert text.startswith('# my settings\npromise = 0.01   # a bit more\nnight_start = "01:00"\n')
        assert text.endswith(self.TEXT[self.TEXT.index("[accounts") :])

    def test_back_to_the_default(self, written):
        assert settings.save(written, {"promise": None, "keep_days": None}).promise == 0.001
        assert "promise" not in written.read_text()

    def test_private_and_whole(self, file):
        settings.save(file, {"keep_days": 30})
        assert [one.name for one in file.parent.iterdir()] == ["config.toml"]
        if os.name == "posix":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        "changes", [{"keep_days": "30"}, {"keep_days": 0}, {"keep_day": 30}, {"accounts": ()}]
    )
    def test_a_wrong_change_writes_nothing(self, written, changes):
        with pytest.raises(ConfigError):
            settings.save(written, changes)
        assert written.read_text() == self.TEXT

    def test_a_broken_file_is_not_written_over(self, file):
        file.parent.mkdir()
        file.write_text("promise = \n")
        with pytest.raises(ConfigError, match="not valid TOML"):
            settings.save(file, {"keep_days": 30})
        with pytest.raises(ConfigError):
            settings.add_account(file, HOME)
        assert file.read_text() == "promise = \n"

    def test_accounts_come_and_go(self, written):
        work = dataclasses.replace(
            HOME,
            name=AccountName("work@x.org"),
            port=1993,
            tls=TlsMode.STARTTLS,
            junk=FolderName('Sp"am'),
            mode=Mode.SUGGESTING,
            stamp=True,
            wait_seconds=1.5,
        )
        read = settings.add_account(written, work)
        assert read.account("work@x.org") == dataclasses.replace(work, promise=0.002)
        assert settings.load(written) == read
        with pytest.raises(ConfigError, match="already"):
            settings.add_account(written, work)
        capital = dataclasses.replace(work, name=AccountName("Work@X.org"), user="another")
        with pytest.raises(ConfigError, match=r"already an account 'work@x\.org'"):  # Windows knows no case
            settings.add_account(written, capital)
        settings.remove_account(written, "work@x.org")
        assert written.read_text().strip() == self.TEXT.strip()
        with pytest.raises(ConfigError, match="no account"):
            settings.remove_account(written, "work@x.org")
        settings.remove_account(written, "home")
        assert settings.load(written).accounts == ()

    def test_one_setting_of_an_account(self, written):
        read = settings.update_account(written, "home", mode=Mode.FILTERING, junk="Spam", stamp=True)
        assert read.account("home").mode is Mode.FILTERING
        read = settings.update_account(written, "home", mode=None, junk=None, stamp=False)
        assert (read.account("home").mode, read.account("home").junk) == (None, None)
        assert "# the name there" in written.read_text()
        assert "mode" not in written.read_text()
        for changes in ({"colour": 1}, {"port": "x"}, {"tls": TlsMode.NONE}, {"host": ""}):
            with pytest.raises(ConfigError):
                settings.update_account(written, "home", **changes)
        with pytest.raises(ConfigError):
            settings.update_account(written, "nobody", stamp=True)

    def test_an_account_follows_the_overall_promise_until_it_has_its_own(self, written):
        assert settings.load(written).account("home").promise == 0.002
        assert settings.update_account(written, "home", promise=0.001).account("home").promise == 0.001
        assert settings.update_account(written, "home", promise=None).account("home").promise == 0.002

    def test_oauth_account(self, file):
        oauth = dataclasses.replace(HOME, auth=AuthMethod.OAUTH, oauth_provider="google")
        assert settings.add_account(file, oauth).accounts == (oauth,)

    def test_a_link_to_dotfiles_stays_one(self, file, tmp_path):
        real = tmp_path / "dotfiles.toml"
        real.write_text(self.TEXT)
        file.parent.mkdir()
        file.symlink_to(real)
        settings.save(file, {"keep_days": 30})
        assert file.is_symlink()
        assert "keep_days = 30" in real.read_text()

    def test_where_it_cannot_be_written(self, tmp_path):
        (tmp_path / "config").write_text("")
        with pytest.raises(ConfigError):
            settings.save(tmp_path / "config" / "config.toml", {"keep_days": 30})


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("on_battery", "Yes", True),
        ("on_battery", "off", False),
        ("keep_days", " 12 ", 12),
        ("promise", "0.01", 0.01),
        ("display", "snippet", "snippet"),
        ("quiet_hours", "", ""),
    ],
)
def test_as_typed(name, typed, value):
    assert settings.from_text(name, typed) == value


@pytest.mark.parametrize(
    ("name", "typed"),
    [("on_battery", "perhaps"), ("keep_days", "x"), ("keep_days", "0"), ("promise", "nan"), ("nothing", "1")],
)
def test_as_typed_wrongly(name, typed):
    with pytest.raises(ConfigError):
        settings.from_text(name, typed)


def test_as_typed_of_an_account():
    assert settings.account_value_from_text("mode", "filtering") is Mode.FILTERING
    assert settings.account_value_from_text("mode", "") is None
    assert settings.account_value_from_text("stamp", "yes") is True
    with pytest.raises(ConfigError):
        settings.account_value_from_text("name", "x")


def test_one_mailbox_under_two_names(tmp_path, monkeypatch):
    """The same server and user, or the same folder on this computer however it is written."""
    monkeypatch.setenv("HOME", str(tmp_path))
    imap = Account(AccountName("a"), host="imap.example.org", user="me")
    local = Account(AccountName("b"), kind=SourceKind.MAILDIR, path=str(tmp_path / "Maildir"))
    config = Settings(accounts=(imap, local))
    assert (
        config.same_mailbox(
            dataclasses.replace(imap, name=AccountName("c"), host="IMAP.example.org.", port=143)
        )
        is imap
    )
    assert config.same_mailbox(dataclasses.replace(imap, user="somebody else")) is None
    assert config.same_mailbox(dataclasses.replace(local, name=AccountName("d"), path="~/Maildir")) is local
    assert config.same_mailbox(dataclasses.replace(local, path=str(tmp_path / "other"))) is None
