"""Messages are 7-bit before they are signed, whatever is in them, but for the To of an address beyond ASCII."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from tests.content.conftest import MakeCampaign

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TEXT, literal=TEXT.filter(lambda text: "{" not in text))
def test_any_text_in_any_place_leaves_a_message_of_seven_bits(
    make_campaign: MakeCampaign, name: str, literal: str
) -> None:
    program = compile_content(
        make_campaign(
            html=f"<p>{literal} {{{{ name }}}}</p>",
            text=f"{literal} {{{{ name }}}}\n",
            from_="Jürgen Blüte <news@gärten.example>",
            reply_to="Fürsorge <care@gärten.example>",
            subject=f"{literal} {{{{ name }}}}",
            headers={"X-Shop": "Bäckerei {{ name }}"},
            attachments={"Öffnung.txt": "geöffnet\n".encode()},
        ),
        columns=["name"],
    )
    row = program.encode_row({"name": name})
    date = "Mon, 01 Mar 2027 08:15:00 +0000"
    assert program.render("anna@bücher.example".encode("idna").decode(), row, "a" * 32, date).data.isascii()
    foreign = program.render("jürgen@b.example", row, "a" * 32, date)
    assert foreign.body.isascii()
    wide = [line for line in foreign.header.split(b"\r\n") if not line.isascii()]
    assert wide == ["To: jürgen@b.example".encode()]
