"""From the server's greeting to the first MAIL: EHLO or HELO, STARTTLS, AUTH (RFC 5321 §3.1, RFC 3207, RFC 4954).

Sans-I/O: `answer` takes parsed replies, `outgoing` gives the bytes to write. It ends in `ready` (with
`capabilities`), in `failure`, or asks for TLS with `wants_tls`; after the TLS handshake `tls_started` goes on.
"""

import base64
import re
from collections.abc import Sequence

from msgspec import Struct

from bulkmail.errors import ProtocolError
from bulkmail.model.campaign import TlsMode
from bulkmail.model.delivery import Reason, Stage
from bulkmail.smtp.capabilities import Capabilities, parse_ehlo
from bulkmail.smtp.commands import command_line
from bulkmail.smtp.sasl import Credentials, Mechanism, SaslError, ScramSha256Plus, challenge_of, choose

# The longest AUTH line that may have the first response in it (RFC 5321 §4.5.3.1.4, RFC 4954 §4).
MAX_INITIAL_LINE_BYTES = 512
# What a complaint shows of the bytes that it is about.
_SHOWN = re.compile(r"""b(['"]).*\1""", re.DOTALL)


class HandshakeFailure(Struct, frozen=True):
    """Why a connection cannot be used: the server's reply (`code`, `text`), or `reason` alone."""

    stage: Stage
    code: int = 0
    text: bytes = b""
    reason: Reason = Reason.NONE
    explanation: str = ""


