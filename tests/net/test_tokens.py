"""Commands that print bearer tokens: well, badly, late, and never in a word of an error."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from bulkmail.net.reach import no_route
from bulkmail.net.tokens import TokenError, TokenSource


def command(folder: Path, body: str) -> str:
    script = folder / "token.py"
    script.write_text(body)
    return f"{sys.executable} -S {script}"


COUNTING = """\
from pathlib import Path
count = Path(__file__).with_suffix(".count")
number = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (number + 1))
print(f"token-{number}")
"""


def test_a_token_is_kept_until_it_is_refused_and_those_who_wait_share_one_run(tmp_path: Path) -> None:
    source = TokenSource(command(tmp_path, COUNTING))

    async def scene() -> None:
        assert not source.kept
        assert set(await asyncio.gather(*(source.token() for _ in range(8)))) == {"token-0"}
        assert source.kept
        source.refuse("another")
        assert await source.token() == "token-0"
        source.refuse("token-0")
        assert await source.token() == "token-1"

    asyncio.run(scene())


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("import sys; print('s3cret'); sys.exit(3)", "exit code 3"),
        ("print('s3cret and more')", "printed no token"),
        ("pass", "printed no token"),
        ("print('s3cret\\x00')", "printed no token"),
        ("print('s' * 20000)", "more than 8192 bytes"),
        ("import time; print('s3cret', flush=True); time.sleep(60)", "did not end in 0.5 s"),
    ],
)
def test_a_command_that_gives_no_token_is_named_and_not_quoted(tmp_path: Path, body: str, complaint: str) -> None:
    source = TokenSource(command(tmp_path, body), timeout_seconds=0.5 if "sleep" in body else 20.0)
    with pytest.raises(TokenError, match=complaint) as caught:
        asyncio.run(source.token())
    assert "s3cret" not in str(caught.value) + repr(source)


def test_a_token_that_comes_in_pieces_is_put_together(tmp_path: Path) -> None:
    body = "import sys, time\nfor part in 'abcd':\n    print(part * 10, end='', flush=True)\n    time.sleep(0.05)\n"
    token = "".join(letter * 10 for letter in "abcd")
    for start in (asyncio.run, uvloop.run):
        assert start(TokenSource(command(tmp_path, body)).token()) == token


@pytest.mark.parametrize("start", [asyncio.run, uvloop.run])
def test_a_command_that_hangs_ends_with_all_that_it_has_started(tmp_path: Path, start: Callable[..., object]) -> None:
    pids = tmp_path / "pids"
    body = f"""\
import subprocess
for _ in range(2):
    child = subprocess.Popen(["sleep", "60"])
    open({str(pids)!r}, "a").write(f"{{child.pid}} ")
child.wait()
"""
    with pytest.raises(TokenError, match="did not end in"):
        start(TokenSource(command(tmp_path, body), timeout_seconds=2.5).token())
    children = pids.read_text().split()
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "the children of the command are still there"


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_that_is_not_there_is_an_error_of_its_own() -> None:
    with pytest.raises(TokenError, match="cannot be run: No such file"):
        asyncio.run(TokenSource("/nowhere/at-all 'a b'").token())


def test_a_route_is_looked_up_without_a_packet() -> None:
    assert no_route("127.0.0.1", None) is None
    assert no_route("127.0.0.1", "127.0.7.1") is None
    assert no_route("2001:4860:4860::8888", "127.0.0.1") == "127.0.0.1 cannot send to IPv6"
    assert no_route("192.0.2.1", "::1") == "::1 cannot send to IPv4"
    assert no_route("127.0.0.1", "192.0.2.77") == "192.0.2.77 is no address of this machine"
