"""auth/token/create: who may make what."""

import base64
from typing import Any

import pytest

from strongroom.core.batch_tokens import open_batch
from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.policy("maker", **{"auth/token/create*": ["create", "update"]})
    await world.policy("chief", **{"auth/token/create*": ["create", "update", "sudo"]})
    await world.policy("other", **{"secret/*": ["read"]})
    return world


async def test_a_child_of_root_gets_what_is_asked_and_the_default_policy(world: World):
    auth = await world.create(policies=["b", "a", "a"], ttl="1h", meta={"u": "x"}, display_name="bob")
    assert auth["policies"] == auth["token_policies"] == ["a", "b", "default"]
    assert auth["client_token"].startswith("hvs.") and len(auth["client_token"]) == 28
    assert (auth["lease_duration"], auth["renewable"], auth["orphan"], auth["num_uses"]) == (3600, True, False, 0)
    shown = (await world.ok("GET", "auth/token/lookup-self", token=auth["client_token"]))["data"]
    assert (shown["display_name"], shown["path"], shown["meta"]) == ("token-bob", "auth/token/create", {"u": "x"})
    assert (shown["creation_ttl"], shown["ttl"], shown["id"]) == (3600, 3600, auth["client_token"])


async def test_without_policies_a_child_inherits(world: World):
    assert (await world.create())["policies"] == ["root"]
    maker = await world.token(policies=["maker"])
    assert (await world.create(by=maker))["policies"] == ["default", "maker"]


async def test_a_root_child_of_root_never_expires_and_one_with_a_ttl_does(world: World):
    assert (await world.create())["lease_duration"] == 0
    assert (await world.create(ttl="5m"))["lease_duration"] == 300
    expiring = await world.token(ttl="5m")
    assert (await world.create(by=expiring))["lease_duration"] == 2764800  # never an immortal child of a mortal root


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"policies": ["other"]}, "child policies must be subset of parent"),
        ({"policies": ["root"]}, "child policies must be subset of parent"),
        ({"id": "chosen"}, "root or sudo privileges required to specify token id"),
        ({"no_parent": True}, "root or sudo privileges required to create orphan token"),
        ({"period": "1h"}, "root or sudo privileges required to create periodic token"),
    ],
)
async def test_what_needs_sudo(world: World, fields: dict[str, Any], said: str):
    maker, chief = await world.token(policies=["maker"]), await world.token(policies=["chief"])
    assert await world.refused("POST", "auth/token/create", fields, token=maker) == (400, said)
    if fields.get("policies") == ["root"]:
        said = "root tokens may not be created without parent token being root"
        assert await world.refused("POST", "auth/token/create", fields, token=chief) == (400, said)
    else:
        await world.create(by=chief, **fields)


async def test_an_orphan_route_needs_sudo_on_its_own_path(world: World):
    maker, chief = await world.token(policies=["maker"]), await world.token(policies=["chief"])
    assert await world.status("POST", "auth/token/create-orphan", {}, token=maker) == 403
    auth = await world.create(by=chief, path="auth/token/create-orphan")
    assert auth["orphan"] is True
    await world.ok("POST", "auth/token/revoke", {"token": chief})
    assert await world.alive(auth["client_token"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"policies": ["root", "x"]}, "root tokens may not have other policies"),
        ({"num_uses": -1}, "number of uses cannot be negative"),
        ({"num_uses": 10**30}, "too many uses"),
        ({"id": "a.b"}, "custom token ID cannot have a '.' in the value"),
        ({"id": "a b"}, "custom token ID has characters that no header can carry"),
        ({"id": "x" * 513}, "custom token ID has characters that no header can carry"),
        ({"type": "nope"}, "token type must be service or batch"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": "nope"}, "ttl"),
        ({"explicit_max_ttl": "-1s"}, "explicit_max_ttl"),
        ({"entity_alias": "x"}, "only allowed in combination with token role"),
        ({"bound_cidrs": "10.0.0.0/33"}, "bound_cidrs holds something that is not a CIDR block"),
        ({"policies": ["a\nb"]}, "policy name"),
        ({"type": "batch", "num_uses": 1, "policies": ["a"]}, "batch tokens cannot have"),
        ({"type": "batch", "period": 60, "policies": ["a"]}, "batch tokens cannot have"),
        ({"type": "batch", "id": "chosen", "policies": ["a"]}, "batch tokens cannot have"),
        ({"type": "batch"}, "batch tokens cannot be root tokens"),
    ],
)
async def test_what_nobody_may_ask_for(world: World, fields: dict[str, Any], said: str):
    status, errors = await world.refused("POST", "auth/token/create", fields)
    assert status == 400 and said in errors


async def test_a_chosen_id_is_used_once(world: World):
    chosen = "00000000-0000-0000-0000-000000000000"
    assert (await world.create(id=chosen, policies=["a"]))["client_token"] == chosen
    assert await world.alive(chosen)
    said = "cannot create a token with a duplicate ID"
    assert await world.refused("POST", "auth/token/create", {"id": chosen}) == (400, said)


