"""What makes one recipient's message impossible, as against a campaign nobody's message can be made from."""

from typing import Self

from bulkmail.errors import BulkmailError


class ContentError(BulkmailError, ValueError):
    """No message can be made of this row; the text is a sentence for whoever owns the list or the template."""

    def about(self, field: str) -> "ContentError | Self":
        """The error as one about a field, where it does not say so already."""
        return ContentError(f"field {field}: {self}")


class MissingField(ContentError):
    """A template prints a field that the row does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"field {name} is missing" if name else "a value is missing")

    def about(self, field: str) -> Self:
        return self
