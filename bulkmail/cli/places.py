"""Which state directory and which campaign a verb that only reads is about."""

from pathlib import Path

import yaml

from bulkmail.errors import CampaignError, StateError
from bulkmail.store.directory import DATABASE
from bulkmail.store.locate import state_for_campaign, state_from_here
from bulkmail.store.runs import Run
from bulkmail.store.view import StoreView


def has_state(directory: Path) -> bool:
    """True where something has been stored in it."""
    return (directory / DATABASE).is_file()


def place(campaign: str | None, state: Path | None) -> tuple[Path, str | None]:
    """The state directory, and the name of the campaign; `campaign` is a file or, where there is no such file, a name.

    Raises CampaignError and StateError.
    """
    if campaign is None:
        return state_from_here(Path.cwd(), state), None
    if not Path(campaign).exists() and not campaign.endswith((".yaml", ".yml")) and "/" not in campaign:
        return state_from_here(Path.cwd(), state), campaign
    return state_for_campaign(campaign, state), campaign_name(campaign)


def campaign_name(file: str) -> str:
    """The name in a campaign file, of which nothing else needs to be right: its run may be long over."""
    try:
        with open(file, encoding="utf-8") as stream:
            document = yaml.safe_load(stream)
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", file=file) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CampaignError(f"is not YAML: {' '.join(str(error).split())}", file=file) from None
    name = document.get("campaign") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise CampaignError("names no campaign", file=file, path="campaign")
    return name


def chosen_run(view: StoreView, directory: Path, campaign: str | None, run_id: str | None) -> Run:
    """The run with the id, else the latest of the campaign, else the latest of all. Raises StateError."""
    runs = [run for run in view.runs() if campaign is None or run.campaign == campaign]
    if run_id is not None:
        for run in runs:
            if run.id == run_id:
                return run
        known = ", ".join(run.id for run in runs[-5:])
        raise StateError(
            f"{directory}: no run {run_id}", hint=f"the latest are {known}" if known else "there is none yet"
        )
    if not runs:
        of = f" of {campaign}" if campaign else ""
        raise StateError(f"{directory}: no run{of} yet", hint="`send` makes one")
    return runs[-1]
