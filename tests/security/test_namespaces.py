"""Threats between namespaces: ids of one in another, names that lead out, policies that reach too far."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from strongroom.auth import userpass
from strongroom.core.sys.root_only import ROOT_ONLY, is_root_only
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from vault_world import World

METHODS = {
    Op.READ: "GET",
    Op.CREATE: "POST",
    Op.UPDATE: "POST",
    Op.PATCH: "PATCH",
    Op.DELETE: "DELETE",
    Op.LIST: "LIST",
    Op.SCAN: "SCAN",
}
# Fields that some writes need, so that they get as far as to look for what is named.
NEEDED = {"policy": 'path "x" { capabilities = ["read"] }', "password": "p", "type": "kv", "paths": ["x"], "to": "y"}
# Groups of sys/ routes that a namespace answers for itself. A new route is named here or in ROOT_ONLY.
OPEN = (
    *("auth", "capabilities", "capabilities-accessor", "capabilities-self", "config/authorization", "internal/specs"),
    *("internal/ui", "leases", "locked-users", "mfa", "mounts", "namespaces", "policies", "policy"),
    *(
        "quotas/lease-count",
        "quotas/rate-limit",
        "remount",
        "renew",
        "revoke",
        "revoke-force",
        "revoke-prefix",
        "tools",
        "wrapping",
    ),
)


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    world.made.kinds.engines["lender"] = Lender
    for name in ("victim", "thief"):
        await world.ok("POST", f"sys/namespaces/{name}")
        for kind in sorted({*world.made.kinds.auth} - {"token"}):
            await world.ok("POST", f"sys/auth/{kind}", {"type": kind}, **inside(name))
        await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, **inside(name))
        await world.ok("POST", "sys/mounts/lend", {"type": "lender"}, **inside(name))
    return world


def inside(path: str) -> dict[str, Any]:
    return {"headers": {"X-Vault-Namespace": path, "Content-Type": "application/merge-patch+json"}}


class Lender:
    """An engine that leases whatever it is asked for, for a long time."""

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> Sequence[Route]:
        return (Route(pattern="creds/{name}", ops={Op.READ: self.lend}, strict=False, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        return Response(data={}, lease=Lease(ttl=60_000, max_ttl=600_000))

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """There is nothing to undo."""


async def belongings(world: World) -> dict[str, str]:
    """What the victim's namespace has that can be named from outside: kind -> id."""
    at = inside("victim")
    created = (await world.ok("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"}, **at))["auth"]
    batch = (await world.ok("POST", "auth/token/create", {"type": "batch", "ttl": "1h"}, **at))["auth"]
    await world.ok("POST", "auth/token/roles/victim-role", {}, **at)
    await world.ok("PUT", "sys/policies/acl/victim-policy", {"policy": NEEDED["policy"]}, **at)
    await world.ok("POST", "auth/userpass/users/victim-user", {"password": "p"}, **at)
    await world.ok("POST", "auth/approle/role/victim-approle", {}, **at)
    secret = (await world.ok("POST", "auth/approle/role/victim-approle/secret-id", **at))["data"]
    role_id = (await world.ok("GET", "auth/approle/role/victim-approle/role-id", **at))["data"]["role_id"]
    await world.ok("POST", "secret/data/victim-secret", {"data": {"k": "v"}}, **at)
    await world.ok("POST", "sys/namespaces/victim-child", **at)
    await world.ok("POST", "sys/mounts/victim-mount", {"type": "kv"}, **at)
    wrapping = {"headers": {**at["headers"], "X-Vault-Wrap-TTL": "600"}}
    wrapped = (await world.ok("GET", "secret/data/victim-secret", **wrapping))["wrap_info"]
    leases = await world.ok("LIST", "sys/leases/lookup/auth/token/create", **at)
    mounts = (await world.ok("GET", "sys/mounts", **at))["data"]
    methods = (await world.ok("GET", "sys/auth", **at))["data"]
    lent = await world.ok("GET", "lend/creds/x", **at)
    refused = await world.raw("GET", "secret/data/x", token=created["client_token"], **at)
    denial = re.findall(rb"X-Strongroom-Denial: (\S+)", refused.headers)[0].decode()
    person = (await world.ok("POST", "identity/entity", {"name": "victim-person"}, **at))["data"]["id"]
    group = (await world.ok("POST", "identity/group", {"name": "victim-group"}, **at))["data"]["id"]
    alias = {"name": "victim-alias", "canonical_id": person, "mount_accessor": methods["userpass/"]["accessor"]}
    alias_id = (await world.ok("POST", "identity/entity-alias", alias, **at))["data"]["id"]
    space = (await world.ok("GET", "sys/namespaces/victim"))["data"]
    return {
        "token": created["client_token"],
        "accessor": created["accessor"],
        "batch token": batch["client_token"],
        "wrapping token": wrapped["token"],
        "wrapping accessor": wrapped["accessor"],
        "token's lease": "auth/token/create/" + leases["data"]["keys"][0],
        "lease": lent["lease_id"],
        "token role": "victim-role",
        "policy": "victim-policy",
        "user": "victim-user",
        "approle": "victim-approle",
        "role id": role_id,
        "secret id": secret["secret_id"],
        "secret id accessor": secret["secret_id_accessor"],
        "secret": "victim-secret",
        "child": "victim-child",
        "mount": "victim-mount",
        "mount accessor": mounts["victim-mount/"]["accessor"],
        "mount uuid": mounts["victim-mount/"]["uuid"],
        "auth accessor": methods["userpass/"]["accessor"],
        "denial": denial,
        "entity": person,
        "entity name": "victim-person",
        "group": group,
        "group name": "victim-group",
        "alias": alias_id,
        "alias name": "victim-alias",
        "namespace id": space["id"],
        "namespace uuid": space["uuid"],
    }


