"""Who gets which content: variants by language and arms of an A/B test, each a campaign of its own to compile."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from bulkmail.model.campaign import Campaign, Content, Variant

Arms = Sequence[tuple[str, int]]


class Variation(Struct, frozen=True, kw_only=True):
    """The campaign as some recipients get it; `places` says under which key of the file an overridden one stands."""

    language: str | None
    arm: str | None
    campaign: Campaign
    places: Mapping[str, str]


def variations(campaign: Campaign) -> list[Variation]:
    """All there are, the campaign's own first in each arm."""
    languages: list[tuple[str | None, Variant | None]] = [(None, None)]
    if campaign.languages is not None:
        languages += sorted(campaign.languages.variants.items())
    arms: list[tuple[str | None, Variant | None]] = [*campaign.split.items()] or [(None, None)]
    made = []
    for arm_name, arm in arms:
        for language, variant in languages:
            changed = campaign
            places: dict[str, str] = {}
            if arm is not None:
                changed, places = overridden(changed, arm, f"split.{arm_name}", places)
            if variant is not None:
                changed, places = overridden(changed, variant, f"languages.variants.{language}", places)
            made.append(Variation(language=language, arm=arm_name, campaign=changed, places=places))
    return made


def overridden(
    campaign: Campaign, variant: Variant, key: str, places: Mapping[str, str]
) -> tuple[Campaign, dict[str, str]]:
    places = dict(places)
    if variant.subject is not None:
        campaign = msgspec.structs.replace(campaign, subject=variant.subject)
        places["subject"] = f"{key}.subject"
    mine, theirs = campaign.content, variant.content
    given = {
        name: value
        for name in Content.__struct_fields__
        if (value := getattr(theirs, name)) is not None and value != ()
    }
    places |= {f"content.{name}": f"{key}.content.{name}" for name in given}
    # Another page takes the place of the page, whatever it was written in, and of the text that went with it.
    if given.keys() & {"html", "mjml", "markdown"}:
        given = dict.fromkeys(("html", "mjml", "markdown", "text")) | given
    return msgspec.structs.replace(campaign, content=msgspec.structs.replace(mine, **given)), places


def arm_of(campaign: str, arms: Arms, address: str) -> str:
    """The arm that an address is in: the same for ever, whatever the list, its order and the other campaigns.

    Nothing is stored for it: a report asks the same question again.
    """
    seed = f"{campaign}\0{address.casefold()}".encode("utf-8", "replace")
    number = int.from_bytes(blake2b(seed, digest_size=8, person=b"bulkmail split").digest(), "big")
    place = number * sum(weight for _, weight in arms) >> 64
    for name, weight in arms:
        place -= weight
        if place < 0:
            return name
    raise ValueError("no arms")


def arms(campaign: Campaign) -> Arms:
    return tuple((name, arm.weight) for name, arm in campaign.split.items())


def language_key(value: Any) -> str:
    return str(value).strip().lower().replace("-", "_")


class Chooser:
    """Picks a variation by a row's values and its address; `field` is the index of the language among the values."""

    def __init__(self, campaign: Campaign, made: Sequence[Variation], fields: Sequence[str]) -> None:
        self.campaign, self.arms = campaign.campaign, arms(campaign)
        self.field = fields.index(campaign.languages.by) if campaign.languages is not None else None
        self.positions: dict[tuple[str | None, str | None], int] = {}
        for position, variation in enumerate(made):
            language = None if variation.language is None else language_key(variation.language)
            self.positions[variation.arm, language] = position

    def choose(self, values: Sequence[Any], address: str) -> int:
        return self.of_arm(values, arm_of(self.campaign, self.arms, address) if self.arms else None)

    def all(self, values: Sequence[Any]) -> list[int]:
        """Of every arm that one whose recipients have this language."""
        names: Sequence[str | None] = [name for name, _ in self.arms] or [None]
        return [self.of_arm(values, name) for name in names]

    def of_arm(self, values: Sequence[Any], arm: str | None) -> int:
        if self.field is not None and values[self.field] is not None:
            language = language_key(values[self.field])
            for name in (language, language.partition("_")[0]):
                if (arm, name) in self.positions:
                    return self.positions[arm, name]
        return self.positions[arm, None]
