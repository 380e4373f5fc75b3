"""The campaigns that ship: complete, made-up, and light enough to be mailed."""

import csv
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import idna
import pytest
import yaml
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables
from msgspec import inspect

from bulkmail.model.campaign import CampaignFile, InDoubtPolicy, Route, TlsMode

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
BUILT_IN = {"address", "campaign", "message_id", "token", "unsubscribe_url"}
REAL_PROVIDERS = {
    "gmail.com", "yahoo.com", "aol.com", "outlook.com", "hotmail.com", "live.com", "icloud.com", "gmx.de", "web.de",
    "comcast.net", "orange.fr", "qq.com", "163.com", "mail.ru",
}  # fmt: skip
NOBODY = re.compile(r"[a-z]\d{5}[a-z]\d{2}(\+[a-z]+)?$")


def rows_of(name: str) -> list[dict[str, str]]:
    with (CAMPAIGNS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def described(name: str) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((CAMPAIGNS / name).read_text(encoding="utf-8"))
    return value


def keys_of(shape: inspect.Type) -> set[str]:
    """The keys of a struct type and of all structs below it; keys of free mappings are the user's and not counted."""
    match shape:
        case inspect.StructType():
            below = (keys_of(field.type) for field in shape.fields)
            return {field.encode_name for field in shape.fields}.union(*below)
        case inspect.VarTupleType():
            return keys_of(shape.item_type)
        case inspect.DictType():
            return keys_of(shape.value_type)
        case inspect.UnionType():
            return set().union(*(keys_of(kind) for kind in shape.types))
    return set()


def reserved(domain: str) -> bool:
    return domain.lower().endswith(".example")


def addresses(name: str) -> list[str]:
    if name.endswith(".csv"):
        return [row["email"] for row in rows_of(name)]
    return [json.loads(line)["email"] for line in (CAMPAIGNS / name).read_text(encoding="utf-8").splitlines()]


def test_the_reference_names_every_key_that_a_campaign_file_may_have() -> None:
    text = (CAMPAIGNS / "reference.yaml").read_text(encoding="utf-8")
    written = set(re.findall(r"^ *(?:# +)?(?:- )?([a-z_]+):", text, re.MULTILINE))
    written |= set(re.findall(r"[{,] ?([a-z_]+):", text))
    assert keys_of(inspect.type_info(CampaignFile)) - written == set()


@pytest.mark.parametrize("word", [*get_args(Route), *get_args(TlsMode), *get_args(InDoubtPolicy)])
def test_the_reference_explains_each_word_that_a_choice_has(word: str) -> None:
    text = (CAMPAIGNS / "reference.yaml").read_text(encoding="utf-8")
    assert re.search(rf"# (?:.*\. )?{word}: ", text)


@pytest.mark.parametrize("name", ["spring.yaml", "reference.yaml"])
def test_the_campaigns_stay_in_the_sandbox(name: str) -> None:
    assert described(name)["delivery"]["route"] == "sandbox"


@pytest.mark.parametrize("name", ["spring/recipients.csv", "reference/recipients.csv", "reference/recipients.jsonl"])
def test_no_recipient_can_be_anybody(name: str) -> None:
    found = addresses(name)
    assert found
    for address in found:
        local, at, domain = address.rstrip(",>").rpartition("@")
        if at and domain and domain != "[192.0.2.7]" and not reserved(domain):
            assert domain.lower() in REAL_PROVIDERS, address
            assert NOBODY.search(local), address


def test_spring_has_five_thousand_rows_of_which_twelve_are_faulty_and_nine_twice() -> None:
    rows = rows_of("spring/recipients.csv")
    assert len(rows) == 5000
    assert all(None not in row and None not in row.values() for row in rows), "a row with more or fewer cells"
    mailable = [
        row
        for row in rows
        if row["first_name"] and re.fullmatch(r'("[^"@]+"|[^\s@<>".]+(\.[^\s@<>".]+)*)@[^\s@\[\],>]+', row["email"])
    ]
    keys: Counter[tuple[str, bytes]] = Counter()
    for row in mailable:
        local, _, domain = row["email"].rpartition("@")
        keys[unicodedata.normalize("NFC", local).casefold(), idna.encode(domain.lower())] += 1
    assert len(rows) - len(mailable) == 12
    assert len(mailable) - len(keys) == 9


@pytest.mark.parametrize("campaign", ["spring", "reference"])
def test_templates_use_only_columns_of_the_list(campaign: str) -> None:
    columns = set(rows_of(f"{campaign}/recipients.csv")[0])
    texts = [(CAMPAIGNS / campaign / name).read_text(encoding="utf-8") for name in ("body.html", "body.txt")]
    texts.append(described(f"{campaign}.yaml")["subject"])
    for text in texts:
        used = find_undeclared_variables(Environment(autoescape=True).parse(text))
        assert used
        assert used - columns - BUILT_IN == set()


def test_the_spring_letter_is_slots_only_and_shows_each_inline_picture() -> None:
    html = (CAMPAIGNS / "spring/body.html").read_text(encoding="utf-8")
    assert "{%" not in html
    assert 9_000 < len(html.encode()) < 11_000
    shown = set(re.findall(r'src="cid:([^"]+)"', html))
    inline = {Path(path).name for path in described("spring.yaml")["content"]["inline"]}
    assert shown == inline
    assert all((CAMPAIGNS / "spring" / name).stat().st_size < 4096 for name in inline)
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", html))
    assert all('role="presentation"' in tag for tag in re.findall(r"<table [^>]*>", html))
    assert '<a class="link" href="{{ unsubscribe_url }}"' in html
