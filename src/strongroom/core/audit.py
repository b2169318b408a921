"""The audit trail: a record before anything happens and one before anything is answered, on every enabled device.

One device that takes a record is enough. If none does, the call fails: without its request record nothing happens,
without its response record nothing is answered. With no device enabled calls pass unrecorded, unless ``required`` is
set.

The only effect of a call that just looks (``Call.only_looks``) is its answer. Its two records are made at their times
and handed over together, before the answer.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from strongroom.core.audit_devices import AuditStore, DeviceEntry, DeviceTable, check_free, device_path, new_entry
from strongroom.core.audit_record import DEFAULT_RULES, LineMaker, Rules
from strongroom.core.audit_secretum import SecretumLines
from strongroom.errors import AuditFailed, BadRequest, VaultError
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import Call
from strongroom.sdk.fields import parse_bool
from strongroom.sdk.request import ROOT_NAMESPACE, Response

OpenSink = Callable[
    [str, Mapping[str, str]], AuditSink
]  # (type, options); BadRequest for an unknown type or bad options
RulesFor = Callable[[Call], Rules]
RETRY = 1.0  # seconds between two tries to open a target that could not be opened
_NOTE = "audit"
_NOTHING: tuple[dict[Any, Any], Any] = ({}, DEFAULT_RULES)


class Lines(Protocol):
    """What a device's lines are made by: LineMaker, or SealedLines on a sealed node."""

    def who_and_what(self, call: Call, rules: Rules = DEFAULT_RULES) -> bytes: ...

    def request(self, shared: bytes, now: float, refusal: BaseException | None = None) -> bytes: ...

    def response(
        self, shared: bytes, now: float, call: Call, outcome: Response | BaseException, rules: Rules = DEFAULT_RULES
    ) -> bytes: ...


class Device:
    """One device at work: its sink, its lines and what went wrong with it."""

    __slots__ = ("_open_sink", "_retired", "_retry_at", "entry", "failures", "lines", "owed", "sink", "syncs")

    def __init__(self, entry: DeviceEntry, lines: Lines, open_sink: OpenSink, sink: AuditSink | None = None) -> None:
        self.entry, self.lines, self._open_sink, self.sink = entry, lines, open_sink, sink
        self.syncs = parse_bool(entry.options.get("fsync", ""), name="fsync")
        self.failures = 0  # records not taken, for the metrics
        self.owed = 0  # calls between their two records
        self._retired = False
        self._retry_at = 0.0

    def take_request(self, line: bytes, now: float) -> bool:
        """Hand over a request record; False if the sink did not take it."""
        return self._take(line, b"", now)

    def take_response(self, line: bytes, now: float, before: bytes = b"") -> bool:
        """Hand over a response record, behind the request record ``before`` if that waited for it."""
        return self._take(before, line, now)

    def _take(self, request: bytes, response: bytes, now: float) -> bool:
        sink = self.sink or self._open(now)
        try:
            if sink is None:
                raise AuditFailed("the audit target cannot be opened")
            if not response:
                sink.request(request)
            elif not request:
                sink.response(response)
            elif (both := getattr(sink, "both", None)) is not None:
                both(request + response)
            else:
                sink.request(request)
                sink.response(response)
        except Exception:  # a sink of somebody else's may raise anything: it did not take the line
            self.failures += 1
            return False
        return True

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

    def answered(self) -> None:
        """One response is owed less."""
        self.owed -= 1
        if self._retired and self.owed <= 0:
            self._close()

    def retire(self) -> None:
        """Close the sink as soon as no response is owed."""
        self._retired = True
        if self.owed <= 0:
            self._close()

    def _close(self) -> None:
        if self.sink is not None:
            self.sink.close()
            self.sink = None


