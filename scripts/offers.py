"""Invented mail that sells, tells, congratulates or reminds: good mail, and junk in the same layouts.

Such good mail lies nearest to junk, and the public corpora have a few hundred of it: a newsletter with prices, an order confirmed, a
free sample, a fare, a prize that was really won. Junk is beside it so that no layout or picture alone stands for good. Every text is
made up. Plain mail and HTML as they were written in 2000 and as they are now; mails of one kind differ in their parts, drawn at random.
"""

from __future__ import annotations

import html
import random
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

GOODS = """digital camera|garden chair|paperback|travel guide|coffee grinder|pair of running shoes|desk lamp|winter jacket|box of red wine|board game
laser printer|memory card|mountain bike|cookbook|wool blanket|phone case|set of knives|tent for two|baby monitor|office chair|jazz album|DVD box
graphics card|toner cartridge|vacuum cleaner|tea sampler|leather wallet|school bag|electric drill|raincoat""".replace(
    "\n", "|"
).split("|")
PLACES = [
    "Lisbon", "Denver", "Dublin", "Oslo", "Phoenix", "Vienna", "Toronto", "Austin", "Cork", "Lyon", "Boston",
    "Prague", "San Diego", "Leeds", "Houston", "Galway",
]  # fmt: skip
TOPICS = """a new telescope and what it saw|the price of oil and the winter ahead|why sleep helps the memory|a blood pressure drug and its side effects
a virus that came with an attachment|the merger of two airlines|a court's ruling on music downloads|growth hormones in salmon|the budget and what it means for families
cheap broadband in the country|a vaccine that may end malaria|men, women and pain|how teenagers use the phone|a patent on a single click|the weight of a cup of water on the moon
teams that trade their best players|a diet that works, and four that do not|what interest rates do to your mortgage|an earthquake and the houses that stood
the search for cleaner cars|a gene that makes mice live longer|privacy and the card in your wallet|a strike at the port|how banks fight fraud""".replace(
    "\n", "|"
).split("|")
NAMES = [
    "Anna", "Martin", "Priya", "Tom", "Keiko", "Daniel", "Laura", "Ahmed", "Ruth", "Carlos", "Nina",
    "George", "Mei", "Peter", "Julie", "Sam",
]  # fmt: skip
FIRMS = [
    "Bellfield", "Northway", "Tamarind", "Corvus", "Larkspur", "Meridian House", "Old Mill", "Quayside",
    "Sandford", "Westbrook", "Hollis", "Petrel",
]  # fmt: skip
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """Parts by "|"; slots in braces. items: lines of a list, each with its own link where the kind has links."""

    subjects: str
    openings: str
    items: str
    closings: str
    linked: bool = True  # has links, pictures and an unsubscribe line where it comes as a page


