"""Fields are decoded before authorisation, and nothing of that shows to who is refused."""

from typing import Any

import msgspec
import pytest

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import Duration, Flag, StrList, Text
from strongroom.sdk.request import Op, Response
from vault_world import World

ORDER: list[str] = []


class Args(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ttl: Duration = Duration(0)
    flag: Flag = Flag(0)
    items: StrList = StrList()
    text: Text = Text("")


class Shop:
    def __init__(self, mount: Mount) -> None:
        self.stock: set[str] = set()

    def routes(self) -> tuple[Route, ...]:
        ops = {Op.READ: self.put, Op.UPDATE: self.put}
        loose = Route(pattern="loose/{name}", ops=ops, args=Args, strict=False, help="x")
        silent = Route(pattern="silent/{name}", ops={Op.UPDATE: self.keep}, args=Args, help="x")
        item = Route(pattern="item/{name}", ops=ops, args=Args, exists=self.known, facts=self.facts, help="x")
        return (item, loose, silent)

    async def known(self, call: Call) -> bool:
        ORDER.append("exists")
        if call.match.params["name"] == "bad":
            raise BadRequest("not a name")
        return call.match.params["name"] in self.stock

    async def facts(self, call: Call, args: Args) -> dict[str, Any]:
        ORDER.append("facts")
        return {"length": len(args.name)}

    async def put(self, call: Call, args: Args) -> Response:
        ORDER.append(f"{call.request.op.value} {sorted(call.facts.items())}")
        self.stock.add(args.name)
        return Response(data={"ttl": args.ttl, "flag": args.flag, "items": args.items, "text": args.text})

    async def keep(self, call: Call, args: Args) -> Response:
        return Response(warnings=("dear",) if args.text == "dear" else ())

    async def revoke(self, lease_private: Any) -> None: ...


@pytest.fixture
async def world() -> World:
    ORDER.clear()
    world = await World.unsealed()
    world.made.kinds.engines["shop"] = Shop
    await world.ok("POST", "sys/mounts/shop", {"type": "shop"})
    return world


async def test_fields_are_coerced_and_facts_gathered(world: World):
    body = {"ttl": "1h", "flag": "true", "items": "a, b", "text": 5, "name": "other"}
    answer = await world.ok("POST", "shop/item/x", body)
    assert answer["data"] == {"ttl": 3600, "flag": True, "items": ["a", "b"], "text": "5"}
    assert ORDER == ["exists", "facts", "create [('length', 1)]"]
    await world.ok("POST", "shop/item/x", {})
    assert ORDER[-1] == "update [('length', 1)]"
    assert "replaced the value of these parameters" in answer["warnings"][0] and "[name]" in answer["warnings"][0]


async def test_a_wrapped_answer_keeps_the_kinds_of_its_values(world: World):
    body = {"ttl": "1h", "flag": "true", "items": "a", "text": "t"}
    info = (await world.ok("POST", "shop/item/x", body, headers={"X-Vault-Wrap-TTL": "60"}))["wrap_info"]
    data = (await world.ok("POST", "sys/wrapping/unwrap", {"token": info["token"]}))["data"]
    assert data == {"ttl": 3600, "flag": True, "items": ["a"], "text": "t"} and data["flag"] is True


async def test_unknown_fields_are_warned_of_where_the_route_is_strict(world: World):
    answer = await world.ok("POST", "shop/item/x", {"zeta": 1, "alpha": 2, "text": "t"})
    assert answer["warnings"] == ["Endpoint ignored these unrecognized parameters: [alpha zeta]"]
    assert (await world.ok("POST", "shop/loose/x", {"zeta": 1}))["warnings"] is None
    many = await world.ok("POST", "shop/item/x", {"x" * 5000 + str(n): 1 for n in range(40)})
    assert len(str(many["warnings"])) < 2000


async def test_an_answer_without_content_stays_without(world: World):
    assert await world.status("POST", "shop/silent/x", {"zeta": 1, "name": "other"}) == 204
    answer = await world.ok("POST", "shop/silent/x", {"zeta": 1, "text": "dear"})
    assert answer["warnings"] == ["dear", "Endpoint ignored these unrecognized parameters: [zeta]"]


@pytest.mark.parametrize("body", [{"ttl": "nope"}, {"flag": "maybe"}, {"items": {"a": 1}}, {"text": []}, {"ttl": -1}])
async def test_a_wrong_field_is_a_400_for_who_may_and_a_403_for_who_may_not(world: World, body: dict[str, Any]):
    status, said = await world.refused("POST", "shop/item/x", body)
    assert status == 400 and next(iter(body)) in said and "nope" not in said and "maybe" not in said
    token = await world.token(policies=["none"])
    assert await world.http("POST", "shop/item/x", body, token=token) == await world.http(
        "POST", "shop/item/x", {}, token=token
    )
    assert not any(line.startswith(("create", "update")) for line in ORDER)


async def test_an_existence_check_that_fails_waits_its_turn(world: World):
    assert await world.refused("POST", "shop/item/bad", {}) == (400, "not a name")
    assert await world.status("POST", "shop/item/bad", {}, token="") == 403
    assert await world.status("POST", "shop/item/bad", {}, token=await world.token(policies=["none"])) == 403


async def test_a_read_never_becomes_a_create(world: World):
    await world.ok("GET", "shop/item/x?ttl=5")
    assert ORDER == ["facts", "read [('length', 1)]"]
