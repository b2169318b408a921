"""Threats against tokens: more rights than one's creator, hidden tokens, names that look like root, reuse."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Op, Response
from vault_world import World

LIKE_ROOT = ("root", "ROOT", " root", "root\t", "rооt", "ｒｏｏｔ", "r\u200boot", "root,", "Rοοt", "root\u0301")  # noqa: RUF001


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


async def tokens(world: World) -> int:
    return len(await world.stored("ns/root/token/id/"))


@pytest.mark.parametrize("name", LIKE_ROOT)
async def test_sec_cve_2025_5999_no_spelling_of_root_makes_root(world: World, name: str) -> None:
    await world.policy("chief", **{"auth/token/*": ["create", "read", "update", "sudo"]})
    chief = await world.token(policies=["chief"])
    for policies in ([name], ["chief", name]):
        status, answer = await world.http("POST", "auth/token/create", {"policies": policies}, token=chief)
        if status == 200:  # a list from text loses what is empty or blank: what is left must not be root
            assert "root" not in answer["auth"]["policies"]
            assert await world.status("GET", "sys/mounts", token=answer["auth"]["client_token"]) == 403
        else:
            assert status == 400
    body = {"allowed_policies": [name]}
    assert await world.status("POST", "auth/token/roles/r", body) == 400
    assert await world.status("POST", "auth/token/roles/r", {"allowed_policies_glob": "*"}) == 204
    assert await world.status("POST", "auth/token/create/r", {"policies": [name]}, token=chief) == 400
    assert await world.status("POST", "auth/token/create/r", {"policies": ["chief"]}, token=chief) == 200


class Generous:
    """An auth method that hands out what it must not, in all the ways there are."""

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> Sequence[Route]:
        login = {Op.UPDATE: self.login}
        return (
            Route(pattern="login/{name}", ops=login, login=True, help="Log in.", strict=False),
            Route(pattern="inside/{name}", ops=login, help="Not a login.", strict=False),
        )

    async def login(self, call: Call, args: NoArgs) -> Response:
        data = call.request.data
        answer = Response(auth=Auth(policies=tuple(data.get("policies", ("a",))), ttl=60, display_name="g"))
        if data.get("fail"):
            raise BadRequest("no", data={"auth": "almost"})
        return answer

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing is leased."""


@pytest.fixture
async def generous(world: World) -> World:
    world.made.kinds.auth["generous"] = Generous
    world.made.kinds.engines["generous"] = Generous
    await world.ok("POST", "sys/auth/g", {"type": "generous"})
    await world.ok("POST", "sys/mounts/g", {"type": "generous"})
    return world


async def test_sec_cve_2025_5999_no_auth_method_makes_root(generous: World) -> None:
    before = await tokens(generous)
    for policies in (["root"], ["ROOT"], [" root "], ["a", "Root"]):
        assert await generous.status("POST", "auth/g/login/x", {"policies": policies}, token="") == 400
    assert await tokens(generous) == before
    made = await generous.ok("POST", "auth/g/login/x", {"policies": ["a"]}, token="")
    assert made["auth"]["policies"] == ["a", "default"] and await tokens(generous) == before + 1


async def test_sec_cve_2026_46405_only_a_login_that_succeeds_makes_a_token(generous: World) -> None:
    before = await tokens(generous)
    assert await generous.status("POST", "auth/g/login/x", {"fail": True}, token="") == 400
    for path in ("auth/g/inside/x", "g/login/x", "g/inside/x"):
        assert await generous.status("POST", path, {}) == 500
    assert await tokens(generous) == before
    assert await generous.status("POST", "auth/g/login/x", {}, token="") == 200
    assert await tokens(generous) == before + 1


async def test_sec_cve_2026_46405_no_look_and_no_renewal_makes_a_token(world: World) -> None:
    auth = await world.create(policies=["a"], ttl=100)
    token, accessor = auth["client_token"], auth["accessor"]
    before = await tokens(world)
    for path, body in (
        ("renew", {"token": token}), ("renew-accessor", {"accessor": accessor}), ("lookup", {"token": token}),
        ("lookup-accessor", {"accessor": accessor}), ("renew-accessor", {"accessor": accessor, "increment": 5}),
    ):  # fmt: skip
        answer = await world.ok("POST", f"auth/token/{path}", body)
        assert (answer["auth"] or {}).get("client_token", "") in ("", token)
    await world.ok("POST", "auth/token/renew-self", {}, token=token)
    assert await tokens(world) == before
    await world.token()
    assert await tokens(world) == before + 1


async def test_sec_token_names_of_the_inside_open_nothing(world: World) -> None:
    """Accessors, hashes and lease ids stand in listings; none of them is a token."""
    auth = await world.create(policies=["a"])
    token_id = world.space.tokens.hash(auth["client_token"])
    names = (await world.ok("LIST", "sys/leases/lookup/auth/token/create"))["data"]["keys"]
    for guess in (auth["accessor"], "hvs." + auth["accessor"], token_id, "h" + token_id, *names, token_id.upper()):
        assert not await world.alive(guess)
    assert await world.alive(auth["client_token"])
    for field in (auth["client_token"], token_id):
        assert await world.status("POST", "auth/token/lookup-accessor", {"accessor": field}) == 400


