"""Fetch a small text over HTTPS from a place that a standard names: an MTA-STS policy (RFC 8461 §3.3)."""

from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError

FETCH_SECONDS = 60.0


async def fetch_text(
    client: HttpClient, url: str, *, limit_bytes: int, timeout_seconds: float = FETCH_SECONDS
) -> bytes:
    """The body of a 200 answer of type `text/plain`. Raises HttpError for anything else, a redirect among it."""
    answer = await client.request("GET", url, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes)
    if 300 <= answer.status < 400:
        raise HttpError("redirect", f"{url} answers with a redirect ({answer.status})", status=answer.status)
    if answer.status != 200:
        raise HttpError("status", f"{url} answers with status {answer.status}", status=answer.status)
    if answer.content_type != "text/plain":
        raise HttpError("type", f"{url} is {answer.content_type or 'of no type'}, not text/plain", status=200)
    return answer.body
