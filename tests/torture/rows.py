"""What the long tests share: a folder on a real disk."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_on_disk() -> Iterator[Path]:
    """Somewhere on a real disk, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bulkmail-torture-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
