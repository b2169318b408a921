"""sys/config: CORS, how policies count together, headers of the console, audited headers, what is configured."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.core.inert_settings import NOT_SET
from strongroom.core.settings import Authorization, Cors, Settings, load_settings
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Flag, StrList, Text
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.core import Core

T = TypeVar("T")

STANDARD_CORS_HEADERS = (
    "Content-Type", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-MFA", "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format", "X-Vault-Wrap-TTL", "X-Vault-Policy-Override", "Authorization", "X-Vault-Token",
    "X-Vault-Namespace",
)  # fmt: skip


class CorsArgs(msgspec.Struct, frozen=True, kw_only=True):
    allowed_origins: StrList = StrList()
    allowed_headers: StrList = StrList()
    enable: Flag = Flag(1)


class ModeArgs(msgspec.Struct, frozen=True, kw_only=True):
    mode: Text = Text("")


class HeaderArgs(msgspec.Struct, frozen=True, kw_only=True):
    header: str
    hmac: Flag = Flag(0)


class UiHeaderArgs(msgspec.Struct, frozen=True, kw_only=True):
    header: str
    values: StrList = StrList()
    multivalue: Flag = Flag(0)


class ConfigRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        cors = {Op.READ: self.read_cors, Op.UPDATE: self.write_cors, Op.DELETE: self.delete_cors}
        header = {Op.READ: self.read_header, Op.UPDATE: self.write_header, Op.DELETE: self.delete_header}
        ui = {Op.READ: self.read_ui, Op.UPDATE: self.write_ui, Op.DELETE: self.delete_ui}
        mode = {Op.READ: self.read_mode, Op.UPDATE: self.write_mode, Op.DELETE: self.delete_mode}
        heads = "config/auditing/request-headers"
        return (
            Route(pattern="config/cors", ops=cors, args=CorsArgs, sudo=True, help="Which web pages may call this API."),
            Route(
                pattern="config/authorization",
                ops=mode,
                args=ModeArgs,
                sudo=True,
                help="Whether ACL and Cedar policies must both allow a request (both), or one is enough (either).",
            ),
            Route(pattern=heads, ops={Op.READ: self.list_headers}, sudo=True, help="Request headers that are audited."),
            Route(pattern=heads + "/{header}", ops=header, args=HeaderArgs, sudo=True, help="An audited header."),
            Route(pattern="config/ui/headers/", ops={Op.LIST: self.list_ui}, sudo=True, help="The console's headers."),
            Route(pattern="config/ui/headers/{header}", ops=ui, args=UiHeaderArgs, sudo=True, help="A console header."),
            Route(pattern="config/state/sanitized", ops={Op.READ: self.sanitized}, help="The configuration in force."),
        )

    async def _change(self, call: Call, what: str, make: Callable[[Settings], Any]) -> None:
        """Store what ``make`` makes of the settings as they are now and move the epoch; None forgets it."""
        space = self._core.space(call.request.namespace)
        writes: list[Write] = []

        async def before() -> None:
            value = make(await load_settings(space.storage, space.id))
            writes[:] = [Write(layout.config(space.id, what), None if value is None else msgspec.json.encode(value))]

        await commit_with_epoch(space.storage, space.id, writes, before=before)
        await space.reload()

    async def read_cors(self, call: Call, args: CorsArgs) -> Response:
        cors = self._core.space(call.request.namespace).settings.cors
        data: dict[str, Any] = {"enabled": cors.enabled}
        if cors.enabled:
            data["allowed_origins"] = list(cors.allowed_origins)
            data["allowed_headers"] = [*STANDARD_CORS_HEADERS, *cors.allowed_headers]
        return Response(data=data, flat=True)

    async def write_cors(self, call: Call, args: CorsArgs) -> Response:
        if not args.allowed_origins:
            raise BadRequest("at least one origin or the wildcard must be provided")
        if "*" in args.allowed_origins and len(args.allowed_origins) > 1:
            raise BadRequest("to allow all origins the '*' must be the only value for allowed_origins")
        cors = Cors(
            enabled=bool(args.enable),
            allowed_origins=tuple(args.allowed_origins),
            allowed_headers=tuple(args.allowed_headers),
        )
        await self._change(call, "cors", lambda _: cors)
        return Response()

    async def delete_cors(self, call: Call, args: CorsArgs) -> Response:
        await self._change(call, "cors", lambda _: None)
        return Response()

    async def read_mode(self, call: Call, args: ModeArgs) -> Response:
        return Response(data={"mode": self._core.space(call.request.namespace).settings.authorization.mode})

    async def write_mode(self, call: Call, args: ModeArgs) -> Response:
        mode = str(args.mode)
        if mode not in ("either", "both"):
            raise BadRequest("mode must be 'either' or 'both'")
        await self._change(call, "authorization", lambda _: Authorization(mode=mode))
        return Response()

    async def delete_mode(self, call: Call, args: ModeArgs) -> Response:
        await self._change(call, "authorization", lambda _: None)
        return Response()

    async def list_headers(self, call: Call, args: NoArgs) -> Response:
        headers = self._core.space(call.request.namespace).settings.audited_headers
        return Response(data={"headers": {name: {"hmac": keyed} for name, keyed in headers.items()}}, flat=True)

    async def read_header(self, call: Call, args: HeaderArgs) -> Response:
        headers = self._core.space(call.request.namespace).settings.audited_headers
        name = args.header.lower()
        if name not in headers:
            raise BadRequest("Could not find header in config")
        return Response(data={name: {"hmac": headers[name]}}, flat=True)

    async def write_header(self, call: Call, args: HeaderArgs) -> Response:
        name, keyed = _header_name(args.header), bool(args.hmac)
        await self._change(call, "audited-headers", lambda old: {**old.audited_headers, name: keyed})
        return Response()

    async def delete_header(self, call: Call, args: HeaderArgs) -> Response:
        name = args.header.lower()
        await self._change(call, "audited-headers", lambda old: _without(old.audited_headers, name))
        return Response()

    async def list_ui(self, call: Call, args: NoArgs) -> Response:
        headers = self._core.space(call.request.namespace).settings.ui_headers
        if not headers:
            raise NotFound
        return Response(data={"keys": sorted(headers)})

    async def read_ui(self, call: Call, args: UiHeaderArgs) -> Response:
        values = self._core.space(call.request.namespace).settings.ui_headers.get(args.header)
        if values is None:
            raise NotFound
        if call.request.data.get("multivalue"):
            return Response(data={"values": list(values)})
        return Response(data={"value": values[0]})

    async def write_ui(self, call: Call, args: UiHeaderArgs) -> Response:
        _header_name(args.header)
        if args.header.lower().startswith("x-vault-"):
            raise BadRequest("X-Vault headers cannot be set")
        if not args.values or any(ord(c) < 0x20 or ord(c) == 0x7F for value in args.values for c in value):
            raise BadRequest("header values must be given and hold no control characters")
        await self._change(call, "ui-headers", lambda old: {**old.ui_headers, args.header: tuple(args.values)})
        return Response()

    async def delete_ui(self, call: Call, args: UiHeaderArgs) -> Response:
        await self._change(call, "ui-headers", lambda old: _without(old.ui_headers, args.header))
        return Response()

    async def sanitized(self, call: Call, args: NoArgs) -> Response:
        core = self._core
        known = {
            "api_addr": core.config.api_addr,
            "cluster_name": core.config.cluster_name,
            "default_lease_ttl": core.config.default_lease_ttl,
            "max_lease_ttl": core.config.max_lease_ttl,
            "log_level": core.door.log_level,
            "seals": [{"disabled": False, "type": "shamir"}],
            "storage": {"type": core.config.storage_type or core.backend.kind},
        }
        return Response(data={**NOT_SET, **known, **core.config.sanitized})


def _without(headers: Mapping[str, T], name: str) -> dict[str, T]:
    return {other: value for other, value in headers.items() if other != name}


def _header_name(name: str) -> str:
    """A header field name (RFC 9110 section 5.1), lower case. Raises BadRequest."""
    allowed = "!#$%&'*+-.^_`|~"
    if not name or len(name) > 256 or not all((c.isascii() and c.isalnum()) or c in allowed for c in name):
        raise BadRequest("not a header name")
    return name.lower()
