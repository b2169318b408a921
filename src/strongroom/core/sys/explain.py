"""sys/policies/explain, who-can, reach, lint: why a decision came out as it did, and who may do what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.core.denials import Denial
from strongroom.core.identity.records import entity_of, group_of
from strongroom.core.namespace import Namespace
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import StrList, Text
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.policy import Question
from strongroom.sdk.request import Caller, Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_OPS = {op.value: op for op in (Op.CREATE, Op.READ, Op.UPDATE, Op.PATCH, Op.DELETE, Op.LIST, Op.SCAN)}
_ALIASES = {"write": Op.UPDATE, "get": Op.READ, "put": Op.UPDATE, "post": Op.UPDATE}
_MAX_SCANNED = 100_000  # entities, and groups, that a question looks at
_NOBODY = Caller(accessor="", policies=())


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose decision: of a denial, or of a token, an accessor, an entity (name or id) or a list of policies."""

    denial: Text = Text("")
    token: Text = Text("")
    accessor: Text = Text("")
    entity: Text = Text("")
    policies: StrList = StrList()
    operation: Text = Text("read")
    path: Text = Text("")

    def __repr__(self) -> str:
        return "Asked()"


class LintArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: Text = Text("")
    policy: Text = Text("")


class ExplainRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        def route(pattern: str, function: Any, text: str, args: Any = Asked) -> Route:
            return Route(pattern=pattern, args=args, ops={Op.UPDATE: function}, sudo=True, help=text)

        return (
            route(
                "policies/explain", self.explain, "Which rule decided, where it stands, and the least that allows it."
            ),
            route(
                "policies/who-can", self.who_can, "The policies, groups and entities that allow an operation on a path."
            ),
            route("policies/reach", self.reach, "All that a token or an entity may do."),
            route("policies/lint", self.lint, "What surprises people about a policy, or about all of them.", LintArgs),
        )

    def _space(self, call: Call) -> Namespace:
        return self._core.space(call.request.namespace)

    # -- explain

    async def explain(self, call: Call, args: Asked) -> Response:
        space = self._space(call)
        data: dict[str, Any] = {}
        if args.denial:
            denial = space.denials.open(str(args.denial))
            caller, op, path = await self._refused(space, denial), denial.op, denial.path
            data |= {"time": rfc3339(denial.time), "display_name": denial.display_name, "remote_address": denial.remote}
        else:
            caller, op, path = await self._caller(space, args), _operation(str(args.operation)), str(args.path)
        match, path = self._core.router(call.request.namespace).match(op, _path(path, op))
        data |= {"operation": op.value, "path": path, "mount_point": match.mount_path}
        if caller is None:
            reason = "there was no token, or none that is valid"
            return Response(data={**data, "allowed": False, "decided_by": "token", "reason": reason})
        data |= {"policies": list(caller.policies), "entity_id": caller.entity_id}
        if match.route.login:
            return Response(data={**data, "allowed": True, "decided_by": "route", "reason": "no token is needed"})
        if caller.root:
            return Response(data={**data, "allowed": True, "decided_by": "root", "reason": "the root policy is exempt"})
        question = Question(caller=caller, op=op, path=path, sudo=match.route.sudo)
        found = await space.policies.explain(caller, question)
        data |= {"allowed": found["allowed"], "decided_by": "acl", **found_below(found)}
        if (gate := space.policies.cedar) is not None:
            decision = (await space.policies.acl(caller)).decide(question)
            told = await gate.explain(caller, match, op, path, decision)
            if told is not None:
                data |= {"allowed": told.pop("allowed"), "decided_by": told.pop("decided_by"), "cedar": told}
        return Response(data=data)

    async def _refused(self, space: Namespace, denial: Denial) -> Caller | None:
        """The caller of a denial with today's policies, or with those of then if the token is gone."""
        if not denial.token_id and not denial.policies:
            return None
        found = await space.tokens.find_id(denial.token_id) if denial.token_id else None
        if found is not None:
            return await today(space, found.caller)
        return Caller(accessor="", policies=denial.policies, entity_id=denial.entity_id)

    async def _caller(self, space: Namespace, args: Asked) -> Caller:
        """Whoever is asked about. Raises BadRequest, NotFound."""
        if args.token or args.accessor:
            found = await (
                space.tokens.find(str(args.token)) if args.token else space.tokens.find_accessor(str(args.accessor))
            )
            if found is None:
                raise NotFound("no such token")
            return await today(space, found.caller)
        if args.entity:
            return await entity_caller(space, str(args.entity))
        if args.policies:
            names = tuple(sorted({name.lower() for name in args.policies}))
            return Caller(accessor="", policies=names, root="root" in names)
        raise BadRequest("give a denial, a token, an accessor, an entity or policies")

    # -- the reverse

    async def who_can(self, call: Call, args: Asked) -> Response:
        space, op = self._space(call), _operation(str(args.operation))
        match, path = self._core.router(call.request.namespace).match(op, _path(str(args.path), op))
        question = Question(caller=_NOBODY, op=op, path=path, sudo=match.route.sudo)
        granting: list[dict[str, Any]] = []
        depending: list[str] = []
        for name in await space.policies.names():
            policy = await space.policies.parsed(name) if name != "root" else None
            if policy is None:
                continue
            if policy.templated:
                depending.append(name)
                continue
            found = space.policies.explain_one(policy, question)
            if found["allowed"]:
                granting.append({"policy": name, "rule": found["rule"], "line": found["decided_by"][0]["line"]})
        names = [one["policy"] for one in granting]
        data = {"operation": op.value, "path": path, "policies": granting, "depends_on_identity": depending}
        if space.policies.cedar is not None:
            data["cedar"] = await space.policies.cedar.speaking(match, op, path)
        return Response(data={**data, **await holders(space, names)})

    async def reach(self, call: Call, args: Asked) -> Response:
        space = self._space(call)
        caller = await self._caller(space, args)
        acl = await space.policies.acl(caller)
        data = {"policies": list(caller.policies), "root": caller.root, "entity_id": caller.entity_id}
        return Response(data={**data, **acl.resultant()})

    # -- lint

    async def lint(self, call: Call, args: LintArgs) -> Response:
        space = self._space(call)
        store, mounts = space.policies, _kinds(space)
        if args.policy:
            findings = store.lint(store.parse(str(args.name) or "policy", str(args.policy)), mounts)
            return Response(data={"findings": findings})
        names = [str(args.name)] if args.name else [name for name in await store.names() if name != "root"]
        found = []
        for name in names:
            policy = await store.parsed(name)
            if policy is None:
                raise NotFound("no such policy")
            found += store.lint(policy, mounts)
        return Response(data={"findings": found})


