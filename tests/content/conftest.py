"""Campaigns written into a temporary folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkmail.model.campaign import Campaign, Content

MakeCampaign = Callable[..., Campaign]


@pytest.fixture
def make_campaign(tmp_path: Path) -> MakeCampaign:
    """A campaign over files with the given contents; `text` and `html` are template texts, or bytes.

    `files` has others of the content's by their key (`mjml`), `given` has what the content says besides.
    """

    def make(
        *,
        html: str | bytes | None = None,
        text: str | bytes | None = None,
        files: dict[str, str] | None = None,
        given: dict[str, Any] | None = None,
        inline: dict[str, bytes] | None = None,
        attachments: dict[str, bytes] | None = None,
        **settings: Any,
    ) -> Campaign:
        def written(name: str, data: str | bytes) -> str:
            path = tmp_path / name
            path.write_bytes(data.encode() if isinstance(data, str) else data)
            return str(path)

        others = {kind: written(f"body.{kind}", body) for kind, body in (files or {}).items()}
        if html is None and text is None and not others:
            text = "Hello\n"
        content = Content(
            **others,
            **(given or {}),
            html=written("body.html", html) if html is not None else None,
            text=written("body.txt", text) if text is not None else None,
            inline=tuple(written(name, data) for name, data in (inline or {}).items()),
            attachments=tuple(written(name, data) for name, data in (attachments or {}).items()),
        )
        defaults = {"campaign": "spring", "from_": "Acme Garden <news@garden.example>", "subject": "Hello"}
        return Campaign(content=content, file="spring.yaml", **(defaults | settings))

    return make
