"""The audit trail of a sealed or uninitialised node: who asked for what, in the same files, without any salt.

Its records hold operation, path and address. They hold no token, no data and no HMAC, because the salts are sealed.
"""

from collections.abc import Callable, Iterable

import msgspec

from strongroom.core.audit import Trail
from strongroom.core.audit_chain import Chain
from strongroom.core.audit_device import Device, OpenSink
from strongroom.core.audit_devices import ClearStore, DeviceEntry, Target, read_targets
from strongroom.core.audit_record import DEFAULT_RULES, Rules, encode, error_text, stamp
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Response


class _Asked(msgspec.Struct, omit_defaults=True):
    id: str | None = None
    operation: Op | None = None
    path: str | None = None
    remote_address: str = ""
    remote_port: int = 0


class SealedLines:
    """Makes the short lines."""

    __slots__ = ()

    def who_and_what(self, call: Call, rules: Rules = DEFAULT_RULES) -> bytes:
        """The part that both records share."""
        asked = call.request
        return b',"request":' + encode(_Asked(asked.id, asked.op, asked.path, asked.remote, asked.remote_port))

    def request(self, shared: bytes, now: float, refusal: BaseException | None = None) -> bytes:
        """The line before anything happens."""
        return _line("request", shared, now, refusal)

    def response(
        self, shared: bytes, now: float, call: Call, outcome: Response | BaseException, rules: Rules = DEFAULT_RULES
    ) -> bytes:
        """The line before anything is answered; of the answer it holds only whether it failed."""
        return _line("response", shared, now, outcome if isinstance(outcome, BaseException) else None)


def _line(kind: str, shared: bytes, now: float, error: BaseException | None) -> bytes:
    tail = b',"error":' + encode(error_text(error)) if error is not None else b""
    return b'{"time":"%b","type":"%b"%b%b}\n' % (stamp(now), kind.encode(), shared, tail)


class SealedAudit(Trail):
    """The trail over ``targets`` (``read_targets`` and what the configuration declares; doubles count once)."""

    def __init__(
        self, targets: Iterable[Target], *, open_sink: OpenSink, now: Callable[[], float], required: bool = False
    ) -> None:
        super().__init__(now=now, required=required)
        self._open_sink = open_sink
        self.devices = self._made(targets)

    async def reload(self, store: ClearStore, configured: Iterable[Target] = ()) -> None:
        """Follow the list in the store below the barrier, which another process may have changed."""
        devices = self._made((*configured, *await read_targets(store)))
        old, self.devices = self.devices, devices
        for device in old:
            if device not in devices:
                device.retire(self._now())

    def _made(self, targets: Iterable[Target]) -> tuple[Device, ...]:
        known = {device.entry.options["file_path"]: device for device in self.devices}
        out = []
        for target in {target.file_path: target for target in targets}.values():
            options = {
                "file_path": target.file_path,
                "fsync": "true" if target.fsync else "false",
                "chain": "true" if target.chain else "false",
            }
            entry = DeviceEntry(path=f"{target.file_path}/", type=target.type, options=options)
            device = known.get(target.file_path)
            if device is None or device.entry != entry:
                device = Device(entry, SealedLines(), self._open_sink, chain=Chain(None) if target.chain else None)
            out.append(device)
        return tuple(out)
