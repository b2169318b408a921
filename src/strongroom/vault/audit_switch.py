"""The audit trail of a vault that may be sealed or not: which devices a request is recorded on."""

import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from strongroom.core.audit import CHECKPOINT_EVERY, Audit, Trail
from strongroom.core.audit_device import OpenSink
from strongroom.core.audit_devices import DeviceEntry, targets_of
from strongroom.core.audit_left import forget, leave, left, take_over
from strongroom.core.audit_record import Rules
from strongroom.core.audit_sealed import SealedAudit
from strongroom.core.pipeline import RECORDED, TRANSITION
from strongroom.errors import AuditFailed, BadRequest, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import ROOT_NAMESPACE, Response
from strongroom.sdk.storage import Backend

_NOTE = "trail"


class AuditSwitch:
    """Sealed: the targets known outside the barrier. Unsealed: the devices, with salts.

    A call's two records go to the same trail, also when the seal changed between them.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        open_sink: OpenSink,
        configured: Sequence[DeviceEntry],
        required: bool,
        now: Callable[[], float],
        space_of: Callable[[str], Any],
    ) -> None:
        self._backend, self._open_sink, self._configured, self._now = backend, open_sink, configured, now
        self._space_of = space_of  # the namespace with an id
        self._required = required
        self._targets = targets_of(configured)
        self._sealed = SealedAudit(self._targets, open_sink=open_sink, now=now, required=required)
        self._open: Audit | None = None
        self._space: Any = None
        self._read = False
        self.gathering = False  # see ``Trail``
        self._lost = False  # records that were kept were lost while the vault was sealed
        self.inline = False  # an embedded vault has no clock of its own: checkpoints ride on its calls
        self._due = 0.0
        self._left: dict[str, Any] = {}  # notes of sealed processes that a checkpoint is to state

    @property
    def kept(self) -> bool:
        """Whether answers must wait for ``release``."""
        return self._lost or (self._open is not None and self._open.kept)

    def release(self) -> bool:
        """Hand over the records that answers wait for; whether these may leave."""
        lost, self._lost = self._lost, False
        return (self._open is None or self._open.release()) and not lost

    def hand_over(self) -> bool:
        """The same for an answer that takes another way than the door: see ``Trail.hand_over``."""
        return (self._open is None or self._open.hand_over()) and not self._lost

    def request(self, call: Call, refusal: BaseException | None) -> Coroutine[Any, Any, None]:
        trail = self._open
        if trail is None:
            return self._request_sealed(call, refusal)
        call.notes[_NOTE] = trail
        return trail.request(call, refusal)  # no coroutine of our own: this is on the way of every request

    async def _request_sealed(self, call: Call, refusal: BaseException | None) -> None:
        call.notes[_NOTE] = trail = await self._sealed_trail()
        await trail.request(call, refusal)

    def response(self, call: Call, outcome: Response | BaseException) -> Coroutine[Any, Any, None]:
        trail: Trail | None = call.notes.get(_NOTE)
        if trail is None or self.inline or RECORDED in call.notes:
            return self._respond(trail, call, outcome)
        return trail.response(call, outcome, at_once=TRANSITION in call.notes)

    async def _respond(self, trail: Trail | None, call: Call, outcome: Response | BaseException) -> None:
        if trail is None or (RECORDED in call.notes and not isinstance(outcome, BaseException)):
            return
        await trail.response(call, outcome, at_once=TRANSITION in call.notes)
        if self.inline and self._open is not None and self._now() >= self._due:
            self._due = self._now() + CHECKPOINT_EVERY
            await self._state(self._open)

    async def _sealed_trail(self) -> SealedAudit:
        """The list of targets is read again each time the node was sealed."""
        if not self._read:
            await self._sealed.reload(self._backend, self._targets)
            self._read = True
        return self._sealed

    async def unsealed(self, storage: Any, space: Any) -> None:
        """Load the devices from the barrier and follow their changes."""
        await self.sealed()  # an unseal that failed half-way may have left a trail
        audit = Audit(
            storage,
            open_sink=self._open_sink,
            now=self._now,
            required=self._required,
            rules=self._rules,
            configured=self._configured,
        )
        audit.gathering = self.gathering
        await audit.load()
        audit.sign_for(self._sealed.devices)
        with contextlib.suppress(VaultError):  # the next who unseals tries again
            self._left = take_over(await left(self._backend), audit.devices)
        space.on_change.append(audit.reload)
        self._open, self._space = audit, space

    async def sealed(self) -> None:
        """Forget the salts; from now on the clear list of targets counts."""
        audit, self._open, self._space = self._open, None, None
        if audit is not None and not audit.release():
            self._lost = True
        self._read = False
        if audit is not None:
            await self._state(audit, last=True)
            audit.close()
        self._left = {}

    def _rules(self, call: Call) -> Rules:
        """What the mount and the settings leave in clear."""
        space = self._space
        if space is None:
            return Rules()
        headers = space.settings.audited_headers
        if call.request.namespace == ROOT_NAMESPACE:
            entry = space.mounts.entries.get(call.match.mount_path)
        else:
            entry = self._space_of(call.request.namespace).mounts.entries.get(call.match.mount_path)
        config = entry.config if entry is not None else None
        if config is None or not (config.audit_non_hmac_request_keys or config.audit_non_hmac_response_keys):
            return Rules(headers=headers) if headers else _PLAIN
        return Rules(
            request_keys=frozenset(config.audit_non_hmac_request_keys),
            response_keys=frozenset(config.audit_non_hmac_response_keys),
            headers=headers,
        )

    def _devices(self) -> Audit:
        if self._open is None:
            raise BadRequest("the vault is sealed")
        return self._open

    def devices(self) -> Mapping[str, Any]:
        return self._devices().list()

    async def enable(self, path: str, kind: str, *, description: str, options: Mapping[str, str], local: bool) -> None:
        await self._devices().enable(path, kind, description=description, options=options, local=local)

    async def disable(self, path: str) -> None:
        await self._devices().disable(path)

    def hash(self, path: str, text: str) -> str:
        return self._devices().hash(path, text)

    async def proof(self, path: str) -> tuple[bytes, str]:
        return await self._devices().proof(path)

    async def checkpoint(self) -> None:
        """Sign how far the logs have come, where that has changed. A sealed node cannot."""
        if self._open is not None:
            await self._state(self._open)

    async def _state(self, audit: Audit, *, last: bool = False) -> None:
        await audit.checkpoint(last=last)
        if self._left:
            with contextlib.suppress(VaultError):
                for key in await forget(self._backend, self._left):
                    del self._left[key]

    async def leave(self) -> None:
        """This process ends. What it wrote while sealed, and did not sign since, is noted for who unseals the vault."""
        with contextlib.suppress(VaultError):  # then nobody vouches for these lines, and the verifier says so
            await leave(self._backend, self._sealed.devices)

    async def rotate(self) -> None:
        """As ``reopen``; the checkpoint that begins a new file then names all writers. Raises AuditFailed."""
        if self._open is not None:
            await self._open.recall()
        self.reopen()

    def reopen(self) -> None:
        """Open every target anew (SIGHUP): also those that only the sealed node writes to.

        Raises:
            AuditFailed: one could not be opened; the others were.
        """
        trails = [trail for trail in (self._open, self._sealed) if trail is not None]
        failed: list[AuditFailed] = []
        for trail in trails:
            try:
                trail.reopen()
            except AuditFailed as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Close every target."""
        if self._open is not None:
            self._open.close()
        self._sealed.close()

    @property
    def failures(self) -> int:
        """Records that a device did not take, for the metrics."""
        return sum(d.failures for d in (self._open or self._sealed).devices)

    @property
    def failures_by_device(self) -> dict[str, int]:
        """The same for each enabled device; none of a sealed node, whose devices have no names."""
        return {d.entry.path: d.failures for d in self._open.devices} if self._open is not None else {}


_PLAIN = Rules()
