"""Words that say what kind of talk this is, in the languages mail comes in. Only rates of these travel into the base.

No lists of work, computer or stock-market words: measured, they learn a corpus's topics and nothing that travels.
Words are lower case, without accents removed; words under three letters only where they are telling.
"""

from __future__ import annotations

from typing import Final


def listed(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


TOPICS: Final[dict[str, str]] = {
    "money": """money cash dollar dollars usd euro euros eur gbp pounds million millions billion thousand thousands
        price prices cheap cheapest cost costs pay paid payment payments paying income profit profits
        earn earning earnings loan loans credit debt debts mortgage refinance savings save invest
        investment interest rate rates bonus refund fee fees cheque wealth rich bitcoin btc crypto usdt
        wallet deposit withdraw geld preis preise kredit bezahlen zahlung kostenlos gewinn argent prix
        crédit payer paiement gratuit euros dinero precio crédito pago pagar gratis ganar denaro prezzo
        prestito pagamento guadagnare dinheiro preço pagamento ganhar pieniądze cena płatność kredyt
        деньги рублей оплата кредит цена цены бесплатно заработок доход prijs betalen betaling lening""",
    "medicine": """viagra cialis levitra pharmacy pharmacies drug drugs pill pills medication medications medicine
        medicines meds prescription prescriptions doctor doctors weight diet fat slim pounds lose herbal
        supplement supplements vitamin vitamins erection erectile penis enlargement enlarge testosterone
        hormone hgh xanax valium ambien phentermine tramadol soma hydrocodone vicodin tablets dosage mg
        pain relief anti aging wrinkle wrinkles skin hair keto cbd gummies blood sugar diabetes prostate
        apotheke pillen abnehmen rezeptfrei pharmacie pilules perdre poids farmacia pastillas farmaci
        pillole tabletki apteka odchudzanie таблетки аптека похудение лекарства apotheek afvallen""",
    "dating": """sex sexy sexual porn porno xxx nude naked girls girl women woman horny hot hottest adult adults webcam
        cam teen teens dating date singles single lonely lover lovers romance romantic babe babes milf
        cum pussy cock dick fuck fucking erotic lesbian lesbians anal amateur explicit hardcore affair
        hookup marry marriage bride brides soulmate flirt frauen mädchen einsam nackt partnersuche
        femmes filles rencontre rencontres mujeres chicas citas soltera donne ragazze incontri mulheres
        garotas encontros kobiety dziewczyny randki девушки девушка знакомства секс vrouwen meisjes""",
    "fraud": """beneficiary beneficiaries deceased inheritance inherited next kin barrister attorney solicitor fund
        funds transfer transferred consignment diplomat diplomatic courier nigeria lagos benin ghana
        ivory coast burkina faso sierra leone congo minister ministry president late widow cancer dying
        god bless bank account accounts million confidential confidentiality strictly trust trustworthy
        foreign partner assistance assist urgent modalities remittance overseas proposal proposition
        business transaction mutual benefit percent lottery lotto winner winning winnings prize prizes
        won award awarded claim claims jackpot ticket draw compensation compensated atm donation donate
        donor charity orphanage united nations imf fbi excellency honorable sincerely dearest beloved
        greetings erbschaft begünstigter lotterie gewinner héritage bénéficiaire loterie gagnant
        herencia beneficiario lotería ganador eredità lotteria vincitore herança loteria spadek loteria
        наследство лотерея выигрыш erfenis loterij""",
    "urgency": """urgent urgently immediately immediate now today tonight hurry fast quick quickly instant instantly asap
        deadline expire expires expired expiring expiry limited soon final last warning attention
        important act action required must before within hours hour minutes alert notice dringend sofort
        heute schnell achtung wichtig letzte frist jetzt urgence immédiatement maintenant aujourd vite
        dernière attention urgente inmediatamente ahora hoy rápido última inmediato subito oggi adesso
        ultimo ultima scadenza agora hoje imediatamente pilne natychmiast teraz dzisiaj ostatnia срочно
        сейчас сегодня немедленно быстро внимание nu vandaag onmiddellijk dringend 立即 紧急 今すぐ 緊急""",
    "phishing": """verify verification verified account accounts password passwords login log signin sign suspend suspended
        suspension locked unlock limited restricted restore unusual suspicious activity security secure
        unauthorized confirm confirmation update updated validate identity information credentials bank
        banking card paypal ebay amazon apple netflix microsoft office365 outlook mailbox quota storage
        full exceeded webmail administrator helpdesk invoice billing overdue delivery package parcel
        shipment tracking dhl fedex ups usps customs billing details click below link konto passwort
        bestätigen gesperrt sicherheit anmelden überprüfen verifizieren paket sendung rechnung compte
        mot passe confirmer bloqué sécurité vérifier colis livraison facture cuenta contraseña verificar
        bloqueada seguridad paquete envío factura conto verifica bloccato sicurezza accedi pacco
        spedizione fattura conta senha bloqueada segurança verifique encomenda fatura konto hasło
        zablokowane weryfikacja przesyłka paczka faktura аккаунт пароль подтвердите заблокирован
        безопасность посылка wachtwoord bevestigen geblokkeerd rekening pakket beveiliging アカウント 確認
        パスワード 账户 密码 验证""",
    "promotion": """free offer offers offering special discount discounts sale sales deal deals buy order ordering orders
        shop shopping store subscribe unsubscribe subscription newsletter click clicking visit website
        site online guarantee guaranteed guarantees satisfaction risk obligation trial exclusive best
        amazing incredible opportunity success win winner gift gifts coupon voucher promo promotion
        advertise advertising advertisement marketing leads traffic seo ranking rank bulk emails mailing
        list remove removed opt casino casinos poker betting bet slots spins replica rolex watches
        luxury brand quality wholesale supplier suppliers manufacturer manufacturers factory product
        products catalog catalogue quotation export angebot angebote rabatt kaufen bestellen abmelden
        gutschein sonderangebot offre offres promotion réduction acheter commander désabonner oferta
        ofertas descuento comprar pedido suscripción offerta sconto acquista ordine promoção desconto
        compre oferta rabat kup zamów promocja zniżka скидка скидки акция купить заказать предложение
        распродажа рассылка aanbieding korting kopen bestellen 优惠 免费 点击 产品 无料 限定""",
    "talk": """thanks thank think thought maybe perhaps guess actually really sure yeah yes hi hello hey wrote said
        says know knew hope see saw tomorrow yesterday meeting lunch dinner weekend week monday tuesday
        wednesday thursday friday saturday sunday question questions answer agree disagree sorry bit lot
        kind try tried trying problem problems issue works worked idea ideas anyway btw imo afaik though
        although however because since regards cheers danke vielleicht glaube hallo morgen gestern frage
        grüße gruß merci peut être pense bonjour demain hier question cordialement gracias quizás creo
        hola mañana ayer pregunta saludos grazie forse penso ciao domani ieri domanda saluti obrigado
        talvez acho olá amanhã ontem abraço dziękuję może myślę cześć jutro wczoraj pytanie pozdrawiam
        спасибо может думаю привет завтра вчера вопрос bedankt misschien denk hoi morgen gisteren vraag
        groeten""",
    "you": """you your yours yourself du dich dir dein deine ihr ihre ihnen sie vous votre vos toi ton usted ustedes
        su tu tus tuyo voi vostro tuo tua você vocês seu sua twój twoje pan pani państwa вы вас вам ваш
        ваша ваши ваше jij jouw uw je u""",
    "i": """i me my mine myself im ive id ich mich mir mein meine je moi mon mes yo mi mis io mio mia eu meu minha
        ja mnie mój moja я меня мне мой моя ik mij mijn""",
    "we": """we us our ours ourselves wir uns unser unsere nous notre nos nosotros nuestro nuestra nuestros noi
        nostro nostra nós nosso nossa my nas nasz nasza мы нас нам наш наша наши wij ons onze""",
    "english": """the of and to a in that is was he for it with as his on be at by had not are but from or have an they
        which one were all her she there would their him been has when who will no more if out so up
        said what its about than into them can only other time new some could these two may first then
        do any like over such after also did many before must through""",
    "german": """der die das und ist nicht ein eine zu mit für auf von den dem des sich auch es im als bei nach aus wenn
        oder nur noch werden wird sind haben hat war wie über aber einen einem einer kann wurde durch
        diese dieser""",
    "french": """le la les de des et est une un dans pour que qui sur pas avec par ce cette au aux il elle sont nous plus
        ou mais être avoir fait comme leur ces dont sans tout""",
    "spanish": """el los las de que y en un una por con para no se su al lo como más pero sus le ya o este sí porque esta
        entre cuando muy sin sobre también hasta hay donde""",
    "italian": """il lo gli di che e è un una per non con del della si da al sono nel come più ma anche alla questo questa
        essere ha dei delle""",
    "portuguese": """o os as de que e do da em um uma para com não por mais dos das como mas foi ao ele tem à seu sua ou ser
        quando muito há nos já está também""",
    "polish": """i w nie na się z do to że jest o jak ale po co tak za od czy dla przez przy tym oraz lub są było ich
        jego""",
    "russian": """и в не на с что по как это к но из у за от так для вы же то все бы о мы или если уже при его они был""",
    "dutch": """de het een en van ik dat die niet te is op aan met voor er maar om hem dan zou of wat wordt zijn naar
        heeft ook bij nog door over uit""",
    "nordic": """och att det som är en på för av med den till inte har om jag ett men var og er til ikke jeg af kan ja ei
        on että se ole hän mutta""",
    "turkish": """ve bir bu için ile da de çok olarak daha olan gibi sonra kadar ne en var değil""",
}

GREETINGS: Final = listed(
    """hi hello hey dear greetings good hallo liebe lieber sehr guten bonjour cher chère salut hola estimado
    estimada querido buenos ciao caro cara gentile buongiorno olá caro prezado prezada oi cześć drogi
    szanowny witam dzień здравствуйте привет уважаемый уважаемая добрый дорогой beste geachte hoi hej
    kära sayın merhaba 尊敬的 您好"""
)

BIT: Final[dict[str, int]] = {name: 1 << order for order, name in enumerate(TOPICS)}


def _lexicon() -> dict[str, int]:
    out: dict[str, int] = {}
    for name, words in TOPICS.items():
        for word in words.split():
            out[word] = out.get(word, 0) | BIT[name]
    return out


LEXICON: Final = _lexicon()
"""word -> bits of the topics it belongs to"""

FREE_MAIL: Final = listed(
    """gmail.com googlemail.com yahoo.com yahoo.co.uk yahoo.fr yahoo.de ymail.com rocketmail.com hotmail.com
    hotmail.co.uk hotmail.fr outlook.com outlook.de live.com live.co.uk msn.com aol.com icloud.com
    me.com mac.com gmx.de gmx.net gmx.com gmx.at web.de t-online.de freenet.de mail.ru bk.ru inbox.ru
    list.ru yandex.ru yandex.com rambler.ru proton.me protonmail.com tutanota.com zoho.com mail.com
    email.com laposte.net orange.fr free.fr wanadoo.fr libero.it virgilio.it tiscali.it wp.pl o2.pl
    onet.pl interia.pl seznam.cz qq.com 163.com 126.com sina.com sohu.com naver.com daum.net hanmail.net
    rediffmail.com terra.com.br uol.com.br bol.com.br comcast.net verizon.net att.net sbcglobal.net
    cox.net earthlink.net btinternet.com ziggo.nl xs4all.nl planet.nl telenet.be bluewin.ch"""
)
