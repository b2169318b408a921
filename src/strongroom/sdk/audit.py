"""What an audit sink is: a place that takes finished lines, and says no when it cannot."""

from typing import Protocol

WITHHELD = "no audit device took the response record: the answer is withheld"


class AuditSink(Protocol):
    """One device. Lines come complete, with their newline; a sink never looks into them.

    ``line`` may be two: the first that is taken after some were missed has a marker before it that says how many.

    A sink is used by one process at a time from one thread; several processes may hold sinks on the same target.
    """

    def request(self, line: bytes) -> None:
        """Hand a request record to the kernel. Raises ``AuditFailed`` if it was not taken whole."""

    def response(self, line: bytes) -> None:
        """Hand a response record to the kernel. Raises ``AuditFailed`` if it was not taken whole.

        After a failure, ``request`` refuses until room for a response (twice the request record, at least 4 KiB)
        can be reserved again, so that at most one effect per process stands unanswered.
        """

    def both(self, lines: bytes) -> None:
        """Hand the two records of a call without effects to the kernel at once. Raises ``AuditFailed``.

        A sink need not have this; ``request`` and ``response`` are called one after the other then.
        """

    def reopen(self) -> None:
        """Close the target and open it anew (log rotation)."""

    async def sync(self) -> None:
        """Wait until what was written is on disk, if the device was configured with ``fsync``."""

    def close(self) -> None: ...


class GatheringSink(AuditSink, Protocol):
    """A sink to which several records in one call are as good as each by itself; ``gathers`` is true of it."""

    gathers: bool

    def several(self, lines: bytes, owed: int) -> None:
        """Hand records of several calls to the kernel at once, in their order. Raises ``AuditFailed``.

        ``owed`` of them are responses whose requests came before; the others stand with their requests. After a failure
        each record is handed over by itself.
        """
