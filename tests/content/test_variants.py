"""Language variants, A/B tests, and files of each recipient's own."""

from collections import Counter
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bulkmail.content.bodies import Attach, Attachment
from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.variants import arm_of
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Content, Languages, SplitArm, Unsubscribe, Variant
from tests.content.conftest import MakeCampaign
from tests.content.test_program import DATE, TOKEN


def campaign_in(folder: Path, **settings: Any) -> Campaign:
    def file(name: str, text: str) -> str:
        (folder / name).write_text(text)
        return str(folder / name)

    german = Variant(
        subject="Hallo {{ name }}", content=Content(html=file("de.html", "<p>Guten Tag {{ price | number }}</p>"))
    )
    defaults: dict[str, Any] = {
        "subject": "Hello {{ name }}",
        "content": Content(html=file("en.html", "<p>Good day {{ price | number }}</p>"), text=file("en.txt", "Hi")),
        "languages": Languages(by="lang", variants={"de": german, "fr_CA": Variant(subject="Salut")}),
        "split": {"plain": SplitArm(), "loud": SplitArm(weight=3, content=Content(preheader="LOUD"))},
    }
    file_name = str(folder / "c.yaml")
    return Campaign(campaign="spring", from_="news@garden.example", file=file_name, **(defaults | settings))


def seen(campaign: Campaign, address: str = "ann@example.com", **row: Any) -> tuple[str, str, str]:
    program = compile_content(campaign)
    assert program.problem({"name": "Ann", "price": 1234.5, **row}) is None
    preview = program.preview(address, program.encode_row({"name": "Ann", "price": 1234.5, **row}))
    return preview.subject, (preview.html or "").strip(), (preview.text or "").strip()


def test_a_row_gets_the_content_of_its_language(tmp_path: Path) -> None:
    campaign = campaign_in(tmp_path, split={})
    assert seen(campaign) == ("Hello Ann", "<p>Good day 1,234.5</p>", "Hi")
    for language in ("de", "DE", "de-AT", " de_CH "):
        assert seen(campaign, lang=language) == ("Hallo Ann", "<p>Guten Tag 1.234,5</p>", "Guten Tag 1.234,5")
    assert seen(campaign, lang="fr-ca")[0] == "Salut"
    assert seen(campaign, lang="fr")[0] == "Hello Ann"


def test_the_rows_of_an_arm_are_always_the_same_and_as_many_as_its_weight(tmp_path: Path) -> None:
    arms = [("plain", 1), ("loud", 3)]
    counts = Counter(arm_of("spring", arms, f"a{number}@example.com") for number in range(20_000))
    assert abs(counts["loud"] / 20_000 - 0.75) < 0.01
    assert arm_of("spring", arms, "Ann@Example.com") == arm_of("spring", arms, "ann@example.com")
    assert [arm_of("spring", arms, f"a{number}@example.com") for number in range(6)] == [
        *("loud", "plain", "loud", "plain", "loud", "loud"),
    ]
    campaign = campaign_in(tmp_path)
    for number in range(20):
        address = f"a{number}@example.com"
        loud = arm_of("spring", arms, address) == "loud"
        assert ("LOUD" in seen(campaign, address)[1]) is loud
        assert ("LOUD" in seen(campaign, address, lang="de")[1]) is loud


def test_a_row_is_judged_by_all_arms(tmp_path: Path) -> None:
    campaign = campaign_in(tmp_path, split={"a": SplitArm(), "b": SplitArm(subject="{{ city }}")})
    assert compile_content(campaign).problem({"name": "x", "price": 1}) == "field city is missing"


def test_a_fault_in_a_variant_is_told_under_its_key(tmp_path: Path) -> None:
    campaign = campaign_in(tmp_path, split={"a": SplitArm(), "b": SplitArm(subject="{{ nam }}")})
    with pytest.raises(CampaignError, match=r"split\.b\.subject: nam is no field"):
        compile_content(campaign, columns=["name", "price", "lang"])
    with pytest.raises(CampaignError, match=r"languages\.by: lang is no field"):
        compile_content(campaign_in(tmp_path, split={}), columns=["name", "price", "language"])


def parts_of(campaign: Campaign, row: dict[str, Any], attach: Attach | None = None) -> dict[str, tuple[str, bytes]]:
    program = compile_content(campaign, attach=attach)
    assert program.problem(row) is None
    data = program.render("ann@example.com", program.encode_row(row), TOKEN, DATE).data
    parsed = BytesParser(policy=policy.default).parsebytes(data)
    assert not [defect for part in parsed.walk() for defect in part.defects]
    return {
        part.get_filename() or "": (part.get_content_type(), part.get_payload(decode=True))  # type: ignore[misc]
        for part in parsed.iter_attachments()
    }


