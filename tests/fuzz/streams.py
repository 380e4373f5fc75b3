"""Random and mutated server byte streams, through the reply parser and the transactions of a connection."""

from typing import Any

from bulkmail.errors import ProtocolError
from bulkmail.native.reply import ReplyParser, enhanced_code, parse_reply
from bulkmail.native.session import Transactions
from tests.fuzz.corpus import after_the_greeting, replies, server_sides
from tests.fuzz.mutation import Mutator
from tests.oracles import reply as plain_reply
from tests.oracles import session as plain_session

MESSAGE = 10
Heard = list[tuple[int, bytes]]


def fed(parser: Any, pieces: list[bytes]) -> Heard:
    """What the parser makes of them, up to where it fails; then it must fail for good, and say so."""
    heard: Heard = []
    for piece in pieces:
        try:
            heard += parser.feed(piece)
        except ProtocolError:
            assert parser.failure is not None
            break
    return heard


def reply_parser(mutator: Mutator, compare: bool) -> None:
    """Replies do not depend on how the bytes are split; each is within its limits; a failure is for good."""
    data = mutator.mutated(server_sides())
    whole, split = ReplyParser(), ReplyParser()
    pieces = mutator.pieces(data)
    heard = fed(whole, [data])
    assert fed(split, pieces) == heard
    failed = whole.failure is not None
    assert (split.failure is not None) == failed
    if failed:
        for parser in (whole, split):
            try:
                parser.feed(b"250 ok\r\n")
            except ProtocolError:
                continue
            raise AssertionError("a parser that failed goes on")
    else:
        assert whole.pending == split.pending <= len(data)
    for code, text in heard:
        assert 200 <= code <= 599 and len(text) <= 65536 and text.count(b"\n") < 128
        enhanced = enhanced_code(text, code)
        assert enhanced is None or text.lstrip(b" \t").startswith(enhanced.encode())
    alone = parse_reply(data)
    assert alone is None or [alone] == heard
    if compare:
        twin = plain_reply.ReplyParser()
        assert fed(twin, pieces) == heard
        assert (twin.failure is not None) == failed
        assert failed or twin.pending == whole.pending
        assert plain_reply.parse_reply(data) == alone
        for code, text in heard:
            assert plain_reply.enhanced_code(text, code) == enhanced_code(text, code)


class Side:
    """One implementation of transactions with all that it said and did, so that two can be compared."""

    def __init__(self, transactions: Any) -> None:
        self.transactions = transactions
        self.concluded: list[int] = []
        self.delivered: list[int] = []
        self.begun: list[int] = []
        self.written: list[bytes] = []
        self.results: list[tuple[int, int, int, bytes]] = []

    def answer(self, heard: Heard) -> None:
        for result in self.transactions.answer(heard):
            message, stage, code, _ = result
            self.concluded.append(message)
            if stage == MESSAGE and 200 <= code < 300:
                assert message in self.begun, f"{message} is delivered, and its end was never written"
                self.delivered.append(message)
            self.results.append(result)
        self.concluded += self.transactions.take_misunderstood()

    def write(self) -> bytes:
        self.begun += self.transactions.take_begun()
        data = self.transactions.outgoing()
        self.written.append(data)
        return data


SENDERS = [b"", b"s@a.example", b"bounces+abcdef@mail.garden.example", b"x" * 254]
BODIES = [b"", b"x\r\n", b"Subject: x\r\n\r\nhello\r\n", b"Subject: x\r\n\r\n..dots\r\n.\r\n", b"y" * 3000 + b"\r\n"]


