"""The sandbox through real sockets, with independent clients."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import dns.asyncresolver
import pytest
import uvloop

from bulkmail.errors import StateError
from bulkmail.sandbox.profiles import OPEN_HOUSE
from bulkmail.sandbox.sandbox import Sandbox

WriteProfiles = Callable[..., Path]
ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<welcome@big.test>\r\n"
BIG = "127.10.2.1"


class Raw:
    """A client that writes bytes and reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> int:
        """The code of the next reply; 0 at the end of the connection."""
        while line := await asyncio.wait_for(self.reader.readline(), 5):
            if line[3:4] != b"-":
                return int(line[:3])
        return 0

    async def say(self, data: bytes, replies: int = 1) -> list[int]:
        self.writer.write(data)
        return [await self.reply() for _ in range(replies)]


@asynccontextmanager
async def connected(sandbox: Sandbox, ip: str = BIG, *, source: str | None = None) -> AsyncIterator[Raw]:
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(ip, sandbox.smtp_port, local_addr=local)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


def within(sandbox: Sandbox, check: Callable[[Sandbox], Awaitable[None]], *, loop: str = "asyncio") -> None:
    async def inside() -> None:
        async with sandbox:
            await check(sandbox)

    if loop == "uvloop":
        uvloop.run(inside())
    else:
        asyncio.run(inside())


def log_of(sandbox: Sandbox, event: str | None = None) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in sandbox.log_path.read_text().splitlines()]
    return [line for line in lines if event in (None, line["event"])]


