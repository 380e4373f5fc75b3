"""The sandbox as a program: `python -m bulkmail.sandbox --folder DIR`, until its input ends or a signal comes."""

import argparse
import asyncio
import resource
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from bulkmail.errors import BulkmailError, CampaignError
from bulkmail.sandbox.sandbox import Sandbox
from bulkmail.sandbox.wire import Failed, Publish, Published, Ready, read_request


def main(arguments: list[str] | None = None) -> int:
    """Run until the end of standard input (not with --foreground), SIGTERM or SIGINT; the exit code."""
    options = _parser().parse_args(arguments)
    _allow_many_files()
    return uvloop.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        sandbox = Sandbox(
            options.folder,
            seed=options.seed,
            keep=options.keep,
            profiles=options.profiles,
            smtp_port=options.smtp_port,
            dns_port=options.dns_port,
        )
        async with sandbox:
            ready = Ready(
                dns_server=sandbox.dns_server,
                smtp_port=sandbox.smtp_port,
                https_port=sandbox.https_port,
                certificate=sandbox.certificate.decode(),
                folder=str(sandbox.folder),
            )
            if options.foreground:
                _say(f"DNS {ready.dns_server}, SMTP on 127.10.x.y:{ready.smtp_port}, mail in {ready.folder}\n".encode())
                await ended.wait()
            else:
                _say(msgspec.json.encode(ready) + b"\n")
                await _serve(sandbox, ended)
    except BulkmailError as error:
        wrong_input = isinstance(error, CampaignError)
        if options.foreground:
            print(f"bulkmail: {error}", file=sys.stderr)
        else:
            _say(msgspec.json.encode(Failed(message=str(error), input=wrong_input)) + b"\n")
        return 2 if wrong_input else 1
    return 0


async def _serve(sandbox: Sandbox, ended: asyncio.Event) -> None:
    """Answer the parent's requests until its end of the pipe closes or a signal comes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    answering = loop.create_task(_answer(reader, sandbox))
    waiting = loop.create_task(ended.wait())
    done, _ = await asyncio.wait((answering, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (answering, waiting):
        task.cancel()
    transport.close()
    if answering in done:
        answering.result()


async def _answer(reader: asyncio.StreamReader, sandbox: Sandbox) -> None:
    while line := await reader.readline():
        request = read_request(line)
        if isinstance(request, Publish):
            await sandbox.publish(request.name, request.text)
            _say(msgspec.json.encode(Published(name=request.name)) + b"\n")
        else:
            _say(msgspec.json.encode(await sandbox.statistics()) + b"\n")


def _say(line: bytes) -> None:
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The parent is gone; the end of its input follows.
        pass


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bulkmail.sandbox", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where log.ndjson and maildir/ are kept")
    parser.add_argument("--seed", type=int, default=1, help="which domains and mailboxes there are (default 1)")
    parser.add_argument("--keep", choices=("none", "log", "maildir"), default="maildir")
    parser.add_argument("--profiles", type=Path, help="another data file than the shipped providers")
    parser.add_argument("--smtp-port", type=int, default=0)
    parser.add_argument("--dns-port", type=int, default=0)
    parser.add_argument("--foreground", action="store_true", help="for people: do not watch standard input")
    return parser


if __name__ == "__main__":
    sys.exit(main())
