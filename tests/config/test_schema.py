"""The published JSON Schema says what the loader takes."""

import re
from typing import Any

import pytest
import yaml
from msgspec import inspect

from bulkmail.config.schema import DESCRIPTIONS, campaign_schema
from bulkmail.model.campaign import CampaignFile

KEYWORDS = {
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "default", "description", "enum", "exclusiveMinimum",
    "items", "maximum", "minimum", "pattern", "properties", "required", "title", "type",
}  # fmt: skip
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list}


def complaints(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "") -> list[str]:
    """A validator of the keywords that the schema uses, and an error for any other."""
    assert schema.keys() <= KEYWORDS, schema.keys() - KEYWORDS
    found: list[str] = []
    if "$ref" in schema:
        found += complaints(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
    if "anyOf" in schema and all(complaints(value, inner, root, path) for inner in schema["anyOf"]):
        found.append(f"{path}: none of the alternatives")
    if "type" in schema:
        kind = type(None) if schema["type"] == "null" else TYPES[schema["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and schema["type"] != "boolean"):
            return [*found, f"{path}: no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: not in the enum")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{path}: pattern")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{path}: bounds")
    if "maximum" in schema and value > schema["maximum"]:
        found.append(f"{path}: bounds")
    if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
        found.append(f"{path}: not above the minimum")
    if isinstance(value, list):
        found += [x for i, item in enumerate(value) for x in complaints(item, schema["items"], root, f"{path}[{i}]")]
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{path}: {key} is missing" for key in schema.get("required", []) if key not in value]
        for key, item in value.items():
            inner = properties.get(key, other)
            if inner is False:
                found.append(f"{path}.{key}: unknown")
            elif isinstance(inner, dict):
                found += complaints(item, inner, root, f"{path}.{key}")
    return found


def check(text: str) -> list[str]:
    schema = campaign_schema()
    return complaints(yaml.safe_load(text), schema, schema)


def test_the_whole_campaign_file_passes(full: str) -> None:
    assert check(full) == []


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        ("retry: [5m", "retyr: [5m", ".delivery.retyr: unknown"),
        ("campaign: spring-2027", "campaign: a b", ".campaign: pattern"),
        ("retry: [5m", "retry: [5w", ".delivery.retry[0]: none of the alternatives"),
        ("100/s", "100/year", ".limits.default.messages: none of the alternatives"),
        ("2MiB", "2M", ".max_message_size: none of the alternatives"),
        ("port: 25", "port: 99999", ".delivery.port: bounds"),
        ("kind: marketing", "kind: market", ".kind: not in the enum"),
        ("seed: 1", "seed: x", ".sandbox.seed: no integer"),
        ("window: 1", "window: true", ".delivery.window: no integer"),
        ("selector: s2027, ", "", ".dkim[0]: selector is missing"),
        ("X-Campaign: spring", "X-Campaign: 1", ".headers.X-Campaign: no string"),
    ],
)
def test_a_slip_does_not_pass(text: str, changed: str, complaint: str, full: str) -> None:
    assert text in full
    assert check(full.replace(text, changed)) == [complaint]


def test_every_key_of_the_model_is_described_and_no_other() -> None:
    structs: dict[str, list[str]] = {}

    def visit(shape: Any) -> None:
        if isinstance(shape, inspect.StructType):
            structs[shape.cls.__name__] = [field.encode_name for field in shape.fields]
            for field in shape.fields:
                visit(field.type)
        for inner in getattr(shape, "types", ()):
            visit(inner)
        if isinstance(shape, inspect.Metadata):
            visit(shape.type)
        visit_inner = getattr(shape, "item_type", None) or getattr(shape, "value_type", None)
        if visit_inner is not None:
            visit(visit_inner)

    visit(inspect.type_info(CampaignFile))
    assert {name: list(keys) for name, keys in DESCRIPTIONS.items()} == structs


def test_the_schema_names_its_dialect_title_and_defaults() -> None:
    schema = campaign_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "bulkmail campaign file"
    assert schema["required"] == ["campaign", "from", "subject", "content"]
    assert schema["$defs"]["Delivery"]["properties"]["route"]["default"] == "sandbox"
    assert schema["$defs"]["Delivery"]["properties"]["allow_private_mx"]["default"] is False