def unknown(value: str) -> str:
    """An id of the same form that never was: letters and digits of the last part are turned round, the tail stays."""
    head, slash, last = value.rpartition("/")
    prefix = last[:4] if last.startswith(("hvs.", "hvb.")) else ""
    body, dot, tail = last[len(prefix) :].partition(".")
    changed = "".join(chr(ord(c) ^ 1) if c.isalnum() and (chr(ord(c) ^ 1)).isalnum() else c for c in body)
    assert changed != body
    return head + slash + prefix + changed + dot + tail


def places(route: Route) -> Iterator[str]:
    """The fields of a route that take text: of its path, then of its body."""
    names = re.findall(r"\{(\w+)", route.pattern)
    yield from names
    for field in msgspec.structs.fields(route.args):
        kind = field.type if isinstance(field.type, type) else object
        if field.encode_name not in names and (issubclass(kind, str | list | tuple) or kind is object):
            yield field.encode_name


_fresh = itertools.count(1000)


def asked(mount: str, route: Route, place: str, value: str) -> tuple[str, dict[str, Any]]:
    """Path and fields of a request that names ``value`` at ``place``; other fields are filled with what may do."""
    other = f"other{next(_fresh)}"
    path = mount + re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda m: value if m[1] == place else other, route.pattern)
    known = {field.encode_name for field in msgspec.structs.fields(route.args)}
    fields = {name: given for name, given in NEEDED.items() if name in known or not route.strict}
    if "{" + place not in route.pattern:
        fields[place] = value
    return path, fields


async def answer(world: World, token: str, op: Op, path: str, fields: dict[str, Any], value: str) -> tuple[int, str]:
    """Status and body as the thief sees them, with the id that was given and what is random taken out."""
    body = fields if op in (Op.CREATE, Op.UPDATE, Op.PATCH) else None
    if "*" in path or " " in path:
        return 0, ""
    raw = await world.raw(METHODS[op], path, body, token=token, **inside("thief"))
    if op in (Op.LIST, Op.SCAN) and raw.status == 200:
        return 200, ""  # it holds what the thief himself has made meanwhile
    text = re.sub(r"other\d+", "<other>", raw.body.decode())
    for given in (value, value.rpartition("/")[2]):
        text = re.sub(re.escape(given), "<given>", text, flags=re.IGNORECASE)  # some names are folded
    text = re.sub(r'"[0-9a-f]{8}-[0-9a-f-]{27}"', '"<uuid>"', text)
    text = re.sub(r'("lease_id":"[^"]*/)[0-9A-Za-z]{24}\.', r"\1<random>.", text)
    text = re.sub(r"hv[sb]\.[\w.-]+", "<token>", text)
    text = re.sub(r'"(accessor|wrapped_accessor|id|random_bytes)":"[^"]+"', r'"\1":"<random>"', text)
    text = re.sub(r"entity_[0-9a-f]{8}", "<entity>", text)
    text = re.sub(r'line 1, column \d+: [^"]*', "<what an id is, read as a document>", text)
    return raw.status, re.sub(r'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]+"', '"<time>"', text)


