"""identity/mfa: methods, secrets and enforcements as they are managed."""

from typing import Any

import pytest

from mfa_world import Factors, Phone, factors

TOTP = "identity/mfa/method/totp"


@pytest.fixture
async def world() -> Factors:
    return await factors()


async def test_a_method(world: Factors) -> None:
    shown = {
        "algorithm": "SHA1", "digits": 6, "id": world.method, "issuer": "Strongroom", "key_size": 20,
        "max_validation_attempts": 5, "name": "phone", "namespace_id": "root", "namespace_path": "", "period": 30,
        "qr_size": 200, "skew": 1, "type": "totp",
    }  # fmt: skip
    for path in (f"{TOTP}/{world.method}", f"identity/mfa/method/{world.method}"):
        assert (await world.ok("GET", path))["data"] == shown
    changes = {"digits": "8", "algorithm": "sha256", "period": "1m", "skew": 0, "method_name": "", "key_size": 32}
    assert await world.status("POST", f"{TOTP}/{world.method}", changes) == 204
    changed = {**shown, "digits": 8, "algorithm": "SHA256", "period": 60, "skew": 0, "name": "", "key_size": 32}
    assert (await world.ok("GET", f"{TOTP}/{world.method}"))["data"] == changed
    for path in (TOTP, "identity/mfa/method"):
        listed = (await world.ok("LIST", path))["data"]
        assert listed == {"keys": [world.method], "key_info": {world.method: changed}}
    assert await world.status("DELETE", f"{TOTP}/{world.method}") == 204
    assert await world.status("GET", f"{TOTP}/{world.method}") == 404
    assert await world.status("LIST", TOTP) == 404
    assert await world.status("DELETE", f"{TOTP}/{world.method}") == 204


@pytest.mark.parametrize(
    "fields",
    [{"issuer": ""}, {"digits": 7}, {"algorithm": "MD5"}, {"skew": 2}, {"period": 0}, {"key_size": 15}, {"qr_size": -1},
     {"max_validation_attempts": 0}, {"method_name": "a:b"}, {"method_name": "phone"}],
)  # fmt: skip
async def test_a_method_that_cannot_be(world: Factors, fields: dict[str, Any]) -> None:
    assert await world.status("POST", TOTP, {"issuer": "i", **fields}) == 400
    assert len((await world.ok("LIST", TOTP))["data"]["keys"]) == 1
    await world.ok("POST", TOTP, {"issuer": "i"})


@pytest.mark.parametrize("kind", ["duo", "okta", "pingid"])
async def test_other_kinds_are_not_there(world: Factors, kind: str) -> None:
    for path in (kind, f"{kind}/x"):
        assert await world.status("POST", f"identity/mfa/method/{path}", {"mount_accessor": "a"}) == 404


async def test_a_secret_of_ones_own(world: Factors) -> None:
    await world.policy("own", **{f"{TOTP}/generate": ["update"]})
    await world.user("bob", "own")
    token, body = await world.token_of("bob"), {"method_id": world.method}
    made = (await world.ok("POST", f"{TOTP}/generate", body, token=token))["data"]
    assert made["barcode"] == "" and made["url"].startswith("otpauth://totp/Strongroom:")
    again = await world.ok("POST", f"{TOTP}/generate", body, token=token)
    assert again["data"] is None and again["warnings"] == ["Entity already has a secret for MFA method 'phone'"]
    assert await world.status("POST", f"{TOTP}/generate", body) == 400  # root has no entity
    assert await world.status("POST", f"{TOTP}/admin-destroy", body, token=token) == 403
    await world.enforce()
    assert (await world.enter("bob", Phone(made["url"], world.clock, "").code()))[0] == 200


async def test_a_secret_taken_away(world: Factors) -> None:
    bob, body = await world.enrol("bob"), {"method_id": world.method}
    await world.enforce()
    assert await world.status("POST", f"{TOTP}/admin-destroy", {**body, "entity_id": bob.entity}) == 204
    assert (await world.enter("bob", bob.code()))[0] == 403
    fresh = await world.secret(bob.entity)
    assert fresh.key != bob.key and (await world.enter("bob", bob.code()))[0] == 403
    assert (await world.enter("bob", fresh.code()))[0] == 200
    for wrong in (
        {"entity_id": bob.entity},
        {**body},
        {**body, "entity_id": "x"},
        {"method_id": "x", "entity_id": "y"},
    ):
        assert await world.status("POST", f"{TOTP}/admin-generate", wrong) == 400


