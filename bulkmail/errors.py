"""The exceptions, by whose fault it is.

    BulkmailError
    ├── CampaignError     the user's input: campaign file, recipients, keys, arguments (exit code 2)
    ├── StateError        the state directory: in use, of another campaign version, full, damaged
    ├── RemoteError       a peer or the DNS broke a protocol; ends one connection or look-up, never a run
    └── InternalError     a defect of ours (exit code 1)

A refused recipient is not an exception but an event. Each message says what, where and what to do.
"""


class BulkmailError(Exception):
    """Root of all errors that bulkmail raises on purpose."""


class CampaignError(BulkmailError):
    """The user's input is wrong.

    `file`, `line` and `path` (of the key, such as `delivery.retry[2]`) say where, as far as known; `hint` what to do.
    `also` has the further errors that were found in the same pass, each complete in itself.
    """

    also: "tuple[CampaignError, ...]" = ()

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.file, self.line, self.path, self.hint = message, file, line, path, hint
        where = ":".join(str(part) for part in (file, line) if part is not None)
        text = ": ".join(part for part in (where, path, message) if part)
        super().__init__(f"{text}; {hint}" if hint else text)


class StateError(BulkmailError):
    """The state directory cannot be used as asked; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}; {hint}" if hint else message)


class StateInUse(StateError):
    """Another process owns the state directory; `pid` is that process where it could be read."""

    def __init__(self, message: str, *, pid: int | None, hint: str | None = None) -> None:
        self.pid = pid
        super().__init__(message, hint=hint)


class RunConflict(StateError):
    """An unfinished run of the same campaign was started from other content, recipients or sender."""


class DiskFull(StateError):
    """No room for the journal or the queue; what is recorded stays, sending pauses."""


class RemoteError(BulkmailError):
    """A peer or the DNS did what its protocol does not allow, or did nothing in time."""


class ProtocolError(RemoteError):
    """Bytes from an SMTP server that no reply can be made of, or a reply that nothing asked for (RFC 5321 §4.2)."""


class InternalError(BulkmailError):
    """A defect in bulkmail itself."""
