"""Threats whose answer shows only in the whole program, and the table of all of them."""

import re
import ssl
from pathlib import Path

import pytest

from bulkmail.cli.doctor import Options, print_findings
from bulkmail.doctor.finding import problem
from bulkmail.net.tls import client_context
from tests.engine.scene import Internet, run, send

ROOT = Path(__file__).parents[2]
ENDS = [
    "\r\n.\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r.\r",
    "\r\n.\n",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r\n\x00.\r\n",
    "\n\n.\r\n",
]
ENVELOPE = "MAIL FROM:<evil@x.example>\r\nRCPT TO:<victim@x.example>\r\nDATA\r\nSubject: forged\r\n\r\nforged"


def lenient_messages(data: bytes) -> int:
    """How many messages a receiver sees that ends at any line break, a dot and any line break."""
    return len(re.findall(rb"(?:\r\n|\r|\n)\x00?\.(?:\r\n|\r|\n)", b"\r\n" + data + b".\r\n"))


def test_no_row_smuggles_a_second_message_past_a_receiver_that_ends_at_bare_line_feeds(tmp_path: Path) -> None:
    rows = [f'r{number}@a.example,"x{end}{ENVELOPE}{end}y"' for number, end in enumerate(ENDS) if "\x00" not in end]

    async def scene() -> None:
        async with Internet() as internet:
            exchanger = await internet.exchanger("mx.a.example", lambda *_: None, "a.example")
            table = "email,word\n" + "".join(f"{row}\n" for row in rows)
            campaign = internet.campaign(tmp_path, table, text="Hello {{ word }}\n.\n..\nend\n")
            summary, _ = await send(campaign, tmp_path / "state")
            assert summary.delivered == len(exchanger.accepted) == len(rows)
            assert "victim@x.example" not in exchanger.recipients
            for message in exchanger.accepted:
                assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message.data)
                assert lenient_messages(message.data) == 1

    run(scene())


def test_a_domain_that_takes_no_mail_bounces_without_a_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            exchanger = await internet.exchanger("mx.a.example", lambda *_: None)
            internet.dns.has("a.example 60 MX 0 .")
            internet.dns.has(f"a.example 60 A {exchanger.address}")
            summary, events = await send(internet.campaign(tmp_path, ["r@a.example"]), tmp_path / "state")
            assert summary.bounced == 1
            assert not exchanger.guests
            (bounce,) = [event for event in events if event.disposition == "bounced"]
            assert "null MX" in str(bounce.reply) + str(bounce.reason)

    run(scene())


@pytest.mark.parametrize("verify", [True, False])
def test_tls_before_1_2_is_never_spoken(verify: bool) -> None:
    """Nor compression, nor renegotiation that the server begins."""
    context = client_context(verify=verify)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mx.example")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    hello = outgoing.read()
    versions = hello.index(b"\x00\x2b\x00")  # the extension supported_versions
    offered = hello[versions + 5 : versions + 5 + hello[versions + 4]]
    assert {offered[at : at + 2] for at in range(0, len(offered), 2)} == {b"\x03\x03", b"\x03\x04"}


def test_a_reply_does_not_steer_the_terminal_of_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "554 \x1b[2J\x1b]0;owned\x07 \u202egnp.exe\r\nproblem: none"
    print_findings([problem("exchanger.refuses", hostile, hostile, remedy=hostile)], hostile, Options())
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\x07\u202e\r")
    assert "\nproblem: none" not in printed


def test_the_table_names_only_tests_that_exist_and_every_row_names_one() -> None:
    rows = [line for line in (ROOT / "docs/threats.md").read_text().splitlines() if line.startswith("| T")]
    assert {f"T{number}" for number in [*range(2, 9), *range(10, 19)]} <= {row.split("|")[1].strip() for row in rows}
    for row in rows:
        named = re.findall(r"`([^`]+)`", row.split("|")[4])
        assert named, row
        for name in named:
            path, _, test = name.partition("::")
            if test:
                assert f"def {test}(" in (ROOT / path).read_text(), name
            else:
                assert (ROOT / "tests/dialogues" / f"{name}.smtp").is_file(), name
