"""Everything that hangs on an object, looked through for containers that hold much."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

DEPTH = 14
LOOKED_INTO = 3


def large_containers(root: object, least: int) -> dict[str, int]:
    """The path from `root`, of attributes and `[]`, to each container of at least so many entries.

    Of a large one only the first few entries are looked into: they are of a kind. What a cache of `functools` holds
    counts as well.
    """
    found: dict[str, int] = {}
    seen: set[int] = set()
    todo: deque[tuple[str, object, int]] = deque([("", root, 0)])
    while todo:
        path, thing, depth = todo.popleft()
        if id(thing) in seen or depth > DEPTH or isinstance(thing, str | bytes | int | float | type | None):
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping | list | tuple | set | frozenset | deque):
            if len(thing) >= least:
                found[path] = len(thing)
            entries = [*thing.values(), *thing] if isinstance(thing, Mapping) else list(thing)
            todo.extend(
                (f"{path}[]", one, depth + 1) for one in entries[: LOOKED_INTO if len(thing) >= least else None]
            )
        elif hasattr(thing, "cache_info"):
            if thing.cache_info().currsize >= least:
                found[path] = thing.cache_info().currsize
        else:
            todo.extend((f"{path}.{name}", value, depth + 1) for name, value in _parts(thing))
    return found


def _parts(thing: Any) -> Iterator[tuple[str, object]]:
    """Attributes of what is ours; of functions what they are bound to or close over."""
    if getattr(thing, "__self__", None) is not None:
        yield "self", thing.__self__
    for cell in getattr(thing, "__closure__", None) or ():
        yield "cell", cell.cell_contents
    if not type(thing).__module__.startswith("bulkmail"):
        return
    names = set(getattr(thing, "__dict__", ()))
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names.update((slots,) if isinstance(slots, str) else slots)
    names.update(getattr(type(thing), "__struct_fields__", ()))
    for name in sorted(names):
        try:
            yield name, getattr(thing, name)
        except AttributeError:
            continue
