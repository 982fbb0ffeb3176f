"""Folders of an IMAP account: their names, and what they are for.

Names are decoded here and nowhere else. The raw name a server gave is kept beside the decoded one and goes
back to it unchanged, so a name that cannot be decoded still works.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from imapclient.imap_utf7 import decode as _decode_utf7
from imapclient.imap_utf7 import encode as _encode_utf7

from spamd.domain import INBOX, FolderName
from spamd.source import Folder

# RFC 6154 and RFC 8457 attributes and Gmail's older XLIST ones, lower case.
ATTRIBUTES: Mapping[str, str] = {
    "\\inbox": "inbox",
    "\\junk": "junk",
    "\\spam": "junk",
    "\\trash": "trash",
    "\\sent": "sent",
    "\\drafts": "drafts",
    "\\archive": "archive",
    "\\all": "all",
    "\\allmail": "all",
    "\\flagged": "all",  # virtual too: the mails lie elsewhere
    "\\starred": "all",
    "\\important": "all",
}

# What mail programs and providers call their Junk folder. Compared as a whole: "Junk Drawer" is a person's
# own folder.
JUNK_NAMES: tuple[str, ...] = (
    *("Junk", "Spam", "Junk E-mail", "Junk Email", "Junk Mail", "Bulk Mail", "Bulk", "Junkmail"),  # English
    *("Junk-E-Mail", "Spamverdacht", "Spam-Verdacht", "Unerwünscht", "Werbung (Spam)", "Spam-Mail"),  # German
    *("Courrier indésirable", "Indésirables", "Pourriel", "Pourriels", "Courriel indésirable"),  # French
    *("Correo no deseado", "Correo basura", "No deseado", "Correo electrónico no deseado"),  # Spanish
    *("Posta indesiderata", "Indesiderata", "Posta indesiderata (Spam)"),  # Italian
    *(
        "Lixo eletrônico",
        "Lixo eletrónico",
        "Lixo Electrónico",
        "E-mail de lixo",
        "Correio de lixo",
    ),  # Portuguese
    *("Ongewenste e-mail", "Ongewenste post", "Ongewenst", "Ongewenste reclame"),  # Dutch
    *("Skräppost", "Skräp"),  # Swedish
    *("Søppelpost", "Uønsket e-post", "Useriøs e-post"),  # Norwegian
    *("Uønsket mail", "Uønsket e-mail", "Uønsket post"),  # Danish
    *("Roskaposti", "Roskapostit"),  # Finnish
    *("Rämpspost", "Rämps", "Rämpspostkast"),  # Estonian
    *("Mēstules", "Surogātpasts", "Nevēlamais e-pasts"),  # Latvian
    *("Šlamštas", "Brukalas", "Nepageidaujami laiškai"),  # Lithuanian
    *("Wiadomości-śmieci", "Niechciane", "Wiadomości śmieci", "Śmieci"),  # Polish
    *("Nevyžádaná pošta", "Nevyžádané", "Hromadná pošta"),  # Czech
    *("Nevyžiadaná pošta", "Nevyžiadané"),  # Slovak
    *("Levélszemét", "Kéretlen", "Kéretlen e-mail"),  # Hungarian
    *("Neželena pošta", "Neželeno"),  # Slovenian
    *(
        "Neželjena pošta",
        "Bezvrijedna pošta",
        "Neželjene poruke",
        "Нежељена пошта",
    ),  # Croatian, Bosnian, Serbian
    *("Mesaje nedorite", "Nedorite", "Poștă nedorită", "E-mailuri nedorite"),  # Romanian
    *("Нежелана поща", "Спам", "Нежелательная почта", "Нежелательные"),  # Bulgarian, Russian
    *("Небажана пошта", "Небажана електронна пошта", "Непажаданая пошта"),  # Ukrainian, Belarusian
    *("Ανεπιθύμητα", "Ανεπιθύμητη αλληλογραφία", "Ανεπιθύμητη"),  # Greek
    *("Gereksiz", "Gereksiz E-posta", "Önemsiz", "Önemsiz E-posta", "İstenmeyen"),  # Turkish
    *("דואר זבל", "זבל", "ספאם"),  # Hebrew
    *("البريد الإلكتروني غير الهام", "البريد غير المرغوب فيه", "غير مرغوب", "رسائل غير مرغوب فيها"),  # Arabic
    *("هرزنامه", "اسپم"),  # Persian
    *("स्पैम", "जंक", "जंक ई-मेल"),  # Hindi
    *("สแปม", "อีเมลขยะ", "เมลขยะ"),  # Thai
    *("Thư rác", "Email rác"),  # Vietnamese
    *("Surat sampah", "E-mel sarap", "Email Sampah"),  # Indonesian, Malay
    *("迷惑メール", "迷惑メールフォルダ", "スパム"),  # Japanese
    *("垃圾邮件", "垃圾郵件", "垃圾箱邮件", "广告邮件"),  # Chinese
    *("스팸", "스팸메일함", "스팸 메일", "정크 메일", "정크메일"),  # Korean
    *("Correu brossa", "Brossa"),  # Catalan
    *("Zabor-posta", "Zaborra"),  # Basque
    *("Correo lixo",),  # Galician
    *("Ruslpóstur", "Ruslpóstur (spam)"),  # Icelandic
    *("Post sothach", "Turscar"),  # Welsh, Irish
)

_BULK = ("Bulk", "Bulk Mail", "Hromadná pošta")
"""Of these some mean junk where there is no other Junk folder, and a person's newsletters where there is."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "trash": (
        *("Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Papierkorb", "Gelöschte Elemente"),
        *(
            "Gelöschte Objekte",
            "Corbeille",
            "Éléments supprimés",
            "Papelera",
            "Elementos eliminados",
            "Cestino",
        ),
        *(
            "Posta eliminata",
            "Lixeira",
            "Itens Excluídos",
            "Itens Eliminados",
            "Prullenbak",
            "Verwijderde items",
        ),
        *(
            "Papperskorgen",
            "Borttaget",
            "Papirkurv",
            "Slettede elementer",
            "Slettet post",
            "Roskakori",
            "Kosz",
        ),
        *(
            "Elementy usunięte",
            "Koš",
            "Odstraněná pošta",
            "Kôš",
            "Kuka",
            "Törölt elemek",
            "Корзина",
            "Удаленные",
        ),
        *(
            "Удалённые",
            "Кошик",
            "Çöp Kutusu",
            "Silinmiş Öğeler",
            "ゴミ箱",
            "削除済みアイテム",
            "已删除",
            "已删除邮件",
        ),
        *("휴지통", "지운 편지함", "Κάδος απορριμμάτων", "Διαγραμμένα"),
    ),
    "sent": (
        *(
            "Sent",
            "Sent Items",
            "Sent Messages",
            "Sent Mail",
            "Gesendet",
            "Gesendete Elemente",
            "Gesendete Objekte",
        ),
        *("Envoyés", "Messages envoyés", "Éléments envoyés", "Enviados", "Elementos enviados", "Inviati"),
        *(
            "Posta inviata",
            "Itens Enviados",
            "Verzonden",
            "Verzonden items",
            "Skickat",
            "Sendt",
            "Sendte elementer",
        ),
        *(
            "Lähetetyt",
            "Wysłane",
            "Elementy wysłane",
            "Odeslaná pošta",
            "Odeslané",
            "Отправленные",
            "Надіслані",
        ),
        *(
            "Gönderilmiş Öğeler",
            "送信済み",
            "送信済みアイテム",
            "已发送",
            "已发送邮件",
            "보낸편지함",
            "Απεσταλμένα",
        ),
    ),
    "drafts": (
        "Drafts",
        "Draft",
        "Entwürfe",
        "Brouillons",
        "Borradores",
        "Bozze",
        "Rascunhos",
        "Concepten",
        "Utkast",
    ),
    "archive": (
        "Archive",
        "Archives",
        "Archiv",
        "Archivio",
        "Archivo",
        "Arquivo",
        "Archief",
        "Arkiv",
        "Архив",
    ),
}


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


