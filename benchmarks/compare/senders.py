"""The senders that are compared: what each does, how it is tuned, what it needs, and how one run of it is made."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compare.figures import Figures, SenderFailed, run_process
from benchmarks.compare.rivals import postfix
from benchmarks.workload import write_campaign
from bulkmail.dkim.multibuffer import MultibufferError, load

RIVALS = Path(__file__).parent / "rivals"
NODE_MODULES = Path("build/bench-peers/node_modules")
_QUEUE_LOOK_SECONDS = 0.02
_STALLED_SECONDS = 60.0


class Job(NamedTuple):
    """One run: a folder with the list, the template and the key, and where to deliver."""

    folder: Path
    ports: dict[str, Any]
    messages: int
    connections: int

    @property
    def sink(self) -> tuple[str, int]:
        return self.ports["address"], self.ports["smtp_port"]


class Sender(NamedTuple):
    """`messages` is how many one run sends, so that slow ones end; `work` is what it does to each: static, rendered
    or signed by `signing`."""

    name: str
    note: str
    work: str
    signing: str | None
    messages: int
    missing: Callable[[], str | None]
    run: Callable[[Job], Figures]
    tls: bool = False
    #: Its start is not in the figures already, so that a run of few messages need not be subtracted.
    started_before: bool = False


def _nothing() -> str | None:
    return None


def _turbo_missing() -> str | None:
    try:
        load()
    except MultibufferError as error:
        return f"bulkmail[turbo] cannot be used here: {error}"
    return None


def _bulkmail(
    turbo: bool, signing: str | None, *, tls: bool = False, signers: int | None = None, window: int = 1
) -> Any:
    def run(job: Job) -> Figures:
        campaign = write_campaign(
            job.folder,
            recipients=job.messages,
            sink=job.ports,
            signing=signing,
            connections=job.connections,
            tls=tls,
            window=window,
        )
        module = "benchmarks.compare.rivals.bulkmail_sender"
        arguments = [str(campaign), str(job.folder / "state"), "turbo" if turbo else "plain"]
        return _python(module, [*arguments, *([str(signers)] if signers else [])], job.folder)

    return run


def _python(module: str, arguments: list[str], folder: Path) -> Figures:
    environment = {"PYTHONPATH": os.getcwd()}
    return run_process([sys.executable, "-m", module, *arguments], folder, environment)


def _client(name: str, work: str) -> Any:
    def run(job: Job) -> Figures:
        _write_rivals_folder(job)
        host, port = job.sink
        arguments = [host, str(port), str(job.folder), "--connections", str(job.connections), "--content", work]
        return _python(f"benchmarks.compare.rivals.{name}", arguments, job.folder)

    return run


def _smtp_source(*options: str) -> Any:
    def run(job: Job) -> Figures:
        host, port = job.sink
        command = ["smtp-source", *options, "-s", str(job.connections), "-m", str(job.messages), "-l", "10000"]
        addresses = ["-f", "bounces@sender.example", "-t", "reader@d0.example"]
        return run_process([*command, *addresses, f"{host}:{port}"], job.folder)

    return run


def _nodemailer(work: str) -> Any:
    def run(job: Job) -> Figures:
        _write_rivals_folder(job)
        host, port = job.sink
        command = ["node", str(RIVALS / "nodemailer_client.js"), host, str(port), str(job.folder), str(job.connections)]
        return run_process([*command, work], job.folder, {"NODE_PATH": str(NODE_MODULES.resolve())})

    return run


def _postfix(*, signed: bool) -> Any:
    def run(job: Job) -> Figures:
        _write_rivals_folder(job)
        port = _free_port()
        with postfix.running(
            job.folder, port=port, sink=job.sink, connections=job.connections, signed=signed
        ) as instance:
            before, began = instance.cpu_seconds(), time.monotonic()
            arguments = ["127.0.0.1", str(instance.port), str(job.folder), "--connections", "5"]
            injector = _python("benchmarks.compare.rivals.smtplib_client", arguments, job.folder)
            changed, last = time.monotonic(), -1
            while (left := instance.queued()) > 0:
                if left != last:
                    changed, last = time.monotonic(), left
                elif time.monotonic() - changed > _STALLED_SECONDS:
                    raise SenderFailed(f"Postfix delivers nothing any more, {left} messages are queued")
                time.sleep(_QUEUE_LOOK_SECONDS)
            seconds = time.monotonic() - began
            return Figures(
                instance.cpu_seconds() - before + injector.cpu_seconds,
                seconds,
                max(instance.peak_kib(), injector.peak_kib),
            )

    return run


def _write_rivals_folder(job: Job) -> None:
    write_campaign(job.folder, recipients=job.messages, sink=job.ports, signing="rsa")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _package(name: str) -> Callable[[], str | None]:
    return lambda: None if find_spec(name) else f"{name} is not installed"


def _node_missing() -> str | None:
    if shutil.which("node") is None:
        return "node is not installed"
    if not (NODE_MODULES / "nodemailer").is_dir():
        return "nodemailer is not installed"
    return None


def nodemailer_version() -> str | None:
    file = NODE_MODULES / "nodemailer" / "package.json"
    if not file.exists():
        return None
    script = f"console.log(require({str(file.resolve())!r}).version)"
    return subprocess.run(["node", "-e", script], capture_output=True, text=True, check=False).stdout.strip()


BASE = "smtp-source -d"

SENDERS: tuple[Sender, ...] = (
    Sender(BASE, "C; one fixed message, no list", "static", None, 20_000, _program("smtp-source"), _smtp_source("-d")),
    Sender(
        "smtp-source", "the same, a connection each", "static", None, 10_000, _program("smtp-source"), _smtp_source()
    ),
    Sender("bulkmail", "unsigned", "rendered", None, 20_000, _nothing, _bulkmail(False, None)),
    Sender(
        "bulkmail, TLS 1.3", "unsigned", "rendered", None, 20_000, _nothing, _bulkmail(False, None, tls=True), tls=True
    ),
    Sender(
        "bulkmail, Ed25519 turbo",
        "eight signatures at once",
        "signed",
        "ed25519",
        20_000,
        _turbo_missing,
        _bulkmail(True, "ed25519"),
    ),
    Sender("bulkmail, Ed25519", "by OpenSSL", "signed", "ed25519", 20_000, _nothing, _bulkmail(False, "ed25519")),
    Sender(
        "bulkmail, RSA-2048 turbo",
        "eight signatures at once",
        "signed",
        "rsa",
        20_000,
        _turbo_missing,
        _bulkmail(True, "rsa"),
    ),
    Sender("bulkmail, RSA-2048", "by OpenSSL", "signed", "rsa", 10_000, _nothing, _bulkmail(False, "rsa")),
    Sender("smtplib", "20 threads", "static", None, 5_000, _nothing, _client("smtplib_client", "static")),
    Sender(
        "smtplib, rendered",
        "Jinja2 and email",
        "rendered",
        None,
        1_500,
        _nothing,
        _client("smtplib_client", "rendered"),
    ),
    Sender(
        "aiosmtplib",
        "uvloop, 20 clients",
        "static",
        None,
        5_000,
        _package("aiosmtplib"),
        _client("aiosmtplib_client", "static"),
    ),
    Sender(
        "aiosmtplib, rendered",
        "Jinja2 and email",
        "rendered",
        None,
        1_500,
        _package("aiosmtplib"),
        _client("aiosmtplib_client", "rendered"),
    ),
    Sender(
        "aiosmtplib + dkimpy",
        "RSA-2048",
        "signed",
        "rsa",
        400,
        _package("aiosmtplib"),
        _client("aiosmtplib_client", "signed"),
    ),
    Sender("nodemailer", "pool of 20", "static", None, 5_000, _node_missing, _nodemailer("static")),
    Sender("nodemailer, rendered", "pool of 20", "rendered", None, 3_000, _node_missing, _nodemailer("rendered")),
    Sender("nodemailer + its DKIM", "RSA-2048", "signed", "rsa", 2_000, _node_missing, _nodemailer("signed")),
    Sender(
        "Postfix",
        "rendered by Jinja2 and email, submitted by smtplib",
        "rendered",
        None,
        1_500,
        lambda: postfix.missing(signed=False),
        _postfix(signed=False),
        started_before=True,
    ),
    Sender(
        "Postfix + OpenDKIM",
        "the same, signed with RSA-2048",
        "signed",
        "rsa",
        1_500,
        lambda: postfix.missing(signed=True),
        _postfix(signed=True),
        started_before=True,
    ),
)
