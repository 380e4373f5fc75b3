"""Arguments and options that several verbs have in common."""

from pathlib import Path
from typing import Annotated

import typer

CampaignFile = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's YAML file.")]
MaybeCampaign = Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="Only runs of this campaign file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, for programs.")]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The state directory. Default: $BULKMAIL_STATE, else the .bulkmail found from the campaign file upwards, "
        "else one beside it.",
    ),
]
Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="One or more addresses.")]
List = Annotated[str | None, typer.Option("--list", metavar="NAME", help="Only for this list. Default: for all mail.")]
OfCampaign = Annotated[
    str | None, typer.Option("--campaign", metavar="NAME", help="For the sends of this campaign only. Default: all.")
]


def row_numbers(text: str | None) -> tuple[int, ...]:
    """From `1,5`. Raises BadParameter."""
    numbers = text.split(",") if text else []
    if not all(number.strip().isdigit() and int(number) for number in numbers):
        raise typer.BadParameter("write numbers such as 1,5", param_hint="--rows")
    return tuple(int(number) for number in numbers)
