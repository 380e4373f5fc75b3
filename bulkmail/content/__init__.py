"""Campaign content: templates and MIME compiled into segments and slots."""

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.identity import Identity, Position
from bulkmail.content.program import Preview, Program, RenderedMessage

__all__ = [
    "ContentError",
    "Identity",
    "MissingField",
    "Position",
    "Preview",
    "Program",
    "RenderedMessage",
    "compile_content",
]