class Handshake:
    """The part of one connection before its first transaction.

    `tls` says how much TLS is wanted on a connection that is still in clear; `credentials` are used only under TLS,
    or on a relay configured without it. Where the server repeats a secret, `failure` has it blotted out. `requiretls`
    fails a server that does not offer REQUIRETLS under TLS (RFC 8689); `helo` begins with HELO, for servers that close
    over EHLO. `binding` is what SCRAM can be bound to TLS by, to be set once TLS is up.
    """

    def __init__(
        self,
        *,
        ehlo_name: str,
        tls: TlsMode = "none",
        encrypted: bool = False,
        credentials: Credentials | None = None,
        requiretls: bool = False,
        helo: bool = False,
    ) -> None:
        self._ehlo_name = ehlo_name
        self._tls = tls
        self._encrypted = encrypted
        self._credentials = credentials
        self._out: list[bytes] = []
        self.binding = b""
        self._challenged = False
        self._mechanism: Mechanism | None = None
        self._initial: bytes | None = None
        self._broken_off = ""
        self._requiretls = requiretls
        self._helo = helo
        self.stage = Stage.GREETING
        self.capabilities = Capabilities()
        self.ready = False
        self.wants_tls = False
        self.failure: HandshakeFailure | None = None

    @property
    def tells_secrets(self) -> bool:
        """Whether the server is told what nobody else may read."""
        return self._credentials is not None

    @property
    def binds(self) -> bool:
        """Whether `binding` has a use."""
        return self._credentials is not None

    @property
    def done(self) -> bool:
        """True where the caller has to act: ready, failed, or TLS wanted."""
        return self.ready or self.wants_tls or self.failure is not None

    def answer(self, replies: list[tuple[int, bytes]], *, pending_bytes: int = 0) -> None:
        """Take replies in order; `pending_bytes` are bytes received behind them that are no whole reply yet.

        Raises ProtocolError for a reply, or the beginning of one, before its command is written: also for bytes behind
        the 220 to STARTTLS, which an attacker may have put there (RFC 3207 §6).
        """
        for position, (code, text) in enumerate(replies):
            # The command it would answer is not even written. A server that shuts down may say so at any time.
            if self.done or (self._out and code != 421):
                raise ProtocolError(f"a reply that nothing asked for: {code} {self.blotted(text)[:200]!r}")
            self._step(code, text)
            if self.wants_tls and (position + 1 < len(replies) or pending_bytes):
                self.wants_tls = False
                raise ProtocolError("bytes behind the reply to STARTTLS")
        if pending_bytes and replies and self.failure is None:
            raise ProtocolError("the beginning of a reply that nothing asked for")

    def tls_started(self) -> None:
        """TLS is up: all that was learned in clear is forgotten and EHLO said again (RFC 3207 §4.2)."""
        self.wants_tls = False
        self._encrypted = True
        self.capabilities = Capabilities()
        self._say(Stage.EHLO, command_line("EHLO", self._ehlo_name))

    def discreet(self, complaint: str) -> str:
        """A complaint about bytes that are no reply, as it may be shown: a server may repeat a secret in them."""
        if self._mechanism is None:
            return complaint
        return _SHOWN.sub("(not shown, for it may repeat the password)", complaint)

    def outgoing(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _say(self, stage: Stage, line: bytes) -> None:
        self.stage = stage
        self._out.append(line)

    def _fail(self, code: int, text: bytes, reason: Reason = Reason.NONE, explanation: str = "") -> None:
        self.failure = HandshakeFailure(self.stage, code, text, reason, explanation)

    def _step(self, code: int, text: bytes) -> None:
        positive = 200 <= code < 300
        if self.stage == Stage.GREETING:
            if code == 220:
                self._say(Stage.EHLO, command_line("HELO" if self._helo else "EHLO", self._ehlo_name))
            else:
                self._fail(code, text)
        elif self.stage == Stage.EHLO:
            if positive:
                if not self._helo:
                    self.capabilities = parse_ehlo(text.decode("utf-8", "replace"))
                self._after_ehlo()
            elif 500 <= code < 600 and not self._helo:
                # RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO, and offers nothing then.
                self._helo = True
                self._say(Stage.EHLO, command_line("HELO", self._ehlo_name))
            else:
                self._fail(code, text)
        elif self.stage == Stage.STARTTLS:
            if code == 220:
                self.wants_tls = True
            elif self._tls == "opportunistic" and code != 421:
                self._after_tls()
            else:
                self._fail(code, text, Reason.TLS)
        elif self.stage == Stage.AUTH:
            self._authenticate(code, text)

    def _after_ehlo(self) -> None:
        if self._encrypted or self._tls == "none":
            self._after_tls()
        elif self.capabilities.starttls:
            self._say(Stage.STARTTLS, command_line("STARTTLS"))
        elif self._tls == "opportunistic":
            self._after_tls()
        else:
            self.stage = Stage.STARTTLS
            self._fail(0, b"", Reason.TLS, "TLS is required and the server does not offer STARTTLS")

    def _after_tls(self) -> None:
        if self._requiretls and not (self._encrypted and self.capabilities.requiretls):
            self._fail(0, b"", Reason.UNSUPPORTED, "5.7.30 the server does not offer REQUIRETLS (RFC 8689)")
            return
        credentials = self._credentials
        if credentials is None:
            self.ready = True
            return
        self.stage = Stage.AUTH
        if not self._encrypted and self._tls != "none":
            self._fail(0, b"", Reason.AUTHENTICATION, "no TLS on this connection: the password is not sent in clear")
            return
        self._log_in(credentials, self.capabilities.auth)

    def _log_in(self, credentials: Credentials, offered: Sequence[str]) -> None:
        try:
            mechanism = choose(credentials, offered, self.binding)
            initial = mechanism.initial
        except SaslError as error:
            self._fail(0, b"", Reason.AUTHENTICATION, str(error))
            return
        self._mechanism = mechanism
        line = f"{mechanism.name} {base64.b64encode(initial).decode()}" if initial is not None else mechanism.name
        if initial is not None and len(line) + len("AUTH \r\n") > MAX_INITIAL_LINE_BYTES:
            self._initial, line = initial, mechanism.name
        self._say(Stage.AUTH, command_line("AUTH", line))

    def _authenticate(self, code: int, text: bytes) -> None:
        """One reply to AUTH, or to a response to a challenge."""
        assert self._mechanism is not None
        if code != 334 and self._cannot_bind(code):
            # It binds in ways that we cannot: without, and without a claim that we could have (RFC 5802 §6).
            assert self._credentials is not None
            self.binding, self._broken_off, self._initial = b"", "", None
            self._log_in(self._credentials, [name for name in self.capabilities.auth if name != ScramSha256Plus.name])
        elif self._broken_off:
            # The answer to `*`, which should be 501 (RFC 4954 §4); why it was said is what counts.
            self._fail(0, b"", Reason.AUTHENTICATION, self._broken_off)
        elif code == 334:
            self._challenged = self._initial is None
            try:
                response = self._respond(text)
            except SaslError as error:
                self._broken_off = f"AUTH {self._mechanism.name} was broken off: {error}"
                self._say(Stage.AUTH, b"*\r\n")
            else:
                self._say(Stage.AUTH, command_line(base64.b64encode(response).decode()))
        elif code != 235:
            self._fail(code, self.blotted(text), Reason.AUTHENTICATION)
        elif not self._mechanism.complete:
            explanation = f"AUTH {self._mechanism.name}: it accepts us and has not proved that it knows the password"
            self._fail(0, b"", Reason.AUTHENTICATION, explanation)
        else:
            self.ready = True

    def _cannot_bind(self, code: int) -> bool:
        """Whether the server turned down our type of binding itself, which the campaign did not insist on."""
        mechanism, credentials = self._mechanism, self._credentials
        if not isinstance(mechanism, ScramSha256Plus) or credentials is None or credentials.mechanism is not None:
            return False
        return mechanism.binding_refused or (500 <= code < 600 and not self._challenged)

    def _respond(self, text: bytes) -> bytes:
        assert self._mechanism is not None
        if self._initial is not None:
            initial, self._initial = self._initial, None
            return initial
        # LOGIN's questions mean nothing, and some servers do not even encode them.
        return self._mechanism.respond(text if self._mechanism.name == "LOGIN" else challenge_of(text))

    def blotted(self, text: bytes) -> bytes:
        """`text` of the server without the secrets that it was told."""
        return self._credentials.redact(text) if self._credentials is not None else text
