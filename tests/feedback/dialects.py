"""Notices in the manner of many mail systems and tongues, written for these tests from how each is known to speak.

Each is about anna@house.example alone, unless it says otherwise; `HARD` those that leave no doubt that nobody is there.
"""

# ruff: noqa: E501 - lines as the systems write them

from tests.feedback.messages import TOKEN, plain

ANNA = "anna@house.example"
_RETURNED = (
    f"\n\nReceived: from x by y\nMessage-ID: <{TOKEN}@garden.example>\nFrom: news@garden.example\nTo: list\n\nHi\n"
)


def exchange(opening: str, reason: str, diagnostics: str = "") -> bytes:
    """Exchange and Microsoft 365 speak the language of the receiver; the report part is left out here."""
    body = (
        f"{opening}\n\n{ANNA}\n{reason}\n\n\n\n{diagnostics}\n\nGenerating server: mail.house.example\n\n{ANNA}\n"
        f"#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##\n\nOriginal message headers:{_RETURNED}"
    )
    return plain(body, sender="Microsoft Outlook <postmaster@house.example>", Subject="Undeliverable: Spring")


def localized(subject: str, opening: str, reason: str) -> bytes:
    """The same where the words are all there is."""
    body = f"{opening}\n\n{ANNA}\n{reason}\n\n"
    return plain(body, sender="Microsoft Outlook <postmaster@house.example>", Subject=subject)


