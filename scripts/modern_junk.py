"""Invented junk of today for training the base: phishing, parcel fees, coins, offers of rank and design, false invoices.

Without it the only mail of today in training is good (modern_mail.py and the lists' own), and what is modern about junk,
its HTML, its links, its languages, speaks for it. Texts, firms and people are made up; kinds and layouts follow what
arrives. Real junk that is kept aside to measure on was not read for it.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterator
from email.message import EmailMessage

# language -> kind: subjects | sentences | button ("" for a letter without link)
KINDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "en": {
        "account": ("Action required: your {firm} account is on hold|Unusual sign-in: verify your {firm} account now|{firm} security alert [{n}]", "Dear customer, | we detected unusual activity on your account and have limited your access. | You must verify your identity within 24 hours, otherwise your account will be permanently suspended. | Please confirm your billing details by clicking the button below.", "Verify my account"),
        "mailbox": ("Your mailbox is almost full|{user}: password expires today|Mail delivery failed: {k} messages pending", "Dear {user}, | your mailbox has reached {q} % of its quota and {k} incoming messages are being held on the server. | Your password expires today. Keep the same password or your mailbox will be deactivated. | Failure to comply will lead to loss of all your data.", "Keep same password"),
        "parcel": ("Your package could not be delivered|Delivery attempt failed, ref {n}|FINAL NOTICE: parcel {n} is waiting", "Dear recipient, | we tried to deliver your package today but the shipping fee of {p} was not paid. | To schedule a new delivery please pay the fee within 48 hours. | If you do not confirm, your package will be returned to the sender.", "Pay and reschedule"),
        "coins": ("Earn {p} per day with this secret system|Your wallet received 0.{n} BTC|The loophole banks do not want you to know", "Hello {user}! | Thousands of ordinary people already make {p} a day with our trading robot, without any experience. | Your account is activated and a bonus is waiting. Only {k} places are left today. | Guaranteed profit, withdraw anytime, no risk at all!", "Claim my bonus"),
        "rank": ("Re: first page of Google for {domain}|SEO proposal for your website|I found errors on {domain}", "Hi there, | I was just going through your website and found that it is not ranking on the first page of Google for any of its keywords. | We are an affordable SEO company and can increase your organic traffic by 300% within three months. | Can I send you our packages and a price list? Reply with your phone number and best time to call.", ""),
        "design": ("Website redesign|App development cost|Need a new logo or a website?", "Hello, | hope you are doing well. We are a leading web design and mobile app development company with over {k} experts. | We offer redesign, e-commerce, apps and digital marketing at a very affordable price. | If you are interested, I will send you our portfolio, past work details and quotation.", ""),
        "invoice": ("Overdue invoice {n}|Payment remittance advice {n}|New purchase order {n}", "Good day, | kindly find attached the overdue invoice for your reference. | Our bank details have changed, please use the new account for this and all coming payments. | Please treat as urgent and send us the payment slip today.", ""),
        "blackmail": ("I have access to your device|Your privacy: last warning|Pay attention {user}", "Hello pervert, | I hacked your device some months ago and have full access to your camera and your contacts. | I recorded a video of you while you were visiting adult websites. | Transfer {p} in Bitcoin to my wallet within 48 hours or I send the video to all your contacts. Do not try to reply or to call the police.", ""),
        "pills": ("Cheap meds without prescription|{q} % off for men today only|Doctors are shocked by this trick", "Say goodbye to high prices! | Best quality pills delivered discreetly, no prescription needed, {q} % off today only. | Lose weight fast, boost your energy and satisfy her tonight. | Worldwide shipping and money back guarantee.", "Order now"),
        "money": ("Donation of {p} to you|CONFIDENTIAL BUSINESS PROPOSAL|Compensation payment file {n}", "Dear beloved, | I am a widow suffering from cancer and I have decided to donate the sum of $5,500,000 to you for charity work. | The fund is deposited with a bank here and I need a trustworthy foreign partner to receive it. | Kindly send me your full name, address and telephone number. God bless you.", ""),
        "prize": ("Congratulations! You have been selected|You won a {firm} gift card|{user}, your reward expires soon", "Congratulations {user}! | You have been chosen to receive a brand new phone or a {p} gift card from {firm}. | Just answer this short survey of {k} questions about your shopping experience. | Hurry up, only a few rewards are left!", "Get my reward"),
        "goods": ("Factory price: LED lights, MOQ {k}|Supplier of packaging machines from China|Re: your inquiry of solar panels", "Dear Sir or Madam, | glad to hear that you are on the market for our products. We are a professional manufacturer with {k} years of experience. | Best price, good quality, fast delivery, samples are free, OEM is welcome. | Please contact me by WhatsApp or WeChat for the catalogue and price list.", ""),
        "loan": ("Loan offer at 2 % interest|Are you in need of a business loan?", "Good day, | do you need an urgent loan to pay your bills or to start a business? We offer loans from 5,000 to 50,000,000 at 2 % interest. | No credit check, approval in 24 hours. | Apply now with your name, country, amount needed and phone number.", ""),
        "meet": ("Hi dear, I saw your profile|Lonely girls near you|You have {k} new private messages", "Hey handsome, | I am new in your town and looking for a man for a hot night, no strings attached. | I have posted my private photos, come and see me. | Register free and chat with me now.", "See my photos"),
        "paper": ("Call for papers: impact factor 7.{k}|Dear Professor, submit your valuable manuscript", "Dear Doctor, greetings of the day! | We are pleased to invite your eminent self to submit a manuscript to our upcoming issue, fast publication in 10 days. | We would be honoured by your presence as speaker at our international conference. | Kindly respond within 24 hours.", ""),
        "offer": ("Up to {q} % off today only|Limited offer: {q} % off replica watches|The deal ends at midnight", "The biggest sale ever is here, save {q} % on everything! | Luxury watches, bags and sunglasses of the best brands at the lowest price. | Buy now, stock is limited, free shipping worldwide. | Act now before it is too late!", "Shop now"),
    },
    "de": {
        "account": ("Ihr Konto wurde vorübergehend eingeschränkt|Wichtige Mitteilung Ihrer {firm}|Handlungsbedarf: Bestätigen Sie Ihre Daten", "Sehr geehrter Kunde, | aus Sicherheitsgründen haben wir Ihr Konto eingeschränkt. | Bitte bestätigen Sie Ihre Daten innerhalb von 24 Stunden, sonst wird Ihr Konto endgültig gesperrt und eine Gebühr von {p} erhoben. | Klicken Sie dazu auf die Schaltfläche.", "Jetzt bestätigen"),
        "parcel": ("Ihre Sendung {n} konnte nicht zugestellt werden|Zollgebühr offen: Paket {n}", "Lieber Kunde, | Ihr Paket liegt im Verteilzentrum. Bitte zahlen Sie die Zollgebühr von {p}, damit wir es zustellen. | Ohne Zahlung innerhalb von 48 Stunden geht das Paket an den Absender zurück.", "Gebühr bezahlen"),
        "coins": ("So verdienen Sie {p} am Tag|Geheimes System macht Millionäre", "Hallo {user}, | dieses System verändert alles: Mit nur 250 € Einsatz verdienen normale Menschen {p} am Tag. | Ohne Vorkenntnisse, ohne Risiko, garantiert. | Nur heute sind noch {k} Plätze frei!", "Jetzt anmelden"),
        "pills": ("Abnehmen ohne Diät|Potenzmittel rezeptfrei, {q} % Rabatt", "Endlich schlank ohne Sport! | Rezeptfrei, diskreter Versand, {q} % Rabatt nur heute. | Ärzte sind begeistert. Jetzt bestellen und Geld-zurück-Garantie sichern!", "Jetzt bestellen"),
        "prize": ("Herzlichen Glückwunsch, Sie haben gewonnen|Ihr Gutschein über {p} wartet", "Herzlichen Glückwunsch {user}! | Sie wurden ausgewählt und erhalten einen Gutschein über {p}. | Beantworten Sie nur {k} Fragen. Das Angebot endet heute!", "Gewinn sichern"),
        "loan": ("Kredit ohne Schufa|Sofortkredit bis 50.000 €", "Brauchen Sie dringend Geld? Wir bieten Kredite ohne Schufa ab 2 % Zinsen. | Auszahlung in 24 Stunden. Senden Sie uns Namen, Anschrift und Telefonnummer.", ""),
    },
    "fr": {
        "account": ("Votre compte {firm} est suspendu|Dernier rappel : mise à jour obligatoire", "Cher client, | nous avons constaté une activité inhabituelle sur votre compte. | Veuillez confirmer vos informations bancaires sous 24 heures, faute de quoi votre compte sera définitivement bloqué.", "Confirmer mon compte"),
        "parcel": ("Votre colis {n} est en attente|Frais de livraison impayés", "Bonjour, | votre colis n'a pas pu être livré car les frais de {p} n'ont pas été réglés. | Réglez sous 48 heures pour programmer une nouvelle livraison.", "Payer les frais"),
        "coins": ("Gagnez {p} par jour depuis chez vous", "Bonjour {user}, | des milliers de personnes gagnent déjà {p} par jour grâce à ce robot. | Sans expérience et sans risque, profit garanti ! Il ne reste que {k} places.", "Je profite"),
        "money": ("Don de {p}|Proposition confidentielle", "Bonjour, je suis une veuve gravement malade et je souhaite vous léguer la somme de 2 500 000 euros. | Envoyez-moi votre nom, adresse et téléphone pour que la banque fasse le virement. Que Dieu vous bénisse.", ""),
        "prize": ("Félicitations, vous avez été sélectionné", "Félicitations ! Vous avez gagné un téléphone et un bon de {p}. | Répondez à {k} questions, offre limitée !", "Récupérer mon cadeau"),
    },
    "es": {
        "account": ("Su cuenta {firm} ha sido bloqueada|Aviso urgente de seguridad", "Estimado cliente, | hemos detectado un acceso no autorizado y su cuenta ha sido bloqueada. | Verifique sus datos en 24 horas o su cuenta será cancelada definitivamente.", "Verificar ahora"),
        "parcel": ("Su paquete {n} está retenido|Pago de aduana pendiente", "Estimado cliente, su paquete no pudo ser entregado. Debe pagar {p} de gastos de aduana. | Si no paga en 48 horas el paquete será devuelto.", "Pagar ahora"),
        "coins": ("Gane {p} al día sin trabajar|Libertad financiera ya", "Hola {user}: miles de personas ya ganan {p} al día con este sistema secreto. | Sin experiencia, sin riesgo, ganancias garantizadas. ¡Solo quedan {k} plazas!", "Quiero ganar"),
        "prize": ("¡Felicidades! Ha sido seleccionado", "¡Enhorabuena {user}! Ha ganado una tarjeta regalo de {p}. | Responda a {k} preguntas. ¡Oferta solo por hoy!", "Reclamar premio"),
        "course": ("Curso 100 % práctico con {q} % de descuento|Últimos lugares, inscríbase hoy", "Estimado empresario, le invitamos al curso en línea que aumentará sus ventas. | Cupo limitado, {q} % de descuento si se inscribe hoy. Llame ya o envíe su nombre, empresa y teléfono.", "Inscribirme"),
    },
    "it": {
        "account": ("Il suo conto {firm} è stato sospeso", "Gentile cliente, abbiamo rilevato un accesso sospetto. | Confermi i suoi dati entro 24 ore, altrimenti il conto sarà bloccato definitivamente.", "Conferma ora"),
        "parcel": ("Il suo pacco {n} è in giacenza", "Gentile cliente, la consegna non è riuscita. Paghi le spese di {p} entro 48 ore per ricevere il pacco.", "Paga ora"),
        "coins": ("Guadagna {p} al giorno da casa", "Ciao {user}, con questo sistema guadagni {p} al giorno senza esperienza. Profitto garantito, restano solo {k} posti!", "Inizia subito"),
    },
    "pt": {
        "account": ("A sua conta {firm} será bloqueada|Atualização obrigatória", "Prezado cliente, detectamos atividade suspeita. | Confirme os seus dados em 24 horas ou a sua conta será cancelada.", "Atualizar cadastro"),
        "debt": ("Limpe seu nome com {q} % de desconto|Boleto vencido {n}", "Prezado {user}, consta em aberto uma pendência em seu nome. | Quite hoje com {q} % de desconto e evite o protesto. Última oportunidade!", "Ver boleto"),
        "coins": ("Ganhe {p} por dia em casa", "Olá {user}! Descubra o método secreto que já mudou milhares de vidas. Ganhe {p} por dia, sem risco, garantido. Últimas {k} vagas!", "Quero agora"),
    },
    "nl": {
        "account": ("Uw {firm} rekening wordt geblokkeerd", "Geachte klant, uw pas verloopt binnenkort. | Bevestig uw gegevens binnen 24 uur, anders wordt uw rekening geblokkeerd.", "Nu bevestigen"),
        "parcel": ("Uw pakket {n} kon niet worden bezorgd", "Beste klant, betaal {p} verzendkosten om uw pakket alsnog te ontvangen. Na 48 uur gaat het retour.", "Betalen"),
    },
    "pl": {
        "account": ("Twoje konto {firm} zostało zablokowane", "Szanowny Kliencie, wykryliśmy podejrzaną aktywność. | Potwierdź swoje dane w ciągu 24 godzin, inaczej konto zostanie trwale zablokowane.", "Potwierdź"),
        "coins": ("Zarabiaj {p} dziennie", "Cześć {user}! Tysiące osób zarabiają {p} dziennie dzięki temu systemowi. Bez ryzyka, gwarantowany zysk, zostało {k} miejsc!", "Zacznij teraz"),
    },
    "ru": {
        "money": ("Вам начислена выплата {p}|Срочно получите компенсацию", "Здравствуйте! Вам одобрена денежная выплата {p}. | Получите деньги сегодня, осталось {k} мест. Заработок без вложений, гарантия 100 %!", "Получить деньги"),
        "ads": ("Рассылка вашей рекламы, база {k} млн адресов|Продвижение сайта недорого", "Предлагаем продвижение вашего сайта и рассылку рекламы по всей стране. | Низкие цены, скидка {q} % только сегодня. Звоните или пишите прямо сейчас!", ""),
        "meet": ("Девушки рядом ждут тебя", "Привет! Я скучаю одна и хочу познакомиться. Мои откровенные фото здесь, заходи и пиши!", "Смотреть фото"),
    },
    "zh": {
        "goods": ("代开发票 优惠 {n}|厂家直销 {q} 折|免费样品 工厂报价", "您好！本公司可代开各类正规发票，税点低，保真，先验后付。 | 联系电话微信同号 {n}，欢迎来电咨询，长期有效。", ""),
        "casino": ("注册即送 {k}88 元|澳门线上娱乐 首存送 {q} %", "尊敬的会员，注册即送彩金，首存加赠 {q} %，提款秒到账。 | 名额有限，立即点击领取，错过不再！", "立即领取"),
        "course": ("内训课程 {month} 开班 仅剩 {k} 席", "各位企业负责人：名师公开课，提升业绩百分之三百，费用 {n} 元含教材与午餐。 | 报名请回复姓名、公司、电话，名额有限。", ""),
    },
    "ja": {
        "account": ("【重要】{firm} アカウントの確認|【緊急】お支払い方法に問題があります", "お客様のアカウントで不審なアクセスが検出されたため、ご利用を一時的に制限しております。 | 24時間以内にお客様情報をご確認いただけない場合、アカウントは停止されます。", "確認する"),
        "parcel": ("【配達】お荷物 {n} をお届けできませんでした", "お荷物をお届けに上がりましたが不在のため持ち帰りました。 | 再配達には手数料 {p} のお支払いが必要です。48時間以内にお手続きください。", "手続きする"),
    },
    "ar": {
        "money": ("عرض تمويل عاجل|مبروك لقد ربحت {p}", "مبروك! تم اختيارك للفوز بجائزة {p}. | أرسل اسمك الكامل ورقم هاتفك اليوم لاستلام الجائزة، العرض محدود.", "استلم الآن"),
    },
    "tr": {
        "casino": ("{p} deneme bonusu hesabınızda|Kaçırılmayacak fırsat", "Sayın {user}, hesabınıza {p} bonus tanımlandı. | Hemen üye olun, çevrim şartsız kazanın, son {k} kişi!", "Bonusu al"),
    },
}  # fmt: skip
FIRMS = ["PayFast", "NetBank", "Prime Store", "CloudMail", "Webmail", "First Trust", "StreamNow", "Telco", "Post Express", "MegaMart"]  # fmt: skip
USERS = ["user", "info", "sales", "customer", "friend", "contact", "member", "admin", "office"]
WORDS = ["secure", "login", "verify", "promo", "best", "deal", "track", "update", "bonus", "win", "shop", "health", "service", "info", "go"]  # fmt: skip
HOSTS = ["{a}-{b}.xyz", "{a}{b}{n}.top", "{a}.{b}-{n}.com", "{b}{n}.ru", "www.{a}{b}.info", "{a}{n}.click", "{a}-{b}.shop", "storage.{b}host.com/{a}{n}",
         "{a}{b}.online", "{n}.{a}{b}.net", "{a}.wp{b}.com", "{a}{b}.com.br", "bit.ly/{a}{n}", "{ip}"]  # fmt: skip
MAIL_HOSTS = ["gmail.com", "outlook.com", "mail.ru", "{a}{b}.com", "{a}-{b}.net", "{b}{n}.xyz", "{a}mail.top", "163.com", "{a}{b}.co.in"]  # fmt: skip


def mails(count: int, seed: int = 5) -> Iterator[bytes]:
    """Junk mails, the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _mail(rng).as_bytes()


