"""Secrets with a history (kv version 2): writes add versions, deletes can be undone, destroying cannot."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.engines.kv.ledger import META, Ledger
from strongroom.engines.kv.metadata import (
    CAS_IGNORED,
    ConfigArgs,
    MetadataArgs,
    apply_config,
    config_view,
    metadata_patch,
    metadata_view,
    metadata_write,
    version_view,
)
from strongroom.engines.kv.names import scan_names
from strongroom.engines.kv.plain import merge, pack, structure, unpack
from strongroom.engines.kv.secret import (
    Config,
    Edit,
    Secret,
    Version,
    add_version,
    deletion_time,
    destroy_versions,
    new_secret,
)
from strongroom.engines.kv.upgrade import Upgrade
from strongroom.errors import BadRequest, NotFound, UnsupportedOperation
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import UNSET, AnyMap, StrList, UnsetType
from strongroom.sdk.kept import Kept
from strongroom.sdk.listing import list_names
from strongroom.sdk.request import Op, Response

Handle = Callable[[Any, Any], Awaitable[Response]]

FOLDERS = frozenset({"data", "metadata", "detailed-metadata", "subkeys", "delete", "undelete", "destroy"})
LOOKS = frozenset({Op.READ, Op.LIST, Op.SCAN})
GONE = Response(status=404, raw=b"")  # a patch of nothing: 404 without a body, as recorded from Vault
PAGE = 100  # secrets read at a time for a detailed listing


class DataArgs(msgspec.Struct, frozen=True):
    path: str
    data: dict[str, Any] | UnsetType = UNSET
    options: AnyMap | UnsetType = UNSET
    version: int = 0

    def __repr__(self) -> str:
        return f"DataArgs(path={self.path!r}, version={self.version})"


class SubkeysArgs(msgspec.Struct, frozen=True):
    path: str
    version: int = 0
    depth: int = 0


class VersionsArgs(msgspec.Struct, frozen=True):
    path: str
    versions: StrList = StrList()


class ListArgs(msgspec.Struct, frozen=True):
    path: str = ""
    after: str = ""
    limit: int = 0


class AnyPath(msgspec.Struct, frozen=True):
    path: str = ""


_MEMOS = 2048  # secrets whose newest answer's record is remembered


class KV2:
    """Layout: see ``ledger``. Every operation waits for an upgrade from version 1 first."""

    def __init__(self, mount: Mount) -> None:
        self._storage = mount.storage
        self._clock = mount.now
        self._ledger = Ledger(mount.storage)
        self._memos: Kept[str, tuple[int, dict[Any, bytes] | None, dict[str, Any] | None]] = Kept(_MEMOS)
        self._upgrade = Upgrade(mount.storage, self._ledger, self._now)

    def _now(self) -> int:
        return int(self._clock() * 1_000_000_000)

    async def initialize(self) -> None:
        """Move version 1 secrets if there are any, and finish removals that a crash cut short."""
        await self._upgrade.run()
        await self._ledger.sweep()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Secrets are not leased."""

    def routes(self) -> Sequence[Route]:
        write = self._guard(self.write)
        return (
            Route(
                pattern="data/{path...}",
                args=DataArgs,
                ops={
                    Op.READ: self.read,
                    Op.CREATE: write,
                    Op.UPDATE: write,
                    Op.PATCH: self._guard(self.patch),
                    Op.DELETE: self._guard(self.delete_newest),
                },
                exists=self.exists,
                pure=LOOKS,
                help="The versions of a secret: read one, write the next, merge into the newest, delete the newest.",
                name="kv-data-path",
            ),
            *self._metadata_routes(),
            self._versions_route("delete", self.delete, "Mark versions as deleted. Their data stays."),
            self._versions_route("undelete", self.undelete, "Make deleted versions readable again."),
            self._versions_route("destroy", self.destroy, "Remove the data of versions for ever."),
            Route(
                pattern="subkeys/{path...}",
                args=SubkeysArgs,
                ops={Op.READ: self._guard(self.subkeys)},
                pure=LOOKS,
                help="The keys of a secret, with null in the place of each value.",
                name="kv-subkeys-path",
            ),
            self._config_route(),
            self._stray_route(),
        )

    def _metadata_routes(self) -> tuple[Route, Route]:
        write = self._guard(self.write_metadata)
        return (
            Route(
                pattern="metadata/{path...}",
                rest_may_be_empty=True,
                args=MetadataArgs,
                ops={
                    Op.READ: self._guard(self.read_metadata),
                    Op.CREATE: write,
                    Op.UPDATE: write,
                    Op.PATCH: self._guard(self.patch_metadata),
                    Op.DELETE: self._guard(self.delete_metadata),
                    Op.LIST: self._guard(self.list),
                    Op.SCAN: self._guard(self.scan),
                },
                exists=self.exists,
                pure=LOOKS,
                help="What is known of a secret besides its data, its settings, and the names of secrets in a folder. "
                "A delete removes the secret with all its versions.",
                name="kv-metadata-path",
            ),
            Route(
                pattern="detailed-metadata/{path...}",
                rest_may_be_empty=True,
                args=ListArgs,
                ops={Op.LIST: self._guard(self.list_detailed), Op.SCAN: self._guard(self.scan_detailed)},
                help="The names of secrets in a folder, each with its metadata.",
                name="kv-detailed-metadata-path",
            ),
        )

    def _config_route(self) -> Route:
        write = self._guard(self.write_config)
        return Route(
            pattern="config",
            args=ConfigArgs,
            ops={Op.READ: self._guard(self.read_config), Op.CREATE: write, Op.UPDATE: write},
            help="Settings that hold for every secret of the mount.",
            name="kv-config",
        )

    def _stray_route(self) -> Route:
        verbs = {Op.READ: "get", Op.CREATE: "put", Op.UPDATE: "put", Op.DELETE: "delete", Op.LIST: "list"}
        return Route(
            pattern="{path...}",
            rest_may_be_empty=True,
            args=AnyPath,
            ops={op: _stray(verb) for op, verb in verbs.items()},
            strict=False,
            help="Not a path of versioned secrets: they are under data/.",
            name="kv-stray-path",
        )

    def _versions_route(self, name: str, handle: Handle, text: str) -> Route:
        guarded = self._guard(handle)
        return Route(
            pattern=name + "/{path...}",
            args=VersionsArgs,
            ops={Op.CREATE: guarded, Op.UPDATE: guarded},
            help=text,
            name=f"kv-{name}-path",
        )

    def _guard(self, handle: Handle) -> Handle:
        async def guarded(call: Call, args: Any) -> Response:
            if not self._upgrade.done:
                await self._upgrade.require()
            return await handle(call, args)

        return guarded

    async def exists(self, call: Call) -> bool:
        path = call.match.params["path"]
        if not path:
            return False
        call.found = await self._ledger.find(path)
        return call.found[0] is not None

    # data

    async def read(self, call: Call, args: DataArgs) -> Response:
        if not self._upgrade.done:
            await self._upgrade.require()
        memo: dict[Any, bytes] | None = None
        view: dict[str, Any] | None = None
        if args.version > 0:
            number, version, secret, data = await self._find(args.path, args.version)
        else:
            found = await self._ledger.newest(args.path)
            if found is None:
                raise NotFound
            secret, revision = found
            number, data = secret.current, secret.data
            newest = secret.version(number)
            if newest is None:
                raise NotFound
            version = newest
            memo, view = self._memo(args.path, revision)
        if view is None:
            view = version_view(number, version, secret)
            if memo is not None and not secret.custom:
                self._memos[args.path] = revision, memo, dict(view)
        if data is None or not version.readable(self._now()):
            raise NotFound(data={"data": None, "metadata": view})
        return Response(data={"data": unpack(data), "metadata": view}, memo=memo)

    def _memo(self, path: str, revision: int) -> tuple[dict[Any, bytes] | None, dict[str, Any] | None]:
        """Where the core keeps what it made of this very revision, and its metadata if they were shown before.

        Nothing is kept for what is read once: among many secrets that would only cost.
        """
        known = self._memos.get(path)
        if known is None or known[0] != revision:
            self._memos.put(path, (revision, None, None))
            return None, None
        if known[1] is None:
            known = self._memos[path] = revision, {}, None
        view = known[2]
        return known[1], None if view is None else dict(view)

    async def _find(self, path: str, wanted: int) -> tuple[int, Version, Secret, bytes | msgspec.Raw | None]:
        """Number, version, secret and data of the version wanted (0 or less: the newest). Raises NotFound."""
        secret = await self._ledger.get(path)
        if secret is None:
            raise NotFound
        number = wanted if wanted > 0 else secret.current
        data: bytes | msgspec.Raw | None = secret.data
        if number != secret.current:
            pair = await self._ledger.older_data(path, number, secret) if number < secret.current else None
            if pair is None:
                raise NotFound
            secret, data = pair
        version = secret.version(number)
        if version is None:
            raise NotFound
        return number, version, secret, data

    async def write(self, call: Call, args: DataArgs) -> Response:
        if args.data is UNSET:
            raise BadRequest("no data provided")
        text, cas = pack(args.data), _cas(args.options)

        def change(config: Config, secret: Secret | None) -> Edit:
            now = self._now()
            _check_cas(cas, config, secret)
            return add_version(secret or new_secret(now), text, now=now, config=config)

        return _written(await self._ledger.change(args.path, change, found=call.found))

    async def patch(self, call: Call, args: DataArgs) -> Response:
        document = call.request.data.get("data")
        if args.data is UNSET or not isinstance(document, Mapping):
            raise BadRequest("no data provided")
        cas = _cas(args.options)

        def change(config: Config, secret: Secret | None) -> Edit | None:
            if secret is None:
                return None
            _check_cas(cas, config, secret)
            if secret.newest is None:
                return None
            now = self._now()
            if not secret.newest.readable(now):
                raise NotFound(data=version_view(secret.current, secret.newest, secret))
            return add_version(secret, pack(merge(unpack(secret.data), document)), now=now, config=config)

        secret = await self._ledger.change(args.path, change)
        return GONE if secret is None else _written(secret)

    async def delete_newest(self, call: Call, args: DataArgs) -> Response:
        def change(config: Config, secret: Secret | None) -> Edit | None:
            return _mark_deleted(secret, (secret.current,), self._now()) if secret else None

        await self._ledger.change(args.path, change)
        return Response()

    async def subkeys(self, call: Call, args: SubkeysArgs) -> Response:
        number, version, secret, data = await self._find(args.path, args.version)
        view = version_view(number, version, secret)
        if data is None or not version.readable(self._now()):
            raise NotFound(data={"metadata": view, "subkeys": None})
        return Response(data={"metadata": view, "subkeys": structure(unpack(data), max(0, args.depth))})

    # versions

    async def delete(self, call: Call, args: VersionsArgs) -> Response:
        numbers = _numbers(args.versions, "No version number provided")

        def change(config: Config, secret: Secret | None) -> Edit | None:
            return _mark_deleted(secret, numbers, self._now()) if secret else None

        await self._ledger.change(args.path, change)
        return Response()

    async def undelete(self, call: Call, args: VersionsArgs) -> Response:
        numbers = _numbers(args.versions, "No version number provided")

        def change(config: Config, secret: Secret | None) -> Edit | None:
            if secret is None:
                return None
            until = deletion_time(self._now(), config, secret)

            def undelete(version: Version) -> None:
                if not version.destroyed:
                    version.deleted = until

            return Edit(secret) if secret.mark(numbers, undelete) else None

        await self._ledger.change(args.path, change)
        return Response()

    async def destroy(self, call: Call, args: VersionsArgs) -> Response:
        numbers = _numbers(args.versions, "no version number provided")

        def change(config: Config, secret: Secret | None) -> Edit | None:
            return destroy_versions(secret, numbers) if secret else None

        await self._ledger.change(args.path, change)
        return Response()

    # metadata and settings

    async def read_metadata(self, call: Call, args: MetadataArgs) -> Response:
        secret = await self._ledger.get(args.path) if args.path else None
        if secret is None:
            raise NotFound
        return Response(data=metadata_view(secret))

    async def write_metadata(self, call: Call, args: MetadataArgs) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        if args.says_nothing():
            return Response()
        await self._ledger.change(args.path, metadata_write(args, self._now))
        return await self._settings_answer(args)

    async def patch_metadata(self, call: Call, args: MetadataArgs) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        patch, missing = metadata_patch(args, call.request.data, self._now), False

        def change(config: Config, secret: Secret | None) -> Edit | None:
            nonlocal missing
            missing = secret is None
            return patch(config, secret) if secret else None

        await self._ledger.change(args.path, change)
        return GONE if missing else await self._settings_answer(args)

    async def _settings_answer(self, args: MetadataArgs) -> Response:
        if args.cas_required is not UNSET and not args.cas_required and (await self._ledger.config()).cas_required:
            return Response(warnings=(CAS_IGNORED,))
        return Response()

    async def delete_metadata(self, call: Call, args: MetadataArgs) -> Response:
        if not args.path:
            raise BadRequest("missing path")

        def change(config: Config, secret: Secret | None) -> Edit | None:
            return Edit(None, dead=secret.apart(secret.versions())) if secret else None

        await self._ledger.change(args.path, change)
        return Response()

    async def read_config(self, call: Call, args: ConfigArgs) -> Response:
        return Response(data=config_view(await self._ledger.config()))

    async def write_config(self, call: Call, args: ConfigArgs) -> Response:
        if args != ConfigArgs():
            await self._ledger.change_config(lambda config: apply_config(config, args))
        return Response()

    # listings

    async def list(self, call: Call, args: MetadataArgs | ListArgs) -> Response:
        names = await list_names(self._storage, META + args.path, args.after, args.limit)
        if not names:
            raise NotFound
        return Response(data={"keys": names})

    async def scan(self, call: Call, args: MetadataArgs | ListArgs) -> Response:
        names = await scan_names(self._storage, META + args.path, args.after, args.limit)
        return Response(data={"keys": names} if names else {})

    async def list_detailed(self, call: Call, args: ListArgs) -> Response:
        return await self._detailed(args.path, await self.list(call, args))

    async def scan_detailed(self, call: Call, args: ListArgs) -> Response:
        return await self._detailed(args.path, await self.scan(call, args))

    async def _detailed(self, folder: str, listing: Response) -> Response:
        names = (listing.data or {}).get("keys", [])
        info: dict[str, Any] = {}
        for start in range(0, len(names), PAGE):
            page = [name for name in names[start : start + PAGE] if not name.endswith("/")]
            secrets = await self._ledger.get_many([folder + name for name in page])
            info |= {name: metadata_view(secret) for name, secret in zip(page, secrets, strict=True) if secret}
        return Response(data={"keys": names, "key_info": info} if names else {})


