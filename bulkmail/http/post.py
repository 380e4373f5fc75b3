"""Post a small body over HTTPS to a place that a user named: a webhook."""

from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError

ANSWER_LIMIT_BYTES = 64 << 10


async def post(client: HttpClient, url: str, body: bytes, headers: dict[str, str], *, timeout_seconds: float) -> int:
    """The status, which is a 2yz. Raises HttpError for anything else, a redirect among it."""
    answer = await client.request(
        "POST", url, timeout_seconds=timeout_seconds, limit_bytes=ANSWER_LIMIT_BYTES, body=body, headers=headers
    )
    if 300 <= answer.status < 400:
        raise HttpError("redirect", f"it answers with a redirect ({answer.status})", status=answer.status)
    if not 200 <= answer.status < 300:
        raise HttpError("status", f"it answers with status {answer.status}", status=answer.status)
    return answer.status