def _name(rng: random.Random, pattern: str) -> str:
    return pattern.format(
        a=rng.choice(WORDS), b=rng.choice(WORDS), n=rng.randrange(2, 9999),
        ip=".".join(str(rng.randrange(2, 250)) for _ in range(4)),
    )  # fmt: skip


def _mail(rng: random.Random) -> EmailMessage:
    language = rng.choice(["en", "en", "en", "en", "de", "fr", "es", *KINDS])
    kind = rng.choice(list(KINDS[language]))
    subjects, text, button = KINDS[language][kind]
    firm = rng.choice(FIRMS)
    values = {
        "firm": firm,
        "user": rng.choice(USERS),
        "domain": rng.choice(["home.example", "list.example", "mail.example"]),
        "n": str(rng.randrange(1000, 99_999_999)),
        "k": str(rng.randrange(3, 30)),
        "q": str(rng.randrange(40, 99)),
        "p": rng.choice(["${}", "€{}", "{} USD", "£{}", "{} EUR"]).format(rng.choice([1.99, 2.49, 250, 970, 1250, 1500, 4800])),
        "month": str(rng.randrange(1, 13)),
    }  # fmt: skip
    subject = rng.choice(subjects.split("|")).format(**values)
    lines = [part.strip().format(**values) for part in text.split("|")]
    if rng.random() < 0.4 and len(lines) > 2:
        lines.pop(rng.randrange(1, len(lines)))
    if rng.random() < 0.15:
        subject = subject.upper()
    elif rng.random() < 0.15:
        subject = rng.choice(["⚠️ ", "🎁 ", "🔥 ", "Re: ", "Fwd: ", "!!! "]) + subject
    if rng.random() < 0.15:
        lines.append(
            rng.choice(["Act now!!!", "100% FREE!!!", "Best regards", "Thanks & Regards,", "DO NOT IGNORE"])
        )
    link = f"http{rng.choice(['', 's'])}://{_name(rng, rng.choice(HOSTS))}/{rng.choice(['', 'c/', 'index.php?id=', 'wp-content/', 'r?u='])}{rng.getrandbits(rng.choice([20, 48, 80])):x}"
    message = EmailMessage()
    message["Subject"] = subject
    sender = (
        f"{rng.choice(WORDS)}{rng.choice(['', str(rng.randrange(99))])}@{_name(rng, rng.choice(MAIL_HOSTS))}"
    )
    shown = rng.choice([firm, firm + " Support", "Customer Service", rng.choice(["Anna", "James Miller", "Dr. Frank", "Lucy Wang", ""]), values["user"]])  # fmt: skip
    message["From"] = f"{shown} <{sender}>"
    message["To"] = "user@home.example"
    plain = "\n\n".join([*lines, *([f"{button}: {link}"] if button else [])])
    page = _page(rng, lines, button, link, firm)
    shape = rng.random()
    if shape < (0.1 if button else 0.4):
        message.set_content(plain)
    elif shape < 0.5:
        message.set_content(plain)
        message.add_alternative(page, subtype="html")
    else:
        message.set_content(page, subtype="html")
    if kind == "invoice":
        message.add_attachment(
            b"made up", maintype="application", subtype="octet-stream",
            filename=rng.choice(["invoice.html", "PO_2025.zip", "remittance.pdf", "scan.iso", "payment.xlsm"]),
        )  # fmt: skip
    return message