def questions(world: World, namespace: str) -> list[tuple[str, Route, Op, str]]:
    """Every place of every operation of every route that takes text."""
    space = world.core.space(namespace)
    found = []
    for path, mount in sorted(space.mounts.router.mounts.items()):
        for _, route in mount.routes:
            for op in route.ops:
                if op in METHODS:
                    found += [(path, route, op, place) for place in places(route)]
    return found


async def thief_of(world: World) -> tuple[str, str]:
    """A token that may do anything in its namespace, and that namespace's id."""
    auth = (await world.ok("POST", "auth/token/create", {"policies": ["root"], "ttl": "10h"}, **inside("thief")))[
        "auth"
    ]
    return auth["client_token"], auth["accessor"].rpartition(".")[2]


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userpass.Userpass, "_hash", _hash)
    monkeypatch.setattr(userpass.Userpass, "_verify", _verify)


async def _hash(_self: Any, password: str) -> str:
    return "hash of " + password


async def _verify(_self: Any, hashed: str, password: str) -> bool:
    return hashed == "hash of " + password


@pytest.mark.usefixtures("quick_hashes")
async def test_sec_cve_2026_55775_an_id_of_another_namespace_is_like_one_that_never_was(world: World) -> None:
    """The thief gives everything he may call each id of the victim, and one of the same form that nobody ever had."""
    owned = await belongings(world)
    thief, home = await thief_of(world)
    for method in ("userpass", "approle"):  # he may try as often as he likes
        tuned = {"user_lockout_config": {"lockout_disable": True}}
        await world.ok("POST", f"sys/auth/{method}/tune", tuned, **inside("thief"))
    due = await world.stored("ns/root/lease/due/")
    before = {key for key in await world.stored("ns/") if not key.startswith((f"ns/{home}/", "ns/root/"))}
    told: list[str] = []
    count = 0
    for mount, route, op, place in questions(world, home):
        for kind, value in owned.items():
            strange = unknown(value)
            path, fields = asked(mount, route, place, value)
            mine = await answer(world, thief, op, path, fields, value)
            path, fields = asked(mount, route, place, strange)
            if mine != (other := await answer(world, thief, op, path, fields, strange)):
                told.append(f"{op} {mount}{route.pattern} {place}={kind}: {mine} / {other}")
            count += 1
    assert not told, "\n".join(told)
    assert count > 5000 and await world.status("GET", "sys/mounts", token=thief, **inside("thief")) == 200
    after = {key for key in await world.stored("ns/") if not key.startswith((f"ns/{home}/", "ns/root/"))}
    assert after == before and {*due} <= {*await world.stored("ns/root/lease/due/")}  # nothing of the victim's changed
    at = inside("victim")
    for kind in ("token", "batch token"):
        assert await world.status("GET", "auth/token/lookup-self", token=owned[kind], **at) == 200
    assert await world.status("POST", "sys/wrapping/unwrap", {"token": owned["wrapping token"]}, **at) == 200


async def test_the_ids_of_that_test_do_open_something_at_home(world: World) -> None:
    """The positive control: in the victim's namespace each id is told from a strange one by some route."""
    owned = await belongings(world)
    at = inside("victim")
    asks = {
        "token": ("POST", "auth/token/lookup", "token"),
        "batch token": ("POST", "auth/token/lookup", "token"),
        "accessor": ("POST", "auth/token/lookup-accessor", "accessor"),
        "wrapping token": ("POST", "sys/wrapping/lookup", "token"),
        "wrapping accessor": ("POST", "auth/token/lookup-accessor", "accessor"),
        "lease": ("POST", "sys/leases/lookup", "lease_id"),
        "token's lease": ("POST", "sys/leases/lookup", "lease_id"),
        "denial": ("POST", "sys/policies/explain", "denial"),
    }
    for kind, (method, path, field) in asks.items():
        assert await world.status(method, path, {field: owned[kind]}, **at) == 200, kind
        assert await world.status(method, path, {field: unknown(owned[kind])}, **at) >= 400, kind
    for path in ("entity/id/{entity}", "entity/name/{entity name}", "group/id/{group}", "entity-alias/id/{alias}"):
        kind = re.findall(r"\{(.*)\}", path)[0]
        there, never = (f"identity/{path}".format_map({kind: value}) for value in (owned[kind], unknown(owned[kind])))
        assert await world.status("GET", there, **at) == 200 and await world.status("GET", never, **at) == 404
    login = {"role_id": owned["role id"], "secret_id": owned["secret id"]}
    assert await world.status("POST", "auth/approle/login", login, token="", **at) == 200
    assert await world.status("POST", "auth/approle/login", login, token="", **inside("thief")) == 400


