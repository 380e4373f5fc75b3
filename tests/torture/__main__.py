"""`python -m tests.torture`: everything of docs/reliability.md that takes long, a line for each row; 1 where one fails.

BULKMAIL_TORTURE_RECIPIENTS, _KILLS, _SEEDS and _STEP make it smaller.
"""

import os
import sys

from tests.simulation import seeds
from tests.torture import breakages, kills


def wanted(name: str, usual: int) -> int:
    return int(os.environ.get(f"BULKMAIL_TORTURE_{name}", usual))


def main() -> int:
    failed = kills.main(wanted("RECIPIENTS", 1_000_000), wanted("KILLS", 200))
    failed += kills.main(20_000, 20, seed=2, policy="hold")
    failed += kills.main(20_000, 20, seed=3, policy="assume_delivered")
    failed += seeds.main(1, wanted("SEEDS", 1000))
    failed += seeds.main(1, wanted("SEEDS", 1000) // 5, power=True)
    failed += breakages.main(wanted("STEP", 1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
