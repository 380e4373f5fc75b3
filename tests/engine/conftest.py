"""Timeouts of the engine, shortened for tests."""

from collections.abc import Callable

import msgspec
import pytest

from bulkmail import composition
from bulkmail.engine.dialer import Transport
from bulkmail.net.timeouts import Timeouts


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with the timeouts, in seconds by stage, that the next sends have."""

    def shorten(**seconds: float) -> None:
        original = composition.transport_of

        def transport_of(*arguments: object, **options: object) -> Transport:
            made = original(*arguments, **options)  # type: ignore[arg-type]
            return msgspec.structs.replace(made, timeouts=Timeouts(**seconds))

        monkeypatch.setattr(composition, "transport_of", transport_of)

    return shorten