async def test_sec_cve_2026_55774_a_token_works_at_home_and_below_only(world: World) -> None:
    thief, _ = await thief_of(world)
    await world.ok("POST", "sys/namespaces/below", **inside("thief"))
    for path in ("thief", "thief/below"):
        assert await world.status("GET", "sys/mounts", token=thief, **inside(path)) == 200
    for path in ("", "victim", "root"):
        for target in ("sys/mounts", "auth/token/lookup-self", "cubbyhole/x", "secret/data/x"):
            assert await world.refused("GET", target, token=thief, **inside(path)) == (403, "permission denied")
    for path in ("victim/sys/mounts", "root/sys/mounts"):
        assert await world.status("GET", path, token=thief) in (403, 404)
    nsid = thief.rpartition(".")[2]
    for forged in (thief.removesuffix("." + nsid), thief + ".root", f"{thief}.{nsid}", thief.replace(nsid, "root")):
        for path in ("", "victim", "thief"):
            assert await world.status("GET", "sys/mounts", token=forged, **inside(path)) == 403, (forged, path)


@pytest.mark.parametrize("name", ["root", "Root", "ROOT", "root/", "%72oot"])
async def test_sec_ghsa_mwr2_no_namespace_is_called_root(world: World, name: str) -> None:
    for parent in ("", "thief"):
        assert await world.status("POST", f"sys/namespaces/{name}", **inside(parent)) == 400
    thief, _ = await thief_of(world)
    for path in ("thief/root", "root/thief/root", "thief/root/"):
        assert await world.status("GET", "sys/mounts", token=thief, **inside(path)) == 404


def test_sec_cve_2026_45808_old_routes_share_the_functions_of_the_new(world: World) -> None:
    routes = {route.pattern: route for _, route in world.core.space().mounts.router.mounts["sys/"].routes}
    for old in ("renew", "revoke", "renew/{url_lease_id...}", "revoke/{url_lease_id...}", "revoke-prefix/{prefix...}"):
        assert routes[old].ops == routes[f"leases/{old}"].ops


async def test_sec_ghsa_cg72_what_is_of_the_machine_is_refused_in_namespaces(world: World) -> None:
    thief, home = await thief_of(world)
    refused = 0
    for _, route in world.core.space(home).mounts.router.mounts["sys/"].routes:
        if not is_root_only(route.pattern):
            continue
        path = "thief/sys/" + re.sub(r"\{\w+(?:\.\.\.)?\}", "x", route.pattern)
        for op in route.ops:
            if path.endswith("/") and op not in (Op.LIST, Op.SCAN):
                continue  # no door lets such a path in
            for token in (thief, world.root):
                body = {"a": "b"} if op in (Op.UPDATE, Op.CREATE, Op.PATCH) else None
                got = await world.refused(METHODS[op], path, body, token=token, **inside(""))
                assert got == (400, "operation unavailable in namespaces"), (op, path)
                refused += 1
    assert refused > 80
    assert await world.status("GET", "sys/host-info") == 200  # in the root namespace they answer


def test_every_route_is_of_the_root_namespace_or_of_each() -> None:
    assert not set(OPEN) & set(ROOT_ONLY)
    assert all(not is_root_only(head) for head in OPEN)


async def test_no_route_of_sys_is_open_by_oversight(world: World) -> None:
    for _, route in world.core.space().mounts.router.mounts["sys/"].routes:
        known = is_root_only(route.pattern) or any(
            route.pattern == head or route.pattern.startswith(head + "/") for head in OPEN
        )
        assert known, f"sys/{route.pattern}: name it in ROOT_ONLY or in OPEN"


