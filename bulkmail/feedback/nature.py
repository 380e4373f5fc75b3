"""Tells by its headers and words whether a message is a mail system's notice, an automatic reply or neither."""

import re
from enum import IntEnum

from bulkmail.feedback.addresses import addresses_in
from bulkmail.feedback.decoding import decoded_words
from bulkmail.feedback.mime import HEADER_LIMIT, Headers, headers_of

_DAEMON = re.compile(
    r"mailer.?daemon|post.?master|mail.{0,3}deliver|delivery.{0,3}(?:sub)?system|system.administrator"
    r"|mail.administrator"
    r"|mdaemon|bounce|antivirus|anti_virus|anti-virus|mail.?server|smtp|message delivery|no-?reply.*deliver"
    r"|\bndr\b|\bimss\b"
    r"|mail service|メール",
    re.IGNORECASE,
)
_NULL_PATH = re.compile(r"^\s*<?(?:>|mailer-daemon(?:@[^>]*)?>?)\s*$", re.IGNORECASE)
_SUBJECT = re.compile(
    r"undeliver|not deliver|non[- ]?deliver|nondeliver|deliver\w*.{0,12}(?:fail|problem|error|unsuccess|imposs|warning"
    r"|status|notif|report)|fail\w* (?:to deliver|deliver|notice|mail)|failure notice|returned? (?:mail|e-?mail"
    r"|message|to)"
    r"|returning (?:mail|message)|mail (?:system|delivery|fail|error)|mail could not|could not be (?:delivered|sent)"
    r"|couldn't be delivered|not be delivered|bounce|rejected|user unknown|unknown user|unzustellbar|nicht zugestellt"
    r"|non remis|non distribu|no se (?:ha podido|pudo) entreg|no entregad|n[aã]o (?:p[oô]de ser )?entreg"
    r"|mancata consegna"
    r"|error sending your|error while sending|processing error|не доставлено|недоставленное|配信|送信できません"
    r"|エラー|退信"
    r"|無法傳遞|无法投递|无法传递|傳遞失敗|传递失败|non recapitabil|non consegnat|mancato recapito|falha na entrega"
    r"|no se puede entregar|n[aã]o [eé] poss[ií]vel entregar|onbestelbaar|niet bezorgd|niedostarczon"
    r"|nie mo[zż]na dostarczy"
    r"|kunde inte leverer|kunne ikke lever|ikke leveret|ei voitu toimittaa|toimittamaton|nedoru[cč]"
    r"|doru[cč]en[ií] selhalo"
    r"|k[eé]zbes[ií]t\w* sikertelen|teslim edileme|не удается доставить|не удалось доставить|배달되지|배달할 수 없"
    r"|verz[oö]gert|remise retard|entrega (?:retrasada|atrasada)|consegna ritardata"
    r"|awaits? delivery|mail error|delivery.delay|has not (?:yet )?been delivered|delayed",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"(?:could|can|was|were|did|has|have|is|are)(?: |n't | not ){1,3}(?:yet )?(?:be |been )?(?:deliver|reach"
    r"|receiv|sent)"
    r"|not deliver|undeliver|non[- ]?deliver|unable to (?:be )?(?:deliver|send|reach|relay)|(?:deliver"
    r"|send)\w*.{0,40}fail"
    r"|fail\w*.{0,30}(?:deliver|recipient|address)|permanent.{0,20}error|addresses had .{0,40}error|delivery error"
    r"|error (?:occurred|was detected|delivering|sending|while)|there was an error|trouble delivering|delivery problem"
    r"|did not receive|not reach|mail(?:box|folder) is full|mailbox full|over ?quota"
    r"|user(?:'s)? .{0,20}(?:unknown|not known)"
    r"|unknown user|no such user|invalid (?:user|final|recipient|address)|returned because|has been rejected"
    r"|was rejected"
    r"|rejected (?:your|by)|were rejected|automatically rejected|weren't sent|bounced|(?:delivery"
    r"|message).{0,30}delayed|postponed"
    r"|may not exist|did not exactly match|no longer valid|does not exist|aborted after"
    r"|transcript of session|failed recipients?|failed addresses|failure reasons?|error description|returned an error"
    r"|nicht zugestellt|unzustellbar|nicht zustell|n'a pas pu [eê]tre|non remis|n'a pu [eê]tre|n'existe pas"
    r"|no (?:pudo|puede|ha podido|se pudo|se ha podido) (?:ser )?entreg|n[aã]o (?:p[oô]de|foi|p[ou]de) (?:ser )?entreg"
    r"|non (?:[eè] stato|pu[oò]|ha potuto).{0,20}consegn|kon niet worden|kunde inte levereras|nie (?:mo[zż]e|zosta[lł])"
    r"|не может быть доставлен|невозможно доставить|не удалось доставить|не доставлен|送信できませんでした"
    r"|配信できません"
    r"|送信に失敗|配送できません|届けることができません|あて先.{0,20}見つか|无法投递|投递失败|無法傳遞|退回"
    r"|无法发送|无法送达|发送失败|寄送失敗|無法送達|传递.{0,20}失败|失败.{0,20}传递|傳遞.{0,20}失敗"
    r"|배달하지 못|전달할 수 없"
    r"|fehler bei der nachrichten(?:zustellung|[uü]bermittlung)|[eé]chec de (?:la )?remise|recapito non riuscito"
    r"|nicht erreicht|n'est pas parvenu|impossible de contacter|no lleg[oó] a|no se pudo localizar|non ha raggiunto"
    r"|n[aã]o (?:chegou|alcan[cç]ou) |heeft .{0,60}niet bereikt"
    r"|impossibile (?:recapitare|consegnare|raggiungere)|falha na entrega|falha ao entregar|bezorging .{0,60}mislukt"
    r"|kan niet worden bezorgd|dostarczenie .{0,80}nie powiod[lł]o|leverans .{0,60}misslyckades"
    r"|kunne ikke leveres|toimitus .{0,60}ep[aä]onnistui|doru[cč]en[ií] .{0,60}(?:selhalo|nezda[rř])"
    r"|не удалось доставить|konnte nicht zugestellt|(?:zustellung|remise) .{0,80}(?:verz[oö]gert|retard[eé]e)",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"not yet (?:been )?deliver|has not been delivered (?:yet|to .{0,60} after)|has been (?:delayed|postponed|deferred)"
    r"|will (?:be retried|continue to (?:try|attempt|be)|keep trying|retry|try again|still be)"
    r"|attempts? (?:to deliver )?will continue"
    r"|attempts? will be made|continue to be made|continue (?:attempting|trying) to|still (?:trying"
    r"|being retried|undelivered)"
    r"|warning (?:message )?only|just a warning|only a warning|advisory-only|is delayed|was delayed"
    r"|do not need to resend|no action is required on your part|delivery (?:is )?delayed"
    r"|wird weiter(?:hin)? versucht|noch nicht zugestellt|(?:wurde|ist) verz[oö]gert|a [eé]t[eé] retard[eé]e"
    r"|se ha retrasado|foi adiada|[eè] stata ritardata|is vertraagd|zosta[lł]o op[oó][zź]nione"
    r"|nouvelle tentative|pas encore [eé]t[eé]"
    r"|se seguir[aá] intentando|a[uú]n no se ha"
    r"|ainda n[aã]o foi entreg|ancora in corso|попытки доставки будут|再送を試み|再試行|还将继续|稍后重试",
    re.IGNORECASE,
)
_NO_MORE = re.compile(r"(?:will|can) not be retried|no (?:further|more) (?:delivery )?attempts|given up|giving up")
_AUTO_SUBJECT = re.compile(
    r"^\s*(?:re: *|aw: *)?(?:out of (?:the )?office|automatic reply|auto.?(?:reply|response|matic response"
    r"|responder)|autoreply"
    r"|vacation|abwesenheit|automatische (?:antwort|beantwoord)|r[eé]ponse automatique|absence|respuesta autom[aá]tica"
    r"|resposta autom[aá]tica|risposta automatica|fuori sede|automatiskt svar|autosvar|自動(?:応答|返信)"
    r"|автоответ|自动(?:回复|答复))",
    re.IGNORECASE,
)
_AUTO_FIELDS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-auto-reply-from",
    "x-mail-autoreply",
    "x-autogenerated",
    "x-vacation",
    "x-autoreply-from",
    "x-ms-exchange-generated-message-source-autoreply",
)
_AUTO_PRECEDENCE = frozenset(("auto_reply", "auto-reply", "autoreply"))
_PEOPLE_FIELDS = ("list-id", "list-post", "list-unsubscribe", "in-reply-to", "user-agent", "x-newsreader")
_REFUSED_RECIPIENT = re.compile(
    r"rcpt to.{0,200}(?:\n.{0,40}){0,2}[45]\d\d[ -]|^[ \t]{0,20}(?:<<<|>>>)?[ \t]{0,20}5\d\d[ -].{0,20}@",
    re.IGNORECASE | re.MULTILINE,
)