def _written(secret: Secret | None) -> Response:
    assert secret is not None and secret.newest is not None
    return Response(data=version_view(secret.current, secret.newest, secret))


def _mark_deleted(secret: Secret, numbers: Sequence[int], now: int) -> Edit | None:
    def delete(version: Version) -> None:
        if version.readable(now):
            version.deleted = now

    return Edit(secret) if secret.mark(numbers, delete) else None


def _cas(options: AnyMap | UnsetType) -> int | None:
    """The version that ``options.cas`` expects; None if it says nothing, 0 for null as in Vault. Raises BadRequest."""
    if options is UNSET or "cas" not in options:
        return None
    cas = options["cas"]
    if cas is None:
        return 0
    if isinstance(cas, bool) or not isinstance(cas, int | str):
        raise BadRequest("error parsing check-and-set parameter")
    return _number(cas, "error parsing check-and-set parameter")


def _check_cas(cas: int | None, config: Config, secret: Secret | None) -> None:
    if cas is None:
        if config.cas_required or (secret is not None and secret.cas_required):
            raise BadRequest("check-and-set parameter required for this call")
    elif cas != (secret.current if secret else 0):
        raise BadRequest("check-and-set parameter did not match the current version")


def _numbers(versions: Sequence[str], missing: str) -> tuple[int, ...]:
    if not versions:
        raise BadRequest(missing)
    return tuple(_number(version, "versions is not a list of numbers") for version in versions)


def _number(value: int | str, fault: str) -> int:
    text = str(value)
    if len(text) > 19 or not text.removeprefix("-").isdecimal() or not text.isascii():
        raise BadRequest(fault)
    return int(text)


def _stray(verb: str) -> Handle:
    """Tells a client that speaks version 1 where the secrets are: 404 with a warning, as Vault does."""
    advice = (
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
        f"If using the Vault CLI, use 'vault kv {verb}' for this operation."
    )

    async def handle(call: Call, args: AnyPath) -> Response:
        if args.path.partition("/")[0] in FOLDERS and "/" in args.path:
            raise UnsupportedOperation
        raise NotFound(warnings=(advice,))

    return handle
