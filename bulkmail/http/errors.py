"""Why an HTTP exchange came to nothing; apart from the client, whose library takes a tenth of a second to load."""

from bulkmail.errors import RemoteError


class HttpError(RemoteError):
    """An exchange that did not come to a usable answer.

    `kind` says where it ended: `dns`, `address` (one that is not allowed), `connect`, `tls`, `status`, `redirect`,
    `type`, `size`, `time` or `protocol`.
    """

    def __init__(self, kind: str, message: str, *, status: int = 0) -> None:
        self.kind = kind
        self.status = status
        super().__init__(message)
