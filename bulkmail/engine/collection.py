"""While a run goes on, the interpreter looks for cyclic garbage seldom: what a run makes goes by itself.

The interpreter looks at the young objects whenever there are 700 more than before, and at all objects each time that
their number has grown by a quarter. With 10,000 sites that is a tenth of a second of stillness a time, and a fifth of
all the CPU time, to find next to nothing.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects more than before; rounds of the young until the middle-aged are looked at, and of these until all are.
THRESHOLDS = (10_000, 2, 100)

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
