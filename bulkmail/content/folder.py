"""The templates of a campaign's folder, by name: what `include`, `import` and `extends` may reach, and nothing else."""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from jinja2 import BaseLoader, Environment, TemplateNotFound

from bulkmail.content.plain import plain_text
from bulkmail.errors import CampaignError

PAGES = (".html", ".htm", ".xhtml")
MAX_TEMPLATE_BYTES = 4 * 1024 * 1024


class FolderLoader(BaseLoader):
    """Templates read once; `digests` has what was read, so that a run can be pinned to it.

    A name is looked for beside the template that uses it, then in the folder. Links that lead out of it lead nowhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.digests: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def name_of(self, file: str) -> str:
        """The name of a template file of the campaign; its own where it lies elsewhere."""
        path = Path(file).resolve()
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name

    def joined(self, template: str, parent: str) -> str:
        beside = PurePosixPath(parent).parent / template
        return beside.as_posix() if self.path(beside.as_posix()) is not None else template

    def path(self, name: str) -> Path | None:
        """The file of a name, None where there is none inside the folder."""
        if not name or "\0" in name or PurePosixPath(name).is_absolute():
            return None
        path = (self.folder / name).resolve()
        return path if path.is_relative_to(self.folder) and path.is_file() else None

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        path = self.path(template)
        if path is None:
            raise TemplateNotFound(template)
        text = self.texts.get(template)
        if text is None:
            data = path.read_bytes()
            if len(data) > MAX_TEMPLATE_BYTES:
                raise CampaignError(f"is larger than {MAX_TEMPLATE_BYTES} bytes", file=str(path))
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                raise CampaignError("is not UTF-8", file=str(path), line=line, hint="save the file as UTF-8") from None
            self.texts[template] = text
            self.digests[template] = blake2b(data, digest_size=16).hexdigest()
        return text, str(path), lambda: True


class TextLoader(FolderLoader):
    """The same, of which pages are given as their text."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        text, file, fresh = super().get_source(environment, template)
        return plain_text(text) if PurePosixPath(template).suffix.lower() in PAGES else text, file, fresh
