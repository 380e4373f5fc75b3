"""Read a dialogue (*.smtp), play it against the real Connection, and say what became of its messages.

    # What goes wrong, and where the rule stands (RFC 5321 §4.2).
    @ messages 2                      settings: messages, window, begun, tls, auth, bytes, utf8, limit, chunk, dsn,
                                      requiretls
    S: 250 ok                         the server says a line; `{x*100}` repeats, \\xNN and \\n are bytes
    S| 250 o                          the same without a line end
    C: MAIL FROM:<s@a.example>*       the client says a line; `*` stands for anything
    DATA, BDAT                        the message, up to its end
    PAUSE                             what comes next is another segment
    TLS, TLS-FAILS                    the server begins TLS, which the client breaks off
    FIN, CLOSE, RESET                 the server ends its output, closes, resets
    OVERDUE, IDLE, DRAIN              the client's deadline passes; it has been idle for long; it is told to stop
    => r1: delivered                  the outcome of each message, and of the connection
    => connection: quit

Outcomes of a message: `delivered`, `refused at STAGE CODE`, `in doubt` (its end was written), `broken off at STAGE`
(it was not), `untouched` (not begun), `local failure REASON`. Of the connection: `quit`, `closed` (without QUIT),
`lost REASON`, `not ready STAGE CODE or REASON`.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

from bulkmail.clock import SystemClock
from bulkmail.model.campaign import Dsn, TlsMode
from bulkmail.model.delivery import Reason, Stage
from bulkmail.native.conveyor import Conveyor
from bulkmail.native.message import Message
from bulkmail.native.reply import ReplyParser
from bulkmail.net.connection import Connection, HandshakeError
from bulkmail.net.opening import connect
from bulkmail.net.owner import Left, Result
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.policy.window import Window
from bulkmail.sandbox.certificate import make_certificate, server_context
from bulkmail.smtp.handshake import Handshake
from bulkmail.smtp.sasl import Credentials
from tests.dialogues.shortway import ShortWay
from tests.net.scripted import Cut, ScriptedServer, Step, pause

WORDS = {"DATA": "D", "BDAT": "B", "PAUSE": "P", "TLS": "T", "TLS-FAILS": "F", "FIN": "E", "CLOSE": "X", "RESET": "R"}
ACTS = ("OVERDUE", "IDLE", "DRAIN")


class Dialogue(NamedTuple):
    name: str
    settings: dict[str, str]
    steps: tuple[Step, ...]
    expected: dict[str, str]

    def number(self, setting: str, default: int) -> int:
        return int(self.settings.get(setting, default))


class Played(NamedTuple):
    """`outcomes` by name of the message, and under `connection`; `intents` the messages given to `begun`."""

    outcomes: dict[str, str]
    intents: list[str]
    sent: dict[str, bytes]
    server: ScriptedServer


def read(path: Path) -> Dialogue:
    settings: dict[str, str] = {}
    steps: list[Step] = []
    expected: dict[str, str] = {}
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ") and "RFC" in lines[0] + lines[1], f"{path.name} does not say what it shows"
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("@ "):
            name, _, value = line[2:].partition(" ")
            settings[name] = value
        elif line.startswith("=> "):
            name, _, outcome = line[3:].partition(": ")
            expected[name] = outcome
        elif line.startswith("S: "):
            steps.append(_bytes(line[3:]) + b"\r\n")
        elif line.startswith("S| "):
            steps.append(_bytes(line[3:]))
        elif line.startswith("C: "):
            steps.append("C: " + re.escape(line[3:]).replace(r"\*", ".*"))
        elif line in WORDS:
            steps.append(WORDS[line])
        elif line in ACTS:
            steps.append(f"! {line}")
        else:
            raise AssertionError(f"{path.name}:{number}: no step of a dialogue: {line!r}")
    return Dialogue(path.stem, settings, tuple(steps), expected)


def _bytes(text: str) -> bytes:
    repeated = re.sub(r"\{(.+?)\*(\d+)\}", lambda found: found[1] * int(found[2]), text)
    return repeated.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Journal:
    """An owner that hands out messages in order and writes down what became of each; with `short`, by that way too."""

    def __init__(self, messages: Sequence[Message], short: ShortWay | None = None) -> None:
        self._short = short
        self._waiting = deque[Message]() if short is None else short.ring
        self._waiting.extend(messages)
        self.outcomes: dict[str, list[str]] = {message.message_id: [] for message in messages}
        self._intents: list[str] = []
        self.end: list[str] = []
        self.ended = asyncio.Event()

    def take(self, connection: Connection) -> Message | None:
        return self._waiting.popleft() if self._waiting else None

    def conveyor(self, connection: Connection, parser: ReplyParser, *, plain: bool) -> Conveyor | None:
        return None if self._short is None else self._short.conveyor(connection, parser, plain=plain)

    @property
    def intents(self) -> list[str]:
        """The messages whose intent is on record."""
        return self._intents + ([f"r{index}" for index in self._short.intents] if self._short else [])

    def begun(self, connection: Connection, messages: Sequence[Message]) -> bool:
        self._intents += [message.message_id for message in messages]
        return False

    def results(self, connection: Connection, results: Sequence[Result]) -> None:
        for message, stage, code, _ in results:
            delivered = stage == Stage.MESSAGE and 200 <= code < 300
            self.outcomes[message.message_id].append(
                "delivered" if delivered else f"refused at {Stage(stage).name} {code}"
            )

    def unfit(self, connection: Connection, message: Message, reason: Reason, explanation: str) -> None:
        self.outcomes[message.message_id].append(f"local failure {reason.name}")

    def again(self, connection: Connection, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.message_id in self._intents:
                self._intents.remove(message.message_id)
            else:
                assert self._short is not None
                self._short.answered(message.index)
        self._waiting.extendleft(reversed(messages))

    def lost(self, connection: Connection, left: Sequence[Left], reason: Reason, explanation: str) -> None:
        for message, stage, ended in left:
            self.outcomes[message.message_id].append("in doubt" if ended else f"broken off at {Stage(stage).name}")
        quiet = "quit" if connection.said_quit else "closed"
        self.end.append(quiet if reason is Reason.NONE else f"lost {reason.name}")
        self.ended.set()

    def summary(self) -> dict[str, str]:
        """Also says where something had two outcomes; that no dialogue expects."""
        waiting = {message.message_id for message in self._waiting}
        for name in self._short.delivered if self._short else ():
            self.outcomes[name].insert(0, "delivered")
        summary = {
            name: " and ".join(outcomes) or ("untouched" if name in waiting else "nothing said")
            for name, outcomes in self.outcomes.items()
        }
        return {**summary, "connection": " and ".join(self.end)}


def messages_of(dialogue: Dialogue, chunk: object = None) -> list[Message]:
    """r1, r2, ...: each with a body of its own. `bytes` and `utf8` name one message and what is special about it."""
    sizes = dict(word.split("=") for word in dialogue.settings.get("bytes", "").split())
    foreign = dialogue.settings.get("utf8", "").split()
    messages = []
    for number in range(1, dialogue.number("messages", 1) + 1):
        name = f"r{number}"
        local = f"ü{number}" if name in foreign else name
        data = f"Subject: {number}\r\n\r\n.dots and text of {number}\r\n".encode()
        data += b"x" * (int(sizes.get(name, 0)) - len(data) - 2) + b"\r\n" if name in sizes else b""
        messages.append(
            Message(
                chunk=chunk,
                index=number,
                attempt=1,
                address=f"{local}@b.example",
                sender=b"s@a.example",
                recipient=f"{local}@b.example".encode(),
                data=data,
                message_id=name,
                utf8=name in foreign,
            )
        )
    return messages


# Each play has an address of its own: where thousands share one, the kernel searches long for a free port.
_ADDRESSES = count(1 << 16)


def _address() -> str:
    number = next(_ADDRESSES)
    return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@cache
def _server_tls() -> ssl.SSLContext:
    return server_context(*make_certificate(["localhost"], now_seconds=SystemClock().time()))


async def play(dialogue: Dialogue, cut: Cut | None = None, *, short: bool = False) -> Played:
    """Play it to the end of the connection, by the `short` way too where it is open; with `cut`, the server goes silent
    for ever there."""
    settings = dialogue.settings
    way = ShortWay(dialogue.number("messages", 1) + 1) if short else None
    messages = messages_of(dialogue, way and way.active)
    journal = Journal(messages, way)
    tls: TlsMode = settings.get("tls", "none")  # type: ignore[assignment]
    credentials = Credentials("acme", "s3cret") if "auth" in settings else None
    timeouts = Timeouts()
    made: list[Connection] = []
    window = Window(dialogue.number("window", 1), size=dialogue.number("begun", dialogue.number("window", 1)))

    def make() -> Connection:
        handshake = Handshake(
            ehlo_name="me.example", tls=tls, credentials=credentials, requiretls="requiretls" in settings
        )
        made.append(
            Connection(
                journal,
                handshake,
                clock=SystemClock(),
                timeouts=timeouts,
                host="localhost",
                address="127.0.0.1",
                max_messages=dialogue.number("limit", len(messages)),
                window=window,
                dsn=Dsn() if "dsn" in settings else None,
                requiretls="requiretls" in settings,
            )
        )
        return made[0]

    async def act(word: str) -> None:
        await pause()
        connection = made[0]
        if word == "DRAIN":
            connection.drain()
        elif word == "IDLE":
            assert connection.idle_since is not None, "the connection is not idle"
            connection.expire(connection.idle_since + timeouts.idle)
        else:
            connection.expire(connection.deadline - 1)
            assert not connection.closed, "the connection did not wait for its deadline"
            connection.expire(connection.deadline)

    address = _address()
    server = ScriptedServer(
        dialogue.steps,
        act=act,
        tls=_server_tls() if {"T", "F"} & set(dialogue.steps) else None,
        cut=cut,
        chunk=dialogue.number("chunk", 0) or None,
        address=address,
    )
    async with server, asyncio.timeout(5):
        connection = await connect(make, address, server.port, source_address=address, timeout_seconds=5)
        try:
            await connection.establish(client_context(verify="verified" in settings))
            connection.pump()
            await journal.ended.wait()
        except HandshakeError as error:
            failure = error.failure
            why = str(failure.code) if failure.code else failure.reason.name
            journal.end.append(f"not ready {failure.stage.name} {why}")
        finally:
            connection.abort()
        await server.done.wait()
    sent = {message.message_id: message.data for message in messages}
    return Played(journal.summary(), journal.intents, sent, server)
