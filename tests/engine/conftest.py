"""Pauses and timeouts of the engine, shortened for tests."""

from collections.abc import Callable

import pytest

from bulkmail import composition
from bulkmail.engine.dialer import Transport
from bulkmail.net.timeouts import Timeouts
from bulkmail.policy.pacing import PacingSettings


@pytest.fixture
def fast_pacing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes pause for fractions of a second where they would for minutes."""
    quick = PacingSettings().scaled(1 / 300)
    monkeypatch.setattr(composition, "PacingSettings", lambda: quick)


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with the timeouts, in seconds by stage, that the next sends have."""
    import msgspec

    def shorten(**seconds: float) -> None:
        original = composition.transport_of

        def transport_of(*arguments: object, **options: object) -> Transport:
            made = original(*arguments, **options)  # type: ignore[arg-type]
            return msgspec.structs.replace(made, timeouts=Timeouts(**seconds))

        monkeypatch.setattr(composition, "transport_of", transport_of)

    return shorten