def trusting(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=sandbox.certificate.decode())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_independent_client_sends_over_verified_tls(tmp_path: Path, loop: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "news@garden.example", "welcome@gmail.com", "Seeds"
    message["Message-ID"] = "<seeds.1@garden.example>"
    message.set_content("Hello\n.\n..two dots\n")
    sandbox = Sandbox(tmp_path, profiles=OPEN_HOUSE)

    async def check(sandbox: Sandbox) -> None:
        async with aiosmtplib.SMTP(hostname="127.10.1.1", port=sandbox.smtp_port, start_tls=False) as client:
            await client.starttls(server_hostname="gmail-smtp-in.l.google.com", tls_context=trusting(sandbox))
            refused, _ = await client.send_message(message)
            assert not refused
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as caught:
                await client.send_message(message, recipients=["unknown@gmail.com"])
            assert caught.value.recipients[0].code == 550
        statistics = await sandbox.statistics()
        assert (statistics.messages, statistics.refused) == (1, {"rcpt 550": 1})

    within(sandbox, check, loop=loop)
    (accepted,) = [line for line in log_of(sandbox, "result") if line["code"] == 250]
    assert accepted["tls"].startswith("TLSv1.")
    assert accepted["message_id"] == "<seeds.1@garden.example>"
    kept = (sandbox.maildir / "new" / accepted["file"]).read_bytes()
    body = kept.partition(b"X-Sandbox-Host: gmail-smtp-in.l.google.com\r\n")[2]
    assert body.endswith(b"Hello\r\n.\r\n..two dots\r\n")
    assert hashlib.sha256(body).hexdigest() == accepted["sha256"]
    assert [line["event"] for line in log_of(sandbox)] == ["opened", "result", "result", "closed"]


def test_an_exchanger_takes_mail_for_its_own_domains_alone(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())

    async def check(sandbox: Sandbox) -> None:
        own = await host_of("own.test", sandbox)
        envelope = b"HELO x.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<welcome@own.test>\r\n"
        async with connected(sandbox, own) as right, connected(sandbox, BIG) as wrong:
            assert await right.say(envelope, 4) == [220, 250, 250, 250]
            assert await wrong.say(envelope, 4) == [220, 250, 250, 550]

    within(sandbox, check)


def test_plain_and_chunked_messages_arrive_the_same(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())
    body = b"Subject: x\r\n\r\n" + b"line\r\n" * 20_000

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            assert await client.reply() == 220
            assert await client.say(b"EHLO x.test\r\n") == [250]
            assert await client.say(ENVELOPE + b"DATA\r\n", 3) == [250, 250, 354]
            assert await client.say(body + b".\r\n" + ENVELOPE, 3) == [250, 250, 250]
            chunks = b"BDAT 14\r\n" + body[:14] + b"BDAT %d LAST\r\n" % (len(body) - 14) + body[14:]
            assert await client.say(chunks + b"QUIT\r\n", 3) == [250, 250, 221]
            assert await client.reply() == 0

    within(sandbox, check)
    digests = {line["sha256"] for line in log_of(sandbox, "result")}
    assert digests == {hashlib.sha256(body).hexdigest()}
    assert log_of(sandbox, "closed")[0] | {"time": "", "seconds": 0} == {
        "event": "closed",
        "time": "",
        "connection": 1,
        "host": "mx1.big-mail.test",
        "peer": "127.0.0.1",
        "reason": "quit",
        "seconds": 0,
        "commands": 9,
        "messages": 2,
        "bytes": 2 * len(body),
        "unfinished": False,
    }


def test_the_log_line_of_a_message_is_on_file_before_its_reply(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            await client.reply()
            await client.say(b"HELO x.test\r\n" + ENVELOPE + b"DATA\r\n", 4)
            assert await client.say(b"x\r\n.\r\n") == [250]
            # The reply and this line are in one turn of the loop: no flush by the clock came between.
            assert [line["code"] for line in log_of(sandbox, "result")] == [250]

    within(sandbox, check)


def test_log_and_maildir_say_the_same(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("unknown_share = 0.3\ncontent_share = 0.2"))

    async def send(sandbox: Sandbox, number: int) -> None:
        async with connected(sandbox) as client:
            await client.say(b"HELO x.test\r\n", 2)
            for at in range(10):
                envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<p%d.%d@big.test>\r\n" % (number, at)
                if (await client.say(envelope, 2))[1] == 250:
                    await client.say(b"DATA\r\n")
                    await client.say(b"Message-ID: <%d.%d@b.test>\r\n\r\n.\r\n" % (number, at))
                await client.say(b"RSET\r\n")

    async def check(sandbox: Sandbox) -> None:
        await asyncio.gather(*(send(sandbox, number) for number in range(8)))

    within(sandbox, check)
    accepted = [line for line in log_of(sandbox, "result") if line["code"] == 250]
    assert 20 < len(accepted) < 70
    assert len(log_of(sandbox, "result")) == 80
    assert {line["file"] for line in accepted} == {path.name for path in (sandbox.maildir / "new").iterdir()}
    for line in accepted:
        kept = (sandbox.maildir / "new" / line["file"]).read_bytes()
        assert f"Delivered-To: {line['rcpt']}\r\n".encode() in kept
        assert kept.endswith(f"Message-ID: {line['message_id']}\r\n\r\n".encode())
        assert len(kept.partition(b"big-mail.test\r\n")[2]) == line["bytes"]


def test_connections_above_the_limit_of_a_source_are_refused_over_all_exchangers_of_a_kind(
    tmp_path: Path, write_profiles: WriteProfiles
) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("connections = 2"))

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as one, connected(sandbox, "127.10.2.2") as two:
            assert (await one.reply(), await two.reply()) == (220, 220)
            async with connected(sandbox) as three, connected(sandbox, source="127.0.0.9") as other:
                assert (await three.reply(), await other.reply()) == (421, 220)
                assert await three.reply() == 0
            assert await one.say(b"QUIT\r\n") == [221]
            async with connected(sandbox) as four:
                assert await four.reply() == 220

    within(sandbox, check)
    (refused,) = log_of(sandbox, "refused")
    assert (refused["code"], refused["at_once"]) == (421, 3)
    assert max(line["at_once"] for line in log_of(sandbox, "opened")) == 2


async def send_until_closed(client: Raw, count: int) -> list[int]:
    await client.say(b"HELO x.test\r\n", 2)
    ends = []
    for _ in range(count):
        replies = await client.say(ENVELOPE + b"DATA\r\n", 1)
        if replies != [250]:
            ends.append(replies[0])
            break
        assert [await client.reply(), await client.reply()] == [250, 354]
        ends += await client.say(b"x\r\n.\r\n")
    return ends


def test_messages_above_the_limit_of_a_connection_meet_a_reply(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("messages_per_connection = 3"))

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            assert await send_until_closed(client, 9) == [250, 250, 250, 421]
            assert await client.reply() == 0

    within(sandbox, check)


def test_or_the_connection_is_closed_without_a_word_and_the_last_reply_arrives(
    tmp_path: Path, write_profiles: WriteProfiles
) -> None:
    manners = 'messages_per_connection = 2\nat_message_limit = "close"'
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles(manners))

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            await client.say(b"HELO x.test\r\n" + ENVELOPE + b"DATA\r\n", 5)
            await client.say(b"x\r\n.\r\n" + ENVELOPE + b"DATA\r\n", 4)
            # More is on its way than one read takes when the connection closes: it must not cost the reply before it.
            assert await client.say(b"x\r\n.\r\n" + (ENVELOPE + b"DATA\r\n") * 20_000, 2) == [250, 0]

    within(sandbox, check)
    assert [line["reason"] for line in log_of(sandbox, "closed")] == ["message limit"]
    assert len(list((sandbox.maildir / "new").iterdir())) == 2


