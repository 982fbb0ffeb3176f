"""Invented good mail of today for training the base: orders, parcels, sign-ins, bills, appointments, newsletters.

The public corpora hold no such mail, and a base trained on them alone calls all of it spam: its HTML, its buttons and
its foreign languages only occur in their spam. Texts, firms and people are made up; the layouts follow what shops,
banks and services send. The tests' own modern good mail (tests/data/modern_ham) was written apart from this and is never trained on.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterator
from email.message import EmailMessage

# language -> greeting, closing, unsubscribe, and per kind: subject | sentences | button
PHRASES: dict[str, tuple[str, str, str, dict[str, tuple[str, str, str]]]] = {
    "en": ("Hi {name},", "Kind regards, the {shop} team", "Unsubscribe", {
        "order": ("Your order {n} is confirmed", "Thank you for your order. We have received your payment of {p}. | Order number: {n} | Total: {p} incl. VAT | You will hear from us again as soon as it leaves our warehouse.", "View order"),
        "parcel": ("Your parcel is on its way", "Good news: your parcel with {n} left our depot this morning. | Expected delivery: {d} between 10:00 and 14:00. | No one at home? You can choose a neighbour or a parcel shop.", "Track parcel"),
        "sign-in": ("New sign-in to your account", "We noticed a new sign-in to your {shop} account on {d}. | If this was you, there is nothing you need to do. | If not, please change your password in the settings.", "Check activity"),
        "bill": ("Your invoice {n}", "Your invoice for this month is ready. | Amount: {p}, due on {d}. | It will be debited from your account as usual. You find the invoice attached and in your customer area.", "Download invoice"),
        "appointment": ("Reminder: your appointment on {d}", "This is a reminder of your appointment on {d} at 9:30. | Please bring your card and arrive ten minutes early. | If you cannot come, please cancel at least a day before.", "Add to calendar"),
        "news": ("What is new in {month}", "Our favourite reads of the month: five recipes for cold evenings, a walk along the coast and an interview with the people behind the new library. | On Saturday our shop opens an hour earlier. | Members get {q} % off all lamps until Sunday.", "Read more"),
        "account": ("Changes to our terms from {d}", "We are updating our terms of use on {d}. | The main changes are about how long we keep data and how you can reach us. | You do not need to do anything.", "Read the terms"),
        "person": ("Re: {d}", "{d} works fine for me. Shall we meet at the station around ten? | I will bring the papers and the cake. | Mum says hello, by the way.", ""),
    }),
    "de": ("Hallo {name},", "Viele Grüße, Ihr Team von {shop}", "Abmelden", {
        "order": ("Ihre Bestellung {n} ist eingegangen", "vielen Dank für Ihre Bestellung. Ihre Zahlung von {p} haben wir erhalten. | Bestellnummer: {n} | Gesamtbetrag: {p} inkl. MwSt. | Sobald die Ware unser Lager verlässt, schreiben wir Ihnen.", "Bestellung ansehen"),
        "parcel": ("Ihr Paket ist unterwegs", "Ihr Paket {n} wird voraussichtlich am {d} zwischen 10 und 14 Uhr zugestellt. | Nicht zu Hause? Wählen Sie einen Nachbarn oder eine Filiale.", "Sendung verfolgen"),
        "sign-in": ("Neue Anmeldung in Ihrem Konto", "am {d} hat sich jemand in Ihrem Konto bei {shop} angemeldet. | Waren Sie das? Dann müssen Sie nichts tun. | Falls nicht, ändern Sie bitte Ihr Passwort.", "Aktivität prüfen"),
        "bill": ("Ihre Rechnung {n}", "Ihre Rechnung für diesen Monat liegt bereit. | Betrag: {p}, fällig am {d}. | Wir buchen den Betrag wie gewohnt von Ihrem Konto ab.", "Rechnung herunterladen"),
        "appointment": ("Terminerinnerung {d}", "wir erinnern Sie an Ihren Termin am {d} um 9:30 Uhr. | Bitte bringen Sie Ihre Karte mit. | Können Sie nicht kommen, sagen Sie bitte einen Tag vorher ab.", "Termin verwalten"),
        "news": ("Neues im {month}", "unsere Lieblingstexte des Monats: fünf Rezepte für kalte Abende und ein Spaziergang am Meer. | Am Samstag öffnen wir eine Stunde früher. | Bis Sonntag gibt es {q} % auf alle Lampen.", "Weiterlesen"),
        "account": ("Änderung unserer Nutzungsbedingungen", "zum {d} ändern wir unsere Nutzungsbedingungen. | Es geht vor allem darum, wie lange wir Daten speichern. | Sie müssen nichts tun.", "Bedingungen lesen"),
        "person": ("Re: {d}", "{d} passt mir gut. Treffen wir uns gegen zehn am Bahnhof? | Ich bringe die Unterlagen mit. | Liebe Grüße auch von Mama.", ""),
    }),
    "fr": ("Bonjour {name},", "Cordialement, l'équipe {shop}", "Se désabonner", {
        "order": ("Confirmation de votre commande {n}", "Merci pour votre commande. Nous avons bien reçu votre paiement de {p}. | Numéro de commande : {n} | Total : {p} TTC | Nous vous écrirons dès l'expédition.", "Voir ma commande"),
        "parcel": ("Votre colis est en route", "Votre colis {n} sera livré le {d} entre 10 h et 14 h. | Vous êtes absent ? Choisissez un voisin ou un point relais.", "Suivre mon colis"),
        "sign-in": ("Nouvelle connexion à votre compte", "Une nouvelle connexion à votre compte {shop} a eu lieu le {d}. | S'il s'agit de vous, vous n'avez rien à faire. | Sinon, changez votre mot de passe.", "Vérifier l'activité"),
        "bill": ("Votre facture {n}", "Votre facture du mois est disponible. | Montant : {p}, prélèvement le {d}. | Vous la trouverez dans votre espace client.", "Télécharger la facture"),
        "appointment": ("Rappel de votre rendez-vous du {d}", "Nous vous rappelons votre rendez-vous le {d} à 9 h 30. | Merci d'apporter votre carte et d'arriver dix minutes en avance.", "Gérer le rendez-vous"),
        "news": ("Les nouvelles de {month}", "Nos coups de cœur du mois : cinq recettes pour les soirées froides et une balade sur la côte. | Samedi, nous ouvrons une heure plus tôt. | {q} % sur les lampes jusqu'à dimanche.", "Lire la suite"),
        "account": ("Évolution de nos conditions", "Nos conditions d'utilisation changent le {d}. | Vous n'avez rien à faire.", "Lire les conditions"),
        "person": ("Re: {d}", "Le {d} me va très bien. On se retrouve à la gare vers dix heures ? | J'apporte les papiers. | Maman te passe le bonjour.", ""),
    }),
    "es": ("Hola {name}:", "Un saludo, el equipo de {shop}", "Darse de baja", {
        "order": ("Hemos recibido tu pedido {n}", "Gracias por tu compra. Hemos recibido el pago de {p}. | Número de pedido: {n} | Total: {p} IVA incluido | Te avisaremos cuando salga del almacén.", "Ver pedido"),
        "parcel": ("Tu paquete está en camino", "Tu paquete {n} llegará el {d} entre las 10 y las 14 h. | ¿No estarás en casa? Elige un vecino o un punto de recogida.", "Seguir envío"),
        "sign-in": ("Nuevo inicio de sesión", "Hemos detectado un inicio de sesión en tu cuenta de {shop} el {d}. | Si fuiste tú, no tienes que hacer nada. | Si no, cambia tu contraseña.", "Revisar actividad"),
        "bill": ("Tu factura {n}", "Ya está disponible tu factura de este mes. | Importe: {p}, cargo el {d}. | La encontrarás en tu área de cliente.", "Descargar factura"),
        "appointment": ("Recordatorio de tu cita del {d}", "Te recordamos tu cita el {d} a las 9:30. | Trae tu tarjeta y llega diez minutos antes.", "Gestionar cita"),
        "news": ("Novedades de {month}", "Nuestras lecturas favoritas del mes: cinco recetas para noches frías y un paseo por la costa. | El sábado abrimos una hora antes. | {q} % en lámparas hasta el domingo.", "Leer más"),
        "account": ("Cambios en nuestras condiciones", "El {d} cambian nuestras condiciones de uso. | No tienes que hacer nada.", "Leer condiciones"),
        "person": ("Re: {d}", "El {d} me viene bien. ¿Quedamos en la estación sobre las diez? | Yo llevo los papeles. | Mamá te manda recuerdos.", ""),
    }),
    "it": ("Ciao {name},", "Cordiali saluti, il team di {shop}", "Annulla iscrizione", {
        "order": ("Abbiamo ricevuto il tuo ordine {n}", "Grazie per il tuo ordine. Abbiamo ricevuto il pagamento di {p}. | Numero d'ordine: {n} | Totale: {p} IVA inclusa", "Vedi ordine"),
        "parcel": ("Il tuo pacco è in viaggio", "Il pacco {n} arriverà il {d} tra le 10 e le 14. | Non sei a casa? Scegli un vicino o un punto di ritiro.", "Segui il pacco"),
        "sign-in": ("Nuovo accesso al tuo account", "Abbiamo rilevato un nuovo accesso al tuo account {shop} il {d}. | Se sei stato tu, non devi fare nulla.", "Controlla"),
        "bill": ("La tua fattura {n}", "La fattura di questo mese è disponibile. | Importo: {p}, scadenza {d}.", "Scarica fattura"),
        "appointment": ("Promemoria appuntamento {d}", "Ti ricordiamo l'appuntamento del {d} alle 9:30. | Porta la tessera e arriva dieci minuti prima.", "Gestisci"),
        "news": ("Le novità di {month}", "Le letture preferite del mese: cinque ricette per le sere fredde e una passeggiata sulla costa. | Sconto del {q} % sulle lampade fino a domenica.", "Leggi tutto"),
        "account": ("Modifica delle condizioni", "Dal {d} cambiano le condizioni d'uso. | Non devi fare nulla.", "Leggi"),
        "person": ("Re: {d}", "Il {d} va bene. Ci vediamo alla stazione verso le dieci? | Porto io i documenti.", ""),
    }),
    "nl": ("Hallo {name},", "Met vriendelijke groet, het team van {shop}", "Afmelden", {
        "order": ("Je bestelling {n} is ontvangen", "Bedankt voor je bestelling. We hebben je betaling van {p} ontvangen. | Bestelnummer: {n} | Totaal: {p} incl. btw", "Bekijk bestelling"),
        "parcel": ("Je pakket is onderweg", "Je pakket {n} wordt op {d} bezorgd tussen 10 en 14 uur. | Niet thuis? Kies een buur of een afhaalpunt.", "Volg pakket"),
        "sign-in": ("Nieuwe aanmelding", "Op {d} is er ingelogd op je account bij {shop}. | Was jij dat? Dan hoef je niets te doen.", "Controleer"),
        "bill": ("Je factuur {n}", "Je factuur van deze maand staat klaar. | Bedrag: {p}, te betalen voor {d}.", "Download factuur"),
        "appointment": ("Herinnering: afspraak {d}", "We herinneren je aan je afspraak op {d} om 9.30 uur. | Neem je pas mee.", "Beheer afspraak"),
        "news": ("Nieuws in {month}", "Onze favorieten van de maand: vijf recepten voor koude avonden en een wandeling langs de kust. | {q} % korting op lampen tot zondag.", "Lees meer"),
        "account": ("Wijziging van onze voorwaarden", "Per {d} wijzigen onze voorwaarden. | Je hoeft niets te doen.", "Lees de voorwaarden"),
        "person": ("Re: {d}", "{d} is prima. Zien we elkaar rond tien uur op het station? | Ik neem de papieren mee.", ""),
    }),
    "pl": ("Cześć {name},", "Pozdrawiamy, zespół {shop}", "Wypisz się", {
        "order": ("Potwierdzenie zamówienia {n}", "Dziękujemy za zamówienie. Otrzymaliśmy płatność {p}. | Numer zamówienia: {n} | Razem: {p} z VAT", "Zobacz zamówienie"),
        "parcel": ("Twoja paczka jest w drodze", "Paczka {n} zostanie doręczona {d} między 10 a 14.", "Śledź paczkę"),
        "sign-in": ("Nowe logowanie", "Zauważyliśmy logowanie do konta {shop} w dniu {d}. | Jeśli to Ty, nie musisz nic robić.", "Sprawdź"),
        "bill": ("Faktura {n}", "Twoja faktura za ten miesiąc jest gotowa. | Kwota: {p}, termin {d}.", "Pobierz fakturę"),
        "appointment": ("Przypomnienie o wizycie {d}", "Przypominamy o wizycie {d} o 9:30.", "Zarządzaj"),
        "news": ("Nowości: {month}", "Nasze ulubione teksty miesiąca: pięć przepisów na zimne wieczory. | {q} % zniżki na lampy do niedzieli.", "Czytaj dalej"),
        "account": ("Zmiana regulaminu", "Od {d} zmienia się nasz regulamin. | Nie musisz nic robić.", "Czytaj regulamin"),
        "person": ("Re: {d}", "{d} mi pasuje. Spotkamy się na dworcu koło dziesiątej?", ""),
    }),
    "pt": ("Olá {name},", "Com os melhores cumprimentos, a equipa {shop}", "Cancelar subscrição", {
        "order": ("A sua encomenda {n} foi confirmada", "Obrigado pela sua encomenda. Recebemos o pagamento de {p}. | Número: {n} | Total: {p} com IVA", "Ver encomenda"),
        "parcel": ("A sua encomenda está a caminho", "A encomenda {n} chega a {d} entre as 10 e as 14 horas.", "Seguir envio"),
        "sign-in": ("Novo acesso à sua conta", "Detetámos um novo acesso à sua conta {shop} em {d}. | Se foi você, não precisa de fazer nada.", "Verificar"),
        "bill": ("A sua fatura {n}", "A fatura deste mês está disponível. | Valor: {p}, vencimento {d}.", "Transferir fatura"),
        "appointment": ("Lembrete da consulta de {d}", "Lembramos a sua consulta a {d} às 9:30.", "Gerir"),
        "news": ("Novidades de {month}", "As nossas leituras do mês: cinco receitas para noites frias. | {q} % em candeeiros até domingo.", "Ler mais"),
        "account": ("Alteração dos termos", "A partir de {d} os nossos termos mudam. | Não precisa de fazer nada.", "Ler os termos"),
        "person": ("Re: {d}", "{d} está bem para mim. Encontramo-nos na estação pelas dez?", ""),
    }),
    "zh": ("{name}，你好：", "祝好", "退订", {
        "person": ("Re: {d}", "{d} 我有空，十点在车站见面吧。 | 我会把文件和照片带过去。 | 代我向叔叔阿姨问好。", ""),
        "order": ("您的订单 {n} 已确认", "感谢您的购买，我们已收到您的付款 {p}。 | 订单编号：{n} | 商品发货后我们会再通知您。", "查看订单"),
        "appointment": ("预约提醒 {d}", "提醒您 {d} 上午九点半有预约，请提前十分钟到达并带好证件。", "管理预约"),
        "news": ("{month} 会议纪要", "附件是上周会议的纪要，请大家看一下有没有遗漏。 | 下次讨论放在 {d}，主要谈预算和排期。", ""),
    }),
    "ja": ("{name}様", "よろしくお願いいたします", "配信停止", {
        "person": ("Re: {d}", "{d}で大丈夫です。十時に駅で待ち合わせましょう。 | 資料は私が持っていきます。 | ご家族にもよろしくお伝えください。", ""),
        "order": ("ご注文 {n} を承りました", "ご注文ありがとうございます。お支払い {p} を確認いたしました。 | 注文番号：{n} | 発送後にあらためてご連絡いたします。", "注文を確認する"),
        "appointment": ("ご予約のお知らせ {d}", "{d} 九時半のご予約を承っております。十分前までにお越しください。", "予約を変更する"),
        "news": ("{month} の打ち合わせについて", "お世話になっております。先日の議事録をお送りしますので、ご確認ください。 | 次回は {d} を予定しております。", ""),
    }),
    "ko": ("{name}님 안녕하세요,", "감사합니다", "수신 거부", {
        "person": ("Re: {d}", "{d} 괜찮아요. 열 시쯤 역에서 만나요. | 서류는 제가 가져갈게요.", ""),
        "order": ("주문 {n} 확인", "주문해 주셔서 감사합니다. 결제 금액 {p} 을 확인했습니다. | 주문 번호: {n}", "주문 보기"),
    }),
    "ar": ("مرحبا {name}،", "مع أطيب التحيات", "إلغاء الاشتراك", {
        "person": ("Re: {d}", "الموعد {d} يناسبني. نلتقي عند المحطة في العاشرة إن شاء الله. | سأحضر الأوراق معي. | سلامي للعائلة.", ""),
        "order": ("تأكيد طلبك {n}", "شكرا لطلبك. لقد استلمنا الدفعة {p}. | رقم الطلب: {n}", "عرض الطلب"),
        "appointment": ("تذكير بموعدك {d}", "نذكرك بموعدك يوم {d} الساعة التاسعة والنصف. يرجى الحضور قبل عشر دقائق.", "إدارة الموعد"),
    }),
    "ru": ("Здравствуйте, {name}!", "С уважением, команда {shop}", "Отписаться", {
        "person": ("Re: {d}", "{d} мне подходит. Встретимся на вокзале около десяти? | Документы я возьму с собой. | Мама передаёт привет.", ""),
        "order": ("Ваш заказ {n} принят", "Спасибо за заказ. Мы получили оплату {p}. | Номер заказа: {n} | Итого: {p}", "Посмотреть заказ"),
        "appointment": ("Напоминание о записи {d}", "Напоминаем, что вы записаны на {d} в 9:30. Пожалуйста, приходите за десять минут.", "Изменить запись"),
        "bill": ("Счёт {n}", "Счёт за этот месяц готов. | Сумма: {p}, срок оплаты {d}.", "Скачать счёт"),
    }),
    "tr": ("Merhaba {name},", "Saygılarımızla, {shop}", "Abonelikten çık", {
        "person": ("Re: {d}", "{d} bana uyar. Saat onda istasyonda buluşalım mı? | Evrakları ben getiririm.", ""),
        "order": ("Siparişiniz {n} alındı", "Siparişiniz için teşekkürler. {p} tutarındaki ödemeniz alındı. | Sipariş no: {n}", "Siparişi gör"),
    }),
}  # fmt: skip
SHOPS = [
    "Lindenhof",
    "Nordlicht",
    "Brightwater",
    "Papyrus",
    "Velora",
    "Quercus",
    "Kornblume",
    "Marisol",
    "Tandem",
    "Oakfield",
    "Lumio",
    "Cartella",
    "Bergfex",
]
NAMES = [
    "Robin",
    "Sascha",
    "Jordan",
    "Noa",
    "Kim",
    "Alex",
    "Charlie",
    "Dominique",
    "Andrea",
    "Luca",
    "Jules",
    "Mika",
]
MONTHS = [
    "January",
    "March",
    "May",
    "July",
    "September",
    "November",
    "Januar",
    "März",
    "Mai",
    "marzo",
    "octubre",
    "novembre",
    "juin",
]


def mails(count: int, seed: int = 3) -> Iterator[bytes]:
    """Good mails, the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _mail(rng).as_bytes()


