"""sys/mounts and sys/auth: enable, disable, list, describe and tune engines and auth methods."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.mount_entry import MountConfig, MountEntry, shown, tune_data
from strongroom.core.namespace import Namespace
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import (
    UNSET,
    AnyMap,
    Flag,
    StrList,
    StrMap,
    Text,
    UnsetType,
    convert,
    parse_duration,
)
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_TOKEN_TYPES = ("default-service", "default-batch", "service", "batch")
_LISTS = (
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
    "allowed_managed_keys",
)


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    default_lease_ttl: Any = UNSET
    max_lease_ttl: Any = UNSET
    force_no_cache: Flag | UnsetType = UNSET
    token_type: Text | UnsetType = UNSET
    listing_visibility: Text | UnsetType = UNSET
    filter_lists: Flag | UnsetType = UNSET
    audit_non_hmac_request_keys: StrList | UnsetType = UNSET
    audit_non_hmac_response_keys: StrList | UnsetType = UNSET
    passthrough_request_headers: StrList | UnsetType = UNSET
    allowed_response_headers: StrList | UnsetType = UNSET
    allowed_managed_keys: StrList | UnsetType = UNSET
    plugin_version: Text | UnsetType = UNSET
    plugin_name: Text | UnsetType = UNSET
    user_lockout_config: AnyMap | UnsetType = UNSET


class TuneFields(ConfigArgs, frozen=True, kw_only=True):
    path: str
    description: Text | UnsetType = UNSET
    options: StrMap | UnsetType = UNSET


class EnableArgs(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    type: Text = Text("")
    description: Text = Text("")
    config: AnyMap = AnyMap()
    options: StrMap | UnsetType = UNSET
    local: Flag = Flag(0)
    seal_wrap: Flag = Flag(0)
    external_entropy_access: Flag = Flag(0)
    plugin_name: Text = Text("")
    plugin_version: Text = Text("")


class MountRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        tune = {Op.READ: self.read_tune, Op.UPDATE: self.tune}
        one = {Op.READ: self.read, Op.UPDATE: self.enable, Op.DELETE: self.disable}
        about = "How a mount is configured: lease TTLs, visibility, options."
        return (
            Route(pattern="mounts", ops={Op.READ: self.list}, help="The mounted secrets engines."),
            Route(pattern="mounts/{path...}/tune", ops=tune, args=TuneFields, help=about),
            Route(pattern="mounts/{path...}", ops=one, args=EnableArgs, help="Enable, describe or disable an engine."),
            Route(pattern="auth", ops={Op.READ: self.list}, help="The enabled auth methods."),
            Route(pattern="auth/{path...}/tune", ops=tune, args=TuneFields, sudo=True, help=about),
            Route(
                pattern="auth/{path...}",
                ops=one,
                args=EnableArgs,
                sudo=True,
                help="Enable, describe or disable an auth method.",
            ),
        )

    def _where(self, call: Call, path: str) -> tuple[Namespace, str]:
        """The namespace, and the full mount path that ``path`` of this request means."""
        path = path.strip("/") + "/"
        if call.request.path.startswith("sys/auth/"):
            path = "auth/" + path
        return self._core.space(call.request.namespace), path

    async def list(self, call: Call, args: NoArgs) -> Response:
        space = self._core.space(call.request.namespace)
        wanted = "auth" if call.request.path.startswith("sys/auth") else "secret"
        found = {e.shown_path: shown(e) for e in space.mounts.entries.values() if e.mount_class == wanted}
        return Response(data=dict(sorted(found.items())), flat=True)

    def _entry(self, call: Call, path: str) -> tuple[Namespace, MountEntry]:
        space, full = self._where(call, path)
        entry = None if _strays(call, full) else space.mounts.entries.get(full)
        if entry is None:
            kind = "auth" if call.request.path.startswith("sys/auth/") else "secret"
            raise BadRequest(f"No {kind} engine mount at {full.removeprefix('auth/')}")
        return space, entry

    async def read(self, call: Call, args: EnableArgs) -> Response:
        _, entry = self._entry(call, args.path)
        return Response(data=shown(entry), flat=True)

    async def enable(self, call: Call, args: EnableArgs) -> Response:
        space, path = self._where(call, args.path)
        if _strays(call, path):
            raise BadRequest(f'cannot mount "{path}"')
        kind = str(args.type or args.plugin_name)
        options = None if args.options is UNSET else dict(args.options)
        if not kind or kind == "plugin":
            raise BadRequest("backend type must be specified as a string")
        if kind in ("kv-v1", "kv-v2") and not path.startswith("auth/"):
            options = {**(options or {}), "version": kind[-1]}
            kind = "kv"
        if kind in ("token", "system", "identity", "cubbyhole"):
            raise BadRequest(f"{kind} {'credential ' if kind == 'token' else ''}backend cannot be instantiated")
        inner = dict(args.config)
        inner_options = inner.pop("options", None)
        if options is None and isinstance(inner_options, dict):
            options = {str(k): str(v) for k, v in inner_options.items()}
        if kind == "kv" and (options or {}).get("version", "1") not in ("1", "2"):
            raise BadRequest("kv version must be 1 or 2")
        if options is None and path.startswith("auth/"):
            options = {}
        config = _changed(MountConfig(), convert(inner, ConfigArgs), self._core.limits.max_lease_ttl)
        entry = space.mounts.new_entry(
            path,
            kind,
            description=str(args.description),
            options=options,
            local=bool(args.local),
            seal_wrap=bool(args.seal_wrap),
            external_entropy_access=bool(args.external_entropy_access),
            config=config,
        )
        await space.mounts.enable(entry)
        return Response()

    async def disable(self, call: Call, args: EnableArgs) -> Response:
        space, path = self._where(call, args.path)
        entry = None if _strays(call, path) else await space.mounts.begin_removal(path)
        if entry is not None:
            await space.ending.revoke_mount(entry)
            await space.mounts.finish_removal(entry)
        return Response()

    async def read_tune(self, call: Call, args: TuneFields) -> Response:
        space, entry = self._tuned(call, args.path)
        return Response(data=tune_data(entry, *space.mounts.ttls(entry)), flat=True)

    def _tuned(self, call: Call, path: str) -> tuple[Namespace, MountEntry]:
        """sys/mounts/auth/x/tune means the auth mount x."""
        space, full = self._where(call, path)
        entry = space.mounts.entries.get(full)
        if entry is None:
            raise BadRequest(f"no mount entry found for path: {full.removeprefix('auth/')}")
        return space, entry

    async def tune(self, call: Call, args: TuneFields) -> Response:
        space, entry = self._tuned(call, args.path)
        # Settled when the mount is made: Go clients send force_no_cache false with whatever they tune.
        args = msgspec.structs.replace(args, force_no_cache=UNSET)
        limit = self._core.limits.max_lease_ttl
        warnings: list[tuple[str, ...]] = []

        def change(entry: MountEntry) -> MountEntry:
            changes: dict[str, Any] = {"config": _changed(entry.config, args, limit)}
            if args.description is not UNSET:
                changes["description"] = str(args.description)
            warnings[:] = [()]
            if args.options is not UNSET and args.options:
                changes["options"] = {**(entry.options or {}), **args.options}
                if entry.type == "kv":
                    warnings[:] = [_version_change(entry, changes["options"])]
            return msgspec.structs.replace(entry, **changes)

        await space.mounts.replace(entry.path, change)
        return Response(warnings=warnings[0])


def _strays(call: Call, path: str) -> bool:
    """Whether a request below sys/mounts means an auth mount: that is sys/auth's affair, and needs sudo there."""
    return path.startswith("auth/") and not call.request.path.startswith("sys/auth/")


