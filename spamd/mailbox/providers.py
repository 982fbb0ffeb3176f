"""Large mail providers: where their IMAP server is, and how one signs in. Data only; the first fitting row counts.

Sources: the providers' help pages and Mozilla's autoconfig database. `user` is what the server wants as user name:
"address" or "local" (the part before the @).
"""

from __future__ import annotations

from dataclasses import dataclass

from spamd.domain import Account, AccountName, AuthMethod, TlsMode


@dataclass(frozen=True, slots=True)
class MailProvider:
    """One provider."""

    name: str
    domains: tuple[str, ...]  # of addresses; "*.x" fits all below x
    host: str
    port: int = 993
    tls: TlsMode = TlsMode.IMPLICIT
    user: str = "address"
    password_help: str = ""  # how to get the password that IMAP wants; "" where it is the usual one
    oauth: str = ""  # row of mailbox/oauth.py PROVIDERS
    oauth_only: bool = False  # no password works at all
    remark: str = ""  # what one should know before the account is added
    mx: tuple[str, ...] = ()  # mail exchangers that show that a foreign domain is hosted there


def _app_password(url: str, first: str = "") -> str:
    return f"{first}Make an app password at {url} and use it here instead of your normal one."


PROVIDERS: tuple[MailProvider, ...] = (
    MailProvider(
        "Gmail",
        ("gmail.com", "googlemail.com"),
        "imap.gmail.com",
        password_help=_app_password(
            "https://myaccount.google.com/apppasswords", "Switch on two-step verification. "
        ),
        oauth="google",
        remark="A move to Spam also reports the sender to Google: until the account filters, what looks like junk only gets "
        "a label.",
        mx=("google.com", "googlemail.com"),
    ),
    MailProvider(
        "Outlook.com and Microsoft 365",
        (
            *("outlook.com", "hotmail.com", "live.com", "msn.com", "windowslive.com", "passport.com"),
            *("outlook.de", "outlook.fr", "outlook.es", "outlook.it", "outlook.at", "outlook.be"),
            *("outlook.jp", "outlook.pt", "outlook.dk", "outlook.com.br", "outlook.com.au", "outlook.co.id"),
            *("hotmail.de", "hotmail.fr", "hotmail.it", "hotmail.es", "hotmail.co.uk", "hotmail.nl"),
            *("hotmail.be", "hotmail.se", "hotmail.no", "hotmail.dk", "hotmail.co.jp", "hotmail.com.br"),
            *("live.de", "live.fr", "live.it", "live.nl", "live.be", "live.co.uk", "live.ca", "live.se"),
            *("live.no", "live.dk", "live.at", "live.jp", "live.com.au", "live.com.mx", "live.cn"),
        ),
        "outlook.office365.com",
        oauth="microsoft",
        oauth_only=True,
        password_help="Microsoft accepts no password for IMAP: sign in with the browser.",
        mx=("protection.outlook.com", "mx.microsoft"),
    ),
    MailProvider(
        "iCloud",
        ("icloud.com", "me.com", "mac.com"),
        "imap.mail.me.com",
        user="local",
        password_help=_app_password("https://account.apple.com (Sign-In and Security)"),
    ),
    MailProvider(
        "iCloud with a domain of your own",
        (),
        "imap.mail.me.com",
        password_help=_app_password(
            "https://account.apple.com (Sign-In and Security)",
            "The user name is your iCloud address without “@icloud.com”. ",
        ),
        mx=("mail.icloud.com",),
    ),
    MailProvider(
        "Yahoo",
        (
            *(
                "yahoo.com",
                "ymail.com",
                "rocketmail.com",
                "myyahoo.com",
                "yahoo.co.uk",
                "yahoo.de",
                "yahoo.fr",
            ),
            *("yahoo.it", "yahoo.es", "yahoo.ca", "yahoo.com.br", "yahoo.com.ar", "yahoo.com.mx", "yahoo.in"),
            *("yahoo.co.in", "yahoo.com.au", "yahoo.com.sg", "yahoo.com.ph", "yahoo.co.id", "yahoo.com.vn"),
            *("yahoo.gr", "yahoo.ie", "yahoo.se", "yahoo.no", "yahoo.dk", "yahoo.pl", "yahoo.ro", "yahoo.at"),
        ),
        "imap.mail.yahoo.com",
        password_help=_app_password("https://login.yahoo.com/account/security"),
        oauth="yahoo",
        mx=("yahoodns.net",),
    ),
    MailProvider(
        "AOL",
        ("aol.com", "aim.com", "aol.de", "aol.fr", "aol.co.uk", "netscape.net", "verizon.net"),
        "imap.aol.com",
        password_help=_app_password("https://login.aol.com/account/security"),
    ),
    MailProvider(
        "Fastmail",
        ("fastmail.com", "fastmail.fm", "fastmail.de", "sent.com", "messagingengine.com", "fastmail.net"),
        "imap.fastmail.com",
        password_help=_app_password("https://app.fastmail.com/settings/security/apps"),
        mx=("messagingengine.com",),
    ),
    MailProvider(
        "GMX",
        ("gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.eu", "gmx.info", "gmx.org", "gmx.biz"),
        "imap.gmx.net",
        password_help=(
            "Allow IMAP in GMX's settings (POP3/IMAP). With two-factor sign-in, make an app password there."
        ),
    ),
    MailProvider(
        "GMX (international)",
        ("gmx.com", "gmx.us", "gmx.co.uk", "gmx.fr", "gmx.es"),
        "imap.gmx.com",
        password_help="Allow IMAP in GMX's settings (POP3 & IMAP).",
    ),
    MailProvider(
        "WEB.DE",
        ("web.de", "email.de"),
        "imap.web.de",
        password_help=(
            "Allow IMAP in WEB.DE's settings (POP3/IMAP). With two-factor sign-in, make an app password there."
        ),
    ),
    MailProvider(
        "mail.com",
        ("mail.com", "email.com", "usa.com", "post.com", "europe.com", "consultant.com", "engineer.com"),
        "imap.mail.com",
        password_help="IMAP needs a Premium account at mail.com.",
    ),
    MailProvider(
        "Telekom (T-Online)",
        ("t-online.de", "magenta.de"),
        "secureimap.t-online.de",
        password_help="Use the e-mail password, set at https://account.idm.telekom.com, not the sign-in one.",
    ),
    MailProvider("freenet", ("freenet.de",), "mx.freenet.de"),
    MailProvider("Vodafone", ("vodafone.de", "arcor.de", "vodafonemail.de"), "imap.vodafonemail.de"),
    MailProvider("1&1", ("online.de", "onlinehome.de", "sofortstart.de", "sofort-start.de"), "imap.1und1.de"),
    MailProvider(
        "Posteo",
        tuple(
            f"posteo.{end}" for end in ("de", "net", "org", "eu", "at", "be", "ch", "us", "me", "li", "nl")
        ),
        "posteo.de",
        mx=("posteo.de",),
    ),
    MailProvider(
        "mailbox.org",
        ("mailbox.org", "secure.mailbox.org"),
        "imap.mailbox.org",
        password_help="With two-factor sign-in, make an app password in the settings (Security).",
        mx=("mailbox.org",),
    ),
    MailProvider("Tuta", (), "", mx=("tutanota.de",), password_help="Tuta offers no IMAP."),
    MailProvider(
        "Proton Mail (through Bridge)",
        ("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
        "127.0.0.1",
        port=1143,
        tls=TlsMode.STARTTLS,
        password_help=(
            "Start Proton Mail Bridge and use the user name and password it shows for this account. "
            "Export its certificate (Bridge settings) and name the file as ca_file."
        ),
        mx=("protonmail.ch",),
    ),
    MailProvider("Runbox", ("runbox.com", "runbox.no"), "mail.runbox.com", mx=("runbox.com",)),
    MailProvider("Mailfence", ("mailfence.com",), "imap.mailfence.com", mx=("mailfence.com",)),
    MailProvider("Disroot", ("disroot.org",), "disroot.org", user="local"),
    MailProvider("Riseup", ("riseup.net",), "mail.riseup.net", user="local"),
    MailProvider("Migadu", (), "imap.migadu.com", mx=("migadu.com",)),
    MailProvider(
        "Yandex",
        ("yandex.ru", "yandex.com", "ya.ru", "yandex.by", "yandex.kz", "yandex.ua", "narod.ru"),
        "imap.yandex.com",
        password_help=_app_password(
            "https://id.yandex.com/security/app-passwords", "Allow IMAP in Yandex Mail's settings. "
        ),
        mx=("mx.yandex.net", "mx.yandex.ru"),
    ),
    MailProvider(
        "Mail.ru",
        ("mail.ru", "inbox.ru", "list.ru", "bk.ru", "internet.ru", "xmail.ru"),
        "imap.mail.ru",
        password_help=_app_password("https://account.mail.ru/user/2-step-auth/passwords"),
        mx=("mail.ru",),
    ),
    MailProvider("Rambler", ("rambler.ru", "lenta.ru", "ro.ru", "myrambler.ru"), "imap.rambler.ru"),
    MailProvider(
        "Zoho (EU)",
        ("zoho.eu", "zohomail.eu"),
        "imap.zoho.eu",
        password_help=_app_password("https://accounts.zoho.eu/home#security/app_password"),
        mx=("zoho.eu",),
    ),
    MailProvider(
        "Zoho",
        ("zoho.com", "zohomail.com"),
        "imap.zoho.com",
        password_help=_app_password("https://accounts.zoho.com/home#security/app_password"),
        mx=("zoho.com",),
    ),
    MailProvider("Orange", ("orange.fr", "wanadoo.fr"), "imap.orange.fr"),
    MailProvider("Free", ("free.fr", "aliceadsl.fr", "libertysurf.fr"), "imap.free.fr", user="local"),
    MailProvider("SFR", ("sfr.fr", "neuf.fr", "club-internet.fr", "cegetel.net"), "imap.sfr.fr"),
    MailProvider("La Poste", ("laposte.net",), "imap.laposte.net", user="local"),
    MailProvider("Bouygues", ("bbox.fr",), "imap4.bbox.fr"),
    MailProvider("Libero", ("libero.it", "inwind.it", "iol.it", "blu.it", "giallo.it"), "imapmail.libero.it"),
    MailProvider("Virgilio", ("virgilio.it",), "in.virgilio.it"),
    MailProvider("TIM", ("tim.it", "alice.it", "tin.it"), "imap.tim.it"),
    MailProvider("Tiscali", ("tiscali.it",), "imap.tiscali.it"),
    MailProvider("Aruba", ("aruba.it", "technet.it"), "imaps.aruba.it", mx=("aruba.it",)),
    MailProvider("OVHcloud", (), "ssl0.ovh.net", mx=("mail.ovh.net", "ovh.net")),
    MailProvider("IONOS", (), "imap.ionos.de", mx=("kundenserver.de", "ionos.de")),
    MailProvider("IONOS (international)", (), "imap.ionos.com", mx=("1and1.com", "ionos.com", "ionos.co.uk")),
    MailProvider("Strato", ("strato.de",), "imap.strato.de", mx=("rzone.de", "strato.de")),
    MailProvider("ALL-INKL", (), "", mx=("kasserver.com",)),
    MailProvider(
        "Infomaniak", ("ik.me", "ikmail.com", "etik.com"), "mail.infomaniak.com", mx=("infomaniak.ch",)
    ),
    MailProvider("Gandi", (), "mail.gandi.net", mx=("gandi.net",)),
    MailProvider("Namecheap", (), "mail.privateemail.com", mx=("privateemail.com",)),
    MailProvider("Rackspace", (), "secure.emailsrvr.com", mx=("emailsrvr.com",)),
    MailProvider("Hostinger", (), "imap.hostinger.com", mx=("hostinger.com",)),
    MailProvider("one.com", (), "imap.one.com", mx=("one.com",)),
    MailProvider("Bluewin", ("bluewin.ch", "bluemail.ch"), "imaps.bluewin.ch"),
    MailProvider("A1", ("a1.net", "aon.at", "a1business.at"), "securemail.a1.net"),
    MailProvider(
        "KPN", ("kpnmail.nl", "kpnplanet.nl", "planet.nl", "hetnet.nl", "xs4all.nl"), "imap.kpnmail.nl"
    ),
    MailProvider("Ziggo", ("ziggo.nl", "upcmail.nl", "home.nl", "casema.nl", "chello.nl"), "imap.ziggo.nl"),
    MailProvider("Telenet", ("telenet.be",), "imap.telenet.be"),
    MailProvider("Proximus", ("proximus.be", "skynet.be", "belgacom.net"), "imap.proximus.be"),
    MailProvider("Telia", ("telia.com", "telia.se"), "mailin.telia.com"),
    MailProvider("Online.no", ("online.no",), "imap.online.no"),
    MailProvider("Elisa", ("elisanet.fi", "kolumbus.fi"), "mail.elisanet.fi"),
    MailProvider("Seznam", ("seznam.cz", "email.cz", "post.cz", "spoluzaci.cz"), "imap.seznam.cz"),
    MailProvider("WP", ("wp.pl", "o2.pl", "tlen.pl", "go2.pl"), "imap.wp.pl"),
    MailProvider("Onet", ("onet.pl", "op.pl", "vp.pl", "poczta.onet.pl", "onet.eu"), "imap.poczta.onet.pl"),
    MailProvider("Interia", ("interia.pl", "interia.eu", "poczta.fm", "intmail.pl"), "poczta.interia.pl"),
    MailProvider("UKR.NET", ("ukr.net",), "imap.ukr.net"),
    MailProvider("BT", ("btinternet.com", "btopenworld.com", "bt.com"), "mail.btinternet.com"),
    MailProvider(
        "Virgin Media", ("virginmedia.com", "ntlworld.com", "blueyonder.co.uk"), "imap.virginmedia.com"
    ),
    MailProvider("Sky", ("sky.com",), "imap.tools.sky.com"),
    MailProvider("TalkTalk", ("talktalk.net", "tiscali.co.uk"), "mail.talktalk.net"),
    MailProvider("Eircom", ("eircom.net",), "imap.eircom.net"),
    MailProvider(
        "Comcast Xfinity",
        ("comcast.net", "xfinity.com"),
        "imap.comcast.net",
        user="local",
        password_help="Allow third-party access in Xfinity's mail settings (Security).",
    ),
    MailProvider(
        "AT&T",
        (
            *("att.net", "sbcglobal.net", "bellsouth.net", "ameritech.net", "pacbell.net", "swbell.net"),
            *("flash.net", "nvbell.net", "prodigy.net", "snet.net", "wans.net"),
        ),
        "imap.mail.att.net",
        password_help="Make a secure mail key in AT&T's profile (Sign-in info) and use it as password.",
    ),
    MailProvider("Cox", ("cox.net",), "imap.cox.net", user="local"),
    MailProvider("Spectrum", ("charter.net", "rr.com", "*.rr.com", "spectrum.net"), "mobile.charter.net"),
    MailProvider("EarthLink", ("earthlink.net", "mindspring.com"), "imap.earthlink.net"),
    MailProvider("Optimum", ("optimum.net", "optonline.net"), "mail.optonline.net", user="local"),
    MailProvider("Bell", ("bell.net", "sympatico.ca"), "imap.bell.net"),
    MailProvider("Shaw", ("shaw.ca",), "imap.shaw.ca", user="local"),
    MailProvider("Telus", ("telus.net",), "imap.telus.net", user="local"),
    MailProvider("UOL", ("uol.com.br",), "imap.uol.com.br"),
    MailProvider("BOL", ("bol.com.br",), "imap.bol.com.br"),
    MailProvider("Terra", ("terra.com.br",), "imap.terra.com.br"),
    MailProvider(
        "QQ Mail",
        ("qq.com", "foxmail.com"),
        "imap.qq.com",
        password_help="Switch on IMAP in QQ Mail's settings (Account); it then shows an authorisation code.",
    ),
    MailProvider(
        "NetEase",
        ("163.com",),
        "imap.163.com",
        password_help="Switch on IMAP in the settings; it then shows an authorisation code.",
    ),
    MailProvider(
        "NetEase 126",
        ("126.com",),
        "imap.126.com",
        password_help="Switch on IMAP in the settings; it then shows an authorisation code.",
    ),
    MailProvider("Sina", ("sina.com", "sina.cn"), "imap.sina.com"),
    MailProvider("Naver", ("naver.com",), "imap.naver.com", user="local"),
    MailProvider("Daum", ("daum.net", "hanmail.net"), "imap.daum.net", user="local"),
    MailProvider("Yahoo Japan", ("yahoo.co.jp", "ybb.ne.jp"), "imap.mail.yahoo.co.jp", user="local"),
    MailProvider("NTT docomo", ("docomo.ne.jp",), "imap.spmode.ne.jp"),
    MailProvider("Telstra", ("bigpond.com", "bigpond.net.au", "telstra.com"), "imap.telstra.com"),
    MailProvider("Optus", ("optusnet.com.au",), "mail.optusnet.com.au"),
    MailProvider("iiNet", ("iinet.net.au", "westnet.com.au"), "mail.iinet.net.au"),
    MailProvider("Xtra", ("xtra.co.nz",), "imap.xtra.co.nz"),
    MailProvider("Rediffmail", ("rediffmail.com",), "imap.rediffmail.com"),
    MailProvider("HEY", ("hey.com",), "", password_help="HEY offers no IMAP."),
    MailProvider(
        "Tuta", ("tuta.com", "tutanota.com", "tutamail.com"), "", password_help="Tuta offers no IMAP."
    ),
)


def of_domain(domain: str) -> MailProvider | None:
    """The provider of addresses in this domain."""
    domain = domain.lower().rstrip(".")
    for provider in PROVIDERS:
        for known in provider.domains:
            if domain == known or (known.startswith("*.") and domain.endswith(known[1:])):
                return provider
    return None


def of_mail_exchanger(host: str) -> MailProvider | None:
    """The provider whose servers receive mail for a domain with this MX."""
    host = host.lower().rstrip(".")
    for provider in PROVIDERS:
        if any(host == known or host.endswith("." + known) for known in provider.mx):
            return provider
    return None


def of_host(host: str) -> MailProvider | None:
    """The provider that runs this IMAP server."""
    host = host.lower().rstrip(".")
    return next((one for one in PROVIDERS if one.host and one.host == host and one.host != "127.0.0.1"), None)


def account(provider: MailProvider, address: str, name: str = "") -> Account:
    """An account as the provider wants it, without its secret."""
    local = address.rpartition("@")[0]
    return Account(
        AccountName(name or address),
        host=provider.host,
        port=provider.port,
        user=local if provider.user == "local" else address,
        tls=provider.tls,
        auth=AuthMethod.OAUTH if provider.oauth_only else AuthMethod.PASSWORD,
        oauth_provider=provider.oauth if provider.oauth_only else "",
    )


__all__ = ["PROVIDERS", "MailProvider", "account", "of_domain", "of_host", "of_mail_exchanger"]
