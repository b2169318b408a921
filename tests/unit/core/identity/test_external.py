"""Groups and metadata that a login tells of, by an auth method that says what it is told to."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from identity_world import People, people
from strongroom.errors import PermissionDenied
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Op, Response


class Told:
    """``says`` is what a login gives; ``today`` what a renewal says of groups, None to leave it at the login's."""

    says = Auth(alias="bob", display_name="bob")
    today: tuple[str, ...] | None = None
    gone = False

    def __init__(self, mount: Mount) -> None:
        """Nothing is kept."""

    def routes(self) -> Sequence[Route]:
        return (Route(pattern="login", ops={Op.UPDATE: self.login}, login=True, help="Log in."),)

    async def login(self, call: Call, args: NoArgs) -> Response:
        return Response(auth=Told.says)

    async def renew(self, auth: Auth) -> Auth:
        if Told.gone:
            raise PermissionDenied
        return auth if Told.today is None else msgspec.structs.replace(auth, group_aliases=Told.today)

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing is leased."""


@pytest.fixture
async def world() -> People:
    world = await people()
    world.made.kinds.auth["told"] = Told
    Told.says, Told.today, Told.gone = Auth(alias="bob", display_name="bob"), None, False
    await world.ok("POST", "sys/auth/told", {"type": "told"})
    accessor = world.space.mounts.entries["auth/told/"].accessor
    for name in ("a", "b"):
        group = await world.group(name=name, type="external", policies=[name])
        await world.ok(
            "POST", "identity/group-alias", {"name": name, "mount_accessor": accessor, "canonical_id": group}
        )
    return world


async def login(world: People, *groups: str, **more: Any) -> dict[str, Any]:
    Told.says = msgspec.structs.replace(Told.says, group_aliases=groups, **more)
    auth: dict[str, Any] = (await world.ok("POST", "auth/told/login", token=""))["auth"]
    return auth


async def reads(world: People, auth: dict[str, Any]) -> set[str]:
    """Which of the secrets the token may read."""
    token = auth["client_token"]
    return {name for name in ("a", "b") if await world.status("GET", f"secret/{name}", token=token) == 200}


async def test_the_groups_of_the_last_login_count(world: People):
    auth = await login(world, "a")
    assert auth["identity_policies"] == ["a"] and await reads(world, auth) == {"a"}
    later = await login(world, "b")
    assert later["identity_policies"] == ["b"], "the answer tells what counts now"
    assert await reads(world, auth) == await reads(world, later) == {"b"}, "both are the same entity"
    await login(world)
    assert await reads(world, auth) == set()


async def test_a_renewal_that_says_nothing_new_does_not_undo_a_later_login(world: People):
    auth = await login(world, "a")
    await login(world, "b")
    renewed = (await world.ok("POST", "auth/token/renew-self", token=auth["client_token"]))["auth"]
    assert renewed["identity_policies"] == ["b"] and await reads(world, auth) == {"b"}


async def test_a_renewal_that_asks_again_refreshes_the_groups(world: People):
    auth = await login(world, "a")
    Told.today = ("b",)
    renewed = (await world.ok("POST", "auth/token/renew", {"token": auth["client_token"]}))["auth"]
    assert renewed["identity_policies"] == ["b"] and await reads(world, auth) == {"b"}
    await login(world, "a")
    await world.ok("POST", "auth/token/renew-self", token=auth["client_token"])
    assert await reads(world, auth) == {"a"}, "the same as at the last renewal is nothing new"


async def test_a_renewal_that_is_refused_changes_nothing(world: People):
    auth = await login(world, "a")
    Told.gone, Told.today = True, ("b",)
    assert await world.status("POST", "auth/token/renew-self", token=auth["client_token"]) == 403
    assert await reads(world, auth) == {"a"}


async def test_what_a_login_says_of_the_alias_is_kept_and_refreshed(world: People):
    text = 'path "secret/{{identity.entity.aliases.%s.metadata.at}}" { capabilities = ["read"] }'
    accessor = world.space.mounts.entries["auth/told/"].accessor
    await world.ok("PUT", "sys/policies/acl/own", {"policy": text % accessor})
    auth = await login(world, policies=("own",), alias_metadata={"at": "a"})
    assert await reads(world, auth) == {"a"}
    await login(world, alias_metadata={"at": "b"})
    assert await reads(world, auth) == {"b"}
    await login(world, alias_metadata=None)
    alias = (await world.read(f"entity/id/{auth['entity_id']}"))["aliases"][0]
    assert (alias["metadata"], alias["name"]) == ({"at": "b"}, "bob"), "a login that says nothing leaves it"


@pytest.mark.parametrize("kind", ["batch", "service"])
async def test_tokens_of_both_kinds_end_with_the_entity(world: People, kind: str):
    auth = await login(world, "a", token_type=kind)
    assert auth["token_type"] == kind and await reads(world, auth) == {"a"}
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"disabled": "true"})
    assert await reads(world, auth) == set()
    assert await world.status("POST", "auth/told/login", token="") == 403
    assert (await world.ok("GET", "sys/internal/counters/entities"))["data"]["counters"] == {"entities": {"total": 1}}


async def test_a_token_with_uses_left_counts_them_and_has_its_entity(world: People):
    auth = await login(world, "a", num_uses=2)
    assert await reads(world, auth) == {"a"}
    assert await world.status("GET", "secret/a", token=auth["client_token"]) == 403


async def test_the_caller_tells_who_and_where_from(world: People):
    """What authorizers and handlers are given."""
    seen: list[Any] = []

    class Look:
        async def pre_route(self, call: Call) -> None:
            seen.append(call.caller)

    auth = await login(world, "a")
    world.core.add_handler(Look())
    await reads(world, auth)
    caller = seen[0]
    entity = await world.read(f"entity/id/{auth['entity_id']}")
    assert (caller.entity_id, caller.entity_name, caller.groups) == (entity["id"], entity["name"], ("a",))
    assert (caller.auth_type, caller.auth_path, caller.identity_policies) == ("told", "auth/told/", ("a",))
    assert caller.policies == ("a", "default") and caller.token_policies == ("default",)
    assert (seen[-1].auth_type, seen[-1].entity_name) == ("", "")  # root reads the entity
    await world.ok("GET", "secret/a", token=await world.token(policies=["a"]))
    assert (seen[-1].auth_type, seen[-1].auth_path) == ("token", "auth/token/")