GOOD = (
    Kind(
        "{firm} weekly: {g} and more|Save {q}% on every {g}|{firm} specials for the week of {d}|New in our shop: {g}|Last days of our {month} sale!|Free shipping until {d}|Your {firm} coupon: ${k} off",
        "Dear {firm} customer,|Hi {name}, here are this week's deals.|Great prices on what you look for most!|The {month} catalogue is here, and members save more.",
        "{g}: now ${p}, was ${pp}. Free shipping on orders over ${k}.|Buy one {g}, get the second at half price.|Customers gave this {g} four and a half stars.|Only this week: {q}% off any {g}. Enter code {code} at the checkout.|Back in stock: the {g} you asked for.|Shop now and save up to ${k}!|{g}, ${p}. Limit two per customer, while supplies last.|Compare prices on more than {k}0 models.",
        "Prices are valid until {d}. You get this mail because you signed up at our site. To unsubscribe, follow this link.|You are on the list as {user}. To change what we send you or to leave the list click here.|Offers not valid with other discounts. See the store for details.",
    ),
    Kind(
        "Order confirmation {n}|Your order {n} has shipped|Thank you for your order with {firm}|Shipment confirmation|{firm}: your refund|Your {g} is delayed|Receipt for your payment of ${p}",
        "Thank you for your order, {name}!|Dear {name}, thank you for shopping at {firm}.|This mail confirms that the following items have shipped today.|Your credit card has been charged ${p}.",
        "1 x {g}    ${p}|2 x {g}    ${pp}|Shipping and handling: $4.95|Order number: {n}|Subtotal ${p}, tax $1.{k}, total ${pp}|Carrier: ground, tracking number 1Z{n}{n}|Ship to: {name} Miller, {k} Main Street, {place}|We are sorry, the {g} is on back order and should ship by {d}.|Your card ending in {k} was credited with ${p}.",
        "If you have questions about your order, reply to this mail or call 1-800-555-01{k}. Please keep this mail for your records.|Thanks again for shopping with us!|You can see the status of your order at any time in your account.",
    ),
    Kind(
        "Headlines for {d}|{firm} news: {t}|Daily briefing, {d}|Morning edition|{t}|Top stories: {t}",
        "Good morning. Here are the stories of the day.|In this issue:|TOP STORIES|Your personal news, {d}",
        '{T}. Researchers in {place} report what they found in {k} cases; critics call it early.|{T}. Shares of {firm} fell {q} percent on the news.|{T}. The minister said she would answer by {d}.|{T}. Full story:|QUOTE OF THE DAY: "I never read the small print."|WEATHER: rain in {place}, 1{k} degrees|{T}. By {name} Brown, staff writer.|SPORTS: {place} beat {place2} 3 to 2 in extra time.',
        "You asked for this letter at our site. To unsubscribe send a mail with the word unsubscribe in the subject.|Copyright {firm} News. All rights reserved. Forward this to a friend!|To advertise in this letter, write to our sales desk.",
    ),
    Kind(
        "{firm} tech update: five printers tested|Download of the day|{firm} 4.{q} released!|Tips and tricks: a faster PC|Developer letter, {month}|Security bulletin {n}: update now",
        "Dear reader,|Welcome to this issue. Our editors tried {k} of them so that you need not.|Here is what is new for people who build things.|A new version is out, free for all who have a licence.",
        "How to make your notebook last an hour longer.|Review: the {g}, fast and quiet, {q}/10. Check the latest prices.|Free download: a small tool that cleans up your hard disk.|Question from {name} in {place}: can I use my old {g} with it?|A hole in the mail program lets others run code. Install the patch today.|Version 4.{q} fixes {k} bugs and opens large files twice as fast. Upgrade for ${p}.|{T}.|Win a {g}: tell us what you think of our site in a short survey.",
        "This free letter goes to {k},000 readers. Subscribe, unsubscribe, change your address: all in one place.|Happy computing, the editors|Discuss this issue in our forum.",
    ),
    Kind(
        "Jobs for you in {place}|New jobs that match your profile|Career fair on {d}|Your application at {firm}|Position open: analyst in {place}",
        "{name}, we found {k} new jobs for your search.|Dear applicant,|Come and meet {k} employers who hire now!|The following position is open and will be posted until {d}.",
        "Office manager, {firm}, {place}, ${k},000 a year|Work from home: support for {firm}, part time|Electrical engineer, {place}, full time, relocation paid|Sales representative: good income for people with experience|Free seminar: how to write a resume that gets read|Thank you for your interest. We will get back to you by {d}.|Nurse, night shift, {place} hospital|Apply online with your resume and salary wishes.",
        "To stop this job alert, click here.|Good luck with your search!|An equal opportunity employer.",
    ),
    Kind(
        "Fares from ${p} to {place}|Your itinerary {n}: {place} to {place2}|Your miles: statement for {month}|Hotel reservation confirmed|Fly to {place} for less, book by {d}|Car rental confirmation {n}",
        "Dear {name}, thank you for booking with us.|Spring is coming, and seats are going fast!|Dear member, this is your balance.|Get away for the weekend, {name}?",
        "{place} to {place2}: ${p} each way. Book by {d}, travel until the end of {month}.|Depart {place} 7:{k} am, arrive {place2} 9:{k} am, seat 1{q}A, confirmed|Confirmation code: {code}|Hotel in {place}, two nights, breakfast included, ${pp}|Earn double miles on every stay in {month}.|Your balance: {n} miles, {k}00 expire on {d}|Travel insurance from ${p} for the whole family|Cancel free of charge until {d}. Taxes and fees are not included.",
        "Have a good trip!|Fares are limited and may not be available on all flights. To leave our list click here.|Please do not reply to this mail. For changes call 1-888-555-01{k}.",
    ),
    Kind(
        "Your statement is ready|Payment received, thank you|Your electronic pay stub|Market letter: {t}|Interest rates and your mortgage|Credit union: rates for {month}|Your bill is due on {d}|Annual meeting and proxy vote",
        "Dear {name},|Dear shareholder,|Your account statement for {month} is now online.|Stocks ended higher on {d}.",
        "Amount due: ${pp}, due date {d}|We received your payment of ${p} on {d}. No action is needed.|New car loans from {q}.9 percent, home equity loans with no closing costs for members|The fund gained {q} percent; past performance is no guarantee.|Shares of {firm} rose ${q} to ${k} after strong earnings; we still hold them.|You can now see your pay stub on the web: log in with your employee number.|Your vote is important. Vote your shares by {d}.|Refinance? Ask at your branch what you would save.|Direct deposit of ${pp}, pay period ending {d}",
        "Member insured. Equal housing lender.|To see your statement please log in as usual; we never ask for your password by mail.|Sincerely, customer service",
    ),
    Kind(
        "Welcome to {firm}|Please confirm your subscription|Your password for {firm}|Registration complete|Your free trial ends on {d}|{name} invites you to {firm}|Activate your account|Renew your subscription to {firm}",
        "Hello {name}, welcome!|Thank you for registering with {firm}.|Somebody, we hope you, asked for this address to be put on our list.|Your subscription ends soon.",
        "User name: {user}, password: {code}. Please change it after the first log in.|To confirm, click on the link below or reply to this mail.|If you did not ask for this, ignore this mail and nothing happens.|As a member you get free access to our archive and {q} issues a year.|Renew now for ${p} and save {q} percent on the price of single issues.|Please read the terms of use.|You can now download the full version. Your licence key: {code}-{n}|{name} has sent you a message and would like to add you as a friend.",
        "Thanks for joining us!|This is an automatic mail, please do not reply.|If the link does not work, copy it into your browser.",
    ),
    Kind(
        "You are invited: {month} party!|Conference on {t}, early bird until {d}|Golf tournament on {d}|Help for the people of {place}|Register now: workshop in {place}|Concert tickets on sale {d}|Volunteers needed",
        "Dear friends,|Dear colleague,|Please join us on {d} for an evening of music and good food.|We need your help!",
        "When: {d}, 6:30 pm. Where: {k} River Road, {place}. Cost: ${p} a person, children free.|Early registration is ${pp} and saves you ${k}; seats are limited, so register today!|Speakers include {name} Carter of {firm} and {name2} Lee.|Every dollar you give is doubled by {firm}. Checks payable to the relief fund.|Bring a dish, a friend and your dancing shoes.|Prizes for the longest drive, and free shirts for everyone!|Tickets: ${p} and ${pp}, two per member, at the box office or online.|Blankets, food and medicine are needed most.",
        "RSVP by {d} to {name} at extension {k}.|Hope to see you there!|Thank you for your generosity.",
        False,
    ),
    Kind(
        "Policy update, please read|Congratulations!|Benefits enrollment ends {d}|Power outage on {d}|Announcement|Free flu shots|{firm} employees: special discount",
        "To all employees:|Team,|I am pleased to announce that {name} Novak has been promoted to vice president.|Congratulations, you made it happen!",
        "You earned it. We are so proud of what you and {name} did for the {place} office.|All systems will be down from 6 pm on {d} until noon the next day.|You must choose your medical and dental plan by {d}, or you keep the one you have.|Your bonus is in the mail; questions about tax go to human resources.|Free flu shots and blood pressure checks in the lobby on {d}.|Show your badge and save {q} percent at {firm}, one {g} per person.|Please fill in the parking form and send it back today.|The new canteen opens on {d}; the first lunch is free.|Great job!!! Drinks are on me.",
        "If you have any questions, please call {name} at {k}{k}.|Thank you for your cooperation.|Please do not forward outside the company.",
        False,
    ),
    Kind(
        "Guess what|Hello from {place}|You have to see this!!|Thank you!|RE: {t}|Great news|Pictures from {place}|Fw: funny|happy birthday|hey",
        "Hi all,|Hey {name}!|{name},|Guess who just got a new job?|I am {name}, we met in {place}.",
        "We are engaged! The wedding will be in {place} in {month}, and we want you all there.|I won ${k} in the office pool and spent it all on a {g}. Best day ever!|The baby is here: 7 pounds, both are fine, pictures are on my page.|Check out this site, I laughed for an hour.|Anyone want to buy my {g}? ${p}, hardly used, pick it up in {place}.|My doctor gave me new pills and I sleep like a stone, finally lost some weight too.|Does somebody know a cheap hotel in {place}?|They asked for my credit card number, and I hung up.|I make soap at home and sell it at the market, it pays for the gas.|A man walks into a bank and asks for a loan of ten dollars. You know the rest.",
        "Love, {name}|talk soon|take care and call me|cheers",
        False,
    ),
    Kind(
        "Joke of the day|Word of the day: {g}|Recipe: soup for {q}|Trivia: question of the week|Your horoscope for {d}|Health letter: {t}|Book of the month|Your daily comic",
        "Good day!|Today's word and what it once meant:|This week's question:|Dear reader, this month is about your heart.",
        "Why did the {g} cross the road? Send us your answer; the best wins a {g}.|Take two onions, a pound of carrots and an hour of patience.|What does the drug do? It widens the vessels; ask your doctor before you take it with others.|Lose weight slowly: half a pound a week is plenty.|Sex after fifty: what {k} readers told us.|Love: a surprise. Money: wait until {d}. Health: drink more water.|Last week's winner is {name} from {place}. Congratulations!|If you like this letter, tell a friend. If not, tell us.|Our sponsor: {firm}, {q} percent off for readers of this letter.",
        "You are subscribed as {user}. To be removed from this list click here.|This letter is free and we never sell your address.|See you tomorrow!",
    ),
    Kind(
        "You won the auction: {g}|You have been outbid|{name} sent you a card|Payment for item {n}|New photos in your group|Message from {name} about your {g}|Free sample issue|Tell us what you think and win|Prize notification: you are a winner",
        "Hi {user},|Congratulations, the item is yours!|Dear winner,|{name} has sent you an electronic card.",
        "Item {n}: {g}, winning bid ${p}, seller {name}{k}|Your bid of ${p} was beaten; the auction ends on {d}.|To see your card, click on the link or type the code {code} on our site.|{name}: is the {g} still for sale? I can pay cash.|Here is the free sample you asked for; a year costs ${pp}.|Answer ten questions about our service, and you may win a {g}.|You entered our sweepstakes in {month}, and your name was drawn for second prize, a {g}. Please sign the form.|{k} new messages in {place} hikers|Directory on CD, now ${pp}, members save ${k}",
        "The card will be kept for {k} days.|No purchase was necessary.|Happy bidding! To change your mail settings, visit your account.",
    ),
)

