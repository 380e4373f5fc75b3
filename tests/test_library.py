"""The library's edges: what a program may do wrong."""

import asyncio
from pathlib import Path

import pytest

import bulkmail


def test_send_inside_a_running_loop_names_the_engine_instead_and_starts_nothing(tmp_path: Path) -> None:
    async def program() -> None:
        with pytest.raises(RuntimeError, match=r"bulkmail\.Engine"):
            bulkmail.send("campaigns/reference.yaml", state=tmp_path / "state")

    asyncio.run(program())
    assert not (tmp_path / "state").exists()
