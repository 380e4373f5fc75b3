"""The model's own constraints hold even where the reader has no sentence for them."""

from typing import Annotated

import pytest
import yaml
from msgspec import Meta, Struct

from bulkmail.config.findings import Findings, key_path, nearest
from bulkmail.config.shape import read_struct
from bulkmail.errors import CampaignError


class Inner(Struct, forbid_unknown_fields=True):
    words: tuple[Annotated[str, Meta(max_length=3)], ...] = ()


class Outer(Struct, forbid_unknown_fields=True):
    inner: Inner
    code: Annotated[str, Meta(pattern="^x+$")] = "x"


def read(text: str) -> Outer:
    return read_struct(yaml.compose(text, Loader=yaml.SafeLoader), Outer, Findings("f.yaml"))


def test_a_constraint_without_a_sentence_is_reported_with_its_line() -> None:
    with pytest.raises(CampaignError) as caught:
        read("inner:\n  words:\n    - abc\n    - abcd\n")
    assert str(caught.value) == "f.yaml:4: inner.words[1]: expected `str` of length <= 3"


def test_a_pattern_without_a_sentence_is_shown() -> None:
    with pytest.raises(CampaignError) as caught:
        read("inner: {}\ncode: xy\n")
    assert str(caught.value) == 'f.yaml:2: code: "xy" does not match ^x+$'


def test_paths_quote_keys_that_are_no_words() -> None:
    assert key_path("", "a") == "a"
    assert key_path("a.b", "c-d") == "a.b.c-d"
    assert key_path("a", "*.x") == 'a["*.x"]'
    assert key_path("a", 'b"\\') == 'a["b\\"\\\\"]'


def test_the_line_of_a_path_is_that_of_the_nearest_part_known() -> None:
    findings = Findings("f")
    findings.place("", 1)
    findings.place("a", 2)
    findings.place('a["x.y"]', 3)
    assert findings.line('a["x.y"].b[3].c') == 3
    assert findings.line("a.b") == 2
    assert findings.line("c[0]") == 1


def test_the_nearest_word_keeps_its_own_case() -> None:
    assert nearest("XCAMPAIGN", ["X-Campaign", "b"]) == "X-Campaign"
    assert nearest("zzz", ["X-Campaign", "b"]) is None
    assert nearest("x" * 1_000_000, ["x"]) is None
