"""One audit device at work: its sink, its lines, its chain, what it missed and what went wrong with it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from strongroom.core.audit_chain import Chain, Head, gap_line
from strongroom.core.audit_devices import DeviceEntry
from strongroom.core.audit_record import DEFAULT_RULES, Rules
from strongroom.errors import AuditFailed, VaultError
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import Call
from strongroom.sdk.fields import parse_bool
from strongroom.sdk.request import Response

OpenSink = Callable[
    [str, Mapping[str, str]], AuditSink
]  # (type, options); BadRequest for an unknown type or bad options
RETRY = 1.0  # seconds between two tries to open a target that could not be opened


class Lines(Protocol):
    """What a device's lines are made by: LineMaker, or SealedLines on a sealed node."""

    def who_and_what(self, call: Call, rules: Rules = DEFAULT_RULES) -> bytes: ...

    def request(self, shared: bytes, now: float, refusal: BaseException | None = None) -> bytes: ...

    def response(
        self, shared: bytes, now: float, call: Call, outcome: Response | BaseException, rules: Rules = DEFAULT_RULES
    ) -> bytes: ...


class Device:
    """See the module. ``chain``: None where the lines are not chained."""

    __slots__ = (
        "_kept", "_open_sink", "_retired", "_retry_at", "broken", "chain", "entry", "failures", "field",
        "lines", "missed", "owed", "sink", "syncs",
    )  # fmt: skip

    def __init__(
        self,
        entry: DeviceEntry,
        lines: Lines,
        open_sink: OpenSink,
        sink: AuditSink | None = None,
        chain: Chain | None = None,
    ) -> None:
        self.entry, self.lines, self._open_sink, self.sink, self.chain = entry, lines, open_sink, sink, chain
        self.syncs = parse_bool(entry.options.get("fsync", ""), name="fsync")
        self.field = b"timestamp" if entry.options.get("format") == "secretum" else b"time"
        self.failures = 0  # records not taken, for the metrics
        self.missed = 0  # records not taken since the last one that was: the next is told how many
        self.owed = 0  # calls between their two records
        self._kept: list[tuple[bytes, bytes]] = []  # request record, if it waited, and response record, for ``settle``
        self.broken = False  # some of them were not taken
        self._retired = False
        self._retry_at = 0.0

    @property
    def gathers(self) -> bool:
        """Whether records may be kept for a moment and handed over together."""
        return not self.syncs and bool(getattr(self.sink, "gathers", False))

    def keep(self, request: bytes, response: bytes) -> None:
        """Keep the response record of a call, and its request record if that waited; they keep their order with all."""
        self._kept.append((request, response))

    def settle(self, now: float) -> bool:
        """Hand over what was kept, with one call; False if the sink did not take it all."""
        if not self._kept:
            return True
        kept, self._kept = self._kept, []
        owed = sum(not request for request, _ in kept)
        sink: Any = self.sink  # a GatheringSink, if it is there
        try:
            if sink is None:
                raise AuditFailed("the audit target cannot be opened")
            sink.several(self._placed(now, *(line for pair in kept for line in pair if line)), owed)
        except Exception:  # as in ``_take``
            if self.chain is not None:
                self.chain.lost()
            # One by one: room is held for some of them, and whether one is whole in the log must be known of each.
            taken = [self._take(request, response, now) for request, response in kept]
            self.broken = self.broken or not all(taken)
            return all(taken)
        self._took()
        return True

    def take_request(self, line: bytes, now: float) -> bool:
        """Hand over a request record; False if the sink did not take it."""
        return self._take(line, b"", now)

    def take_response(self, line: bytes, now: float, before: bytes = b"") -> bool:
        """Hand over a response record, behind the request record ``before`` if that waited for it."""
        return self._take(before, line, now)

    def _take(self, request: bytes, response: bytes, now: float) -> bool:
        if self._kept:
            self.settle(now)
        sink = self.sink or self._open(now)
        try:
            if sink is None:
                raise AuditFailed("the audit target cannot be opened")
            if not response:
                sink.request(self._placed(now, request))
            elif not request:
                sink.response(self._placed(now, response))
            elif (both := getattr(sink, "both", None)) is not None:
                both(self._placed(now, request, response))
            else:
                sink.request(self._placed(now, request))
                self._took()
                sink.response(self._placed(now, response))
        except Exception:  # a sink of somebody else's may raise anything: it did not take the line
            count = 2 if request and response else 1
            self.failures += count
            self.missed += count
            if self.chain is not None:
                self.chain.lost()
            return False
        self._took()
        return True

    def _placed(self, now: float, *lines: bytes) -> bytes:
        """``lines`` with their places in the chain, and before them how many are missing."""
        if self.missed:
            lines = (gap_line(self.field, now, self.missed), *lines)
        return b"".join(lines) if self.chain is None else self.chain.add(*lines)

    def _took(self) -> None:
        self.missed = 0
        if self.chain is not None:
            self.chain.took()

    def state(self, now: float, line: bytes, said: Mapping[str, Head]) -> bool:
        """Write a checkpoint (``Chain.checkpoint``) over the heads ``said``; False if the sink did not take it."""
        self.settle(now)
        chain, sink = self.chain, self.sink
        if chain is None or sink is None or self.missed:
            return False  # the checkpoint behind the gap marker will do
        mine = chain.mine()
        try:
            getattr(sink, "both", sink.response)(chain.add(line))
        except Exception:  # as above
            self.failures += 1
            chain.lost()
            return False
        chain.took()
        chain.stated(said, still=all(said.get(writer) == head for writer, head in mine.items()))
        return True

    def state_now(self, now: float, *, opened: bool = False) -> None:
        """Write a checkpoint at once, with what is known here of the other chains, if there is anything to state."""
        self.settle(now)
        chain = self.chain
        if chain is not None and chain.signer is not None and (opened or not chain.idle):
            said = {**chain.known, **chain.mine()}
            self.state(now, chain.checkpoint(now, said, opened=opened), said)

    def _open(self, now: float) -> AuditSink | None:
        if not self._retired and now >= self._retry_at:
            self._retry_at = now + RETRY
            try:
                self.sink = self._open_sink(self.entry.type, self.entry.options)
            except (VaultError, OSError):
                self.sink = None
        return self.sink

    def open_now(self) -> None:
        """Open the sink if it is not. Raises what the sink's maker raises."""
        if self.sink is None:
            self.sink = self._open_sink(self.entry.type, self.entry.options)

    def reopen(self, now: float) -> None:
        """Open the target anew (log rotation), a checkpoint at the end of the old one and at the start of the new one.

        Raises:
            VaultError, OSError: it could not be opened; the old one stays in use.
        """
        if self.sink is None:
            self.open_now()
            return
        self.state_now(now)
        self.sink.reopen()
        if self.chain is not None and self.chain.n and getattr(self.sink, "moved", False):
            if self.chain.signer is None:
                self.chain.lost()  # nobody could sign where it left the old file
            else:
                self.chain.moved()
                self.state_now(now, opened=True)

    def answered(self, clock: Callable[[], float]) -> None:
        """One response is owed less."""
        self.owed -= 1
        if self._retired and self.owed <= 0:
            self._close(clock())

    def retire(self, now: float) -> None:
        """Close the sink as soon as no response is owed."""
        self._retired = True
        if self.owed <= 0:
            self._close(now)

    def _close(self, now: float) -> None:
        if self.sink is not None:
            self.state_now(now)
            self.sink.close()
            self.sink = None


async def on_disk(device: Device) -> bool:
    """Wait until what the device took is durable; False if it is not."""
    try:
        if device.sink is not None:
            await device.sink.sync()
            return True
    except AuditFailed:
        pass
    device.failures += 1
    return False
