"""The audit trail: a record before anything happens and one before anything is answered, on every enabled device.

One device that takes a record is enough. If none does, the call fails: without its request record nothing happens,
without its response record nothing is answered. With no device enabled calls pass unrecorded, unless ``required`` is
set.

The only effect of a call that just looks (``Call.only_looks``) is its answer. Its two records are made at their times
and handed over together, before the answer. Where a door holds the answers of a turn, the records that these wait for
are handed over with one call (docs/decisions/0017).
"""

import base64
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.audit_chain import Chain, Head, Heads
from strongroom.core.audit_device import Device, Lines, OpenSink, on_disk
from strongroom.core.audit_devices import (
    AuditStore,
    DeviceEntry,
    DeviceTable,
    chained,
    check_free,
    device_path,
    new_entry,
    with_seed,
)
from strongroom.core.audit_left import target
from strongroom.core.audit_record import DEFAULT_RULES, LineMaker, Rules
from strongroom.core.audit_secretum import SecretumLines
from strongroom.errors import AuditFailed, BadRequest, Conflict, StorageFailed, VaultError
from strongroom.sdk.audit import WITHHELD
from strongroom.sdk.engine import Call
from strongroom.sdk.fields import parse_bool
from strongroom.sdk.request import ROOT_NAMESPACE, Response
from strongroom.sdk.storage import Write

RulesFor = Callable[[Call], Rules]
_NOTE = "audit"
CHECKPOINT_EVERY = 1.0  # seconds between two checkpoints of a chained device that is written to
_TRIES = 8
_NOTHING: tuple[dict[Any, Any], Any, Any] = ({}, DEFAULT_RULES, None)