def transactions(mutator: Mutator, compare: bool) -> None:
    """Any server, any messages: no exception, and for each message one end that is true."""
    chance = mutator.chance
    options: dict[str, Any] = {
        "pipelining": chance() < 0.8,
        "chunking": chance() < 0.5,
        "size": chance() < 0.5,
        "window": 1 + int(chance() ** 2 * 64),
        "max_messages": 1 + int(chance() ** 3 * 60),
    }
    sides = [Side(Transactions(**options))]
    if compare:
        sides.append(Side(plain_session.Transactions(**options)))
    native = sides[0]
    parser = ReplyParser()
    script = mutator.pieces(mutator.mutated(after_the_greeting())) if chance() < 0.4 else None
    honesty = 1 - chance() ** 2 / 2
    submitted = 0
    for turn in range(12):
        submitted = _act(mutator, sides, submitted)
        for side in sides:
            side.write()
        if script is not None:
            if turn >= len(script):
                break
            data = script[turn]
        else:
            data = plausible(mutator, native.transactions, honesty)
        try:
            heard = parser.feed(data)
        except ProtocolError:
            break
        for side in sides:
            side.answer(heard)
        if native.transactions.error is not None:
            assert native.transactions.closing and not native.transactions.wants
            break
    closed, unwritten = chance() < 0.5, int(chance() ** 4 * 5000)
    left = native.transactions.abandon(closed=closed, unwritten_bytes=unwritten)
    ends = native.concluded + [message for message, _, _ in left]
    assert sorted(ends) == list(range(submitted)), f"{submitted} messages, and their ends are {ends}"
    for message, _, taken in left:
        assert not taken or message in native.begun
        if message in native.begun and not taken:
            assert unwritten or (closed and native.transactions.dismissed), f"{message} was sent, and is not in doubt"
    assert native.transactions.completed == len(native.delivered)
    assert native.transactions.in_flight == 0
    if compare:
        plain = sides[1]
        assert plain.transactions.abandon(closed=closed, unwritten_bytes=unwritten) == left
        assert plain.results == native.results
        assert plain.written == native.written
        assert plain.begun == native.begun
        assert bool(plain.transactions.error) == bool(native.transactions.error)
        assert bool(plain.transactions.anomaly) == bool(native.transactions.anomaly)
        assert plain.transactions.written_bytes == native.transactions.written_bytes
        assert plain.transactions.proven == native.transactions.proven


def _act(mutator: Mutator, sides: list[Side], submitted: int) -> int:
    """Submit, widen, narrow, give up or quit, the same on all sides."""
    chance = mutator.chance
    most = int(chance() ** 2 * 12) + 1
    while most and sides[0].transactions.wants:
        most -= 1
        sender, body = mutator.one(SENDERS), mutator.one(BODIES)
        recipient = b"r%d@b.example" % submitted
        if chance() < 0.02:
            recipient = mutator.mutated([recipient])
        utf8 = chance() < 0.1
        accepted = []
        for side in sides:
            try:
                side.transactions.submit(submitted, sender, recipient, body, utf8=utf8)
            except ValueError:
                accepted.append(False)
            else:
                accepted.append(True)
        assert len(set(accepted)) == 1
        submitted += accepted[0]
    if chance() < 0.1:
        act = chance()
        window = 1 + int(chance() * 64)
        for side in sides:
            if act < 0.5:
                side.transactions.set_window(window)
            elif act < 0.75:
                side.transactions.give_up_chunking()
            else:
                side.transactions.quit()
    return submitted


RIGHT = {7: b"250 ok\r\n", 8: b"250 2.1.5 ok\r\n", 9: b"354 go on\r\n", 10: b"250 2.0.0 in\r\n", 11: b"250 ok\r\n"}


def plausible(mutator: Mutator, native: Any, honesty: float) -> bytes:
    """Some replies that fit what was asked, or nearly."""
    chance = mutator.chance
    stage = native.stage
    if not native.asked:
        return b"" if chance() < 0.7 else mutator.one(replies())
    said = []
    if native.chunking:
        turn = [8, 10, 11, 7]
        for number in range(int(chance() * 5 * min(native.in_flight, 8)) + 1):
            at = stage if number == 0 else turn[(turn.index(stage) + number) % 4] if stage in turn else 7
            said.append(RIGHT.get(at, b"250 ok\r\n"))
    elif native.pipelining and stage in (7, 11):
        said = [RIGHT[stage], RIGHT[8], RIGHT[9]] if stage == 7 else [RIGHT[11], RIGHT[7], RIGHT[8], RIGHT[9]]
    else:
        said.append(RIGHT.get(stage, b"221 bye\r\n"))
    said = [line if chance() < honesty else mutator.one(replies()) for line in said]
    data = b"".join(said)
    return data if chance() < 0.9 else mutator.mutated([data])
