"""The page in a real browser, as large as a phone and as a desktop: it fits, it can be pressed, it works."""

import asyncio
import os
from pathlib import Path

import pytest

from bulkmail.store.suppressions import Suppressions
from tests.engine.test_feedback import ADDRESSES, ANNA, Sent
from tests.serve import chromium
from tests.serve.conftest import Listening

FITS = "document.documentElement.scrollWidth <= window.innerWidth"
SMALLEST_TARGET = (
    "Math.min(...[...document.querySelectorAll('button, label')].map(e => e.getBoundingClientRect().height))"
)
FONT_SIZE = "parseFloat(getComputedStyle(document.body).fontSize)"
UNNAMED = "[...document.querySelectorAll('input:not([type=hidden])')].filter(e => !e.labels.length).length"

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.mark.parametrize(
    ("name", "width", "height", "phone"), [("phone", 360, 740, True), ("desktop", 1280, 800, False)]
)
def test_the_page_fits_and_is_worked_by_its_buttons(
    listening: Listening, sent: Sent, name: str, width: int, height: int, phone: bool, tmp_path: Path
) -> None:
    pictures = Path(os.environ.get("BULKMAIL_PICTURES", tmp_path))

    async def walk() -> list[str]:
        async with chromium.opened() as page:
            await page.size(width, height, phone=phone)
            await page.go(f"http://127.0.0.1:{listening.http_port}/u/{sent.link(ANNA)}?lang=de")
            assert await page.ask("document.querySelector('h1').textContent") == "Abmelden"
            assert await page.ask(FITS) and await page.ask(SMALLEST_TARGET) >= 44
            assert await page.ask(FONT_SIZE) >= 16 and await page.ask(UNNAMED) == 0
            # The style is let through by its digest alone: without it the button would be grey.
            assert (
                await page.ask("getComputedStyle(document.querySelector('button')).backgroundColor")
                == "rgb(29, 92, 63)"
            )
            pictures.joinpath(f"{name}-ask.png").write_bytes(await page.picture())
            await page.press("button[value=stop]")
            assert sent.suppressed(ANNA)
            assert await page.ask("document.querySelector('[role=status]') !== null") and await page.ask(FITS)
            pictures.joinpath(f"{name}-done.png").write_bytes(await page.picture())
            await page.press("button[value=again]")
            assert not sent.suppressed(ANNA)
            await page.go(f"http://127.0.0.1:{listening.http_port}/u/{sent.link(ANNA)}")
            await page.ask("document.querySelector('input[value=events]').checked = true")
            await page.press("button[value=stop-chosen]")
            return page.problems

    problems = asyncio.run(walk())
    assert [problem for problem in problems if "favicon" not in problem and "404" not in problem] == []
    with Suppressions.open(sent.path) as suppressions:
        assert suppressions.entry(ADDRESSES[ANNA], "events") is not None
    assert pictures.joinpath(f"{name}-ask.png").stat().st_size > 5_000
