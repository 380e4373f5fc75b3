"""`check` on broken campaigns, one planted fault each, and on sound ones."""

import re
from pathlib import Path

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.preflight.finding import Finding, from_error
from bulkmail.preflight.inspection import Means, inspect
from bulkmail.preflight.rules import RULES, Level
from tests.preflight.faulty import FAULTS, make_key, plant, read_fault, sound_campaign

# What follows from a fault and is no fault of its own.
CONSEQUENCES = {
    "marketing.address": {"sender.postal-address"},
    "recipients.none": {"recipients.rejected"},
    "dkim.missing": {"dmarc.dkim-unaligned"},
    "dkim.alignment": {"dmarc.dkim-unaligned", "dkim.unpublished"},
    "sender.free": {"dkim.alignment", "dmarc.missing", "dmarc.unaligned", "from.no-mail", "sender.return-path"},
    "sender.return-path": {"spf.missing", "return-path.no-mail", "dmarc.spf-unaligned"},
    "source.address": {"spf.fail"},
    "images.only": {"sender.postal-address"},
    "text.empty": {"unsubscribe.invisible", "sender.postal-address", "text.different"},
}


@pytest.fixture(scope="module")
def key() -> bytes:
    return make_key()


def findings_of(folder: Path) -> list[Finding]:
    try:
        campaign = load_campaign(folder / "campaign.yaml")
    except CampaignError as error:
        return from_error(error, "campaign.invalid")
    means = Means(records=folder / "records.txt", disposable=folder / "disposable.txt")
    return inspect(campaign, folder / ".bulkmail", means).findings


def serious(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings if finding.level is not Level.NOTE}


def test_the_sound_campaign_has_nothing_to_be_mended(tmp_path, key) -> None:
    sound_campaign(tmp_path, key)
    findings = findings_of(tmp_path)
    assert serious(findings) == set(), findings
    assert {"message.size", "volume.duration", "html.dark-mode"} <= {finding.rule for finding in findings}


def test_there_are_sixty_faults_or_more() -> None:
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_the_planted_fault_is_found_and_nothing_else(tmp_path, key, path) -> None:
    sound_campaign(tmp_path, key)
    fault = read_fault(path)
    plant(tmp_path, fault)
    findings = findings_of(tmp_path)
    rule = fault["rule"]
    assert rule in {finding.rule for finding in findings}, findings
    assert serious(findings) - {rule} <= CONSEQUENCES.get(rule, set()), findings
    found = next(finding for finding in findings if finding.rule == rule)
    assert found.what and found.level is RULES[rule].level


def test_every_rule_has_an_id_of_two_parts_and_stands_in_the_table_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([a-z0-9.-]+)` \| (error|warning|note) \|", text, re.MULTILINE))
    assert table == {name: rule.level.value for name, rule in RULES.items()}
    assert all(re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", name) for name in RULES)