JUNK = (
    Kind(
        "Cheap {g}? No, cheaper pills!|Save {q}% on all meds|Your prescription is ready {name}|{q}% off until {d}|Men of {place} love this|no doctor needed",
        "Dear customer,|Hello {name}!|Why pay more at the drug store?|Best quality, lowest price, guaranteed!",
        "No prescription required, we ship worldwide in a plain package.|{k} pills for only ${p}, you save {q}%.|Improve your performance tonight, she will thank you.|Lose {k} pounds in {q} weeks without diet or exercise!|100% money back guarantee.|Order today and get {q} pills free.|Clinically proven, all natural, no side effects.",
        "Click here to order now.|To be removed from future mailings click here.|Thousands of satisfied customers can't be wrong!",
    ),
    Kind(
        "{firm} alert: this stock is ready to explode|Hot pick: up {k}% in {q} days|Investors watch {d}|Small cap news",
        "Attention investors!|This one is about to move.|Huge news is expected on {d}.",
        "Symbol: {code}. Current price: ${p}. Short term target: ${pp}|Watch it trade on {d} and get in before the crowd!|The company has signed a contract worth ${k} million in {place}.|Our last pick went up {k}0% within a week.|Strong buy! Don't miss this one.|This report was paid for; we hold shares and may sell at any time.",
        "Act now, this will not last.|Forward looking statements within the meaning of the act.",
        False,
    ),
    Kind(
        "Lower your mortgage today|You are approved, {name}|Bad credit? No problem|Re: your loan application {n}|Get out of debt",
        "Dear homeowner,|Your application was approved!|You have been pre-approved for a ${k}0,000 loan.",
        "Rates as low as {q}.{q}%, your credit does not matter.|Save ${k}0 every month, it takes one minute and costs nothing.|{k} lenders compete for your business.|No obligation, no credit check, no upfront fees.|Fill in our short form and we call you back within 24 hours.|Consolidate all your bills into one low payment.",
        "This offer expires on {d}.|If you do not wish to hear from us again, go here.",
    ),
    Kind(
        "URGENT BUSINESS PROPOSAL|Assistance needed|From the desk of {name}|Your winning number {n}|Award notification final notice|Dear friend",
        "Dear Sir,|Dear beloved friend,|Attn: lucky winner,|I am Barrister {name} Okoro, attorney to a late client.",
        "I wish to transfer the sum of {k} million US dollars out of my country and need your assistance.|You will be given {q}% of the total sum; the rest is for investment under your control.|Your address won ${k}0,000 in our international lottery, batch {n}.|Send your full name, address, telephone and bank details to my private address.|This transaction is 100% risk free and must be kept strictly confidential.|My husband died in the plane crash of {month} and left no next of kin.|A processing fee of ${pp} is needed before the bank in {place} can release the fund.",
        "Yours faithfully, Dr. {name} Mbeki|God bless you. Reply urgently.|Congratulations once more from all of our staff!",
        False,
    ),
    Kind(
        "Work at home, earn ${k}00 a week|Be your own boss|{name}, this changed my life|Make money while you sleep|A university diploma in {q} weeks|Re: business opportunity",
        "Are you tired of your job?|Hello friend,|Would you like to earn real money from home?",
        "No experience needed, anyone can do it!|I made ${k}00 in my first week, and so will you.|Get a diploma based on life experience: no exams, no classes, no books. Call 1-206-555-01{k} now!|Send ${q} to each of the five names on the list and add your own.|{k} million addresses on one CD, only ${pp}. Bulk friendly hosting.|This is not spam, you opted in with one of our partners.|Only the first {k} people will get in. Don't wait!|Free trial, cancel anytime, serious inquiries only.",
        "To be removed, reply with REMOVE in the subject.|Order now with your credit card!!!|See you at the top!",
    ),
    Kind(
        "{name} wants to meet you|Lonely wives in {place}|Adult pictures, no charge|Hot singles near {place}|my webcam is on",
        "Hey there!|Hi, remember me from the chat?|You must be 18 to read this.",
        "See me live and uncensored, free sign up, no credit card.|I am {k} years old, blonde and bored tonight.|Find a partner near you: {k},000 members online now.|All new pictures every day, cancel whenever you want.|Nobody will ever know.|Click and talk to me, I am waiting.",
        "kisses, {name}|Not interested? Click here and we never write again.",
    ),
    Kind(
        "Software at {q}% of the price|Replica watches, you can't tell|Play {firm} casino: ${k}0 bonus|Ink cartridges up to {k}% off|Free {g}! Details inside|Cable box, all channels free",
        "Dear shopper,|Why pay retail?|You have been selected for a free {g}!",
        "All major titles for ${p} instead of ${pp}, download at once.|Looks like the real thing, costs ${pp}, ships in a luxury box.|Deposit ${k} and we give you ${k}0 free to play blackjack and slots.|Just answer {q} questions and the {g} is yours, you only pay shipping.|Filter descrambler: get every pay channel free of charge!|Printer ink at wholesale prices, buy two and get one free!!|Limited time offer, expires at midnight.|Make her jealous with a genuine looking {g}.",
        "Click below to claim yours.|You receive this because you agreed to get offers from us or our partners. Unsubscribe here.",
    ),
    Kind(
        "Your {firm} account will be suspended|Verify your information|Security notice {n}|Unauthorized access to your account|Online banking update",
        "Dear valued member,|Dear {firm} customer,|We recently noticed an attempt to log in to your account from {place}.",
        "You must confirm your card number and PIN by {d}, otherwise your account will be closed.|Please click on the link below and update your billing information.|Failure to do so will result in permanent suspension.|For your protection we have limited access to sensitive features.|Case number {n}. This is your last warning.",
        "Thank you for your patience. {firm} security department.|Do not reply to this message.",
    ),
)