async def test_a_secret_keeps_what_it_was_made_with(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.enforce()
    await world.ok("POST", f"{TOTP}/{world.method}", {"digits": 8, "algorithm": "SHA512", "period": 60})
    assert (await world.enter("bob", bob.code()))[0] == 200
    ann = await world.enrol("ann")
    assert len(ann.code()) == 8 and (await world.enter("ann", ann.code()))[0] == 200


async def test_nothing_is_left_of_who_is_gone(world: Factors) -> None:
    bob, ann = await world.enrol("bob"), await world.enrol("ann")
    await world.enforce()
    assert (await world.enter("bob", bob.code()))[0] == 200
    prefixes = ("ns/root/identity/mfa-secret/", "ns/root/identity/mfa-state/")
    assert [len(await world.stored(prefix)) for prefix in prefixes] == [2, 1]
    await world.ok("DELETE", f"identity/entity/id/{bob.entity}")
    assert [len(await world.stored(prefix)) for prefix in prefixes] == [1, 0]
    assert (await world.refused("DELETE", f"{TOTP}/{world.method}"))[0] == 400  # an enforcement names it
    await world.ok("DELETE", "identity/mfa/login-enforcement/all")
    await world.ok("DELETE", f"{TOTP}/{world.method}")
    assert await world.stored("ns/root/identity/mfa-") == [] and ann.entity


async def test_an_enforcement(world: Factors) -> None:
    path = "identity/mfa/login-enforcement/e"
    group = await world.group(name="g")
    entity = await world.entity(name="n")
    await world.enforce("e", auth_method_accessors=[world.userpass], identity_group_ids=group)
    shown = (await world.ok("GET", path))["data"]
    assert shown.pop("id")
    assert shown == {
        "auth_method_accessors": [world.userpass], "auth_method_types": [], "identity_entity_ids": [],
        "identity_group_ids": [group], "mfa_method_ids": [world.method], "name": "e", "namespace_id": "root",
        "namespace_path": "",
    }  # fmt: skip
    await world.ok("POST", path, {"identity_entity_ids": entity, "auth_method_accessors": []})
    changed = (await world.ok("GET", path))["data"]
    assert changed["identity_entity_ids"] == [entity] and changed["auth_method_accessors"] == []
    assert changed["identity_group_ids"] == [group]
    await world.ok("DELETE", f"identity/entity/id/{entity}")
    await world.ok("POST", path, {"auth_method_types": "userpass"})  # what it names besides is gone
    listed = (await world.ok("LIST", "identity/mfa/login-enforcement"))["data"]
    assert listed["keys"] == ["e"] and listed["key_info"]["e"]["auth_method_types"] == ["userpass"]
    assert await world.status("DELETE", path) == 204
    assert await world.status("GET", path) == 404
    assert await world.status("LIST", "identity/mfa/login-enforcement") == 404
    assert await world.status("DELETE", path) == 204


@pytest.mark.parametrize(
    "fields",
    [{"mfa_method_ids": []}, {"auth_method_types": []}, {"mfa_method_ids": ["x"]}, {"auth_method_accessors": ["x"]},
     {"identity_group_ids": ["x"]}, {"identity_entity_ids": ["x"]}],
)  # fmt: skip
async def test_an_enforcement_that_cannot_be(world: Factors, fields: dict[str, Any]) -> None:
    good = {"mfa_method_ids": [world.method], "auth_method_types": ["userpass"]}
    assert await world.status("POST", "identity/mfa/login-enforcement/e", {**good, **fields}) == 400
    assert await world.status("POST", "identity/mfa/login-enforcement/%20e", good) == 400
    assert await world.status("GET", "identity/mfa/login-enforcement/e") == 404
    await world.ok("POST", "identity/mfa/login-enforcement/e", good)