async def test_sec_ghsa_mjch_policies_of_one_name_are_each_namespace_s_own(world: World) -> None:
    """Same name, same path, same policies of the caller: only the namespace tells them apart (the caches' keys too)."""
    reads = json.dumps({"path": {"secret/data/*": {"capabilities": ["read"]}}})
    denies = json.dumps({"path": {"secret/data/*": {"capabilities": ["deny"]}}})
    await world.ok("PUT", "sys/policies/acl/shared", {"policy": reads}, **inside("victim"))
    await world.ok("PUT", "sys/policies/acl/shared", {"policy": denies}, **inside("thief"))
    tokens = {}
    for name in ("victim", "thief"):
        await world.ok("POST", "secret/data/x", {"data": {"k": name}}, **inside(name))
        made = await world.ok("POST", "auth/token/create", {"policies": ["shared"]}, **inside(name))
        tokens[name] = made["auth"]["client_token"]
    for _ in range(3):  # in turn, so that what the one left in a cache meets the other
        assert await world.status("GET", "secret/data/x", token=tokens["victim"], **inside("victim")) == 200
        assert await world.status("GET", "secret/data/x", token=tokens["thief"], **inside("thief")) == 403
        assert await world.status("GET", "victim/secret/data/x", token=tokens["thief"]) == 403
    await world.ok("PUT", "sys/policies/acl/shared", {"policy": denies}, **inside("victim"))
    assert await world.status("GET", "secret/data/x", token=tokens["victim"], **inside("victim")) == 403


@pytest.mark.parametrize(
    "name", ["..%2fvictim%2fshared", "../victim/shared", "a%00b", "victim/shared", "x%2f..%2fshared"]
)
async def test_sec_ghsa_mjch_no_policy_name_leads_into_another_namespace(world: World, name: str) -> None:
    await world.ok("PUT", "sys/policies/acl/shared", {"policy": NEEDED["policy"]}, **inside("victim"))
    thief, home = await thief_of(world)
    before = await world.stored("ns/")
    for method in ("GET", "PUT", "DELETE"):
        body = {"policy": NEEDED["policy"]} if method == "PUT" else None
        assert await world.status(method, f"sys/policies/acl/{name}", body, token=thief, **inside("thief")) >= 400
    assert await world.stored("ns/") == before and home


WILD = ["+/secret/*", "*", "+/+", "n*", "ns*", "+/*"]


@pytest.mark.parametrize("wild", WILD)
async def test_sec_cve_2020_10661_a_wildcard_reaches_no_namespace(world: World, wild: str) -> None:
    rules = json.dumps({"path": {wild: {"capabilities": ["read", "list", "sudo"]}}})
    await world.ok("PUT", "sys/policies/acl/wild", {"policy": rules}, **inside("thief"))
    made = (await world.ok("POST", "auth/token/create", {"policies": ["wild"]}, **inside("thief")))["auth"]
    token = made["client_token"]
    later = ("thief/ns2", "thiefx", "ns0", "thief/ns2/ns3")
    for path in later:
        parent, _, name = path.rpartition("/")
        await world.ok("POST", f"sys/namespaces/{name}", **inside(parent))
        await world.ok("POST", "sys/mounts/secret", {"type": "kv"}, **inside(path))
        await world.ok("POST", "secret/a", {"k": "v"}, **inside(path))
    for path in later:
        assert await world.status("GET", "secret/a", token=token, **inside(path)) == 403
    assert await world.status("GET", "ns2/secret/a", token=token, **inside("thief")) == 403
    named = json.dumps({"path": {"ns2/secret/*": {"capabilities": ["read"]}}})
    await world.ok("PUT", "sys/policies/acl/wild", {"policy": named}, **inside("thief"))
    assert await world.status("GET", "secret/a", token=token, **inside("thief/ns2")) == 200
    assert await world.status("GET", "secret/a", token=token, **inside("thief/ns2/ns3")) == 403


async def test_sec_cve_2023_3775_rules_compare_below_as_they_do_at_home(world: World) -> None:
    await world.ok("POST", "sys/mounts/other", {"type": "kv"}, **inside("victim"))
    await world.ok("POST", "other/a", {"k": "v"}, **inside("victim"))
    token = await world.token(policies=["p"])
    for deny, wanted in (("victim/other/*", 403), ("victim/+/a", 403), ("v*", 200), ("*", 200), ("thief/other/*", 200)):
        await world.policy("p", **{"victim/*": ["read"], deny: ["deny"]})
        assert await world.status("GET", "other/a", token=token, **inside("victim")) == wanted, deny
        assert await world.status("GET", "victim/other/a", token=token) == wanted, deny
        able = await world.ok("POST", "sys/capabilities-self", {"paths": ["other/a"]}, **inside("victim"))
        assert able["data"]["other/a"] == ["root"]
    await world.policy(
        "p", **{"victim/sys/capabilities-self": ["update"], "victim/other/*": ["read"], "+/other/*": ["list"]}
    )
    able = await world.ok("POST", "sys/capabilities-self", {"paths": ["other/a"]}, token=token, **inside("victim"))
    assert able["data"]["other/a"] == ["read"]


