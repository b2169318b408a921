"""sys/: init, unseal, seal, and what tells how the node is (wire facts B.5)."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.pipeline import RECORDED, TRANSITION
from strongroom.core.seal import InitResult, SealConfig, SealStatus
from strongroom.errors import BadRequest, Sealed, VaultError
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Flag, Text, parse_bool
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class InitArgs(msgspec.Struct, frozen=True, kw_only=True):
    secret_shares: int = 0
    secret_threshold: int = 0
    stored_shares: int = 0
    pgp_keys: Any = None
    root_token_pgp_key: Text = Text("")
    recovery_shares: int = 0
    recovery_threshold: int = 0


class UnsealArgs(msgspec.Struct, frozen=True, kw_only=True):
    key: Text = Text("")
    reset: Flag = Flag(0)
    migrate: Flag = Flag(0)

    def __repr__(self) -> str:
        return "UnsealArgs()"


def _made(result: InitResult) -> Response:
    data = {"keys": list(result.keys), "keys_base64": list(result.keys_base64), "root_token": result.root_token}
    return Response(data=data, bare=True)


_CODES = {
    "activecode": 200, "standbycode": 429, "drsecondarycode": 472, "performancestandbycode": 473, "sealedcode": 503,
    "uninitcode": 501,
}  # fmt: skip


class SealRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        init = {Op.READ: self.init_status, Op.UPDATE: self.init}

        def bare(pattern: str, ops: dict[Op, Any], text: str, args: type[msgspec.Struct] = NoArgs) -> Route:
            return Route(pattern=pattern, ops=ops, args=args, login=True, while_sealed=True, help=text, strict=False)

        return (
            bare("init", init, "Initialise the vault, or tell whether it is.", InitArgs),
            bare("unseal", {Op.UPDATE: self.unseal}, "Give one key share.", UnsealArgs),
            bare("seal-status", {Op.READ: self.seal_status}, "Whether the vault is sealed, and how far an unseal is."),
            bare("leader", {Op.READ: self.leader}, "Who leads."),
            bare("health", {Op.READ: self.health}, "Whether this node serves; the status code tells."),
            Route(pattern="seal", sudo=True, ops={Op.UPDATE: self.seal}, help="Seal the vault."),
            Route(pattern="step-down", sudo=True, ops={Op.UPDATE: self.step_down}, help="Give up leadership."),
        )

    async def init_status(self, call: Call, args: InitArgs) -> Response:
        return Response(data={"initialized": await self._core.keeper.initialized()}, bare=True)

    async def init(self, call: Call, args: InitArgs) -> Response:
        if args.pgp_keys or args.root_token_pgp_key:
            raise BadRequest("PGP keys are not supported")
        if await self._core.keeper.initialized():
            raise BadRequest("Vault is already initialized")
        if args.recovery_shares or args.recovery_threshold:
            raise BadRequest("parameters recovery_shares,recovery_threshold not applicable to seal type shamir")

        async def record(result: InitResult) -> None:
            """Shares that nobody received would be lost for good: no response record, no vault."""
            await self._core.audit.response(call, _made(result))
            call.notes[RECORDED] = True

        config = SealConfig(args.secret_shares, args.secret_threshold)
        made = await self._core.initialize(config, record=record)
        call.notes[TRANSITION] = "initialized"
        return _made(made)

    async def unseal(self, call: Call, args: UnsealArgs) -> Response:
        core = self._core
        if args.reset:
            core.keeper.reset()
            return await self.seal_status(call, args)
        if not args.key:
            raise BadRequest("'key' must be specified in request body as JSON, or 'reset' set to true")
        was_sealed = core.sealed
        try:
            status = await core.submit(str(args.key))
        except Sealed:  # another call gave the last share and is opening the vault at this moment
            status = msgspec.structs.replace(await core.keeper.status(), sealed=core.sealed)
            return Response(data=self._shown(status), bare=True)
        if was_sealed and not status.sealed:
            call.notes[TRANSITION] = "unsealed"
        return Response(data=self._shown(status), bare=True)

    async def seal_status(self, call: Call, args: Any) -> Response:
        return Response(data=self._shown(await self._core.keeper.status()), bare=True)

    def _shown(self, status: SealStatus) -> dict[str, Any]:
        core = self._core
        data: dict[str, Any] = {
            "type": status.type,
            "initialized": status.initialized,
            "sealed": status.sealed,
            "t": status.t,
            "n": status.n,
            "progress": status.progress,
            "nonce": status.nonce,
            "version": core.config.version,
            "build_date": "",  # Vault's; merka-vault and vault-mgmt cannot decode the answer without it
            "commit_date": "",  # OpenBao's
            "migration": False,
            "recovery_seal": False,
            "storage_type": core.config.storage_type or core.backend.kind,
        }
        if core.cluster is not None:
            data["cluster_name"] = core.cluster.name
            data["cluster_id"] = core.cluster.id
        return data

    async def seal(self, call: Call, args: NoArgs) -> Response:
        call.notes[TRANSITION] = "sealing"
        return Response()

    async def step_down(self, call: Call, args: NoArgs) -> Response:
        """Every node serves; there is no active one to give up."""
        return Response()

    async def leader(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"ha_enabled": False}, bare=True)

    async def health(self, call: Call, args: NoArgs) -> Response:
        core, query = self._core, call.request.data
        try:
            codes = {name: int(str(query.get(name, code))) for name, code in _CODES.items()}
            for name in ("standbyok", "perfstandbyok"):
                if name in query and query[name] != "":
                    parse_bool(query[name])
        except (ValueError, VaultError):
            raise BadRequest from None
        if not all(100 <= code <= 999 for code in codes.values()):
            raise BadRequest
        initialized = await core.keeper.initialized()
        mode = "disabled" if not core.sealed else "unknown"
        data: dict[str, Any] = {
            "initialized": initialized,
            "sealed": core.sealed,
            "standby": core.sealed,
            "performance_standby": False,  # Spring Vault and vaultrs cannot decode the answer without it
            "replication_performance_mode": mode,
            "replication_dr_mode": mode,
            "server_time_utc": int(core.now()),
            "version": core.config.version,
        }
        if core.cluster is not None:
            data["cluster_name"] = core.cluster.name
            data["cluster_id"] = core.cluster.id
        name = "uninitcode" if not initialized else "sealedcode" if core.sealed else "activecode"
        return Response(data=data, bare=True, status=codes[name])