class Trail:
    """Writes records to a set of devices. ``Audit`` and ``SealedAudit`` are the two kinds.

    Args:
        now: seconds since the Unix epoch.
        required: with no device enabled, refuse every call instead of letting it pass unrecorded.
        rules: what of a call stays in clear; asked once per record.
    """

    def __init__(self, *, now: Callable[[], float], required: bool = False, rules: RulesFor | None = None) -> None:
        self._now, self.required, self._rules = now, required, rules
        # A door that holds its answers until ``release`` may have the records of one turn handed over at once.
        self.gathering = False
        self.kept = False  # records wait for ``release``
        self._at_stake = False  # of some of them no device has taken a copy at once
        self._gathered: dict[Device, None] = {}  # devices that keep some
        self.devices: tuple[Device, ...] = ()  # replaced, never changed

    async def request(self, call: Call, refusal: BaseException | None) -> None:
        """Record ``call`` before anything happens.

        Raises:
            AuditFailed: devices are enabled and none took the record, or none is enabled and one is required.
        """
        devices = self.devices
        if not devices:
            if self.required:
                call.notes[_NOTE] = None
                raise AuditFailed("no audit device is enabled, and audit_required is set")
            return
        now, rules = self._now(), self._rules(call) if self._rules is not None else DEFAULT_RULES
        later = call.only_looks
        shared: dict[Device, tuple[bytes, bytes]] = {}
        took = 0
        for device in devices:
            part = device.lines.who_and_what(call, rules)
            line = device.lines.request(part, now, refusal)
            shared[device] = part, line if later else b""
            if later or (device.take_request(line, now) and (not device.syncs or await on_disk(device))):
                took += 1
            device.owed += 1
        call.notes[_NOTE] = shared, rules, devices
        if not took:
            self._settle(call)
            call.notes[_NOTE] = None
            raise AuditFailed("no audit device took the request record: nothing was done")

    async def response(self, call: Call, outcome: Response | BaseException, *, at_once: bool = False) -> None:
        """Record what ``call`` came to, before anything is answered.

        Args:
            at_once: more than its answer waits for the record.

        Raises:
            AuditFailed: devices are enabled and none took the record.
        """
        noted: tuple[dict[Device, tuple[bytes, bytes]], Rules, Any] | None = call.notes.get(_NOTE, _NOTHING)
        devices = self.devices
        if noted is None or not (noted[0] or devices):
            return  # refused for want of a request record, or nothing is enabled
        now, (shared, rules, then) = self._now(), noted
        if noted is _NOTHING and self._rules is not None:
            rules = self._rules(call)  # no device was there at the request
        took, kept = 0, False
        try:
            # Devices that were there at the request, though they may be gone now, and those that came since.
            late = () if devices is then else [device for device in devices if device not in shared]
            for device in (*shared, *late) if late else shared:
                part, before = shared.get(device) or (device.lines.who_and_what(call, rules), b"")
                line = device.lines.response(part, now, call, outcome, rules)
                if self.gathering and not at_once and device.gathers:
                    device.keep(before, line)
                    kept = self.kept = True
                    self._gathered[device] = None
                elif device.take_response(line, now, before) and (
                    not device.syncs or not _may_wait(outcome) or await on_disk(device)
                ):
                    took += 1
        finally:
            self._settle(call)
        if not took and not kept:
            raise AuditFailed(WITHHELD)
        self._at_stake = self._at_stake or not took

    def release(self) -> bool:
        """Hand over the records that were kept; whether the answers of their calls may leave."""
        if not self.kept:
            return True
        taken = self.hand_over()
        for device in self._gathered:
            device.broken = False
        self.kept = self._at_stake = False
        self._gathered = {}
        return taken

    def hand_over(self) -> bool:
        """As ``release``, for an answer that another door waits for: what is found is told at ``release`` once more."""
        now = self._now()
        taken = [device.settle(now) and not device.broken for device in self._gathered]
        return any(taken) or not self._at_stake

    def _settle(self, call: Call) -> None:
        noted = call.notes.pop(_NOTE, None)
        for device in noted[0] if noted is not None else ():
            device.answered(self._now)

    def reopen(self) -> None:
        """Open every target anew (SIGHUP, log rotation). One that cannot be keeps its old file.

        Raises:
            AuditFailed: at least one target could not be opened; the others were.
        """
        failed = []
        now = self._now()
        for device in self.devices:
            try:
                device.reopen(now)
            except (VaultError, OSError):
                failed.append(device.entry.path)
        if failed:
            raise AuditFailed("cannot reopen the audit target of " + ", ".join(failed))

    def close(self) -> None:
        """Close the devices, each as soon as it owes no response."""
        devices, self.devices = self.devices, ()
        for device in devices:
            device.retire(self._now())


