"""Campaign content: templates and MIME compiled into segments and slots."""

from bulkmail.content.bodies import Attach, Attachment
from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.identity import Identity, Issuer, Opened, Position, Purpose, TokenKey, TokenPair
from bulkmail.content.program import Preview, Program, RenderedMessage

__all__ = [
    "Attach",
    "Attachment",
    "ContentError",
    "Identity",
    "Issuer",
    "MissingField",
    "Opened",
    "Position",
    "Preview",
    "Program",
    "Purpose",
    "RenderedMessage",
    "TokenKey",
    "TokenPair",
    "compile_content",
]
