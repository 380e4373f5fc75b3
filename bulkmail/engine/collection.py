"""While a run goes on, the interpreter looks for cyclic garbage seldom: what a run makes goes by itself.

The interpreter looks at the young objects whenever there are 700 more than before, and at all objects each time that
their number has grown by a quarter. With 10,000 sites that is a tenth of a second of stillness a time, and a fifth of
all the CPU time, to find next to nothing. The young are looked at all the same, for those of the program around; a
thousand of them take up to 2 ms, of many sites at once.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects more than before; rounds of the young before one of the middle-aged too, and of these until all are looked at:
# as good as never, for nothing of a run waits for that and the loop would for as long as it takes.
THRESHOLDS = (3_000, 0, 10_000)

_runs = 0
_before = (0, 0, 0)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Until the last of those who asked for it has ended; what the program around has set wider stays."""
    global _runs, _before
    if not _runs:
        _before = gc.get_threshold()
        # A first threshold of 0 means never.
        if _before[0]:
            gc.set_threshold(*max(_before, THRESHOLDS))
    _runs += 1
    try:
        yield
    finally:
        _runs -= 1
        if not _runs:
            gc.set_threshold(*_before)