class Weight(IntEnum):
    """How much speaks for a notice of a mail system."""

    ENOUGH = 4
    ENOUGH_OF_AN_AUTOMATON = 6


def subject_of(headers: Headers) -> str:
    return decoded_words(headers.get("subject"))[:500]


def from_daemon(headers: Headers) -> bool:
    """Whether the sender is a mail system, by its name or by its null return path."""
    sender = decoded_words(headers.get("from"))[:500]
    return (
        bool(_DAEMON.search(sender))
        or sender.strip() in ("", "<>")
        or any(_NULL_PATH.match(path) for path in headers.all("return-path")[:2])
    )


def sender_of(data: bytes) -> str:
    """The one address in the one From field of a message; "" where there are more, or none."""
    values = headers_of(data[:HEADER_LIMIT]).all("from")
    found = [address for value in values for _, _, address in addresses_in(value[:2000])]
    return found[0] if len(values) == len(found) == 1 else ""


def says_automatic(headers: Headers) -> bool:
    """Whether the headers or the subject say that a program replied for a person (RFC 3834 §5, and its forerunners)."""
    return (
        headers.get("auto-submitted").strip().lower().startswith("auto-replied")
        or headers.get("precedence").strip().lower() in _AUTO_PRECEDENCE
        or any(name in headers for name in _AUTO_FIELDS)
        or bool(_AUTO_SUBJECT.match(subject_of(headers)))
    )


def is_vacation(headers: Headers) -> bool:
    return bool(_AUTO_SUBJECT.match(subject_of(headers)))


def is_notice(headers: Headers, words: str, *, returned: bool) -> bool:
    """Whether a message that has no report speaks of mail that was not delivered; `words` are its own."""
    daemon = from_daemon(headers)
    weight = (
        2 * daemon
        + 2 * bool(_SUBJECT.search(subject_of(headers)))
        + 2 * bool(_FAILED.search(words))
        + returned
        + 2 * bool(_REFUSED_RECIPIENT.search(words))
        + 3 * ("x-failed-recipients" in headers)
    )
    if not daemon and any(name in headers for name in _PEOPLE_FIELDS):
        weight -= 3
    automatic = says_automatic(headers) and "x-failed-recipients" not in headers
    return weight >= (Weight.ENOUGH_OF_AN_AUTOMATON if automatic and not daemon else Weight.ENOUGH)


def says_delayed(headers: Headers, words: str) -> bool:
    """Whether the notice is a warning: delivery goes on."""
    return bool(_DELAYED.search(words) or "(delay)" in subject_of(headers).lower()) and not _NO_MORE.search(
        words.lower()
    )
