"""A campaign to measure with where none is given: a personalised message of 10 KB, rows, a receiver's address."""

from pathlib import Path

PARAGRAPH = (
    "<p>Dear {{ first_name }}, this week in {{ city }} the soil is warm enough for the first rows of peas, and the "
    "greenhouse of {{ shop }} has kept {{ points }} points for you.</p>\n"
)
FILLER = (
    "<p>Keep the bed free of stones, rake it level, and mark the rows with string before the first seed leaves the "
    "bag. What you plant today stands in flower before the swallows leave; what you plant in a month may not.</p>\n"
)
BODY_BYTES = 9_300


def write_sample(folder: Path, rows: int, *, smtp_port: int = 25, dns_server: str = "127.0.0.1:53") -> Path:
    """The campaign's file; nothing but its connections limits it, and it is not signed."""
    body = PARAGRAPH * 3
    body += FILLER * ((BODY_BYTES - len(body)) // len(FILLER))
    (folder / "body.html").write_text(f"<html><body>\n{body}</body></html>\n")
    with (folder / "list.csv").open("w") as file:
        file.write("email,first_name,city,shop,points\n")
        file.writelines(
            f"reader.{number:07d}@d{number % 4}.example,Anna {number % 977},Town {number % 313},Shop {number % 53},"
            f"{number % 1009}\n"
            for number in range(rows)
        )
    path = folder / "campaign.yaml"
    path.write_text(f"""\
campaign: bench
kind: transactional
from: "Garden <news@sender.example>"
subject: "{{{{ first_name }}}}, your seeds are here"
content: {{html: body.html}}
recipients: [{{file: list.csv}}]
delivery: {{route: mx, port: {smtp_port}, allow_private_mx: true, tls: none}}
dns: {{servers: ["{dns_server}"]}}
limits:
  default: {{connections: 20, messages_per_connection: 1000000, messages: 1000000/s, connects: 1000/s}}
""")
    return path