_JUNK_RANK = {_folded(name): rank for rank, name in reversed(list(enumerate(JUNK_NAMES)))}
_BULK_NAMES = frozenset(map(_folded, _BULK))
_OTHER_ROLE = {_folded(name): role for role, names in OTHER_NAMES.items() for name in names}

# Folders that hold the provider's own ones.
_CONTAINERS = frozenset({"inbox", "[gmail]", "[google mail]", "[googlemail]"})


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a LIST answer."""

    attributes: frozenset[str]  # lower case
    separator: str  # "" where the account is flat
    raw: bytes


@dataclass(frozen=True, slots=True)
class Namespaces:
    """RFC 2342: prefixes, raw."""

    personal: tuple[bytes, ...] = (b"",)
    foreign: tuple[bytes, ...] = ()  # other users' and shared ones


def decode(raw: bytes) -> FolderName:
    """A raw name as people know it. What is not modified UTF-7 is shown as it is."""
    if raw.upper() == b"INBOX":
        return INBOX
    try:
        ascii_only = raw.decode("ascii")
    except UnicodeDecodeError:
        return FolderName(raw.decode("utf-8", "backslashreplace"))
    try:
        decoded = str(_decode_utf7(raw))
        if bytes(_encode_utf7(decoded)) == raw:
            return FolderName(decoded)
    except (ValueError, LookupError):
        pass
    return FolderName(ascii_only)


def encode(name: FolderName, *, utf8: bool = False) -> bytes:
    """For a name no server has listed: one that the person wrote down. utf8: UTF8=ACCEPT is switched on."""
    return str(name).encode() if utf8 else bytes(_encode_utf7(str(name)))


def relative(raw: bytes, separator: str, namespaces: Namespaces) -> str:
    """The decoded name without namespace prefix, INBOX and the provider's container."""
    for prefix in sorted(namespaces.personal, key=len, reverse=True):
        if prefix and raw.startswith(prefix) and len(raw) > len(prefix):
            raw = raw[len(prefix) :]
            break
    name = str(decode(raw))
    if separator:
        head, found, rest = name.partition(separator)
        if found and rest and head.casefold() in _CONTAINERS:
            return rest
    return name


