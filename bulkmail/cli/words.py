"""Reasons and stages in plain words, for sentences."""

from bulkmail.model.delivery import Reason, Stage

REASONS: dict[Reason, str] = {
    Reason.NONE: "no reason is known",
    Reason.USER_UNKNOWN: "the mailbox does not exist",
    Reason.MAILBOX_FULL: "the mailbox is full",
    Reason.MAILBOX_INACTIVE: "the mailbox is closed or not in use",
    Reason.MOVED: "the recipient has moved elsewhere",
    Reason.RELAYING_DENIED: "the server does not take mail for this domain",
    Reason.BLOCKED: "the receiver blocks this sender",
    Reason.RATE_LIMITED: "the receiver wants less mail at a time",
    Reason.GREYLISTED: "the receiver wants to be asked again later (greylisting)",
    Reason.POLICY: "the receiver's rules refuse it",
    Reason.AUTHENTICATION: "the receiver wants SPF, DKIM or DMARC that it did not find, or a relay refuses our login",
    Reason.CONTENT: "the receiver refuses the content, or no message could be made of the row",
    Reason.TOO_LARGE: "the message is too large for the receiver",
    Reason.DNS: "the domain's mail servers could not be looked up",
    Reason.DOMAIN_UNKNOWN: "the domain does not exist or has no mail server",
    Reason.NULL_MX: "the domain says that it takes no mail",
    Reason.TLS: "the connection could not be encrypted as required",
    Reason.LOOP: "the mail would come back to this machine",
    Reason.EXPIRED: "it was tried until delivery.expire was over",
    Reason.NETWORK: "the server could not be reached",
    Reason.TIMEOUT: "the server did not answer in time",
    Reason.PROTOCOL: "the server said something that is not SMTP",
    Reason.SYSTEM: "the receiver has trouble of its own",
    Reason.SUPPRESSED: "the address is on the suppression list",
    Reason.CONNECTION_LOST: "the connection broke",
    Reason.UNSUPPORTED: "the server lacks something this message needs",
    Reason.OTHER: "the reply fits no known reason",
    Reason.BAD_ADDRESS: "the server does not accept the address",
    Reason.TOO_MANY_CONNECTIONS: "the receiver wants fewer connections",
    Reason.COMPLAINT: "the recipient complained",
    Reason.AUTO_REPLY: "a program answered for the recipient",
}

STAGES: dict[Stage, str] = {
    Stage.NONE: "",
    Stage.DNS: "on looking up the domain",
    Stage.CONNECT: "on connecting",
    Stage.GREETING: "at the greeting",
    Stage.EHLO: "at EHLO",
    Stage.STARTTLS: "at STARTTLS",
    Stage.AUTH: "at AUTH",
    Stage.MAIL: "at MAIL FROM",
    Stage.RCPT: "at RCPT TO",
    Stage.DATA: "at DATA",
    Stage.MESSAGE: "after the message",
    Stage.RSET: "at RSET",
    Stage.QUIT: "at QUIT",
    Stage.COMPOSE: "on making the message",
}


def reason_words(label: str | None) -> str:
    """The sentence for an event's reason; the label itself where it is none of ours."""
    return _BY_LABEL.get(label or "", label or "")


def stage_words(label: str | None) -> str:
    return _STAGE_BY_LABEL.get(label or "", label or "")


_BY_LABEL = {reason.label: words for reason, words in REASONS.items()}
_STAGE_BY_LABEL = {stage.label: words for stage, words in STAGES.items()}
