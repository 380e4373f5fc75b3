"""Pictures of pages on desktop and phone, by headless Chromium over its DevTools protocol."""

import asyncio
import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bulkmail.errors import CampaignError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS = {"desktop": 1200, "phone": 390}
START_SECONDS = 30.0
PAGE_SECONDS = 20.0
# Beyond this a picture is cut off: nobody looks at more.
TALLEST = 10_000


def find_chromium() -> str | None:
    """The program; $BULKMAIL_CHROMIUM names another."""
    named = os.environ.get("BULKMAIL_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def take_pictures(pages: Mapping[str, str], folder: Path) -> list[Path]:
    """`NAME-desktop.png` and `NAME-phone.png` of each page, in `folder`. CampaignError where there is no Chromium."""
    program = find_chromium()
    if program is None:
        raise CampaignError(
            "there is no Chromium on this machine to take pictures with",
            hint="install it (Debian: apt-get install chromium), or name it in $BULKMAIL_CHROMIUM",
        )
    return asyncio.run(_take(program, pages, folder))


async def _take(program: str, pages: Mapping[str, str], folder: Path) -> list[Path]:
    with tempfile.TemporaryDirectory(prefix="bulkmail-chromium-", ignore_cleanup_errors=True) as profile:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox refuses root
        process = await asyncio.create_subprocess_exec(
            program,
            "--headless",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            *sandbox,
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await asyncio.wait_for(_address(process), START_SECONDS)
            async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
                return [path async for path in _pictures(_Browser(socket), pages, folder)]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise CampaignError(f"{program} takes no picture: {error or 'it does not answer'}") from None
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if match := re.search(rb"DevTools listening on (ws://\S+)", line):
            return match[1].decode()
    raise OSError("it ended at once")


async def _pictures(browser: "_Browser", pages: Mapping[str, str], folder: Path) -> Any:
    for name, html in pages.items():
        for kind, path in _places(name, folder):
            target = (await browser.ask("Target.createTarget", url="about:blank"))["targetId"]
            session = (await browser.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
            width, phone = WIDTHS[kind], kind == "phone"
            screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone}
            await browser.ask("Emulation.setDeviceMetricsOverride", session, **screen)
            await browser.ask("Emulation.setScriptExecutionDisabled", session, value=True)
            frame = (await browser.ask("Page.getFrameTree", session))["frameTree"]["frame"]["id"]
            await browser.ask("Page.setDocumentContent", session, frameId=frame, html=html)
            metrics = await browser.ask("Page.getLayoutMetrics", session)
            height = min(TALLEST, max(1, round(metrics["cssContentSize"]["height"])))
            await browser.ask("Emulation.setDeviceMetricsOverride", session, **(screen | {"height": height}))
            shot = await browser.ask("Page.captureScreenshot", session, format="png")
            path.write_bytes(base64.b64decode(shot["data"]))
            await browser.ask("Target.closeTarget", targetId=target)
            yield path


def _places(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for kind in WIDTHS:
        yield kind, folder / f"{name}-{kind}.png"


class _Browser:
    """One question at a time; what the browser says unasked is passed over."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def ask(self, method: str, session: str | None = None, **parameters: object) -> Any:
        self._number += 1
        question: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            question["sessionId"] = session
        async with asyncio.timeout(PAGE_SECONDS):
            await self._socket.send_json(question)
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise OSError(f"{method}: {answer['error'].get('message')}")
                    return answer["result"]
