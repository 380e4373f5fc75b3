"""One target in a process of its own: says where it is, so that whoever started it can tell a crash or a hang."""

import json
import mmap
import os
import resource
import struct
import sys
import time
from pathlib import Path

PLACE = struct.Struct("<QQ")
PAGE = os.sysconf("SC_PAGE_SIZE")


def load_sanitized(directory: str) -> None:
    """Have `bulkmail.native` mean the natives of this directory."""
    import bulkmail.native

    bulkmail.native.__path__ = [directory]
    from bulkmail.native import reply

    assert str(reply.__file__).startswith(directory), f"{reply.__file__} is not of the sanitized build"


def memory_bytes() -> int:
    """Resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def main() -> None:
    """`worker.py TARGET SEED FIRST_BLOCK BLOCKS PLACE_FILE`; the last line of the output is a JSON report."""
    name, (seed, first, blocks), place = sys.argv[1], map(int, sys.argv[2:5]), sys.argv[5]
    if directory := os.environ.get("BULKMAIL_FUZZ_NATIVE"):
        load_sanitized(directory)
    from tests.fuzz.targets import BLOCK, TARGETS, run_block

    target = TARGETS[name]
    memory = []
    with open(place, "r+b") as file, mmap.mmap(file.fileno(), PLACE.size) as shared:
        began = time.process_time()
        for block in range(first, first + blocks):

            def note(number: int, block: int = block) -> None:
                PLACE.pack_into(shared, 0, block, number)

            run_block(target, seed, block, note)
            if blocks < 40 or block % (blocks // 40) == 0:
                memory.append(memory_bytes())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "inputs": blocks * BLOCK,
        "cpu_seconds": round(time.process_time() - began, 2),
        "memory_bytes": memory,
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
