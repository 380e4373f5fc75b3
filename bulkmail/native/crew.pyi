"""Threads that work on batches of signatures without the interpreter, and a pipe that tells the event loop."""

from bulkmail.native.signing import Batch

class Crew:
    """Batches go in by `submit` and come out by `take`; any number of threads is in `serve`."""

    def fileno(self) -> int:
        """Becomes readable when there is something to `take`."""

    def submit(self, batch: Batch) -> None:
        """Have a loaded batch worked on."""

    def serve(self) -> Batch | None:
        """Work, without the GIL, until a batch needs what only the interpreter can do: it is returned.

        `give_back` has it handed out afterwards. None once closed and nothing waits.
        """

    def give_back(self, batch: Batch) -> None:
        """A batch that `serve` returned is done."""

    def take(self) -> list[Batch]:
        """All that is done by now."""

    def close(self) -> None:
        """Every `serve` comes to its end."""