async def test_no_token_is_made_its_own_parent(world: World):
    """What walks up or down a tree that bites its tail would not come back."""
    await world.create(id="itself", policies=["root"])
    said = "cannot create a token with a duplicate ID"
    for fields in ({}, {"no_parent": True}):
        body = {"id": "itself", **fields}
        assert await world.refused("POST", "auth/token/create", body, token="itself") == (400, said)
    assert await world.alive("itself")


async def test_no_default_policy(world: World):
    assert (await world.create(policies=["a"], no_default_policy=True))["policies"] == ["a"]
    assert (await world.create(policies=["default"], no_default_policy=True))["policies"] == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", "token"), ("token", "token"), ("bob", "token-bob"), ("a b/c", "token-a-b-c"), ("<i>", "token-i")],
)
async def test_display_names_hold_letters_digits_and_dashes(world: World, name: str, shown: str):
    token = await world.token(policies=["a"], display_name=name)
    assert (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["display_name"] == shown


async def test_an_explicit_maximum_and_a_period(world: World):
    auth = await world.create(policies=["a"], explicit_max_ttl="20m")
    assert auth["lease_duration"] == 1200
    data = (await world.ok("GET", "auth/token/lookup-self", token=auth["client_token"]))["data"]
    assert data["explicit_max_ttl"] == 1200 and "period" not in data
    auth = await world.create(policies=["a"], period="1h", ttl="9h")
    data = (await world.ok("GET", "auth/token/lookup-self", token=auth["client_token"]))["data"]
    assert (auth["lease_duration"], data["period"]) == (3600, 3600)


async def test_a_token_with_counted_uses_makes_no_children(world: World):
    limited = await world.token(policies=["maker"], num_uses=5)
    said = "restricted use token cannot generate child tokens"
    assert await world.refused("POST", "auth/token/create", {}, token=limited) == (400, said)


async def test_a_batch_token_is_its_own_entry_and_dies_with_its_parent(world: World):
    parent = await world.token(policies=["maker"])
    before = len(await world.stored("ns/root/token/"))
    auth = await world.create(by=parent, type="batch", ttl="1h")
    batch = auth["client_token"]
    assert batch.startswith("hvb.")
    assert (auth["accessor"], auth["renewable"], auth["token_type"]) == ("", False, "batch")
    assert len(await world.stored("ns/root/token/")) == before
    data = (await world.ok("GET", "auth/token/lookup-self", token=batch))["data"]
    assert (data["type"], data["accessor"], data["policies"]) == ("batch", "", ["default", "maker"])
    said = "batch tokens cannot create more tokens"
    assert await world.refused("POST", "auth/token/create", {}, token=batch) == (400, said)
    assert (await world.refused("POST", "auth/token/revoke", {"token": batch}))[1] == "batch tokens cannot be revoked"
    said = "batch tokens cannot be renewed"
    assert await world.refused("POST", "auth/token/renew-self", {}, token=batch) == (400, said)
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    assert not await world.alive(batch)


async def test_a_batch_token_expires_and_cannot_be_changed(world: World):
    batch = await world.token(policies=["a"], type="batch", ttl=10)
    raw = bytearray(base64.urlsafe_b64decode(batch[4:] + "=" * (-len(batch[4:]) % 4)))
    for place in (0, 1, 13, 20, len(raw) - 1):
        changed = bytearray(raw)
        changed[place] ^= 1
        forged = "hvb." + base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert not await world.alive(forged)
    assert open_batch(b"\0" * 32, batch) is None and open_batch(b"\0" * 32, "hvb.") is None
    assert await world.alive(batch)
    world.clock.tick(10)
    assert not await world.alive(batch)


async def test_bound_addresses_never_grow(world: World):
    parent = await world.token(policies=["maker"], bound_cidrs="127.0.0.0/24")
    assert await world.alive(parent)
    child = await world.token(by=parent)
    narrow = await world.token(by=parent, bound_cidrs=["127.0.0.1/32"])
    status, said = await world.refused("POST", "auth/token/create", {"bound_cidrs": "0.0.0.0/0"}, token=parent)
    assert status == 400 and "within those of the parent" in said
    world.peer = ("127.0.0.2", 1)
    assert (await world.alive(child), await world.alive(narrow)) == (True, False)
    world.peer = ("10.0.0.1", 1)
    assert not await world.alive(parent) and not await world.alive(child)


async def test_input_may_be_text_as_command_lines_send_it(world: World):
    auth = await world.create(policies="a,b", ttl="60", renewable="false", num_uses="3", no_parent="true")
    assert (auth["lease_duration"], auth["renewable"], auth["num_uses"], auth["orphan"]) == (60, False, 3, True)
    assert (await world.create(policies=["a"], lease="90s"))["lease_duration"] == 90