def _version_change(entry: MountEntry, options: dict[str, str]) -> tuple[str, ...]:
    """Refuse to go back; warn of the upgrade of kv from 1 to 2."""
    old, new = (entry.options or {}).get("version", "1"), options.get("version", "1")
    if new not in ("1", "2"):
        raise BadRequest("kv version must be 1 or 2")
    if old == "2" and new == "1":
        raise BadRequest("cannot downgrade mount from version 2")
    if old != new:
        note = "Upgrading mount from version 1 to version 2. This mount will be unavailable for a brief period and "
        return (note + "will resume service shortly.",)
    return ()


def _changed(config: MountConfig, args: ConfigArgs, system_max: int) -> MountConfig:
    changes: dict[str, Any] = {}
    for name in ("default_lease_ttl", "max_lease_ttl"):
        value = getattr(args, name)
        if value is not UNSET and value != "":  # clients send "" for what they leave alone
            changes[name] = _ttl(value, name)
    if args.force_no_cache is not UNSET:
        changes["force_no_cache"] = bool(args.force_no_cache)
    if args.token_type is not UNSET:
        if args.token_type and args.token_type not in _TOKEN_TYPES:
            raise BadRequest("invalid value for 'token_type'")
        changes["token_type"] = str(args.token_type)
    if args.listing_visibility is not UNSET:
        if args.listing_visibility not in ("", "unauth", "hidden"):
            raise BadRequest("invalid listing_visibility option")
        changes["listing_visibility"] = str(args.listing_visibility)
    if args.filter_lists is not UNSET:
        changes["filter_lists"] = bool(args.filter_lists)
    for name in _LISTS:
        value = getattr(args, name)
        if value is not UNSET:
            changes[name] = tuple(value)
    if args.user_lockout_config is not UNSET:
        changes["user_lockout"] = {**config.user_lockout, **args.user_lockout_config}
    new = msgspec.structs.replace(config, **changes)
    maximum = new.max_lease_ttl or system_max
    if new.default_lease_ttl > maximum:
        raise BadRequest("backend max lease TTL of less than its default lease TTL")
    return new


def _ttl(value: Any, name: str) -> int:
    """Seconds; "system" means the system's (0)."""
    if value == "system":
        return 0
    return parse_duration(value, name=name)
