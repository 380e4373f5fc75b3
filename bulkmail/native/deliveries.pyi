from collections.abc import Callable
from typing import Any

from bulkmail.native.lines import DeliveredLines

class Deliveries:
    """The deliveries of a run, and the intents before them, written down without a step of Python.

    `journal` is a `bulkmail.store.journal.Journal`, `time` the time of day, `stamp` puts it into words. `on_first` is
    called when `lines` was empty, `on_few(active)` when `few` of a chunk's recipients are outstanding, and when none
    is. Without `intents_wanted` an intent needs more than a record in memory.
    """

    intents_wanted: bool

    def __init__(
        self,
        *,
        journal: Any,
        lines: DeliveredLines,
        time: Callable[[], float],
        stamp: Callable[[float], str],
        few: int,
        on_first: Callable[[], None],
        on_few: Callable[[Any], None],
        intents_wanted: bool,
    ) -> None: ...