def _mail(rng: random.Random) -> EmailMessage:
    language = rng.choice(["en", "en", *PHRASES])
    greeting, closing, unsubscribe, kinds = PHRASES[language]
    kind = rng.choice(list(kinds))
    subject, text, button = kinds[kind]
    shop = rng.choice(SHOPS)
    day = rng.randrange(1, 29)
    euro = rng.choice(["{}.{} EUR", "€{}.{}", "{},{} €", "${}.{}", "£{}.{}"])
    values = {
        "name": rng.choice(NAMES),
        "shop": shop,
        "n": rng.choice(["{}", "#{}", "A-{}", "2025/{}"]).format(rng.randrange(10_000, 99_999_999)),
        "p": euro.format(rng.randrange(3, 400), f"{rng.randrange(100):02}"),
        "q": str(rng.choice([5, 10, 15, 20, 30])),
        "d": rng.choice([f"{day}.11.2025", f"{day}/11/2025", f"2025-11-{day:02}", f"{day} Nov"]),
        "month": rng.choice(MONTHS),
    }
    lines = [part.strip().format(**values) for part in text.split("|")]
    if kind == "news":
        lines = lines * rng.randrange(1, 3)
    domain = f"{shop.lower()}.example"
    message = EmailMessage()
    message["Subject"] = subject.format(**values)
    if not button:
        message["From"] = f"{values['name']} <{values['name'].lower()}@{domain}>"
    else:
        message["From"] = f"{shop} <{rng.choice(['info', 'no-reply', 'service', 'hello'])}@{domain}>"
    message["To"] = "user@home.example"
    link = f"https://{rng.choice(['www', 'click', 'mail', 'my'])}.{domain}/{rng.choice(['o', 'track', 'account', 'e'])}/{rng.getrandbits(40):x}"
    plain = "\n\n".join(
        [
            greeting.format(**values),
            *lines,
            *([f"{button}: {link}"] if button else []),
            closing.format(**values),
        ]
    )
    if button:
        plain += f"\n\n--\n{shop}, Hauptstr. {day}, 1{rng.randrange(1000, 9999)} | {unsubscribe}: https://{domain}/u/{rng.getrandbits(30):x}"
    page = _page(
        rng,
        greeting.format(**values),
        lines,
        button,
        link,
        closing.format(**values),
        shop,
        domain,
        unsubscribe,
        kind,
    )
    if not button:
        link = ""
    shape = rng.random()
    if shape < 0.25 or (kind == "person" and shape < 0.6):
        message.set_content(plain)
    elif shape < 0.75:
        message.set_content(plain)
        message.add_alternative(page, subtype="html")
    else:
        message.set_content(page, subtype="html")
    if kind == "bill" and rng.random() < 0.5:
        message.add_attachment(
            b"%PDF-1.4 made up",
            maintype="application",
            subtype="pdf",
            filename=f"{values['n'][:9].replace('/', '-')}.pdf",
        )
    if kind == "appointment" and rng.random() < 0.4:
        message.add_attachment(
            b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            maintype="text",
            subtype="calendar",
            filename="invite.ics",
        )
    return message


