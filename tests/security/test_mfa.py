"""What went wrong with second factors elsewhere, tried over HTTP, each with its positive control."""

import json

import pytest

from mfa_world import Factors, factors
from strongroom.core.identity.mfa_login import LOCKED_SECONDS


@pytest.fixture
async def world() -> Factors:
    world = await factors()
    await world.enforce()
    return world


VARIANTS = ["{0} ", " {0}", "{1} {2}", "{0}\n", "+{0}", "0{0}", "{0}\u200b", "{0}\u0000", "{wide}", "{0}.0"]


def spelled(variant: str, code: str) -> str:
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in code)
    return variant.format(code, code[:3], code[3:], wide=wide)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_sec_cve_2025_6014_another_spelling_of_a_code_is_no_code(world: Factors, variant: str) -> None:
    bob = await world.enrol("bob")
    waiting = await world.begin("bob")
    assert (await world.finish(waiting, spelled(variant, bob.code())))[0] == 403
    status, body = await world.finish(waiting, bob.code())  # unused before
    assert status == 200
    assert await world.status("GET", "secret/a", token=body["auth"]["client_token"]) == 200
    assert (await world.enter("bob", spelled(variant, bob.code())))[0] == 403  # used by now


async def test_sec_cve_2025_6014_a_used_code_is_refused_by_every_worker(world: Factors) -> None:
    bob, other = await world.enrol("bob"), await world.other_factors()
    assert (await world.enter("bob", bob.code()))[0] == 200
    for worker in (world, other, await world.other_factors()):  # the last one has just started
        assert (await worker.enter("bob", bob.code()))[0] == 403
        assert (await worker.at_once("bob", f"{world.method}:{bob.code()}"))[0] == 403
    world.clock.tick(LOCKED_SECONDS + 30)
    assert (await other.enter("bob", bob.code()))[0] == 200


async def test_sec_cve_2025_6015_wrong_codes_are_counted_whatever_way_they_come(world: Factors) -> None:
    bob, other = await world.enrol("bob"), await world.other_factors()
    wrong = bob.wrong()
    first = await world.begin("bob")
    assert (await world.finish(first, wrong))[0] == 403
    assert (await other.finish(first, f"{wrong} "))[0] == 403  # the same login, another worker
    assert (await other.enter("bob", wrong))[0] == 403  # a login of its own
    assert (await world.at_once("bob", f"phone:{wrong}"))[0] == 403
    assert (await other.at_once("BOB", f"{world.method}:passcode={wrong}"))[0] == 403
    for worker in (world, other, await world.other_factors()):
        assert (await worker.enter("bob", bob.code()))[0] == 403
        assert (await worker.at_once("bob", f"{world.method}:{bob.code()}"))[0] == 403
    ann = await world.enrol("ann")
    assert (await world.enter("ann", ann.code()))[0] == 200  # each entity has its own count
    world.clock.tick(LOCKED_SECONDS - 1)
    assert (await world.enter("bob", bob.code()))[0] == 403
    world.clock.tick(1)
    assert (await world.enter("bob", bob.code()))[0] == 200


async def test_sec_cve_2025_6015_one_request_is_one_guess(world: Factors) -> None:
    bob = await world.enrol("bob")
    waiting = await world.begin("bob")
    assert (await world.finish(waiting, bob.wrong(), bob.code()))[0] == 403
    assert (await world.finish(waiting, bob.code(), bob.wrong()))[0] == 403
    assert (await world.at_once("bob", f"phone:{bob.wrong()},phone:{bob.code()}"))[0] == 403
    assert (await world.finish(waiting, bob.code()))[0] == 200


async def test_sec_cve_2025_6015_a_login_is_finished_once(world: Factors) -> None:
    bob = await world.enrol("bob")
    first, second = await world.begin("bob"), await world.begin("bob")
    assert (await world.finish(first, bob.code()))[0] == 200
    world.clock.tick(30)
    assert (await world.finish(first, bob.code()))[0] == 400
    assert (await world.finish(second, bob.code()))[0] == 200
    late = await world.begin("bob")
    world.clock.tick(300)
    assert (await world.finish(late, bob.code()))[0] == 400


@pytest.mark.parametrize("name", ["bob", "BOB", "Bob", "%20bob", "bob%20", "%EF%BD%82ob", "b%6fb"])
async def test_sec_cve_2025_6013_no_spelling_of_the_name_is_free_of_it(name: str) -> None:
    world = await factors()
    bob = await world.enrol("bob")
    await world.user("ann", "a")
    await world.enforce(identity_entity_ids=[bob.entity])
    assert (await world.enter(name, bob.code()))[0] == 200
    assert (await world.login("ann"))["client_token"]  # who is not meant logs in as ever


async def test_sec_cve_2025_6013_the_entity_counts_after_a_merge_too() -> None:
    world = await factors()
    bob = await world.enrol("bob")
    await world.enforce(identity_entity_ids=[bob.entity])
    other, used = await world.entity(name="robert"), bob.code()
    assert (await world.enter("bob", used))[0] == 200
    await world.ok("POST", "identity/entity/merge", {"from_entity_ids": [bob.entity], "to_entity_id": other})
    assert (await world.enter("bob", used))[0] == 403  # what was used before stays used
    status, body = await world.enter("bob", bob.code(1))
    assert status == 200 and body["auth"]["entity_id"] == other


async def test_sec_cve_2022_30689_enforcement_survives_a_restart(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.core.seal()
    restarted = await world.other_factors()
    waiting = await restarted.begin("bob")  # the very first request
    assert (await restarted.finish(waiting, bob.wrong()))[0] == 403
    again = await world.other_factors()  # and so does the login that waits
    assert (await again.finish(waiting, bob.code()))[0] == 200
    await again.ok("DELETE", "identity/mfa/login-enforcement/all")
    assert (await again.login("bob"))["client_token"]


async def test_sec_cve_2025_6015_no_token_and_no_secret_leaves_before_the_second_factor(world: Factors) -> None:
    bob = await world.enrol("bob")
    answer = await world.raw("POST", "auth/userpass/login/bob", {"password": "pw"}, token="")
    auth = json.loads(answer.body)["auth"]
    assert auth["client_token"] == "" and auth["accessor"] == "" and auth["policies"] is None
    body = {"method_id": world.method, "entity_id": bob.entity}
    again = await world.ok("POST", "identity/mfa/method/totp/admin-generate", body)
    assert again["data"] is None and "already" in again["warnings"][0]
    secret = bob.url.partition("secret=")[2].partition("&")[0]
    shown = ""
    for path in (f"identity/mfa/method/totp/{world.method}", f"identity/entity/id/{bob.entity}"):
        shown += json.dumps(await world.ok("GET", path))
    assert bob.entity in shown and world.method in shown and secret not in shown
