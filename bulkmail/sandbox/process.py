"""A sandbox in a process of its own, so that receiving does not take the sender's CPU."""

import asyncio
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

import bulkmail
from bulkmail.errors import CampaignError, InternalError, StateError
from bulkmail.sandbox.counts import Statistics
from bulkmail.sandbox.ledger import Keep
from bulkmail.sandbox.wire import Ask, Failed, Publish, Published, Ready, read_report

START_SECONDS = 30.0
END_SECONDS = 10.0


class SandboxProcess:
    """An async context manager with the attributes of `Sandbox`.

    The child lives as long as its standard input is open, so it never outlives this process, however that ends. It is
    in a session of its own: an interrupt typed on the terminal is the parent's to act on. `dead` says what became of a
    child that ended by itself; leaving the context raises InternalError for it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        keep: Keep = "maildir",
        profiles: Path | None = None,
        smtp_port: int = 0,
        dns_port: int = 0,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.keep = keep
        self.maildir = folder / "maildir"
        self.log_path = folder / "log.ndjson"
        self.certificate = b""
        self.dns_server = ""
        self.smtp_port = 0
        self.https_port = 0
        self._errors = folder / "sandbox.stderr"
        self._arguments = ["--folder", str(folder), "--seed", str(seed), "--keep", keep]
        self._arguments += ["--smtp-port", str(smtp_port), "--dns-port", str(dns_port)]
        if profiles is not None:
            self._arguments += ["--profiles", str(profiles)]
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id, once started."""
        return self._child.pid if self._child else None

    @property
    def dead(self) -> str | None:
        """A sentence about a child that ended before it was asked to; None while it runs."""
        if self._child is None or self._child.returncode is None:
            return None
        said = self._errors.read_text(errors="replace").strip().splitlines()[-3:]
        reason = " / ".join(said) or f"see {self.log_path}"
        return f"the sandbox's process {self._child.pid} ended by itself (status {self._child.returncode}): {reason}"

    async def __aenter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            errors = self._errors.open("wb")
        except OSError as error:
            raise StateError(f"the sandbox cannot write to {self.folder}: {error.strerror}") from None
        package = str(Path(bulkmail.__file__).parents[1])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        with errors:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bulkmail.sandbox",
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        try:
            report = await asyncio.wait_for(self._read(), START_SECONDS)
        except BaseException as error:
            await self._end()
            if isinstance(error, TimeoutError):
                raise InternalError(f"the sandbox's process said nothing in {START_SECONDS:g} seconds") from None
            raise
        if not isinstance(report, Ready):
            await self._end()
            raise InternalError(f"the sandbox's process began with {report!r}")
        self.dns_server, self.smtp_port = report.dns_server, report.smtp_port
        self.https_port = report.https_port
        self.certificate = report.certificate.encode()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        dead = self.dead
        await self._end()
        if dead is not None and error is None:
            raise InternalError(dead)

    async def publish(self, name: str, text: str) -> None:
        """Add a TXT record; it is served when this returns."""
        await self._ask(Publish(name=name, text=text))

    async def statistics(self) -> Statistics:
        """The totals since the start."""
        report = await self._ask(Ask())
        if not isinstance(report, Statistics):
            raise InternalError(f"the sandbox's process answered {report!r}")
        return report

    async def _ask(self, request: Publish | Ask) -> Ready | Published | Statistics:
        child = self._child
        if child is None or child.stdin is None:
            raise InternalError("the sandbox's process is not running")
        async with self._turn:
            try:
                child.stdin.write(msgspec.json.encode(request) + b"\n")
                await child.stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                pass
            return await self._read()

    async def _read(self) -> Ready | Published | Statistics:
        assert self._child is not None and self._child.stdout is not None
        line = await self._child.stdout.readline()
        if not line:
            await self._child.wait()
            raise InternalError(self.dead or "the sandbox's process closed its output")
        report = read_report(line)
        if isinstance(report, Failed):
            await self._end()
            raise (CampaignError if report.input else StateError)(report.message)
        return report

    async def _end(self) -> None:
        child = self._child
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), END_SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()