def _page(
    rng: random.Random, greeting: str, lines: list[str], button: str, link: str, closing: str, shop: str, domain: str,
    unsubscribe: str, kind: str,
) -> str:  # fmt: skip
    colour = f"#{rng.getrandbits(24):06x}"
    font = rng.choice(
        ["Arial, sans-serif", "'Helvetica Neue', Helvetica, Arial, sans-serif", "Georgia, serif"]
    )
    body = "".join(
        rng.choice(
            [
                "<p style='margin:0 0 16px;font-size:16px;line-height:24px'>{}</p>",
                "<tr><td style='padding:8px 24px'>{}</td></tr>",
            ]
        ).format(html.escape(line))
        for line in lines
    )
    if kind == "person" or not button:
        return f"<html><body><div dir='ltr'>{html.escape(greeting)}<br>{'<br>'.join(map(html.escape, lines))}<br>{html.escape(closing)}</div></body></html>"
    action = (
        f"<table role='presentation'><tr><td bgcolor='{colour}' style='border-radius:4px'><a href='{link}' style='color:#ffffff;"
        f"padding:12px 24px;display:inline-block;text-decoration:none'>{html.escape(button)}</a></td></tr></table>"
    )
    pictures = "".join(
        f"<a href='{link}{i}'><img src='https://cdn.{domain}/{rng.getrandbits(32):x}.png' width='{rng.choice([120, 280, 600])}' alt='{shop}' border='0'></a>"
        for i in range(rng.randrange(1, 7 if kind == "news" else 3))
    )
    preheader = (
        f"<div style='display:none;max-height:0;overflow:hidden'>{html.escape(lines[0][:80])}</div>"
        if rng.random() < 0.5
        else ""
    )
    style = f"<style>@media (max-width:600px){{.c{{width:100%!important}}}} a{{color:{colour}}} body{{margin:0}}</style>"
    pixel = (
        f"<img src='https://t.{domain}/o/{rng.getrandbits(60):x}.gif' width='1' height='1' alt=''>"
        if rng.random() < 0.6
        else ""
    )
    heading = (
        f"<h1 style='font-size:24px'>{html.escape(greeting)}</h1>"
        if rng.random() < 0.5
        else f"<p>{html.escape(greeting)}</p>"
    )
    foot = (
        f"<p style='font-size:12px;color:#888888'>© 2025 {shop} GmbH &middot; <a href='https://{domain}/u/{rng.getrandbits(30):x}'>{unsubscribe}</a> &middot; "
        f"<a href='https://{domain}/privacy'>Privacy</a> &middot; <a href='https://{domain}/imprint'>Imprint</a></p>"
    )
    return (
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>{style}</head>"
        f"<body style='margin:0;padding:0;background-color:#f4f4f4;font-family:{font}'>{preheader}<table width='100%' cellpadding='0' "
        f"cellspacing='0' role='presentation'><tr><td align='center'><table class='c' width='600' style='background:#ffffff'><tr><td>{pictures}"
        f"</td></tr><tr><td style='padding:24px'>{heading}{body}{action}<p>{html.escape(closing)}</p></td></tr></table>{foot}</td></tr></table>{pixel}</body></html>"
    )