async def test_sec_token_a_name_used_again_inherits_nothing(world: World) -> None:
    await world.token(id="chosen", policies=["a"])
    await world.ok("POST", "cubbyhole/x", {"secret": "old"}, token="chosen")
    tokens_of = world.space.tokens
    await tokens_of.revoke(tokens_of.hash("chosen"))  # as if the process died before it cleaned up
    said = "cannot create a token with a duplicate ID"
    assert await world.refused("POST", "auth/token/create", {"id": "chosen", "policies": ["b"]}) == (400, said)
    await world.core.tidy()
    await world.token(id="chosen", policies=["b"])
    assert await world.status("GET", "cubbyhole/x", token="chosen") == 404


async def test_sec_cve_2020_25816_nothing_outlives_a_batch_token(world: World) -> None:
    await world.policy("maker", **{"auth/token/create": ["update"], "cubbyhole/*": ["create", "read", "update"]})
    parent = await world.token(policies=["maker"])
    batch = await world.token(by=parent, type="batch", ttl=2)
    assert await world.alive(batch)
    assert await world.status("POST", "auth/token/create", {}, token=batch) == 400
    assert await world.status("POST", "cubbyhole/x", {"a": 1}, token=batch) >= 400
    world.clock.tick(3)
    assert not await world.alive(batch)


async def test_sec_linearizable_uses_survive_a_second_process(world: World) -> None:
    other = await world.other()
    token = await world.token(policies=["a"], num_uses=5)
    answers = [await (world, other)[turn % 2].alive(token) for turn in range(8)]
    assert answers == [True] * 5 + [False] * 3


PATHS = ("secret/a", "secret/b", "cubbyhole/x", "sys/mounts", "auth/token/create", "sys/policies/acl/p")
CAPABILITIES = ("create", "read", "update", "delete", "list", "deny")
policies = st.dictionaries(
    st.sampled_from((*PATHS, "secret/*", "sys/*")), st.lists(st.sampled_from(CAPABILITIES), max_size=3), max_size=4
)
role = st.fixed_dictionaries(
    {},
    optional={
        "orphan": st.booleans(), "period": st.sampled_from((0, 60)), "renewable": st.booleans(),
        "disallowed_policies": st.sampled_from(("", "p0")), "token_type": st.sampled_from(("service", "default-batch")),
    },
)  # fmt: skip
wish = st.fixed_dictionaries(
    {},
    optional={
        "policies": st.lists(st.sampled_from(("p0", "p1", "p2", "default", "root", "P1")), max_size=3),
        "no_default_policy": st.booleans(), "type": st.sampled_from(("", "service", "batch")),
        "ttl": st.integers(0, 99),
        "num_uses": st.integers(0, 2), "no_parent": st.booleans(), "period": st.sampled_from((0, 60)),
    },
)  # fmt: skip


async def rights(world: World, token: str) -> dict[str, set[str]]:
    data = (await world.ok("POST", "sys/capabilities", {"token": token, "paths": list(PATHS)}))["data"]
    return {path: set(data[path]) - {"deny"} for path in PATHS}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(policies, min_size=3, max_size=3), st.sets(st.sampled_from((0, 1, 2))), st.none() | role, wish)
async def test_sec_cve_2024_55949_rights_of_a_child_are_rights_of_its_parent(
    rules: list[dict[str, list[str]]], held: set[int], made: dict[str, Any] | None, asked: dict[str, Any]
) -> None:
    world = await World.unsealed()
    for number, paths in enumerate(rules):
        text = {"path": {path: {"capabilities": able} for path, able in paths.items()}}
        await world.ok("PUT", f"sys/policies/acl/p{number}", {"policy": json.dumps(text)})
    await world.policy("maker", **{"auth/token/create*": ["create", "update"]})
    parent = await world.token(policies=["maker", *(f"p{number}" for number in held)])
    path = "auth/token/create"
    if made is not None and not made.get("disallowed_policies"):  # such a role decides alone, as in Vault
        await world.ok("POST", "auth/token/roles/r", made)
        path += "/r"
    status, answer = await world.http("POST", path, asked, token=parent)
    assert status in (200, 400, 403)
    if status != 200:
        return
    child = answer["auth"]
    assert set(child["policies"]) <= {"maker", "default", *(f"p{number}" for number in held)}
    theirs = await rights(world, parent)
    ours = await rights(world, child["client_token"])
    if not any("deny" in able for paths in rules for able in paths.values()):
        assert all(ours[path] <= theirs[path] for path in PATHS)
    assert child["orphan"] is bool(made and path.endswith("/r") and made.get("orphan"))


async def test_sec_cve_2024_55949_the_property_would_notice(world: World) -> None:
    """The control: a child of root with another policy has a right that its sibling has not."""
    await world.policy("p0", **{"secret/a": ["read"]})
    one, other = await world.token(policies=["p0"]), await world.token(policies=["default"])
    assert (await rights(world, one))["secret/a"] == {"read"} and not (await rights(world, other))["secret/a"]
