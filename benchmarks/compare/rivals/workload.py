"""What every rival written in Python does first: read the list, compile the template, make a message of a row."""

import argparse
import csv
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid
from pathlib import Path
from typing import NamedTuple

import dkim
from jinja2 import Environment

SUBJECT = "{{ first_name }}, your seeds are here"


class Task(NamedTuple):
    """The command line of a rival."""

    host: str
    port: int
    folder: Path
    connections: int
    content: str
    tls: bool


def read_task() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--content", choices=["static", "rendered", "signed"], default="rendered")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    return Task(**vars(options))


def messages(task: Task) -> Iterator[tuple[str, bytes]]:
    """(recipient, message) of each row; a static message is made once."""
    environment = Environment(autoescape=True)
    html = environment.from_string((task.folder / "body.html").read_text())
    subject = environment.from_string(SUBJECT)
    key = (task.folder / "key.pem").read_bytes() if task.content == "signed" else None
    static: bytes | None = None
    with (task.folder / "list.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if static is not None:
                yield row["email"], static
                continue
            message = EmailMessage(policy=SMTP)
            message["From"] = "Garden <news@sender.example>"
            message["To"] = row["email"]
            message["Subject"] = subject.render(row)
            message["Date"] = format_datetime(localtime())
            message["Message-ID"] = make_msgid(domain="sender.example")
            message["List-Unsubscribe"] = "<https://sender.example/u/0123456789abcdef0123456789abcdef>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
            message.set_content(html.render(row), subtype="html")
            data = message.as_bytes()
            if key is not None:
                data = dkim.sign(data, b"s1", b"sender.example", key, canonicalize=(b"relaxed", b"relaxed")) + data
            if task.content == "static":
                static = data
            yield row["email"], data
