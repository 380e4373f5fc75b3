"""The sandbox as a child process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.asyncresolver
import pytest

from bulkmail.errors import CampaignError, InternalError, StateError
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.sandbox.profiles import OPEN_HOUSE

ROOT = Path(__file__).parents[2]


def within(sandbox: SandboxProcess, check: Callable[[SandboxProcess], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with sandbox:
            await check(sandbox)

    asyncio.run(inside())


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_serves_mail_and_published_records_and_ends_with_its_context(tmp_path: Path) -> None:
    pids: list[int] = []

    async def check(sandbox: SandboxProcess) -> None:
        assert sandbox.pid is not None
        pids.append(sandbox.pid)
        # An interrupt typed on the parent's terminal is not the child's.
        assert os.getsid(sandbox.pid) != os.getsid(0)
        await sandbox.publish("s1._domainkey.garden.example", "v=DKIM1; p=AAAA")
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [sandbox.dns_server.partition(":")[0]]
        resolver.port = int(sandbox.dns_server.partition(":")[2])
        (record,) = await resolver.resolve("s1._domainkey.garden.example", "TXT")
        assert record.strings == (b"v=DKIM1; p=AAAA",)
        exchanger = (await resolver.resolve("gmail.com", "MX"))[0].exchange
        address = (await resolver.resolve(exchanger, "A"))[0].address
        reader, writer = await asyncio.open_connection(address, sandbox.smtp_port)
        lines = b"HELO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<welcome@gmail.com>\r\nDATA\r\n"
        writer.write(lines)
        while not (await reader.readline()).startswith(b"354"):
            pass
        writer.write(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
        assert b"221" in await reader.read()
        writer.close()
        await writer.wait_closed()
        statistics = await sandbox.statistics()
        assert (statistics.messages, statistics.dns_queries) == (1, 3)
        assert sandbox.dead is None

    sandbox = SandboxProcess(tmp_path / "box", profiles=OPEN_HOUSE)
    within(sandbox, check)
    assert not running(pids[0])
    lines = [json.loads(line) for line in sandbox.log_path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["opened", "result", "closed"]
    assert len(list((sandbox.maildir / "new").iterdir())) == 1


def test_a_child_that_dies_is_reported(tmp_path: Path) -> None:
    async def check(sandbox: SandboxProcess) -> None:
        assert sandbox.pid is not None
        os.kill(sandbox.pid, signal.SIGKILL)
        with pytest.raises(InternalError, match="ended by itself"):
            await sandbox.statistics()
        assert "status -9" in (sandbox.dead or "")

    with pytest.raises(InternalError, match="ended by itself"):
        within(SandboxProcess(tmp_path, profiles=OPEN_HOUSE, keep="none"), check)


def test_a_bad_profile_file_is_the_users_fault_in_the_parent_too(tmp_path: Path) -> None:
    profiles = tmp_path / "mine.toml"
    profiles.write_text("[manners.x]\nconnections = 'ten'\n")

    async def check(sandbox: SandboxProcess) -> None:
        raise AssertionError("it started")

    with pytest.raises(CampaignError, match=r"mine\.toml"):
        within(SandboxProcess(tmp_path / "box", profiles=profiles), check)


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    async def check(first: SandboxProcess) -> None:
        port = int(first.dns_server.partition(":")[2])
        with pytest.raises(StateError, match="cannot listen"):
            async with SandboxProcess(tmp_path / "other", profiles=OPEN_HOUSE, dns_port=port):
                pass

    within(SandboxProcess(tmp_path / "box", profiles=OPEN_HOUSE), check)


PARENT = """
import asyncio, sys, time
from pathlib import Path
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.sandbox.profiles import OPEN_HOUSE
async def main():
    async with SandboxProcess(Path(sys.argv[1]), profiles=OPEN_HOUSE, keep="none") as sandbox:
        print(sandbox.pid, flush=True)
        time.sleep(60)
asyncio.run(main())
"""


def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "box")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = os.pidfd_open(pid)
        parent.kill()
    try:
        readable = asyncio.run(_ended(child))
    finally:
        os.close(child)
    assert readable


async def _ended(child: int) -> bool:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(child, ended.set)
    try:
        return await asyncio.wait_for(ended.wait(), 10)
    finally:
        asyncio.get_running_loop().remove_reader(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_in_order(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bulkmail.sandbox", "--folder", str(tmp_path), "--foreground"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().startswith(b"DNS 127.0.0.1:")
        program.send_signal(number)
        assert program.wait(10) == 0
        assert program.stderr.read() == b""


def test_the_program_names_a_wrong_argument_and_ends_with_two(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulkmail.sandbox", "--folder", str(tmp_path), "--foreground"]
    result = subprocess.run(
        [*command, "--profiles", "missing.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("bulkmail: missing.toml: cannot read")
