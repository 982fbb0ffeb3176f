"""Sign-in with the provider's page: both ways, renewal, the end of a grant; and Dovecot that accepts the token."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from spamd import settings
from spamd.domain import Account, AccountName, AuthMethod, FolderName, TlsMode
from spamd.errors import ConfigError, ConnectionLost, CredentialError, ServerBusy, SignInError, SignInExpired
from spamd.mailbox import oauth
from spamd.mailbox.oauth import DeviceSignIn, LoopbackSignIn, Tokens, load_providers, packed, provider_of
from spamd.opening import Opening, begin_sign_in
from spamd.paths import find
from tests.servers.authorisation import authorisation
from tests.servers.dovecot import OLD
from tests.servers.mailhost import mail

__all__ = ["authorisation"]

ME = AccountName("me")


class Pocket:
    """Secrets in memory."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = dict(secrets)

    def get(self, account: str) -> str:
        if account not in self.secrets:
            raise CredentialError("There is none.")
        return self.secrets[account]

    def set(self, account: str, secret: str) -> None:
        assert "\n" not in secret
        self.secrets[account] = secret


def visit(url: str) -> int:
    """The person's browser: follows redirects."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.fixture
def account():
    return Account(ME, host="127.0.0.1", user="u1", auth=AuthMethod.OAUTH, oauth_provider="local")


@pytest.fixture
def provider(authorisation, tmp_path, account):
    return provider_of(account, load_providers(authorisation.provider_file(tmp_path)))


def test_loopback_with_pkce(authorisation, provider, account):
    pending = LoopbackSignIn(account, provider)
    assert "login_hint=u1" in pending.url
    assert "code_challenge_method=S256" in pending.url
    assert visit(pending.url) == 200
    secret = pending.wait()
    assert authorisation.grants[0].refresh_token in secret
    with pytest.raises(urllib.error.URLError):
        visit(authorisation.requests[0][1]["redirect_uri"])  # nobody listens any more


def test_loopback_takes_no_answer_but_ours(authorisation, provider, account):
    pending = LoopbackSignIn(account, provider)
    port = pending.redirect
    assert visit(f"{port}?code=stolen&state=wrong") == 404
    assert visit(f"{port}?error=access_denied") == 404
    assert visit(f"{port}favicon.ico") == 404
    assert visit(pending.url) == 200
    assert pending.wait()


def test_loopback_declined_cancelled_ignored(authorisation, provider, account):
    authorisation.refuse = "access_denied"
    pending = LoopbackSignIn(account, provider)
    visit(pending.url)
    with pytest.raises(SignInError, match="declined"):
        pending.wait()
    pending = LoopbackSignIn(account, provider)
    threading.Timer(0.05, pending.cancel).start()
    with pytest.raises(SignInError, match="cancelled"):
        pending.wait()
    with pytest.raises(SignInError, match="Nobody"):
        LoopbackSignIn(account, provider, seconds=0.05).wait()


def test_device_code(authorisation, provider, account):
    authorisation.pending = 3
    pending = DeviceSignIn(account, provider)
    assert (pending.code, pending.url) == ("WDJB-MJHT", f"{authorisation.url}/activate")
    assert authorisation.grants == []
    secret = pending.wait()
    assert authorisation.grants[0].refresh_token in secret


def test_device_code_survives_a_busy_server(authorisation, provider, account):
    authorisation.busy = 1
    assert DeviceSignIn(account, provider).wait()


def test_device_code_declined_and_cancelled(authorisation, provider, account):
    authorisation.refuse = "authorization_declined"
    with pytest.raises(SignInError, match="declined"):
        DeviceSignIn(account, provider).wait()
    authorisation.refuse = ""
    authorisation.pending = 10**9
    pending = DeviceSignIn(account, provider)
    threading.Timer(0.05, pending.cancel).start()
    with pytest.raises(SignInError, match="cancelled"):
        pending.wait()


def signed_in(authorisation, provider, account) -> Pocket:
    return Pocket(me=DeviceSignIn(account, provider).wait())


def test_one_renewal_for_all(authorisation, provider, account, tmp_path):
    tokens = Tokens(ME, provider, signed_in(authorisation, provider, account), lock_file=tmp_path / "lock")
    first = tokens(fresh=False)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(tokens(fresh=True))) for _ in range(1)]
    threads += [threading.Thread(target=lambda: got.append(tokens(fresh=False))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 7
    assert len({first, *got}) == 2
    assert authorisation.count("refresh_token") == 2


def test_token_is_renewed_before_it_ends(authorisation, provider, account):
    now = [0.0]
    store = signed_in(authorisation, provider, account)
    tokens = Tokens(ME, provider, store, monotonic=lambda: now[0])
    first = tokens(fresh=False)
    now[0] = 3000.0
    assert tokens(fresh=False) == first
    now[0] = 3500.0
    assert tokens(fresh=False) != first


def test_rotated_token_is_kept(authorisation, provider, account, tmp_path):
    """Two programs share one secret, and each renewal makes the old one worthless."""
    authorisation.rotate = True
    store = signed_in(authorisation, provider, account)
    before = store.secrets["me"]
    two = [Tokens(ME, provider, store, lock_file=tmp_path / "lock") for _ in range(2)]
    for _ in range(3):
        for tokens in two:
            assert tokens(fresh=True)
    assert store.secrets["me"] != before


def test_the_lock_keeps_two_programs_from_spending_one_token(authorisation, provider, account, tmp_path):
    """Each renewal makes the token before it worthless (rotation), and four threads of two programs renew at once."""
    authorisation.rotate = True
    store = signed_in(authorisation, provider, account)
    programs = [Tokens(ME, provider, store, lock_file=tmp_path / "lock") for _ in range(2)]
    got: list[str] = []
    failed: list[Exception] = []
    start = threading.Barrier(4)

    def renew(tokens: Tokens) -> None:
        start.wait(60)
        for _ in range(3):
            try:
                got.append(tokens(fresh=True))
            except Exception as error:  # noqa: BLE001 shown below
                failed.append(error)

    threads = [threading.Thread(target=renew, args=(tokens,)) for tokens in programs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    assert len(got) == 12


def test_end_of_the_grant(authorisation, provider, account):
    tokens = Tokens(ME, provider, signed_in(authorisation, provider, account))
    authorisation.revoke_all()
    with pytest.raises(SignInExpired) as ended:
        tokens(fresh=False)
    assert "again" in ended.value.hint


def test_trouble_with_the_provider(authorisation, provider, account):
    store = signed_in(authorisation, provider, account)
    authorisation.busy = 1
    with pytest.raises(ServerBusy):
        Tokens(ME, provider, store)(fresh=False)
    assert Tokens(ME, provider, store)(fresh=False)
    with pytest.raises(CredentialError):
        Tokens(ME, provider, Pocket(me="a password of old"))(fresh=False)
    authorisation.close()
    with pytest.raises(ConnectionLost):
        Tokens(ME, provider, store)(fresh=False)


def test_revoke(authorisation, provider, account):
    store = signed_in(authorisation, provider, account)
    oauth.revoke(provider, store.secrets["me"])
    assert authorisation.grants[0].revoked
    oauth.revoke(provider, store.secrets["me"])  # it has ended: what was wanted
    with pytest.raises(CredentialError):
        oauth.revoke(provider, "a password of old")
    with pytest.raises(SignInError, match="client id"):
        oauth.revoke(replace(provider, client_id="another"), store.secrets["me"])
    asked = len(authorisation.requests)
    oauth.revoke(replace(provider, revoke=""), store.secrets["me"])
    assert len(authorisation.requests) == asked, "not every provider has an address for it"
    authorisation.close()
    with pytest.raises(ConnectionLost):
        oauth.revoke(provider, store.secrets["me"])


@pytest.mark.parametrize(
    "text",
    [
        "[google",
        'google = "x"',
        '[mine]\ntoken = "https://x/t"',
        '[mine]\ntoken = "http://example.org/t"\nscope = "s"\nclient_id = "c"',
        "[google]\nclient_id = 5",
        '[google]\nmystery = "x"',
    ],
)
def test_wrong_provider_files(tmp_path, text):
    file = tmp_path / "providers.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_providers(file)


def test_own_client_id(tmp_path, account):
    google = Account(ME, auth=AuthMethod.OAUTH, oauth_provider="google")
    with pytest.raises(ConfigError, match="client id"):
        provider_of(google, load_providers())
    file = tmp_path / "providers.toml"
    file.write_text('[google]\nclient_id = "mine"\nextra = {prompt = "consent"}\n')
    found = provider_of(google, load_providers(file))
    assert (found.client_id, found.token) == ("mine", "https://oauth2.googleapis.com/token")
    with pytest.raises(ConfigError):
        provider_of(account, load_providers())


# -- with a mail server


@pytest.fixture
def place(request, dovecot, authorisation, tmp_path):
    """Dovecot that asks our server who a token belongs to; an account and its home."""
    mechanism, capabilities = getattr(request, "param", ("xoauth2 oauthbearer", ""))
    host = dovecot(
        fresh=True,
        oauth_url=authorisation.introspection,
        token_mechanisms=mechanism,
        capabilities=capabilities,
    )
    paths = find({"SPAMD_HOME": str(tmp_path / "spamd")})
    paths.config.mkdir(parents=True)
    settings.save(paths.config_file, {"oauth_file": str(authorisation.provider_file(tmp_path))})
    user = authorisation.user = host.new_user()
    account = Account(
        ME,
        host=host.host,
        port=host.port,
        user=user,
        tls=TlsMode.NONE,
        auth=AuthMethod.OAUTH,
        oauth_provider="local",
    )
    return host, account, paths


@pytest.mark.parametrize(
    "place",
    [("xoauth2", ""), ("oauthbearer", ""), ("xoauth2", OLD), ("oauthbearer", OLD)],  # OLD: no SASL-IR
    indirect=True,
)
def test_mailbox_by_token(place, authorisation):
    host, account, paths = place
    pending = begin_sign_in(account, paths)
    visit(pending.url)
    store = Pocket(me=pending.wait())
    opening = Opening(store, paths=paths)
    host.append(account.user, mail("one"))
    with_token = opening.session(account)
    assert with_token.status(FolderName("INBOX")).messages == 1
    watch = opening.watch(account, FolderName("INBOX"))
    assert authorisation.count("refresh_token") == 1, "both connections share a token"
    watch.close()
    with_token.close()
    # A token that the server no longer takes is renewed once, by itself.
    authorisation.expire()
    again = opening.session(account)
    assert authorisation.count("refresh_token") == 2
    again.close()
    # A grant that was taken back needs the person.
    authorisation.revoke_all()
    with pytest.raises(SignInExpired):
        opening.session(account)


def test_token_of_somebody_else(place, authorisation):
    _, account, paths = place
    authorisation.user = "somebody-else"
    pending = begin_sign_in(account, paths)
    visit(pending.url)
    with pytest.raises(SignInError, match="the sign-in with the browser") as told:
        Opening(Pocket(me=pending.wait()), paths=paths).session(account)
    assert "signed in as somebody else" in told.value.hint, "no word of a password, which nobody asked for"


def test_account_without_sign_in(place):
    _, account, paths = place
    with pytest.raises(CredentialError):
        Opening(Pocket(), paths=paths).session(account)
    with pytest.raises(SignInExpired):
        Opening(Pocket(me=packed("unknown")), paths=paths).session(account)
