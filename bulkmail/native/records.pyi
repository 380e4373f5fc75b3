from mmap import mmap

def put_intent(buffer: mmap | bytearray, at: int, chunk: int, index: int, attempt: int, time: float) -> None:
    """Write an intent's 25 bytes at `at` of a writable buffer. IndexError where it does not fit, OverflowError for
    numbers beyond their field."""

def put_outcome(
    buffer: mmap | bytearray,
    at: int,
    chunk: int,
    index: int,
    attempt: int,
    time: float,
    disposition: int,
    stage: int,
    reason: int,
    code: int,
    due: float,
) -> None:
    """Write the 38 bytes of an outcome without a text; as `put_intent`."""