HARD = {
    "exchange-english": exchange(
        "Delivery has failed to these recipients or groups:", "The email address you entered couldn't be found."
    ),
    "exchange-german": exchange(
        "Fehler bei der Nachrichtenzustellung an folgende Empfänger oder Verteilerlisten:",
        "Die eingegebene E-Mail-Adresse konnte nicht gefunden werden.",
    ),
    "exchange-french": exchange(
        "Échec de la remise aux destinataires ou aux groupes suivants :",
        "L'adresse de messagerie que vous avez entrée est introuvable.",
    ),
    "exchange-japanese": exchange(
        "次の受信者またはグループへの配信に失敗しました:", "入力した電子メール アドレスは見つかりませんでした。"
    ),
    "gmail-text": plain(
        f"Delivery to the following recipient failed permanently:\n\n     {ANNA}\n\n"
        "Technical details of permanent failure:\nGoogle tried to deliver your message, but it was rejected by the server "
        "for the recipient domain house.example by mx.house.example. [192.0.2.7].\n\nThe error that the other server "
        "returned was:\n550 5.1.1 User unknown\n\n\n----- Original message -----" + _RETURNED,
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        Subject="Delivery Status Notification (Failure)",
    ),
    "courier": plain(
        "This is a delivery status notification from mx.garden.example,\nrunning the Courier mail server.\n\n"
        f"UNDELIVERABLE MAIL\n\nYour message to the following recipients cannot be delivered:\n\n<{ANNA}>:\n"
        f"    mx.house.example [192.0.2.7]:\n>>> RCPT TO:<{ANNA}>\n<<< 550 User unknown\n",
        Subject="NOTICE: mail delivery status.",
    ),
    "sendmail-5": plain(
        f"   ----- Transcript of session follows -----\n550 {ANNA}... User unknown\n\n"
        f"   ----- Unsent message follows -----{_RETURNED}",
        sender="Mail Delivery Subsystem <MAILER-DAEMON@mx.garden.example>",
        Subject="Returned mail: User unknown",
    ),
    "sendmail-8": plain(
        "The original message was received at Thu, 9 Apr 2009 10:00:00 +0900\nfrom x [192.0.2.9]\n\n"
        f"   ----- The following addresses had permanent fatal errors -----\n<{ANNA}>\n    (reason: 550 User unknown)\n\n"
        f"   ----- Transcript of session follows -----\n... while talking to mx.house.example.:\n>>> RCPT To:<{ANNA}>\n"
        f"<<< 550 User unknown\n550 5.1.1 <{ANNA}>... User unknown\n",
        Subject="Returned mail: see transcript for details",
    ),
    "hmailserver": plain(
        "Your message did not reach some or all of the intended recipients.\n\n   Sent: Thu, 9 Apr 2009 10:00:00 +0900\n"
        f"   Subject: Spring\n\nThe following recipient(s) could not be reached:\n\n{ANNA}\n   Error Type: SMTP\n"
        f"   Remote server (192.0.2.7) issued an error.\n   hMailServer sent: RCPT TO:<{ANNA}>\n"
        "   Remote server replied: 550 Unknown user\n\n\n\nhMailServer\n",
        Subject="Message undeliverable: Spring",
    ),
    "opensmtpd": plain(
        "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\n"
        "    An error has occurred while attempting to deliver a message for\n    the following list of recipients:\n\n"
        f"{ANNA}: 550 5.1.1 <{ANNA}>: Recipient address rejected: User unknown\n\n"
        f"    Below is a copy of the original message:{_RETURNED}",
        Subject="Delivery status notification: failed",
    ),
    "zoho": plain(
        "This message was created automatically by mail delivery software.\n A message that you sent could not be "
        f"delivered to one or more of its recipients. This is a permanent error. \n\n{ANNA}, ERROR CODE :550 - 5.1.1 "
        "User unknown\n",
        sender="mailer-daemon@mail.zoho.example",
        Subject="Undelivered Mail Returned to Sender",
    ),
    "carrier-ezweb": plain(
        f"The user(s) account is disabled.\n\n<{ANNA}>: 550 user unknown\n\n    ----- Unsent message follows -----{_RETURNED}",
        sender="Postmaster@ezweb.ne.example",
        Subject="Mail System Error - Returned Mail",
    ),
    "yahoo": plain(
        f"Sorry, we were unable to deliver your message to the following address.\n\n<{ANNA}>:\nRemote host said:\n"
        f"550 5.1.1 unknown user [RCPT_TO]\n\n--- Below this line is a copy of the message.{_RETURNED}",
        sender="MAILER-DAEMON@yahoo.example",
        Subject="Failure Notice",
    ),
    "james": plain(
        "Hi. This is the James mail server at mx.garden.example.\nI'm afraid I wasn't able to deliver your message to the "
        "following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out. Below\nI include the "
        f"list of recipients and the reason why I was unable to deliver\nyour message.\n\nFailed recipient(s):\n{ANNA}\n\n"
        "Error message:\n550 5.1.1 no such user here\n",
        sender="postmaster@mx.garden.example",
        Subject="Re: Spring",
    ),
    "qmail-local": plain(
        "Hi. This is the qmail-send program at mx.garden.example.\nI'm afraid I wasn't able to deliver your message to the "
        "following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        f"<{ANNA}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.{_RETURNED}"
    ),
    "exchange-2003-german": plain(
        "Ihre Nachricht hat einige oder alle Empfänger nicht erreicht.\n\n      Betreff:\tFrühling\n\n"
        f"Folgende(r) Empfänger kann/können nicht erreicht werden:\n\n      {ANNA} am 01.03.2027 10:00\n"
        "            Das E-Mail-Konto ist in der Organisation nicht vorhanden.\n            <mx.house.example #5.1.1>\n",
        sender="Systemadministrator <postmaster@house.example>",
        Subject="Unzustellbar: Frühling",
    ),
    "exchange-2003-french": plain(
        "Votre message n'est pas parvenu à certains des destinataires.\n\n      Objet :\tPrintemps\n\n"
        f"Impossible de contacter le(s) destinataire(s) suivant(s) :\n\n      {ANNA} le 01/03/2027 10:00\n"
        "            Le compte de messagerie n'existe pas dans l'organisation.\n            <mx.house.example #5.1.1>\n",
        sender="Administrateur système <postmaster@house.example>",
        Subject="Non remis : Printemps",
    ),
    "exchange-2003-spanish": plain(
        "El mensaje no llegó a algunos o a todos los destinatarios.\n\n      Asunto:\tPrimavera\n\n"
        f"No se pudo localizar a los destinatarios siguientes:\n\n      {ANNA} el 01/03/2027 10:00\n"
        "            La cuenta de correo electrónico no existe en la organización.\n            <mx.house.example #5.1.1>\n",
        sender="Administrador del sistema <postmaster@house.example>",
        Subject="No se puede entregar: Primavera",
    ),
    "mail.ru": plain(
        "Это письмо создано автоматически\nсервером, отвечать на него не нужно.\n\nК сожалению, Ваше письмо не может быть\n"
        f"доставлено одному или нескольким получателям:\n\n**********************\n\n{ANNA}\nSMTP error from remote mail "
        f"server after RCPT TO:<{ANNA}>:\nhost mx.house.example [192.0.2.7]: 550 5.1.1 User unknown\n",
        sender="mailer-daemon@corp.house.example",
        Subject="Mail failure.",
    ),
    "mdaemon": plain(
        "The attached message had PERMANENT fatal delivery errors!\n\nAfter one or more unsuccessful delivery attempts the "
        "attached message has\nbeen removed from the mail queue on this server.\n\n--> Session Transcript:\n"
        f" RCPT To:<{ANNA}>\n<-- 550 5.1.1 User unknown\n",
        sender="MDaemon at mx.garden.example <MDaemon@mx.garden.example>",
        Subject="Permanent Delivery Failure",
    ),
    "gmail-html": plain(
        "<html><body><h2>Address not found</h2><p>Your message wasn't delivered to <b>anna@house.example</b> because the "
        "address couldn't be found.</p><p>The response was:</p><p>550 5.1.1 The email account that you tried to reach does "
        "not exist.</p></body></html>",
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        Subject="Delivery Status Notification (Failure)",
        Content_Type="text/html; charset=utf-8",
    ),
}

