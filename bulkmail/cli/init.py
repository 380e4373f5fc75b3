"""`bulkmail init`: a campaign folder to begin with."""

import re
from pathlib import Path

from bulkmail.cli import starter
from bulkmail.cli.hints import near, program
from bulkmail.cli.output import out
from bulkmail.errors import CampaignError


def init(target: str, *, kind: str) -> None:
    """Make the folder `target` with a campaign named as it is. Raises CampaignError; then nothing is left behind."""
    folder = Path(target)
    name = folder.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise CampaignError(f"{name!r} cannot name a campaign", hint="use letters, digits, - and _, at most 64")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CampaignError(f"{near(folder)} is there already", hint="choose another name; nothing was changed")
    marketing = kind == "marketing"
    files = {
        "campaign.yaml": (starter.MARKETING if marketing else starter.TRANSACTIONAL).format(name=name),
        "body.html": starter.MARKETING_HTML if marketing else starter.TRANSACTIONAL_HTML,
        "body.txt": starter.MARKETING_TEXT if marketing else starter.TRANSACTIONAL_TEXT,
        "recipients.csv": starter.MARKETING_ROWS if marketing else starter.TRANSACTIONAL_ROWS,
        ".gitignore": starter.IGNORED,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CampaignError(f"cannot be written: {error.strerror}", file=str(folder)) from None
    console = out()
    file = near(folder / "campaign.yaml")
    console.print(f"{near(folder)}: {', '.join(files)}")
    console.print("next:")
    for line in ("check {}", "preview {} --browser", "send {}"):
        console.print(f"  {program()} {line.format(file)}")