class Audit(Trail):
    """The trail of an unsealed vault.

    Args:
        store: the barrier (its ``commit`` takes ``clear=``).
        open_sink: makes the sink of a device.
        now, required, rules: as for ``Trail``.
        configured: devices that the configuration declares.
        namespace: whose ``audit/`` keys these are.
    """

    def __init__(
        self,
        store: AuditStore,
        *,
        open_sink: OpenSink,
        now: Callable[[], float],
        required: bool = False,
        rules: RulesFor | None = None,
        configured: Sequence[DeviceEntry] = (),
        namespace: str = ROOT_NAMESPACE,
    ) -> None:
        super().__init__(now=now, required=required, rules=rules)
        self._table = DeviceTable(store, namespace)
        self._store, self._namespace = store, namespace
        self._open_sink = open_sink
        self._configured = {entry.path: entry for entry in configured}
        for entry in configured:
            device_options(entry.options)

    async def checkpoint(self, *, last: bool = False) -> None:
        """Sign the heads of all chains, into the store and into each log that was written to since the last time.

        Nothing is raised: a store that is away leaves the statement in the log, and the next round tries again.
        ``last``: the store is told of the checkpoint's own line too, since no later one of this process will.
        """
        for device in self.devices:
            now, chain = self._now(), device.chain
            device.settle(now)
            if chain is None or chain.idle or device.missed or device.sink is None:
                continue
            mine = chain.mine()
            if device.syncs and not await on_disk(device):
                continue  # a store that survives a power cut must not state lines that do not
            try:
                made = await self._stated(device.entry.path, chain, mine, now)
            except VaultError:
                device.state_now(now)
            else:
                if made is not None and device.state(now, *made) and last:
                    with contextlib.suppress(VaultError):
                        await self._stated(device.entry.path, chain, chain.mine(), now)

    async def _stated(
        self, path: str, chain: Chain, mine: Mapping[str, Head], now: float
    ) -> tuple[bytes, dict[str, Head]] | None:
        """The next checkpoint, after the store has it, and the heads in it. Raises VaultError.

        None when another process has stated it all: it took over the same notes (``audit_left``).
        """
        key = layout.audit_heads(self._namespace, path)
        for _ in range(_TRIES):
            stored = await self._store.get(key)
            before = Heads() if stored is None else _heads(stored.value)
            if before.key == chain.key and all(before.has(writer, head) for writer, head in mine.items()):
                chain.known = before.plain()
                chain.stated(chain.known, still=True)
                return None
            heads = before.with_(mine, chain.key)
            said = heads.plain()
            line = chain.checkpoint(now, said)
            row = msgspec.json.encode(msgspec.structs.replace(heads, signed=line[:-1].decode()))
            try:
                await self._store.commit([Write(key, row)], expect={key: stored.revision if stored else 0})
            except Conflict:
                continue
            chain.known = said
            return line, said
        raise StorageFailed("the heads of the audit chains could not be stored: too many changes at the same time")

    async def proof(self, path: str) -> tuple[bytes, str]:
        """The public key (32 bytes) of the device at ``path`` and its last stored checkpoint. Raises BadRequest."""
        device = self._device_at(path)
        if device.chain is None or device.chain.signer is None:
            raise BadRequest("the lines of this audit device are not chained (option chain)")
        stored = await self._store.get(layout.audit_heads(self._namespace, device.entry.path))
        heads = Heads() if stored is None else _heads(stored.value)
        return device.chain.signer.public, heads.signed if heads.key == device.chain.key else ""

    def sign_for(self, others: Iterable[Device]) -> None:
        """From now on checkpoints also state the chains that this process kept on the same targets while sealed."""
        for other in others:
            for device in self.devices:
                if device.chain is not None and other.chain is not None and target(device) == target(other):
                    device.chain.followed = (*device.chain.followed, other.chain)

    async def recall(self) -> None:
        """Read how far the other processes' chains have come, for the checkpoint that begins a new file."""
        with contextlib.suppress(VaultError):
            await self._recall(self.devices)

    async def _recall(self, devices: Iterable[Device]) -> None:
        for device in devices:
            if device.chain is not None:
                stored = await self._store.get(layout.audit_heads(self._namespace, device.entry.path))
                heads = Heads() if stored is None else _heads(stored.value)
                device.chain.known = heads.plain() if heads.key == device.chain.key else {}

    async def load(self) -> None:
        """Bring the store in line with the configuration, then the devices in line with the store.

        A target that cannot be opened does not stop the vault from opening: its device takes nothing until it can.
        """
        _, entries = await self._table.change(self._with_configured)
        await self._recall(self._adopt(entries))

    async def reload(self) -> None:
        """Follow what other processes changed (the epoch moved)."""
        await self._recall(self._adopt(await self._table.load()))

    def _with_configured(self, stored: list[DeviceEntry]) -> list[DeviceEntry]:
        """The stored entries with the declared ones as the configuration has them today, their salts kept."""
        wanted = dict(self._configured)
        out = []
        for entry in stored:
            declared = wanted.pop(entry.path, None)
            if declared is not None:
                seed = entry.seed or declared.seed
                out.append(msgspec.structs.replace(declared, salt=entry.salt, seed=seed, configured=True))
            elif not entry.configured:
                out.append(entry if entry.seed else with_seed(entry))
        out += [msgspec.structs.replace(entry, configured=True) for entry in wanted.values()]
        return sorted(out, key=lambda entry: entry.path)

    def _adopt(self, entries: Sequence[DeviceEntry]) -> list[Device]:
        """Keep the devices whose entry is unchanged, open the new ones, let go of the others; the new ones."""
        old = list(self.devices)
        devices, new = [], []
        for entry in entries:
            device = next((known for known in old if known.entry == entry), None)
            if device is None:
                device = self._device(entry)
                with contextlib.suppress(VaultError, OSError):
                    device.open_now()
                new.append(device)
            else:
                old.remove(device)
            devices.append(device)
        self.devices = tuple(devices)
        for device in old:
            device.retire(self._now())
        return new

    def _device(self, entry: DeviceEntry) -> Device:
        elide, hmac_accessor = device_options(entry.options)
        lines: Lines
        if entry.options.get("format") == "secretum":
            lines = SecretumLines(entry.key(), hmac_accessor=hmac_accessor)
        else:
            lines = LineMaker(entry.key(), elide_lists=elide, hmac_accessor=hmac_accessor)
        chain = None
        if entry.seed and chained(entry):
            field = "timestamp" if entry.options.get("format") == "secretum" else "time"
            chain = Chain(base64.b64decode(entry.seed), field=field)
        return Device(entry, lines, self._open_sink, chain=chain)

    async def enable(
        self, path: str, kind: str, *, description: str = "", options: Mapping[str, str] = {}, local: bool = False
    ) -> None:
        """Enable a device (sys/audit/:path).

        Raises:
            BadRequest: the path is taken or unusable, the type unknown, an option not allowed, the target refused.
        """
        entry = new_entry(path, kind, description=description, options=options, local=local)
        check_free(entry.path, [device.entry for device in self.devices])
        device = self._device(entry)
        device.open_now()
        try:
            await self._table.add(entry)
        except BaseException:
            device.retire(self._now())
            raise
        if any(known.entry == entry for known in self.devices):
            device.retire(self._now())  # a reload was quicker
        else:
            self.devices = tuple(sorted((*self.devices, device), key=lambda known: known.entry.path))

    async def disable(self, path: str) -> None:
        """Disable the device at ``path``; the answer to this very call is still recorded on it. Unknown paths pass.

        Raises:
            BadRequest: declared in the configuration, or the last device while one is required.
        """
        path = device_path(path)
        if self.required and all(device.entry.path == path for device in self.devices):
            raise BadRequest("this is the last audit device, and audit_required is set")
        await self._table.remove(path)
        gone = [device for device in self.devices if device.entry.path == path]
        self.devices = tuple(device for device in self.devices if device.entry.path != path)
        for device in gone:
            device.retire(self._now())

    def list(self) -> dict[str, DeviceEntry]:
        """The enabled devices by path."""
        return {device.entry.path: device.entry for device in self.devices}

    def hash(self, path: str, text: str) -> str:
        """What ``text`` looks like in the lines of the device at ``path``. Raises BadRequest if there is none."""
        lines = self._device_at(path).lines
        assert isinstance(lines, LineMaker | SecretumLines)
        return lines.hmac(text)

    def _device_at(self, path: str) -> Device:
        path = device_path(path)
        for device in self.devices:
            if device.entry.path == path:
                return device
        raise BadRequest(f'unknown audit backend "{path}"')


def _heads(stored: bytes) -> Heads:
    """What the store has; what cannot be read counts as nothing, and the next round replaces it."""
    try:
        return msgspec.json.decode(stored, type=Heads)
    except msgspec.MsgspecError:
        return Heads()


def device_options(options: Mapping[str, str]) -> tuple[bool, bool]:
    """``(elide_list_responses, hmac_accessor)``, the options that shape the lines. Raises BadRequest."""
    if parse_bool(options.get("log_raw", ""), name="log_raw"):
        raise BadRequest("log_raw is not supported: an audit log never holds secrets in clear")
    return (
        parse_bool(options.get("elide_list_responses", ""), name="elide_list_responses"),
        parse_bool(options.get("hmac_accessor") or "true", name="hmac_accessor"),
    )


def _may_wait(outcome: Response | BaseException) -> bool:
    """A call that is being torn down (cancelled, closed) must not wait again."""
    return not isinstance(outcome, BaseException) or isinstance(outcome, Exception)