def test_each_recipient_gets_the_file_that_the_row_names(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    (tmp_path / "invoices").mkdir()
    for number in (1, 2):
        (tmp_path / "invoices" / f"Rechnung {number} ü.pdf").write_bytes(b"%PDF" + bytes([number]) * 100)
    content = make_campaign(text="x", attachments={"terms.txt": b"terms"}).content
    names = (*content.attachments, "invoices/Rechnung {{ n }} ü.pdf")
    campaign = Campaign(
        campaign="spring",
        from_="a@b.example",
        subject="x",
        content=Content(text=content.text, attachments=names),
        file=str(tmp_path / "spring.yaml"),
    )
    for number in (1, 2):
        found = parts_of(campaign, {"n": number})
        assert found["terms.txt"] == ("text/plain", b"terms")
        assert found[f"Rechnung {number} ü.pdf"] == ("application/pdf", b"%PDF" + bytes([number]) * 100)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "link", "no", ".", "", "../key.pem", "x\0y", "..\\secret"]
)
def test_a_row_cannot_have_a_file_from_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "files").mkdir()
    (folder / "files" / "link").symlink_to(tmp_path / "secret")
    (folder / "key.pem").write_text("secret")
    (folder / "body.txt").write_text("x")
    campaign = Campaign(
        campaign="spring",
        from_="a@b.example",
        subject="x",
        content=Content(text=str(folder / "body.txt"), attachments=("files/{{ name | default('') }}",)),
        file=str(folder / "c.yaml"),
    )
    program = compile_content(campaign)
    problem = program.problem({"name": name})
    assert problem is not None and "attachment" in problem
    with pytest.raises(ContentError):
        program.render("a@b.example", program.encode_row({"name": name}), TOKEN, DATE)


def test_a_path_that_names_no_folder_of_its_own_is_refused(make_campaign: MakeCampaign) -> None:
    for path in ("{{ a }}", "{{ a }}/b.pdf", "/{{ a }}", "x{{ a }}.pdf"):
        with pytest.raises(CampaignError, match=r"content.attachments\[0\]: .* could name any file"):
            content = structs.replace(make_campaign(text="x").content, attachments=(path,))
            compile_content(structs.replace(make_campaign(), content=content))


def test_a_program_makes_attachments_of_the_fields_it_asks_for(make_campaign: MakeCampaign) -> None:
    def make(address: str, fields: Any) -> list[Attachment]:
        if not fields.get("total"):
            return []
        return [
            Attachment(name="bill.pdf", data=f"{address} {fields}".encode()),
            Attachment(name="b.x", data=b"", content_type="application/x-bill"),
        ]

    attach = Attach(make=make, fields=("total",))
    found = parts_of(make_campaign(text="{{ name }}"), {"name": "Ann", "total": 5, "other": 1}, attach)
    assert found["bill.pdf"] == ("application/pdf", b"ann@example.com {'total': 5}")
    assert found["b.x"] == ("application/x-bill", b"")
    assert parts_of(make_campaign(text="{{ name }}"), {"name": "Ann"}, attach) == {}


@pytest.mark.parametrize(
    "item",
    [Attachment(name="a\r\nBcc: x", data=b""), Attachment(name="", data=b""),
     Attachment(name="a", data=b"", content_type="x"),
     Attachment(name="a", data=b"", content_type="text/plain\r\nX: y"),
     Attachment(name="a", data=b"", content_type="message/rfc822")],
)  # fmt: skip
def test_what_a_program_makes_is_checked(make_campaign: MakeCampaign, item: Attachment) -> None:
    program = compile_content(make_campaign(text="x"), attach=Attach(make=lambda address, fields: [item]))
    assert "an attachment has" in (program.problem({}) or "")


def test_what_a_program_raises_is_that_recipients_problem(make_campaign: MakeCampaign) -> None:
    def make(address: str, fields: Any) -> list[Attachment]:
        raise OSError("no printer")

    program = compile_content(make_campaign(text="x"), attach=Attach(make=make))
    assert program.problem({}) == "the attachment could not be made: OSError: no printer"


def test_the_link_out_tells_the_page_its_readers_language(tmp_path: Path) -> None:
    def link(url: str, **row: Any) -> str:
        program = compile_content(campaign_in(tmp_path, unsubscribe=Unsubscribe(url=url), split={}))
        values = program.encode_row({"name": "Ann", "price": 1, **row})
        data = program.render("ann@example.com", values, TOKEN, DATE, link="l" * 32).header
        return str(BytesParser(policy=policy.default).parsebytes(data)["List-Unsubscribe"])

    ours = "https://garden.example/u/{{ token }}"
    token = "l" * 32
    assert link(ours, lang="de-AT") == f"<https://garden.example/u/{token}?lang=de-AT>"
    assert link(ours, lang="a&b=c>") == f"<https://garden.example/u/{token}?lang=a%26b%3Dc%3E>"
    assert link(ours) == f"<https://garden.example/u/{token}?lang=>"
    assert link(f"{ours}?lang=fr", lang="de") == f"<https://garden.example/u/{token}?lang=fr>"
    assert link("https://theirs.example/{{ token }}/out", lang="de") == f"<https://theirs.example/{token}/out>"
