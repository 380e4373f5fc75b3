"""From the path of a campaign file to a frozen Campaign, or to everything that is wrong with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import asdict, replace

from bulkmail.config.checks import check_meaning
from bulkmail.config.document import line_of, read_document
from bulkmail.config.files import with_absolute_paths
from bulkmail.config.findings import Findings
from bulkmail.config.rules import read_rules
from bulkmail.config.shape import read_struct
from bulkmail.config.ways import folded_name
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, CampaignFile


def load_campaign(path: str | Path, *, recipients_required: bool = True) -> Campaign:
    """The campaign in a YAML file: units converted, paths absolute, every named file there and readable.

    `recipients_required=False` is for those who bring their recipients in Python. Raises CampaignError, the first in
    the order of the file, with the others found in its `also`.
    """
    name = os.fspath(path)
    root = read_document(Path(path), name)
    findings = Findings(name)
    findings.place("", line_of(root))
    campaign = read_struct(root, CampaignFile, findings)
    check_meaning(campaign, findings)
    if recipients_required and not campaign.recipients:
        findings.add("recipients", "no recipients", hint="add - {file: recipients.csv}")
    # Beside the file itself also where it is called by a link, as the state directory is.
    folder = Path(os.path.realpath(path) if os.path.islink(path) else path).parent
    campaign = with_absolute_paths(campaign, folder, findings)
    findings.fail_if_any()
    if campaign.feedback.rules is not None:
        read_rules(Path(campaign.feedback.rules))
    tls = replace(
        campaign.tls,
        sites={folded_name(pattern): mode for pattern, mode in campaign.tls.sites.items()},
        domains={folded_name(domain): mode for domain, mode in campaign.tls.domains.items()},
    )
    limits = replace(
        campaign.limits,
        sites={folded_name(pattern): value for pattern, value in campaign.limits.sites.items()},
        domains={folded_name(domain): value for domain, value in campaign.limits.domains.items()},
    )
    routes = {folded_name(pattern): route for pattern, route in campaign.delivery.routes.items()}
    delivery = replace(campaign.delivery, routes=routes)
    changed = {"delivery": delivery, "tls": tls, "limits": limits, "file": os.path.abspath(path)}
    return Campaign(**{**asdict(campaign), **changed})


@contextmanager
def placing_errors(file: str | None) -> Iterator[None]:
    """A CampaignError about a key of this campaign file, found after it was loaded, gets the line of the key."""
    try:
        yield
    except CampaignError as error:
        if file is None or error.file != file or error.line is not None or not error.path:
            raise
        line = _line_of_key(file, error.path)
        if line is None:
            raise
        placed = CampaignError(error.message, file=file, line=line, path=error.path, hint=error.hint)
        placed.also = error.also
        raise placed from error


def _line_of_key(file: str, path: str) -> int | None:
    findings = Findings(file)
    try:
        read_struct(read_document(Path(file), file), CampaignFile, findings)
    except CampaignError:
        return None
    return findings.line(path)
