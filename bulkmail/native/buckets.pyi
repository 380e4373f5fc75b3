class TokenBucket:
    """Lets through `rate` a second and at most `burst` at once: in any `t` seconds, at most `burst + rate * t`.

    `now` is monotonic seconds everywhere. `burst` is at least 1; left out, it is what a tenth of a second brings.
    ValueError for a rate that is not above 0.
    """

    def __init__(self, rate_per_second: float, burst: float | None = None, now: float = 0.0) -> None: ...
    @property
    def rate_per_second(self) -> float: ...
    def take(self, now: float) -> bool:
        """Take one if there is one."""

    def take_up_to(self, now: float, wanted: int) -> int:
        """Take as many as there are, `wanted` at most; how many."""

    def wait_seconds(self, now: float) -> float:
        """How long until `take` says yes; 0 for now."""

    def is_full(self, now: float) -> bool:
        """Whether a new bucket would be no different."""

    def set_rate(self, rate_per_second: float, now: float) -> None:
        """Change the rate; what was taken beyond it stays to be made good, at the new rate."""
