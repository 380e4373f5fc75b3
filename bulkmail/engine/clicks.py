"""Notes who followed a link of ours, or opened a message, in the log of what came back; each recipient once a link."""

from bulkmail.content.identity import Purpose
from bulkmail.content.tracking import LinkSeal, open_link, open_pixel
from bulkmail.engine.returns import Returns
from bulkmail.model.delivery import Event


class Clicks:
    """Opens the paths that `content.tracking` makes. A call is durable as `Returns.together` says."""

    def __init__(self, returns: Returns) -> None:
        self._returns = returns

    def seals(self) -> tuple[LinkSeal, ...]:
        """Those of all keys that still open tokens."""
        return tuple(LinkSeal(key.secret) for key in self._returns.token_keys())

    def note(self, path: str) -> None:
        """A path that was asked for: nothing where its token is not ours."""
        click = open_link(path, self.seals())
        if click is not None:
            self._note("click", click.token, click.target)
        elif (token := open_pixel(path)) is not None:
            self._note("open", token, "")

    def _note(self, what: str, token: str, target: str) -> None:
        with self._returns.together():
            opened = self._returns.opened(token, Purpose.LINK)
            reader = None if opened is None else self._returns.reader(opened.position)
            if reader is None or self._returns.noted(reader.run.id, (what, reader.address, target)):
                return
            self._returns.note(
                Event(
                    time=self._returns.stamp(),
                    event=what,
                    run=reader.run.id,
                    recipient=reader.address,
                    reason=target or None,
                )
            )
