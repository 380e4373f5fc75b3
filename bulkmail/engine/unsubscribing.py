"""Carries out what readers ask for by a link's token: no more mail of one list, of several, of any; or mail again.

The token alone decides who is meant. Each call is durable when it returns (within `Returns.together`, at the end of
that) and may be repeated.
"""

from collections.abc import Sequence

from msgspec import Struct

from bulkmail.content.identity import Purpose
from bulkmail.engine.returns import Reader, Returns, key_of
from bulkmail.model.delivery import Event
from bulkmail.store.suppressions import ALL, Suppression

UNSUBSCRIBED = "unsubscribed"


class Wish(Struct, frozen=True, kw_only=True):
    """What a reader asks for.

    `lists` are names of lists; with none, the list of the mail that the token came in is meant (all mail where it was
    of no list). `everything`: all mail. `again`: to get mail, not to get none.
    """

    token: str
    way: str
    lists: tuple[str, ...] = ()
    everything: bool = False
    again: bool = False


class Unsubscribing:
    """Applies wishes to a state directory."""

    def __init__(self, returns: Returns) -> None:
        self._returns = returns

    def apply(self, wish: Wish) -> Reader | None:
        """Whose wish it was; None where the token is not ours, or too old, or of a run that is gone."""
        with self._returns.together():
            opened = self._returns.opened(wish.token, Purpose.LINK)
            reader = None if opened is None else self._returns.reader(opened.position)
            key = None if reader is None else key_of(reader.address)
            if reader is None or key is None:
                return None
            change = self._resume if wish.again else self._stop
            for scope in self._scopes(wish, reader):
                change(key, scope, reader, wish)
            return reader

    def _scopes(self, wish: Wish, reader: Reader) -> Sequence[str]:
        if wish.everything:
            return (ALL, *wish.lists) if wish.again else (ALL,)
        if wish.lists:
            return wish.lists
        own = reader.list_name or ALL
        # Whoever comes back to a list wants its mail, also if all was stopped before.
        return (own, ALL) if wish.again and own != ALL else (own,)

    def _stop(self, key: str, scope: str, reader: Reader, wish: Wish) -> None:
        added = self._returns.suppressions.add(
            Suppression(
                scope=scope,
                key=key,
                address=reader.address,
                reason=UNSUBSCRIBED,
                source=f"{wish.way}, run {reader.run.id}",
                time=self._returns.clock.time(),
            )
        )
        if added or not self._returns.noted(reader.run.id, ("unsubscribe", reader.address, UNSUBSCRIBED)):
            self._note("unsubscribe", scope, reader, wish)

    def _resume(self, key: str, scope: str, reader: Reader, wish: Wish) -> None:
        """Only what a reader stopped, a reader may begin again: a bounce or a complaint stays."""
        entry = self._returns.suppressions.entry(key, scope)
        if entry is None or entry.reason != UNSUBSCRIBED:
            return
        if self._returns.suppressions.remove(key, scope, source=f"{wish.way}, run {reader.run.id}"):
            self._note("resubscribe", scope, reader, wish)

    def _note(self, what: str, scope: str, reader: Reader, wish: Wish) -> None:
        self._returns.note(
            Event(
                time=self._returns.stamp(),
                event=what,
                run=reader.run.id,
                recipient=reader.address,
                reason=UNSUBSCRIBED,
                reply=f"{wish.way}: {'all mail' if scope == ALL else f'list {scope}'}",
            )
        )