def _page(rng: random.Random, lines: list[str], button: str, link: str, firm: str) -> str:
    paragraphs = "".join(
        rng.choice(
            ["<p>{}</p>", "<div>{}</div><br>", "<p><font size='3'>{}</font></p>", "<p><b>{}</b></p>"]
        ).format(html.escape(line))
        for line in lines
    )
    if not button:
        return f"<html><body><div>{paragraphs}</div></body></html>"
    if rng.random() < 0.12:
        return f"<html><body><center><a href='{link}'><img src='{link}.jpg' border='0'></a></center></body></html>"
    colour = rng.choice(["#d9230f", "#0067b8", "#ff6600", "#28a745", "#ffcc00"])
    action = f"<a href='{link}' style='background:{colour};color:#fff;padding:12px 30px;text-decoration:none'>{html.escape(button)}</a>"
    if rng.random() < 0.2:
        action = f"<a href='{link}'>https://www.{firm.lower().replace(' ', '')}.com/login</a>"
    heading = f"<h2 style='color:{colour}'>{html.escape(firm)}</h2>" if rng.random() < 0.6 else ""
    foot = ""
    if rng.random() < 0.5:
        foot = f"<p style='font-size:10px;color:#999'>{firm} Inc. | <a href='{link}u'>Unsubscribe</a></p>"
    hidden = ""
    if rng.random() < 0.15:
        words = " ".join(rng.choice(["garden", "letter", "meeting", "river", "paper", "school", "window", "music"]) for _ in range(30))  # fmt: skip
        hidden = f"<div style='font-size:0;color:#ffffff'>{words}</div>"
    pixel = f"<img src='{link}/o.gif' width=1 height=1>" if rng.random() < 0.4 else ""
    return f"<html><head><meta charset='utf-8'></head><body><table width='600' align='center'><tr><td>{heading}{paragraphs}<center>{action}</center>{foot}</td></tr></table>{hidden}{pixel}</body></html>"
