"""Show a server who we are: the client's half of seven SASL mechanisms (RFC 4422, RFC 4954).

`choose` picks the strongest that the server offers and the login is fit for. A mechanism is asked for its `initial`
response, then for one `respond` to each challenge; `complete` says whether success may be believed. Bytes here are
those before base64.

SCRAM is bound to the TLS connection by the server's certificate (tls-server-end-point, RFC 5929 §4), the one type for
TLS 1.3 that Python's ssl has what it takes for: an exporter (RFC 9266) it has not.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from bulkmail.smtp.saslprep import saslprep as _saslprep

# RFC 7677 §4 has servers ask for 4096 at least: fewer is a gift to whoever wants to guess the password.
LEAST_ITERATIONS = 4096
# About 100 ms of work; without a bound a server could stop us with one line (RFC 5802 §9).
MOST_ITERATIONS = 500_000
MAX_CHALLENGE_BYTES = 4096
# So many of the first bytes of a secret give it away.
TELLING_BYTES = 16


class SaslError(ValueError):
    """What the server said makes no sense or proves it false; the dialogue is to be broken off."""


class Credentials(Struct, frozen=True):
    """Who logs in: with a `password`, or with a bearer `token`; `mechanism` pins one. Secrets are never printed.

    `host` and `port` are those of the server, which OAUTHBEARER names.
    """

    username: str
    password: str = ""
    token: str = ""
    mechanism: str | None = None
    host: str = ""
    port: int = 0

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"

    def redact(self, text: bytes) -> bytes:
        """`text` without the secrets, should a server repeat what it was told, be it cut off."""
        return _secrets_of(self).sub(b"***", text)


@lru_cache(maxsize=100)
def _secrets_of(login: Credentials) -> re.Pattern[bytes]:
    """What a reply must not show: each secret as it is written, or the beginning of a long one and what hangs on it."""
    forms: list[bytes] = []
    if login.token:
        forms += [base64.b64encode(_xoauth2(login)), base64.b64encode(_oauthbearer(login))]
    for secret in filter(None, (login.token, login.password)):
        forms += [base64.b64encode(f"\0{login.username}\0{secret}".encode()), base64.b64encode(secret.encode())]
        forms.append(secret.encode())
    whole = [re.escape(form) for form in forms]
    begun = [re.escape(form[:TELLING_BYTES]) + rb"\S*" for form in forms if len(form) > TELLING_BYTES]
    # Without a secret there is nothing to find.
    return re.compile(b"|".join(whole + begun) or rb"(?!)")


class Mechanism:
    """One exchange by one mechanism; `password_bearing` ones show the secret itself to whoever listens."""

    name = ""
    password_bearing = False

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.complete = True
        self.binding_refused = False

    @property
    def initial(self) -> bytes | None:
        """What may be said with AUTH itself; None where the server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """The answer to a challenge; raises SaslError where there is none to give."""
        raise SaslError(f"the server asked for more than AUTH {self.name} has to say")


class Plain(Mechanism):
    """RFC 4616."""

    name, password_bearing = "PLAIN", True

    @property
    def initial(self) -> bytes:
        login = self._credentials
        return f"\0{_prepared(login.username)}\0{_prepared(login.password)}".encode()


class Login(Mechanism):
    """draft-murchison-sasl-login: name, then password, whatever the questions say."""

    name, password_bearing = "LOGIN", True

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answers = [credentials.username, credentials.password]

    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            return super().respond(challenge)
        return self._answers.pop(0).encode()


class CramMd5(Mechanism):
    """RFC 2195: a keyed digest of the server's challenge."""

    name = "CRAM-MD5"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answered = False

    def respond(self, challenge: bytes) -> bytes:
        if self._answered:
            return super().respond(challenge)
        self._answered = True
        login = self._credentials
        digest = hmac.digest(_prepared(login.password).encode(), challenge, "md5")
        return f"{login.username} {digest.hex()}".encode()