def classify(listed: Iterable[Listed], namespaces: Namespaces = Namespaces()) -> tuple[Folder, ...]:
    """Every folder once, with its role: by attribute, else by name. At most one folder has a role of junk.

    Others that are called so are "also junk": each mail program of the person's may have made its own. Read as folders of
    good mail, they would teach that junk is good. Of other people's, and of "Bulk", nobody knows: "bulk".
    """
    folders: list[Folder] = []
    ranks: dict[int, int] = {}  # index -> how sure we are that it is Junk; lower is surer
    seen: set[bytes] = set()
    taken: set[str] = set()
    for entry in listed:
        if entry.raw in seen:
            continue
        seen.add(entry.raw)
        foreign = any(prefix and entry.raw.startswith(prefix) for prefix in namespaces.foreign)
        name = decode(entry.raw)
        if str(name) in taken:  # two raw names, one decoded: keep them apart
            name = FolderName(entry.raw.decode("ascii", "backslashreplace"))
        taken.add(str(name))
        selectable = not entry.attributes & {"\\noselect", "\\nonexistent"}
        role = next((ATTRIBUTES[a] for a in sorted(entry.attributes) if a in ATTRIBUTES), "")
        if name == INBOX:
            role = "inbox"
        if foreign:
            short = _folded(str(name).rpartition(entry.separator)[2] if entry.separator else str(name))
            role = "bulk" if role == "junk" or short in _JUNK_RANK else ""
        elif role == "junk":
            ranks[len(folders)] = -1
        elif not role and selectable:
            short = _folded(relative(entry.raw, entry.separator, namespaces))
            if short in _JUNK_RANK:
                ranks[len(folders)] = _JUNK_RANK[short]
            else:
                role = _OTHER_ROLE.get(short, "")
        folders.append(Folder(name, entry.raw, entry.separator, role, selectable, foreign))
    usable = [index for index in ranks if folders[index].selectable]
    chosen = min(usable, key=lambda index: (ranks[index], index), default=None)
    for index in usable:
        short = _folded(relative(folders[index].raw, folders[index].separator, namespaces))
        another = "bulk" if short in _BULK_NAMES and ranks[index] >= 0 else "also junk"
        folders[index] = replace(folders[index], role="junk" if index == chosen else another)
    for index in ranks.keys() - set(usable):
        folders[index] = replace(folders[index], role="")
    return tuple(folders)


def junk(
    folders: Sequence[Folder], wanted: FolderName | None, namespaces: Namespaces = Namespaces()
) -> Folder | None:
    """The account's Junk: the person's choice, also when written without the namespace prefix; else the

    one found.
    """
    if wanted is None:
        return next((folder for folder in folders if folder.role == "junk"), None)
    exact = next((folder for folder in folders if folder.name == wanted), None)
    if exact:
        return exact
    short = _folded(str(wanted))
    return next(
        (f for f in folders if f.selectable and _folded(relative(f.raw, f.separator, namespaces)) == short),
        None,
    )