def mails(kinds: Sequence[Kind], count: int, seed: int) -> Iterator[bytes]:
    """So many different mails, of each kind as many; the same seed always gives the same ones."""
    rng = random.Random(seed)
    for number in range(count):
        yield _mail(rng, kinds[number % len(kinds)]).as_bytes()


def _mail(rng: random.Random, kind: Kind) -> EmailMessage:
    firm = rng.choice(FIRMS)
    domain = f"{firm.lower().replace(' ', '')}.example"

    def filled(text: str) -> str:
        topic = rng.choice(TOPICS)
        return text.format(
            firm=firm, g=rng.choice(GOODS), t=topic, T=topic[0].upper() + topic[1:], name=rng.choice(NAMES), name2=rng.choice(NAMES),
            place=rng.choice(PLACES), place2=rng.choice(PLACES), month=rng.choice(MONTHS), d=f"{rng.choice(MONTHS)} {rng.randrange(1, 29)}",
            p=f"{rng.randrange(5, 90)}.{rng.choice(['99', '95', '50', '00'])}", pp=f"{rng.randrange(90, 900)}.{rng.choice(['99', '95', '00'])}",
            q=rng.choice([2, 4, 5, 6, 10, 15, 20, 30, 50]), k=rng.randrange(11, 99), n=rng.randrange(10**5, 10**7), user="user@home.example",
            code="".join(rng.choices("ABCDEFGHKLMNPRSTUVWXYZ23456789", k=6)),
        )  # fmt: skip

    subject, opening, closing = (
        filled(rng.choice(text.split("|"))) for text in (kind.subjects, kind.openings, kind.closings)
    )
    choices = kind.items.split("|")
    drawn = rng.sample(choices, min(len(choices), rng.choice([1, 2, 3, 4, 6, 8])))
    if kind.linked and rng.random() < 0.3:
        drawn += rng.choices(choices, k=rng.randrange(3, 14))
    items = [filled(text) for text in drawn]
    message = EmailMessage()
    message["Subject"] = subject.lower() if rng.random() < 0.15 else subject
    message["From"] = (
        f"{firm} <{rng.choice(['news', 'service', 'orders', 'list'])}@{domain}>"
        if kind.linked
        else f"{rng.choice(NAMES)} <{rng.choice(NAMES).lower()}@{domain}>"
    )
    message["To"] = "user@home.example"
    where = rng.choice([f"http://www.{domain}/", f"http://click.{domain}/c?id=", f"https://{domain}/a/"])
    links = [f"{where}{rng.getrandbits(24):x}" if kind.linked or rng.random() < 0.2 else "" for _ in items]
    leaving = (
        f"http{rng.choice(['', 's'])}://{domain}/unsubscribe?u={rng.getrandbits(28)}" if kind.linked else ""
    )
    plain = _plain(rng, opening, items, links, closing, leaving, firm)
    shape = rng.random()
    if shape < (0.45 if kind.linked else 0.85):
        message.set_content(plain)
        return message
    page = _page(rng, opening, items, links, closing, leaving, firm, domain)
    if shape < 0.7 or not kind.linked:
        message.set_content(plain)
        message.add_alternative(page, subtype="html")
    else:
        message.set_content(page, subtype="html")
    return message