def test_greylisted_recipients_are_welcome_later(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("greylist_share = 1\ngreylist_seconds = 0.2"))

    async def check(sandbox: Sandbox) -> None:
        envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<someone@big.test>\r\nRSET\r\n"
        async with connected(sandbox) as client:
            await client.say(b"HELO x.test\r\n", 2)
            assert await client.say(envelope, 3) == [250, 451, 250]
            async with asyncio.timeout(5):
                while (await client.say(envelope, 3))[1] != 250:
                    pass

    within(sandbox, check)


def test_a_slow_exchanger_delays_its_greeting_and_each_reply(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    manners = "greeting_delay_seconds = 0.1\nreply_delay_seconds = 0.05"
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles(manners))

    async def check(sandbox: Sandbox) -> None:
        clock = asyncio.get_running_loop().time
        start = clock()
        async with connected(sandbox) as client:
            assert await client.reply() == 220
            assert clock() - start >= 0.15
            assert await client.say(b"EHLO x.test\r\n" + ENVELOPE + b"QUIT\r\n", 4) == [250, 250, 250, 221]
            assert clock() - start >= 0.35

    within(sandbox, check)


def test_a_client_that_talks_before_the_greeting_is_sent_away(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("greeting_delay_seconds = 30"))

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            assert await client.say(b"EHLO x.test\r\n", 2) == [554, 0]

    within(sandbox, check)


def test_idle_clients_are_told_so_and_closed(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles("idle_seconds = 0.1"))

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            assert [await client.reply(), await client.reply(), await client.reply()] == [220, 421, 0]

    within(sandbox, check)


@pytest.mark.parametrize(("word", "kept", "replied"), [("drop", 1, [False]), ("cut", 0, [])])
def test_a_connection_may_die_around_the_end_of_the_message(
    tmp_path: Path, write_profiles: WriteProfiles, word: str, kept: int, replied: list[bool]
) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            envelope = f"HELO x.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<{word}@big.test>\r\nDATA\r\n".encode()
            assert await client.say(envelope, 5) == [220, 250, 250, 250, 354]
            client.writer.write(b"x\r\n.\r\n")
            try:
                assert await client.reply() == 0
            except ConnectionResetError:
                pass

    within(sandbox, check)
    assert len(list((sandbox.maildir / "new").iterdir())) == kept
    assert [line["replied"] for line in log_of(sandbox, "result")] == replied


def test_a_message_that_never_ends_is_noted_with_the_end_of_its_connection(
    tmp_path: Path, write_profiles: WriteProfiles
) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            await client.say(b"HELO x.test\r\n" + ENVELOPE + b"DATA\r\n", 5)
            client.writer.write(b"half a mess")

    within(sandbox, check)
    assert [line["unfinished"] for line in log_of(sandbox, "closed")] == [True]
    assert not log_of(sandbox, "result")


def test_a_failed_handshake_is_the_end_of_the_connection(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    sandbox = Sandbox(tmp_path / "box", profiles=write_profiles())

    async def check(sandbox: Sandbox) -> None:
        async with connected(sandbox) as client:
            assert await client.say(b"EHLO x.test\r\nSTARTTLS\r\n", 3) == [220, 250, 220]
            client.writer.write(b"MAIL FROM:<a@b.test>\r\n")
            try:
                assert not (await client.reader.read()).startswith(b"250")
            except ConnectionResetError:
                pass

    within(sandbox, check)
    assert [line["reason"] for line in log_of(sandbox, "closed")] == ["tls"]


def test_a_port_in_use_is_a_sentence(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    profiles = write_profiles()

    async def check(first: Sandbox) -> None:
        with pytest.raises(StateError, match=r"cannot listen on 127\.0\.0\.0/8"):
            async with Sandbox(tmp_path / "other", profiles=profiles, smtp_port=first.smtp_port):
                pass

    within(Sandbox(tmp_path / "box", profiles=profiles), check)


def test_nothing_listens_beyond_loopback(tmp_path: Path, write_profiles: WriteProfiles) -> None:
    async def check(sandbox: Sandbox) -> None:
        table = listening_sockets()
        ports = {f"{port:04X}" for port in (sandbox.smtp_port, int(sandbox.dns_server.rpartition(":")[2]))}
        addresses = [address for address, port in table if port in ports]
        assert addresses
        assert all(address.endswith("7F") for address in addresses)

    within(Sandbox(tmp_path / "box", profiles=write_profiles()), check)


def listening_sockets() -> list[tuple[str, str]]:
    """Address and port of every listening TCP socket of the machine, in the kernel's hexadecimal."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(row[1].partition(":")[0], row[1].partition(":")[2]) for row in rows if row[3] == "0A"]


async def host_of(domain: str, sandbox: Sandbox) -> str:
    resolver = dns.asyncresolver.Resolver(configure=False)
    address, _, port = sandbox.dns_server.rpartition(":")
    resolver.nameservers, resolver.port = [address], int(port)
    exchangers = await resolver.resolve(domain, "MX")
    return str((await resolver.resolve(exchangers[0].exchange, "A"))[0])
