"""Finds the engine and route for a path. The look-up happens once per request."""

import unicodedata
from collections.abc import Mapping, Sequence
from re import Pattern

import msgspec

from strongroom.errors import BadRequest, NotFound, UnsupportedOperation, UnsupportedPath, VaultError
from strongroom.sdk.engine import Call, Engine, Match, Route
from strongroom.sdk.kept import Kept
from strongroom.sdk.request import Op, Response

_KEPT = 4096  # matches that a router remembers
_KEPT_PATH = 256  # characters of a path that is worth it
_NOWHERE = Route(pattern="", ops={}, help="")  # needs a token, like any route that does not say otherwise


class Mounted(msgspec.Struct, frozen=True):
    """An engine at its place, with its routes compiled."""

    path: str
    engine: Engine
    routes: tuple[tuple[Pattern[str], Route], ...]
    type: str
    accessor: str
    uuid: str
    mount_class: str  # "secret" | "auth"
    privileged: bool = False  # sees the token (sys and the token store)


def mounted(
    path: str, engine: Engine, *, kind: str, accessor: str, uuid: str, mount_class: str, privileged: bool = False
) -> Mounted:
    """Compile ``engine``'s routes for ``path``."""
    compiled = tuple((route.compile(), route) for route in engine.routes())
    return Mounted(path, engine, compiled, kind, accessor, uuid, mount_class, privileged)


class Router:
    """The mounts of one namespace at one moment. Never changed: a new mount table makes a new Router."""

    __slots__ = ("_known", "_mounts", "_sole")

    def __init__(self, mounts: Sequence[Mounted]) -> None:
        self._mounts: Mapping[str, Mounted] = {m.path: m for m in mounts}
        firsts: dict[str, list[str]] = {}
        for mount in mounts:
            firsts.setdefault(mount.path.partition("/")[0] + "/", []).append(mount.path)
        # Mounts that have their first segment for themselves, and no other: most of those that are read.
        self._sole = {first: self._mounts[first] for first, there in firsts.items() if there == [first]}
        self._known: Kept[tuple[Op, str], tuple[Match, str]] = Kept(_KEPT)  # see ``keep``

    @property
    def mounts(self) -> Mapping[str, Mounted]:
        return self._mounts

    def mount_of(self, path: str) -> Mounted | None:
        """The mount with the longest path that starts ``path``, or None."""
        if (sole := self._sole.get(path[: path.find("/") + 1])) is not None:
            return sole
        mounts = self._mounts
        end = len(path)
        while (end := path.rfind("/", 0, end)) != -1:
            if (hit := mounts.get(path[: end + 1])) is not None:
                return hit
        return None

    def match(self, op: Op, path: str) -> tuple[Match, str]:
        """The route for ``path``, and the path with the names folded that the engine folds.

        Never raises: a stranger must not learn from a 404 which mounts exist. The refusal waits in the Match.
        """
        return self.known(op, path) or self.look_up(op, path)

    def known(self, op: Op, path: str) -> tuple[Match, str] | None:
        """What ``match`` gives, if it was kept."""
        return self._known.get((op, path))

    def keep(self, op: Op, path: str, match: Match) -> None:
        """Remember where a path leads that somebody was allowed to use. Asking for others leaves nothing behind."""
        if len(path) <= _KEPT_PATH:
            self._known.put((op, path), (match, path))

    def look_up(self, op: Op, path: str) -> tuple[Match, str]:
        """What ``match`` gives, found anew."""
        if op is Op.HELP and (asked := self._mounts.get(path.rstrip("/") + "/")) is not None:
            return _at(asked, _NOWHERE, {}, None), path  # help about the mount itself
        mount = self.mount_of(path)
        if mount is None:
            return nowhere(NotFound(f'no handler for route "{path}". route entry not found.')), path
        start = len(mount.path)
        known = False
        for pattern, route in mount.routes:
            hit = pattern.fullmatch(path, start)
            if hit is None:
                known = known or (path[-1] != "/" and pattern.fullmatch(path + "/", start) is not None)
                continue
            if op in route.ops or op is Op.HELP or (op is Op.CREATE and Op.UPDATE in route.ops):
                params = hit.groupdict()
                if route.fold:
                    try:
                        path, params = _fold(path, hit, route.fold)
                    except BadRequest as error:
                        return _at(mount, _NOWHERE, {}, error), path
                return _at(mount, route, params, None), path
            known = True
        refusal: VaultError = UnsupportedOperation() if known else UnsupportedPath()
        return _at(mount, _NOWHERE, {}, refusal), path

    async def route(self, call: Call) -> Response:
        """Call the engine. Raises what was wrong with the match, now that the caller is known and recorded."""
        match = call.match
        if match.refusal is not None:
            raise match.refusal
        mount = self._mounts.get(match.mount_path)
        if call.request.token and (mount is None or not mount.privileged):
            call.request = msgspec.structs.replace(call.request, token="")  # engines never see it (CVE-2026-4525)
        ops = match.route.ops
        function = ops.get(call.request.op) or ops[Op.UPDATE]
        response = await function(call, call.args)
        return response if response is not None else Response()


def _at(mount: Mounted, route: Route, params: dict[str, str], refusal: VaultError | None) -> Match:
    return Match(mount.path, route, params, refusal, mount.type, mount.accessor, mount.mount_class, mount.uuid)


def nowhere(refusal: VaultError) -> Match:
    """A match that leads nowhere; ``refusal`` is raised once the caller is known and recorded."""
    return Match("", _NOWHERE, {}, refusal)


def _fold(path: str, hit: "msgspec.Raw | object", names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Fold the named fields in ``path`` itself, so that policies and engine see one spelling (threat GHSA-fg5x)."""
    params: dict[str, str] = hit.groupdict()  # type: ignore[union-attr]
    for name in sorted(names, key=lambda n: -hit.start(n) if n in params else 0):  # type: ignore[union-attr]
        value = params.get(name)
        if value is None:
            continue
        folded = fold(value)
        begin, end = hit.span(name)  # type: ignore[union-attr]
        path = path[:begin] + folded + path[end:]
        params[name] = folded
    return path, params


def fold(name: str) -> str:
    """The one spelling under which a case-folded name is known: NFKC, then case-folded, then NFC.

    Raises:
        BadRequest: folding would change the structure of the path (U+FF0F becomes "/", for one).
    """
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    if folded != folded.strip() or any(c in "/\\" or unicodedata.category(c)[0] == "C" for c in folded):
        raise BadRequest("the name in the path cannot be folded")
    if folded in (".", "..", ""):
        raise BadRequest("the name in the path cannot be folded")
    return folded
