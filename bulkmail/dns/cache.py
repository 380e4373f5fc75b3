"""A bounded map whose entries expire; when it is full, the entry unused for longest goes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Expiring(Protocol):
    """`expires` is the monotonic time from which the value no longer holds."""

    @property
    def expires(self) -> float: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Expiring)


class ExpiringCache(Generic[K, V]):
    """At most `capacity` entries."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, *, now: float) -> V | None:
        """The value, while it holds."""
        value = self._entries.get(key)
        if value is None:
            return None
        if value.expires <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