class Trail:
    """Writes records to a set of devices. ``Audit`` and ``SealedAudit`` are the two kinds.

    Args:
        now: seconds since the Unix epoch.
        required: with no device enabled, refuse every call instead of letting it pass unrecorded.
        rules: what of a call stays in clear; asked once per record.
    """

    def __init__(self, *, now: Callable[[], float], required: bool = False, rules: RulesFor | None = None) -> None:
        self._now, self.required, self._rules = now, required, rules
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
            if later or (device.take_request(line, now) and (not device.syncs or await _on_disk(device))):
                took += 1
            device.owed += 1
        call.notes[_NOTE] = shared, rules
        if not took:
            self._settle(call)
            call.notes[_NOTE] = None
            raise AuditFailed("no audit device took the request record: nothing was done")

    async def response(self, call: Call, outcome: Response | BaseException) -> None:
        """Record what ``call`` came to, before anything is answered.

        Raises:
            AuditFailed: devices are enabled and none took the record.
        """
        noted: tuple[dict[Device, tuple[bytes, bytes]], Rules] | None = call.notes.get(_NOTE, _NOTHING)
        devices = self.devices
        if noted is None or not (noted[0] or devices):
            return  # refused for want of a request record, or nothing is enabled
        now, (shared, rules) = self._now(), noted
        if noted is _NOTHING and self._rules is not None:
            rules = self._rules(call)  # no device was there at the request
        took = 0
        try:
            # Devices that were there at the request, though they may be gone now, and those that came since.
            late = [device for device in devices if device not in shared]
            for device in (*shared, *late) if late else shared:
                part, before = shared.get(device) or (device.lines.who_and_what(call, rules), b"")
                if device.take_response(device.lines.response(part, now, call, outcome, rules), now, before) and (
                    not device.syncs or not _may_wait(outcome) or await _on_disk(device)
                ):
                    took += 1
        finally:
            self._settle(call)
        if not took:
            raise AuditFailed("no audit device took the response record: the answer is withheld")

    def _settle(self, call: Call) -> None:
        noted = call.notes.pop(_NOTE, None)
        for device in noted[0] if noted is not None else ():
            device.answered()

    def reopen(self) -> None:
        """Open every target anew (SIGHUP, log rotation). One that cannot be keeps its old file.

        Raises:
            AuditFailed: at least one target could not be opened; the others were.
        """
        failed = []
        for device in self.devices:
            try:
                if device.sink is None:
                    device.open_now()
                else:
                    device.sink.reopen()
            except (VaultError, OSError):
                failed.append(device.entry.path)
        if failed:
            raise AuditFailed("cannot reopen the audit target of " + ", ".join(failed))

    def close(self) -> None:
        """Close the devices, each as soon as it owes no response."""
        devices, self.devices = self.devices, ()
        for device in devices:
            device.retire()


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
        self._open_sink = open_sink
        self._configured = {entry.path: entry for entry in configured}
        for entry in configured:
            device_options(entry.options)

    async def load(self) -> None:
        """Bring the store in line with the configuration, then the devices in line with the store.

        A target that cannot be opened does not stop the vault from opening: its device takes nothing until it can.
        """
        _, entries = await self._table.change(self._with_configured)
        self._adopt(entries)

    async def reload(self) -> None:
        """Follow what other processes changed (the epoch moved)."""
        self._adopt(await self._table.load())

    def _with_configured(self, stored: list[DeviceEntry]) -> list[DeviceEntry]:
        """The stored entries with the declared ones as the configuration has them today, their salts kept."""
        wanted = dict(self._configured)
        out = []
        for entry in stored:
            declared = wanted.pop(entry.path, None)
            if declared is not None:
                out.append(msgspec.structs.replace(declared, salt=entry.salt, configured=True))
            elif not entry.configured:
                out.append(entry)
        out += [msgspec.structs.replace(entry, configured=True) for entry in wanted.values()]
        return sorted(out, key=lambda entry: entry.path)

    def _adopt(self, entries: Sequence[DeviceEntry]) -> None:
        """Keep the devices whose entry is unchanged, open the new ones, let go of the others."""
        old = list(self.devices)
        devices = []
        for entry in entries:
            device = next((known for known in old if known.entry == entry), None)
            if device is None:
                device = self._device(entry)
                with contextlib.suppress(VaultError, OSError):
                    device.open_now()
            else:
                old.remove(device)
            devices.append(device)
        self.devices = tuple(devices)
        for device in old:
            device.retire()

    def _device(self, entry: DeviceEntry) -> Device:
        elide, hmac_accessor = device_options(entry.options)
        lines: Lines
        if entry.options.get("format") == "secretum":
            lines = SecretumLines(entry.key(), hmac_accessor=hmac_accessor)
        else:
            lines = LineMaker(entry.key(), elide_lists=elide, hmac_accessor=hmac_accessor)
        return Device(entry, lines, self._open_sink)

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
            device.retire()
            raise
        if any(known.entry == entry for known in self.devices):
            device.retire()  # a reload was quicker
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
            device.retire()

    def list(self) -> dict[str, DeviceEntry]:
        """The enabled devices by path."""
        return {device.entry.path: device.entry for device in self.devices}

    def hash(self, path: str, text: str) -> str:
        """What ``text`` looks like in the lines of the device at ``path``. Raises BadRequest if there is none."""
        path = device_path(path)
        for device in self.devices:
            if device.entry.path == path and isinstance(device.lines, LineMaker | SecretumLines):
                return device.lines.hmac(text)
        raise BadRequest(f'unknown audit backend "{path}"')


def device_options(options: Mapping[str, str]) -> tuple[bool, bool]:
    """``(elide_list_responses, hmac_accessor)``, the options that shape the lines. Raises BadRequest."""
    if parse_bool(options.get("log_raw", ""), name="log_raw"):
        raise BadRequest("log_raw is not supported: an audit log never holds secrets in clear")
    return (
        parse_bool(options.get("elide_list_responses", ""), name="elide_list_responses"),
        parse_bool(options.get("hmac_accessor") or "true", name="hmac_accessor"),
    )


async def _on_disk(device: Device) -> bool:
    try:
        if device.sink is not None:
            await device.sink.sync()
            return True
    except AuditFailed:
        pass
    device.failures += 1
    return False


def _may_wait(outcome: Response | BaseException) -> bool:
    """A call that is being torn down (cancelled, closed) must not wait again."""
    return not isinstance(outcome, BaseException) or isinstance(outcome, Exception)
