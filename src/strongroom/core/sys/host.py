"""sys/: the host, requests under way, metrics, loggers, versions, plug-ins."""

import platform
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.core.host_info import host_info
from strongroom.core.mount_entry import PLUGIN_VERSION
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_LEVELS = ("trace", "debug", "info", "notice", "warn", "warning", "err", "error")


class LevelArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    level: Text = Text("")


class PluginArgs(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str = ""


class HostRoutes:
    """See the module. What belongs to the server (metrics, log levels) it hands in through ``Core.door``."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        levels = {Op.READ: self.loggers, Op.UPDATE: self.set_level, Op.DELETE: self.reset_level}
        listing = {Op.LIST: self.plugins_of, Op.READ: self.plugins_of}
        return (
            Route(pattern="host-info", ops={Op.READ: self.host_info}, sudo=True, help="The machine this node runs on."),
            Route(pattern="ha-status", ops={Op.READ: self.ha_status}, help="The nodes of the cluster."),
            Route(pattern="in-flight-req", ops={Op.READ: self.in_flight}, sudo=True, help="Requests under way."),
            Route(pattern="metrics", ops={Op.READ: self.metrics}, help="Metrics; format=prometheus for its text form."),
            Route(pattern="version-history/", ops={Op.LIST: self.versions}, help="Versions that ran on this store."),
            Route(pattern="loggers", ops=levels, args=LevelArgs, sudo=True, help="Log levels."),
            Route(pattern="loggers/{name}", ops=levels, args=LevelArgs, sudo=True, help="A logger's level."),
            Route(pattern="monitor", ops={Op.READ: self.monitor}, sudo=True, help="The log as it grows (not served)."),
            Route(pattern="config/reload/{name}", ops={Op.UPDATE: self.reload}, args=LevelArgs, sudo=True, help="No."),
            Route(pattern="plugins/catalog", ops={Op.READ: self.plugins}, help="What can be mounted."),
            Route(pattern="plugins/catalog/{kind}/", ops=listing, args=PluginArgs, sudo=True, help="One kind."),
            Route(
                pattern="plugins/catalog/{kind}/{name}",
                ops={Op.READ: self.plugin},
                args=PluginArgs,
                sudo=True,
                help="One plug-in.",
            ),
        )  # fmt: skip

    async def host_info(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"timestamp": rfc3339(self._core.now()), **host_info(self._core.now())})

    async def ha_status(self, call: Call, args: NoArgs) -> Response:
        node = {
            "hostname": platform.node(),
            "api_address": self._core.config.api_addr,
            "cluster_address": "",
            "active_node": True,
            "last_echo": None,
            "version": self._core.config.version,
        }
        return Response(data={"nodes": [node]}, flat=True)

    async def in_flight(self, call: Call, args: NoArgs) -> Response:
        others = self._core.door.others_in_flight
        elsewhere = {} if others is None else await others()
        return Response(data={**elsewhere, **in_flight(self._core)}, bare=True)

    async def metrics(self, call: Call, args: NoArgs) -> Response:
        form = call.request.data.get("format", "")
        render = self._core.door.metrics
        if render is None:
            raise BadRequest("metrics are kept by the server; this vault is embedded")
        content_type, body = await render(str(form))
        return Response(raw=body, content_type=content_type)

    async def versions(self, call: Call, args: NoArgs) -> Response:
        rows = await self._core.version_history()
        if not rows:
            raise NotFound
        info = {
            version: {
                "build_date": "",  # `vault version-history` prints it
                "commit_date": "",
                "previous_version": previous,
                "timestamp_installed": rfc3339(when),
            }
            for version, previous, when in rows
        }
        return Response(data={"keys": list(info), "key_info": info})

    async def loggers(self, call: Call, args: LevelArgs) -> Response:
        one = {args.name or "strongroom": self._core.door.log_level}
        return Response(data=one, warnings=() if args.name else ("One level holds for all parts of the server.",))

    async def set_level(self, call: Call, args: LevelArgs) -> Response:
        if str(args.level) not in _LEVELS:
            raise BadRequest("unrecognized log level")
        self._core.door.set_log_level(str(args.level))
        return Response()

    async def reset_level(self, call: Call, args: LevelArgs) -> Response:
        self._core.door.set_log_level("")
        return Response()

    async def monitor(self, call: Call, args: NoArgs) -> Response:
        raise BadRequest("the log is not streamed; read what the server writes to stderr")

    async def reload(self, call: Call, args: LevelArgs) -> Response:
        raise BadRequest("send the server SIGHUP to make it read its configuration again")

    def _catalog(self) -> dict[str, list[str]]:
        hidden = ("system", "identity", "cubbyhole", "token")
        return {
            "auth": sorted(name for name in self._core.kinds.auth if name not in hidden),
            "database": list(self._core.databases.kinds()),
            "secret": sorted(name for name in self._core.kinds.engines if name not in hidden),
        }

    async def plugins(self, call: Call, args: NoArgs) -> Response:
        catalog = self._catalog()
        detailed = [_detail(kind, name) for kind, names in catalog.items() for name in names]
        return Response(data={**catalog, "detailed": detailed})

    async def plugins_of(self, call: Call, args: PluginArgs) -> Response:
        names = self._catalog().get(args.kind)
        if names is None:
            raise BadRequest(f"{args.kind} is not a supported plugin type")
        return Response(data={"keys": names})

    async def plugin(self, call: Call, args: PluginArgs) -> Response:
        if args.name not in self._catalog().get(args.kind, []):
            raise NotFound
        known = {"args": None, "builtin": True, "command": "", "name": args.name, "sha256": ""}
        return Response(data={**known, "version": PLUGIN_VERSION, "deprecation_status": "supported"})


def in_flight(core: "Core") -> dict[str, Any]:
    """The requests under way in this process, by id, as ``sys/in-flight-req`` shows them."""
    return {
        name: {
            "start_time": rfc3339(started),
            "client_remote_address": f"{request.remote}:{request.remote_port}",
            "request_path": f"/v1/{request.path}",
            "request_method": request.op.value,
            "client_id": "",
        }
        for name, (started, request) in core.in_flight.items()
    }


def _detail(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "version": PLUGIN_VERSION, "builtin": True, "deprecation_status": "supported"}
