"""Find the state directory that a command means, never by the current folder when a campaign is named.

For a campaign: `--state`, else $BULKMAIL_STATE, else the `.bulkmail` found from the campaign file's folder upwards,
else one beside the campaign file. Were it found from the current folder, a run could be sent twice.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from bulkmail.errors import CampaignError, StateError

NAME = ".bulkmail"
VARIABLE = "BULKMAIL_STATE"
FOLDER_OF_CAMPAIGNS = "campaigns"


def state_for_campaign(
    campaign_file: str | None, explicit: Path | None = None, *, environment: Mapping[str, str] = os.environ
) -> Path:
    """The state directory of a campaign; it need not exist yet. CampaignError where nothing says where it is."""
    chosen = _chosen(explicit, environment)
    if chosen is not None:
        return chosen
    if campaign_file is None:
        raise CampaignError(
            "this campaign comes from no file, so its state directory must be named", hint=f"pass state= or ${VARIABLE}"
        )
    folder = Path(campaign_file).resolve().parent
    return _upwards(folder) or folder / NAME


def state_from_here(
    current: Path, explicit: Path | None = None, *, environment: Mapping[str, str] = os.environ
) -> Path:
    """The state directory of a command that names no campaign: from `current` upwards, and in `campaigns/`.

    StateError where there is none.
    """
    chosen = _chosen(explicit, environment)
    if chosen is None:
        below = current / FOLDER_OF_CAMPAIGNS / NAME
        chosen = _upwards(current.resolve()) or (below if below.is_dir() else None)
    if chosen is None or not chosen.is_dir():
        where = chosen or f"no {NAME} in {current}, above it, or in {FOLDER_OF_CAMPAIGNS}/"
        raise StateError(
            f"no state directory: {where}", hint="send a campaign first, or name the directory with --state"
        )
    return chosen


def _chosen(explicit: Path | None, environment: Mapping[str, str]) -> Path | None:
    if explicit is not None:
        return explicit
    named = environment.get(VARIABLE)
    return Path(named) if named else None


def _upwards(folder: Path) -> Path | None:
    for candidate in (folder, *folder.parents):
        if (candidate / NAME).is_dir():
            return candidate / NAME
    return None