def _plain(
    rng: random.Random,
    opening: str,
    items: list[str],
    links: list[str],
    closing: str,
    leaving: str,
    firm: str,
) -> str:
    ruled = rng.choice(["", "", "-" * 60, "=" * 70, "*" * 50]) if leaving else ""
    bullet = rng.choice(["", "* ", "- ", "> ", "1. "]) if leaving else ""
    parts = [opening, ruled]
    for item, link in zip(items, links, strict=True):
        text = bullet + (item.upper() if leaving and rng.random() < 0.05 else item)
        parts.append(textwrap.fill(text, rng.choice([65, 72, 76, 900])) + (f"\n{link}" if link else ""))
    parts += [ruled, closing + (f"\n{leaving}" if leaving else "")]
    if leaving and rng.random() < 0.4:
        parts.append(f"{firm}, {rng.randrange(10, 900)} Market Street | Copyright 200{rng.randrange(10)}")
    return "\n\n".join(part for part in parts if part)


def _page(
    rng: random.Random, opening: str, items: list[str], links: list[str], closing: str, leaving: str, firm: str, domain: str
) -> str:  # fmt: skip
    old = rng.random() < 0.6
    font = (
        f'<font face="{rng.choice(["Arial", "Verdana, Helvetica", "Times New Roman"])}" size="{rng.choice([1, 2, 3])}">'
        if old
        else "<div style='font-family:Arial,sans-serif;font-size:15px'>"
    )
    rows = []
    for item, link in zip(items, links, strict=True):
        picture = f'<img src="http://images.{domain}/{rng.getrandbits(20):x}.gif" width="{rng.choice([1, 80, 120, 468])}" border="0" alt="">'
        name, _, rest = item.partition(" ")
        linked = (
            f'<a href="{link}">{html.escape(name)}</a> {html.escape(rest)}' if link else html.escape(item)
        )
        more = f' <a href="{link}"><b>{rng.choice(["Read more", "Buy now", "Details", "Click here", "Full story"])}</b></a>'
        cell = (
            (picture if link and rng.random() < 0.4 else "")
            + linked
            + (more if link and rng.random() < 0.5 else "")
        )
        rows.append(f"<tr><td>{cell}</td></tr>" if leaving else f"<p>{cell}</p>")
    foot = (
        f'<p><font size="1" color="#666666">{html.escape(closing)} <a href="{leaving}">Unsubscribe</a> | <a href="http://{domain}/privacy">Privacy</a></font></p>'
        if leaving
        else f"<p>{html.escape(closing)}</p>"
    )
    head = (
        f'<img src="http://images.{domain}/logo.gif" alt="{firm}" width="200" height="60">' if leaving else ""
    )
    table = (
        f'<table width="600" cellpadding="4" bgcolor="{rng.choice(["#ffffff", "#ffffcc", "#eeeeee"])}">{"".join(rows)}</table>'
        if leaving
        else "".join(rows)
    )
    return f"<html><head><title>{firm}</title></head><body>{head}{font}<p>{html.escape(opening)}</p>{table}{foot}{'</font>' if old else '</div>'}</body></html>"