# Nobody is found, or the reason is another one: the recipient is right, and nobody is called missing.
NAMED = {
    "german-words": localized(
        "Unzustellbar: Frühling",
        "Fehler bei der Nachrichtenzustellung an folgende Empfänger oder Verteilerlisten:",
        "Das Postfach des Empfängers ist voll.",
    ),
    "french-words": localized(
        "Non remis : Printemps",
        "Échec de la remise aux destinataires ou aux groupes suivants :",
        "La boîte aux lettres du destinataire est pleine.",
    ),
    "spanish-words": localized(
        "No se puede entregar: Primavera",
        "No se pudo entregar el mensaje a estos destinatarios o grupos:",
        "El buzón del destinatario está lleno.",
    ),
    "italian-words": localized(
        "Non recapitabile: Primavera",
        "Recapito non riuscito per i seguenti destinatari o gruppi:",
        "La cassetta postale del destinatario è piena.",
    ),
    "portuguese-words": localized(
        "Não é possível entregar: Primavera",
        "Falha na entrega a estes destinatários ou grupos:",
        "A caixa de correio do destinatário está cheia.",
    ),
    "dutch-words": localized(
        "Onbestelbaar: Lente",
        "De bezorging aan de volgende ontvangers of groepen is mislukt:",
        "Het postvak van de geadresseerde is vol.",
    ),
    "polish-words": localized(
        "Niedostarczona wiadomość: Wiosna",
        "Dostarczenie do następujących adresatów lub grup nie powiodło się:",
        "Skrzynka pocztowa adresata jest pełna.",
    ),
    "swedish-words": localized(
        "Kunde inte levereras: Vår",
        "Leverans till följande mottagare eller grupper misslyckades:",
        "Mottagarens postlåda är full.",
    ),
    "russian-words": localized(
        "Не удается доставить: Весна",
        "Не удалось доставить следующим получателям или группам:",
        "Почтовый ящик получателя переполнен.",
    ),
    "japanese-words": localized(
        "配信不能: 春", "次の受信者またはグループへの配信に失敗しました:", "受信者のメールボックスがいっぱいです。"
    ),
    "chinese-words": localized("无法传递: 春", "向这些收件人或组传递邮件失败:", "收件人的邮箱已满。"),
    "korean-words": localized(
        "배달되지 않음: 봄", "다음 받는 사람 또는 그룹에게 배달하지 못했습니다.", "받는 사람의 사서함이 가득 찼습니다."
    ),
    "full": plain(
        f"Your message cannot be delivered to the following recipients:\n\n  Recipient address: {ANNA}\n"
        "  Reason: Remote SMTP server has rejected address\n  Diagnostic code: smtp;552 5.2.2 mailbox full\n",
        sender="Internet Mail Delivery <postmaster@house.example>",
        Subject="Delivery Notification: Delivery has failed",
    ),
    "groupwise": plain(
        f"The message that you sent was undeliverable to the following:\n\t{ANNA} (mailbox full)\n",
        sender="Mailer-Daemon@house.example",
        Subject="Message status - undeliverable",
    ),
}