def found_below(found: dict[str, Any]) -> dict[str, Any]:
    """The ACL's part of an explanation, its rules under ``rules``."""
    return {
        "reason": found["reason"],
        "rule": found["rule"],
        "rules": found["decided_by"],
        "smallest_policy": found["smallest_policy"],
        "remedy": found["remedy"],
    }


def _operation(name: str) -> Op:
    op = _OPS.get(name.lower()) or _ALIASES.get(name.lower())
    if op is None:
        raise BadRequest(f"operation must be one of {', '.join(_OPS)}")
    return op


def _path(path: str, op: Op) -> str:
    if not path:
        raise BadRequest("path must be supplied")
    path = canonical_text(path.lstrip("/").removeprefix("v1/"))
    return path.rstrip("/") + "/" if op in (Op.LIST, Op.SCAN) else path.rstrip("/")


def _kinds(space: Namespace) -> dict[str, str]:
    """Mount path -> kind, as the linter wants it."""
    return {
        path: "kv2" if entry.type in ("kv", "generic") and (entry.options or {}).get("version") == "2" else entry.type
        for path, entry in space.mounts.entries.items()
    }


async def today(space: Namespace, caller: Caller) -> Caller:
    """``caller`` with the policies and groups that its entity gives now; one whose entity is gone keeps its token's."""
    return await space.identity.caller(caller, keep=False) or caller


async def entity_caller(space: Namespace, name: str) -> Caller:
    """Whoever is the entity ``name`` (or its id), by what the entity alone gives. Raises NotFound."""
    store = space.identity.store
    entity = await store.entity_named(name) or await store.entity(name)
    if entity is None:
        raise NotFound("no such entity")
    bare = Caller(accessor="", policies=(), entity_id=entity.id, namespace=space.id)
    found = await space.identity.caller(bare, keep=False)
    if found is None:
        raise BadRequest("the entity is disabled: nothing is granted to it")
    return found


async def holders(space: Namespace, policies: Sequence[str]) -> dict[str, Any]:
    """The entities and groups that hold one of ``policies``, and whether there are more than were looked at."""
    wanted, keys = frozenset(policies), space.identity.store.keys
    entities, more = await _holding(space, keys.entity, entity_of, wanted)
    groups, also = await _holding(space, keys.group, group_of, wanted)
    return {"entities": entities, "groups": groups, "truncated": more or also}


async def _holding(space: Namespace, prefix: str, read: Any, wanted: frozenset[str]) -> tuple[list[str], bool]:
    found: list[str] = []
    after, seen = "", 0
    while rows := await space.storage.scan(prefix, after=after, limit=500):
        for _, stored in rows:
            record = read(stored.value)
            if wanted.intersection(record.policies):
                found.append(record.name)
        after, seen = rows[-1][0], seen + len(rows)
        if seen >= _MAX_SCANNED:
            return found, True
    return found, False
