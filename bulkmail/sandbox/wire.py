"""The lines between a sandbox's process and its parent: JSON, one object a line, requests in and reports out."""

import msgspec
from msgspec import Struct

from bulkmail.sandbox.counts import Statistics


class Publish(Struct, frozen=True, kw_only=True, tag="publish"):
    """Serve a TXT record; answered by Published."""

    name: str
    text: str


class Ask(Struct, frozen=True, kw_only=True, tag="statistics"):
    """Answered by Statistics."""


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The first report: everything listens. `certificate` is PEM."""

    dns_server: str
    smtp_port: int
    https_port: int
    certificate: str
    folder: str


class Published(Struct, frozen=True, kw_only=True, tag="published"):
    """The record is served."""

    name: str


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The first and last report where the sandbox cannot start; `input`: by fault of a file or argument."""

    message: str
    input: bool


_requests: msgspec.json.Decoder[Publish | Ask] = msgspec.json.Decoder(Publish | Ask)
_reports: msgspec.json.Decoder[Ready | Published | Failed | Statistics] = msgspec.json.Decoder(
    Ready | Published | Failed | Statistics
)


def read_request(line: bytes) -> Publish | Ask:
    """Raises msgspec.MsgspecError for anything else."""
    return _requests.decode(line)


def read_report(line: bytes) -> Ready | Published | Failed | Statistics:
    """Raises msgspec.MsgspecError for anything else."""
    return _reports.decode(line)