# Delivery goes on.
DELAYED = {
    "exim": plain(
        "This message was created automatically by mail delivery software.\nA message that you sent has not yet been "
        "delivered to one or more of its\nrecipients after more than 24 hours on the queue on mx.garden.example.\n\n"
        f"The address to which the message has not yet been delivered is:\n\n  {ANNA}\n    Delay reason: 451 try later\n\n"
        "No action is required on your part. Delivery attempts will continue for\nsome time.\n",
        Subject="Warning: message delayed 24 hours",
    ),
    "exchange-german": plain(
        f"Die Zustellung an folgende Empfänger wurde verzögert:\n\n{ANNA}\n\nEs wird weiterhin versucht, diese Nachricht "
        "zuzustellen.\n",
        sender="postmaster@house.example",
        Subject="Zustellung verzögert: Frühling",
    ),
    "exchange-french": plain(
        f"La remise aux destinataires suivants a été retardée :\n\n{ANNA}\n\nUne nouvelle tentative de remise va être "
        "effectuée.\n",
        sender="postmaster@house.example",
        Subject="Remise retardée : Printemps",
    ),
    "qmail-like": plain(
        f"THIS IS A WARNING MESSAGE ONLY.\nYOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\nDelivery to the following recipient "
        f"has been delayed:\n\n     {ANNA}\n\nMessage will be retried for 2 more day(s)\n",
        Subject="Delivery Status Notification (Delay)",
    ),
}


def reply(subject: str, body: str, **headers: str) -> bytes:
    return plain(f"{body}\n\n> On Monday you wrote:\n> mail to {ANNA} could not be delivered\n",
                 sender="Anna <anna@house.example>", Subject=subject, **headers)  # fmt: skip


# A program answered for a person, or a person did: no effect.
HARMLESS = {
    "german-vacation": reply("Abwesenheitsnotiz: Frühling", "Ich bin bis Montag nicht im Büro.", Auto_Submitted="auto-replied"),
    "french-vacation": reply("Réponse automatique : Printemps", "Je suis absente jusqu'à lundi."),
    "spanish-vacation": reply("Respuesta automática: Primavera", "Estoy fuera de la oficina.", X_Autoreply="yes"),
    "dutch-vacation": reply("Automatisch antwoord: Lente", "Ik ben afwezig.", Auto_Submitted="auto-generated"),
    "japanese-vacation": reply("自動応答: 春", "休暇中です。"),
    "polish-vacation": reply("Automatyczna odpowiedź: Wiosna", "Jestem na urlopie.", Precedence="auto_reply"),
    "left": reply("Out of Office: Spring", "I no longer work here. Write to bert@house.example.", Precedence="bulk"),
    "challenge": reply("Please confirm your message", "Click here, or your mail will not be delivered to anna@house.example.",
                       Auto_Submitted="auto-replied"),
    "ticket": reply("[Ticket 4711] We got your request", "We will answer soon.", Auto_Submitted="auto-generated"),
    "person": reply("Re: Undeliverable: Spring", "My mail to anna@house.example bounced, user unknown. Can you help?",
                    In_Reply_To="<x@garden.example>"),
}  # fmt: skip