class ScramSha256(Mechanism):
    """RFC 5802 with SHA-256 (RFC 7677): both sides prove that they know the password, neither shows it.

    `could_bind`: there is a binding, and the server does not seem to know it (§6). It is proved that it said so itself.
    """

    name = "SCRAM-SHA-256"

    def __init__(self, credentials: Credentials, *, nonce: str | None = None, could_bind: bool = False) -> None:
        super().__init__(credentials)
        self.complete = False
        self._header, self._binding = ("y,," if could_bind else "n,,"), b""
        self._nonce = nonce or secrets.token_urlsafe(24)
        name = _prepared(credentials.username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}"
        self._server_signature = b""

    @property
    def initial(self) -> bytes:
        return f"{self._header}{self._bare}".encode()

    def respond(self, challenge: bytes) -> bytes:
        if self.complete:
            return super().respond(challenge)
        if self._server_signature:
            self._verify(challenge)
            return b""
        return self._prove(challenge)

    def _prove(self, challenge: bytes) -> bytes:
        first = _text_of(challenge)
        fields = _attributes(first, "rsi")
        nonce, salt, count = fields["r"], _from_base64(fields["s"]), fields["i"]
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise SaslError("the server's nonce does not go on from ours")
        if not (count.isascii() and count.isdigit() and len(count) <= 9):
            raise SaslError("the number of iterations is no number")
        iterations = int(count)
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            bounds = f"{LEAST_ITERATIONS} to {MOST_ITERATIONS}"
            raise SaslError(f"the server asks for {iterations} iterations, {bounds} are accepted")
        if not salt:
            raise SaslError("the server's salt is empty")
        salted = _salted(_prepared(self._credentials.password), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bound = base64.b64encode(self._header.encode() + self._binding).decode()
        without_proof = f"c={bound},r={nonce}"
        message = f"{self._bare},{first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def _verify(self, challenge: bytes) -> None:
        final = _text_of(challenge)
        if final.startswith("e="):
            self.binding_refused = final[2:] in _BINDING_REFUSED
            said = self._credentials.redact(final[2:].encode()).decode("utf-8", "replace")
            raise SaslError(f"the server says {said[:60]}")
        if not hmac.compare_digest(_from_base64(_attributes(final, "v")["v"]), self._server_signature):
            raise SaslError("the server does not know the password itself: it is not who it says")
        self.complete = True


class ScramSha256Plus(ScramSha256):
    """The same, bound to the TLS connection: whoever sits between us and the server cannot pass it on (RFC 5802 §6).

    `binding` is the hash of the server's certificate that `tls-server-end-point` stands for.
    """

    name = "SCRAM-SHA-256-PLUS"

    def __init__(self, credentials: Credentials, binding: bytes, *, nonce: str | None = None) -> None:
        super().__init__(credentials, nonce=nonce)
        self._header, self._binding = "p=tls-server-end-point,,", binding


class _Bearer(Mechanism):
    """A token is said once; one complaint about it has its `answer`, and the refusal follows."""

    password_bearing = True
    answer = b""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answered = False

    def respond(self, challenge: bytes) -> bytes:
        if self._answered:
            return super().respond(challenge)
        self._answered = True
        return self.answer


class XOAuth2(_Bearer):
    """What Google and Microsoft take a bearer token by; their complaint is answered with nothing, and 535 follows."""

    name = "XOAUTH2"

    @property
    def initial(self) -> bytes:
        return _xoauth2(self._credentials)


class OAuthBearer(_Bearer):
    """RFC 7628: the same as a standard; a complaint is answered with one control-A (§3.2.3)."""

    name, answer = "OAUTHBEARER", b"\1"

    @property
    def initial(self) -> bytes:
        return _oauthbearer(self._credentials)


# A server that offers -PLUS may know other types of binding alone (RFC 5802 §7).
_BINDING_REFUSED = ("unsupported-channel-binding-type", "channel-binding-not-supported")
# Strongest first.
_BY_PASSWORD: tuple[type[Mechanism], ...] = (ScramSha256Plus, ScramSha256, CramMd5, Plain, Login)
_BY_TOKEN: tuple[type[Mechanism], ...] = (OAuthBearer, XOAuth2)


def choose(credentials: Credentials, offered: Sequence[str], binding: bytes = b"") -> Mechanism:
    """The mechanism to use with a server that offers these; raises SaslError where none fits.

    `binding` is what SCRAM can be bound to TLS by; empty where there is no TLS, or nothing to bind by.
    """
    fit = _BY_TOKEN if credentials.token else _BY_PASSWORD
    if credentials.mechanism is not None:
        fit = tuple(kind for kind in fit if kind.name == credentials.mechanism.upper())
    for kind in fit:
        if kind.name not in offered:
            continue
        if kind is ScramSha256Plus:
            if not binding:
                continue
            return ScramSha256Plus(credentials, binding)
        if kind is ScramSha256:
            return ScramSha256(credentials, could_bind=bool(binding) and ScramSha256Plus.name not in offered)
        return kind(credentials)
    wanted = " or ".join(kind.name for kind in fit) or f"{credentials.mechanism} with this login"
    raise SaslError(f"the server offers AUTH {' '.join(offered) or 'nothing'}, and not {wanted}")


@lru_cache(maxsize=32)
def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    """Kept (RFC 5802 §5.1 allows it): a server has the same salt for each of our connections."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)


def _xoauth2(login: Credentials) -> bytes:
    return f"user={login.username}\1auth=Bearer {login.token}\1\1".encode()


def _oauthbearer(login: Credentials) -> bytes:
    name = login.username.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\1host={login.host}\1port={login.port}\1auth=Bearer {login.token}\1\1".encode()


def _prepared(text: str) -> str:
    try:
        return _saslprep(text)
    except ValueError as error:
        raise SaslError(f"the user name or password has {error}") from None


def _text_of(challenge: bytes) -> str:
    try:
        return challenge.decode()
    except UnicodeDecodeError:
        raise SaslError("the server's challenge is not UTF-8") from None


def _attributes(text: str, names: str) -> dict[str, str]:
    """The values of a SCRAM message that begins with these attributes, in this order (RFC 5802 §7).

    A mandatory extension (m=) that stands first ends the exchange, as §5.1 has it; others may follow.
    """
    parts = text.split(",")
    for part, name in zip(parts, names, strict=False):
        if not part.startswith(f"{name}=") or len(part) == 2:
            break
    else:
        if len(parts) >= len(names):
            return {name: part[2:] for name, part in zip(names, parts, strict=False)}
    raise SaslError("the server's challenge is not one of SCRAM")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise SaslError("the server's challenge has broken base64") from None


def challenge_of(text: bytes) -> bytes:
    """The challenge in the text of a 334 (RFC 4954 §4); raises SaslError for what is no base64."""
    line = text.strip()
    if len(line) > MAX_CHALLENGE_BYTES or b"\n" in line:
        raise SaslError("the server's challenge is too long")
    return _from_base64(line.decode("ascii", "replace"))
