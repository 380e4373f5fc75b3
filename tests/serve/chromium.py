"""A headless Chromium that looks at a page and presses its buttons, by the DevTools protocol."""

import asyncio
import base64
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--remote-debugging-port=0")  # fmt: skip


class Page:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.problems: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self._loaded()

    async def press(self, selector: str) -> None:
        """Press a button that leads to another page."""
        await self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)}).click()")
        await self._loaded()

    async def ask(self, expression: str) -> Any:
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def size(self, width: int, height: int, *, phone: bool) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    async def picture(self) -> bytes:
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    async def _loaded(self) -> None:
        while (await self._next()).get("method") != "Page.loadEventFired":
            pass

    async def _next(self) -> dict[str, Any]:
        answer = dict(await self._socket.receive_json(timeout=20))
        if answer.get("method") == "Log.entryAdded":
            self.problems.append(answer["params"]["entry"]["text"])
        return answer


@asynccontextmanager
async def opened() -> AsyncIterator[Page]:
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                while not (found := re.search(rb"ws://127\.0\.0\.1:(\d+)/", line := await process.stderr.readline())):
                    assert line, "Chromium did not start"
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{int(found[1])}/json") as answer:
                    pages = await answer.json()
                url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.call("Page.enable")
                    await page.call("Log.enable")
                    yield page
        finally:
            process.kill()
            await process.communicate()
