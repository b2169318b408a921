"""sys/: rekey, rotate, generate-root, key-status.

Vault's own paths (sys/rekey, sys/generate-root) give bare answers; the later ones (sys/rotate/root,
sys/generate-root-token) the same in an envelope. All need a token with sudo, unless the setting
``unauthenticated_operator_endpoints`` opens Vault's own; a cancel then needs the attempt's nonce.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.core.first_start import root_entry
from strongroom.core.generate_root import GenerateRoot, decode_token
from strongroom.core.rekey import Rekey
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class RekeyArgs(msgspec.Struct, frozen=True, kw_only=True):
    secret_shares: int = 0
    secret_threshold: int = 0
    require_verification: Flag = Flag(0)
    pgp_keys: StrList = StrList()
    backup: Flag = Flag(0)
    nonce: Text | UnsetType = UNSET


class ShareArgs(msgspec.Struct, frozen=True, kw_only=True):
    key: Text = Text("")
    nonce: Text = Text("")

    def __repr__(self) -> str:
        return "ShareArgs()"


class RootArgs(msgspec.Struct, frozen=True, kw_only=True):
    otp: Text = Text("")
    pgp_key: Text = Text("")
    nonce: Text | UnsetType = UNSET

    def __repr__(self) -> str:
        return "RootArgs()"


class DecodeArgs(msgspec.Struct, frozen=True, kw_only=True):
    encoded_token: Text = Text("")
    otp: Text = Text("")

    def __repr__(self) -> str:
        return "DecodeArgs()"


class RotateArgs(msgspec.Struct, frozen=True, kw_only=True):
    max_operations: int | UnsetType = UNSET
    interval: Duration | UnsetType = UNSET
    enabled: Flag | UnsetType = UNSET


# What the later paths show while nothing is under way: of a change of shares, of a new root token.
_IDLE = (("n", "required", "started", "t"), ("complete", "otp", "otp_length", "progress", "required", "started"))


_RECOVERY = (
    "rekey-recovery-key/init", "rekey-recovery-key/verify", "rekey-recovery-key/update", "rekey/recovery-key-backup",
    "rotate/recovery/init", "rotate/recovery/verify", "rotate/recovery/update", "rotate/recovery/backup",
    "generate-recovery-token/attempt", "generate-recovery-token/update",
)  # fmt: skip


class OperatorRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._rekey: Rekey = core.attempts.setdefault("rekey", Rekey(core.backend))
        self._root: GenerateRoot = core.attempts.setdefault("root", GenerateRoot(core.backend))

    def routes(self) -> tuple[Route, ...]:
        return (*self._rekeys(), *self._generate(), *self._rotation(), *self._recovery())

    def _route(self, pattern: str, ops: dict[Op, Any], args: type[msgspec.Struct], text: str, *, own: bool) -> Route:
        """``own``: one of Vault's own paths, which the setting may open."""
        opened = own and self._core.config.unauthenticated_operator_endpoints
        return Route(pattern=pattern, ops=ops, args=args, login=opened, sudo=not opened, help=text, strict=False)

    def _rekeys(self) -> list[Route]:
        init = {Op.READ: self.rekey_status, Op.UPDATE: self.rekey_start, Op.DELETE: self.rekey_cancel}
        verify = {Op.READ: self.verify_status, Op.UPDATE: self.verify, Op.DELETE: self.verify_cancel}
        backup = {Op.READ: self.backup, Op.DELETE: self.backup_delete}
        out = []
        for head, own in (("rekey", True), ("rotate/root", False)):
            out += [
                self._route(
                    f"{head}/init", init, RekeyArgs, "A change of the key shares: begin, watch, cancel.", own=own
                ),
                self._route(f"{head}/update", {Op.UPDATE: self.rekey}, ShareArgs, "Give an old key share.", own=own),
                self._route(f"{head}/verify", verify, ShareArgs, "Give back a new key share.", own=own),
                self._route(f"{head}/backup", backup, NoArgs, "Backed-up key shares (none are kept).", own=False),
            ]
        return out

    def _generate(self) -> list[Route]:
        attempt = {Op.READ: self.root_status, Op.UPDATE: self.root_start, Op.DELETE: self.root_cancel}
        out = []
        for head, own in (("generate-root", True), ("generate-root-token", False)):
            out += [
                self._route(f"{head}/attempt", attempt, RootArgs, "A new root token: begin, watch, cancel.", own=own),
                self._route(f"{head}/update", {Op.UPDATE: self.root_update}, ShareArgs, "Give a key share.", own=own),
            ]
        out.append(self._route("generate-root", attempt, RootArgs, "As generate-root/attempt.", own=True))
        out.append(
            Route(
                pattern="decode-token",
                ops={Op.UPDATE: self.decode},
                args=DecodeArgs,
                login=True,
                help="The token in what generate-root answered.",
            )
        )
        return out

    def _rotation(self) -> list[Route]:
        config = {Op.READ: self.read_config, Op.UPDATE: self.write_config}
        about = "When the barrier's key is rotated by itself."
        return [
            Route(pattern="rotate", ops={Op.UPDATE: self.rotate}, sudo=True, help="A new barrier key."),
            Route(pattern="rotate/root", ops={Op.UPDATE: self.rotate_root}, sudo=True, help="A new root key."),
            Route(pattern="rotate/keyring", ops={Op.UPDATE: self.rotate}, sudo=True, help="A new barrier key."),
            Route(pattern="rotate/config", ops=config, args=RotateArgs, sudo=True, help=about),
            Route(pattern="rotate/keyring/config", ops=config, args=RotateArgs, sudo=True, help=about),
            Route(pattern="key-status", ops={Op.READ: self.key_status}, help="The barrier's active key."),
        ]

    def _recovery(self) -> list[Route]:
        every = {Op.READ: self.no_recovery, Op.UPDATE: self.no_recovery, Op.DELETE: self.no_recovery}
        update = {Op.UPDATE: self.no_recovery}
        about = "Recovery keys (the shamir seal has none)."
        return [
            self._route(pattern, update if pattern.endswith("/update") else every, NoArgs, about, own=False)
            for pattern in _RECOVERY
        ]

    # -- answers -------------------------------------------------------------------------------------------------

    def _shown(self, call: Call, status: msgspec.Struct) -> Response:
        """Bare on Vault's own paths, in an envelope on the later ones."""
        data = msgspec.to_builtins(status)
        if (
            call.request.path.startswith(("sys/rekey/", "sys/generate-root/"))
            or call.request.path == "sys/generate-root"
        ):
            return Response(data=data, bare=True)
        if data.get("started") is False:
            data = {name: data[name] for name in _IDLE["encoded_token" in data]}
        return Response(data=data)

    async def _nonce(self, call: Call, nonce: Any) -> str | None:
        """The nonce that a cancel must show: none when a token with sudo asks, also on the opened paths."""
        caller = call.caller
        if caller is not None:
            if caller.root or not call.match.route.login:
                return None
            acl = await self._core.space(call.request.namespace).policies.acl(caller)
            if "sudo" in acl.capabilities(call.request.path):
                return None
        return "" if nonce is UNSET else str(nonce)

    async def rekey_status(self, call: Call, args: RekeyArgs) -> Response:
        return self._shown(call, await self._rekey.status())

    async def rekey_start(self, call: Call, args: RekeyArgs) -> Response:
        status = await self._rekey.start(
            args.secret_shares,
            args.secret_threshold,
            require_verification=bool(args.require_verification),
            pgp_keys=args.pgp_keys,
            backup=bool(args.backup),
        )
        return self._shown(call, status)

    async def rekey_cancel(self, call: Call, args: RekeyArgs) -> Response:
        self._rekey.cancel(await self._nonce(call, args.nonce))
        return Response()

    async def rekey(self, call: Call, args: ShareArgs) -> Response:
        return self._shown(call, await self._rekey.submit(str(args.key), str(args.nonce)))

    async def verify_status(self, call: Call, args: ShareArgs) -> Response:
        return self._shown(call, self._rekey.verify_status())

    async def verify(self, call: Call, args: ShareArgs) -> Response:
        return self._shown(call, await self._rekey.verify(str(args.key), str(args.nonce)))

    async def verify_cancel(self, call: Call, args: ShareArgs) -> Response:
        return self._shown(call, self._rekey.verify_cancel(await self._nonce(call, args.nonce)))

    async def backup(self, call: Call, args: NoArgs) -> Response:
        raise BadRequest("no backed-up keys found")

    async def backup_delete(self, call: Call, args: NoArgs) -> Response:
        return Response()

    async def root_status(self, call: Call, args: RootArgs) -> Response:
        return self._shown(call, await self._root.status())

    async def root_start(self, call: Call, args: RootArgs) -> Response:
        return self._shown(call, await self._root.start(str(args.otp), pgp_key=str(args.pgp_key)))

    async def root_cancel(self, call: Call, args: RootArgs) -> Response:
        self._root.cancel(await self._nonce(call, args.nonce))
        return Response()

    async def root_update(self, call: Call, args: ShareArgs) -> Response:
        status = await self._root.submit(str(args.key), str(args.nonce))
        if status.complete:
            tokens = self._core.space(call.request.namespace).tokens
            token, _ = await tokens.create(root_entry(tokens))
            status = self._root.finish(token)
        return self._shown(call, status)

    async def decode(self, call: Call, args: DecodeArgs) -> Response:
        if not args.encoded_token or not args.otp:
            raise BadRequest("missing encoded_token or otp")
        return Response(data={"token": decode_token(str(args.encoded_token), str(args.otp))})

    async def rotate_root(self, call: Call, args: NoArgs) -> Response:
        raise BadRequest("the root key changes with its shares: begin with rotate/root/init")

    async def no_recovery(self, call: Call, args: NoArgs) -> Response:
        raise BadRequest("recovery keys are not supported by the shamir seal")

    async def rotate(self, call: Call, args: NoArgs) -> Response:
        assert self._core.barrier is not None
        await self._core.barrier.rotate()
        return Response()

    async def key_status(self, call: Call, args: NoArgs) -> Response:
        assert self._core.barrier is not None
        status = await self._core.barrier.key_status()
        time = status.install_time
        data = {
            "term": status.term,
            "install_time": time if isinstance(time, str) else rfc3339(time),
            "encryptions": status.encryptions,
        }
        return Response(data=data, flat=True)

    async def read_config(self, call: Call, args: RotateArgs) -> Response:
        assert self._core.barrier is not None
        return Response(data=msgspec.to_builtins(await self._core.barrier.rotation_config()))

    async def write_config(self, call: Call, args: RotateArgs) -> Response:
        assert self._core.barrier is not None
        old = await self._core.barrier.rotation_config()
        changes: dict[str, Any] = {}
        for name in ("max_operations", "interval"):
            if getattr(args, name) is not UNSET:
                changes[name] = int(getattr(args, name))
        if args.enabled is not UNSET:
            changes["enabled"] = bool(args.enabled)
        await self._core.barrier.set_rotation_config(msgspec.structs.replace(old, **changes))
        return Response()