async def test_a_cubbyhole_and_chosen_ids_stay_in_their_namespace(world: World) -> None:
    assert await world.status("POST", "cubbyhole/a", {"k": "v"}, **inside("thief")) == 400
    status, text = await world.refused("POST", "auth/token/create", {"id": "chosen"}, **inside("thief"))
    assert status == 400 and "root namespace" in text


async def test_locked_names_are_shown_to_their_own_namespace(world: World) -> None:
    await world.ok("POST", "auth/userpass/users/bob", {"password": "right"}, **inside("victim"))
    for _ in range(5):
        await world.status("POST", "auth/userpass/login/bob", {"password": "wrong"}, token="", **inside("victim"))
    shown = {
        name: (await world.ok("GET", "sys/locked-users", **inside(name)))["data"]["total"]
        for name in ("victim", "thief", "")
    }
    assert shown == {"victim": 1, "thief": 0, "": 0}
    accessor = (await world.ok("GET", "sys/auth", **inside("victim")))["data"]["userpass/"]["accessor"]
    assert await world.status("POST", f"sys/locked-users/{accessor}/unlock/bob", **inside("thief")) == 204
    assert (await world.ok("GET", "sys/locked-users", **inside("victim")))["data"]["total"] == 1
    await world.ok("POST", f"sys/locked-users/{accessor}/unlock/bob", **inside("victim"))
    assert (await world.ok("GET", "sys/locked-users", **inside("victim")))["data"]["total"] == 0


async def test_audit_lines_say_where(tmp_path: Any) -> None:
    world = await World.unsealed({"audit_dir": str(tmp_path)})
    await world.ok("POST", "sys/namespaces/thief")
    await world.ok("POST", "sys/audit/f", {"type": "file", "options": {"file_path": str(tmp_path / "a.log")}})
    await world.ok("GET", "sys/mounts", **inside("thief"))
    await world.refused("GET", "secret/data/x", **inside("nowhere"))
    lines = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    there = [line["request"] for line in lines if line["request"]["path"] == "sys/mounts"]
    assert there and all(r["namespace"]["path"] == "thief/" and len(r["namespace"]["id"]) == 6 for r in there)
    lost = [line for line in lines if line["request"]["path"] == "nowhere/secret/data/x"]
    assert lost and all(r["request"]["namespace"] == {"id": "root"} and "not found" in r["error"] for r in lost)


@pytest.mark.parametrize(("tuned", "clear"), [("", {"root"}), ("thief", {"thief"})])
async def test_sec_cve_2026_40264_a_mount_s_audit_settings_are_of_its_namespace(
    tmp_path: Any, tuned: str, clear: set[str]
) -> None:
    """Mounts of two namespaces at one path: what one leaves in clear in the audit trail is a secret in the other."""
    world = await World.unsealed({"audit_dir": str(tmp_path)})
    await world.ok("POST", "sys/namespaces/thief")
    for name in ("", "thief"):
        await world.ok("POST", "sys/mounts/kv", {"type": "kv"}, **inside(name))
    await world.ok("POST", "sys/mounts/kv/tune", {"audit_non_hmac_request_keys": ["k"]}, **inside(tuned))
    await world.ok("POST", "sys/audit/f", {"type": "file", "options": {"file_path": str(tmp_path / "a.log")}})
    for name in ("", "thief"):
        await world.ok("POST", "kv/a", {"k": f"needle-of-{name or 'root'}"}, **inside(name))
    assert {*re.findall(r"needle-of-(\w+)", (tmp_path / "a.log").read_text())} == clear


async def test_a_denial_is_explained_where_the_policies_of_the_refused_live(world: World) -> None:
    await world.policy("p", **{"victim/secret/data/a": ["list"]})
    token = await world.token(policies=["p"])
    refused = await world.raw("GET", "secret/data/a", token=token, **inside("victim"))
    denial = re.findall(rb"X-Strongroom-Denial: (\S+)", refused.headers)[0].decode()
    told = (await world.ok("POST", "sys/policies/explain", {"denial": denial}))["data"]
    assert (told["path"], told["allowed"], told["policies"]) == ("victim/secret/data/a", False, ["default", "p"])
    assert await world.status("POST", "sys/policies/explain", {"denial": denial}, **inside("victim")) == 400
