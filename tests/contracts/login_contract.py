"""What every auth method must do, whoever wrote it. Subclass ``LoginContract`` and say how to prepare and log in."""

import asyncio
from typing import Any

import pytest

from contracts.login_harness import Clock, Door
from strongroom.core.lockout import Lockout
from strongroom.errors import BadRequest, PermissionDenied, VaultError
from strongroom.sdk.request import Auth, Response


class LoginContract:
    """Inherit, define the four methods, and every ``test_`` here runs for your method."""

    def open_door(self, **door: Any) -> Door:
        """The method with nothing configured."""
        raise NotImplementedError

    async def prepare(self, door: Door, **fields: Any) -> None:
        """Create the user or role, with ``token_*`` fields; called again it updates."""
        raise NotImplementedError

    async def remove(self, door: Door) -> None:
        """Delete that user or role."""
        raise NotImplementedError

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        """Login paths and bodies: "good", "wrong" (proof), "unknown" (name), "no proof"."""
        raise NotImplementedError

    async def login(self, door: Door, which: str = "good", **more: Any) -> Response:
        path, data = (await self.attempts(door))[which]
        return await door.write(path, data, **more)

    @pytest.fixture
    async def door(self) -> Door:
        door = self.open_door()
        if hasattr(door.engine, "initialize"):
            await door.engine.initialize()
        return door

    async def test_a_good_login_gives_the_fields_of_the_token(self, door: Door) -> None:
        fields = {
            "token_policies": ["B", "a", "b"], "token_ttl": "1m", "token_max_ttl": "2m", "token_num_uses": 3,
            "token_explicit_max_ttl": 90, "token_no_default_policy": True, "token_bound_cidrs": ["10.0.0.0/8"],
            "token_type": "service", "token_period": 5,
        }  # fmt: skip
        await self.prepare(door, **fields)
        response = await self.login(door)
        auth = response.auth
        assert auth is not None and response.data is None and not auth.client_token
        assert (auth.policies, auth.ttl, auth.max_ttl, auth.num_uses) == (("a", "b"), 60, 120, 3)
        assert (auth.explicit_max_ttl, auth.no_default_policy, auth.period) == (90, True, 5)
        assert (auth.bound_cidrs, auth.token_type, auth.alias != "") == (("10.0.0.0/8",), "service", True)

    async def test_failures_look_the_same_and_issue_nothing(self, door: Door) -> None:
        await self.prepare(door)
        seen = set()
        for which in ("wrong", "unknown", "no proof"):
            for _ in range(3):
                with pytest.raises(VaultError) as caught:
                    await self.login(door, which)
                seen.add((caught.value.status, caught.value.messages, repr(caught.value.data)))
        assert len(seen) == 1 and seen.pop()[0] == 400
        assert door.issued == []
        assert (await self.login(door)).auth is not None  # the control

    async def test_failed_logins_write_nothing(self, door: Door) -> None:
        await self.prepare(door)
        tries = await self.attempts(door)
        before = await door.entries()
        for which in ("wrong", "unknown", "no proof"):
            with pytest.raises(BadRequest):
                await door.write(*tries[which])
        assert await door.entries() == before

    async def test_nobody_gets_root(self, door: Door) -> None:
        await self.prepare(door, token_policies="safe")
        spellings = ["root", "ROOT", " root", "root\t", "rооt", "root,", "ｒｏｏｔ", "ro\u200bot", "Ｒoot", "a\nb"]
        for field in ("token_policies", "policies"):
            for spelling in spellings:
                with pytest.raises(BadRequest):
                    await self.prepare(door, **{field: ["x", spelling]})
            for text in ("root", "x, ROOT", " root", "root,"):
                with pytest.raises(BadRequest):
                    await self.prepare(door, **{field: text})
        assert (await self.login(door)).auth.policies == ("safe",)  # type: ignore[union-attr]

    async def test_bound_addresses_are_checked_at_the_login(self, door: Door) -> None:
        await self.prepare(door, token_bound_cidrs="10.1.0.0/16,2001:db8::/32")
        for remote in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
            auth = (await self.login(door, remote=remote)).auth
            assert auth is not None and auth.bound_cidrs == ("10.1.0.0/16", "2001:db8::/32")
        for remote in ("10.2.2.3", "::ffff:10.2.2.3", "2001:db9::1", "", "nonsense", "010.1.2.3"):
            with pytest.raises(PermissionDenied):
                await self.login(door, remote=remote)

    async def test_a_strictly_bound_token_carries_the_address_of_its_login(self, door: Door) -> None:
        await self.prepare(door, token_strictly_bind_ip=True)
        assert (await self.login(door, remote="10.1.2.3")).auth.bound_cidrs == ("10.1.2.3/32",)  # type: ignore[union-attr]
        with pytest.raises(PermissionDenied):
            await self.login(door, remote="")

    async def test_renewal_ends_with_the_user_or_role(self, door: Door) -> None:
        await self.prepare(door, token_ttl=60)
        auth = (await self.login(door)).auth
        assert isinstance(auth, Auth)
        await self.prepare(door, token_ttl=90)
        assert (await door.engine.renew(auth)).ttl == 90
        await self.remove(door)
        with pytest.raises(PermissionDenied):
            await door.engine.renew(auth)
        await self.prepare(door)
        with pytest.raises(PermissionDenied):
            await door.engine.renew(auth)

    async def test_a_batch_token_cannot_be_periodic_or_counted(self, door: Door) -> None:
        for more in ({"token_period": 5}, {"token_num_uses": 1}):
            with pytest.raises(BadRequest):
                await self.prepare(door, token_type="batch", **more)
        await self.prepare(door, token_type="batch")
        assert (await self.login(door)).auth.token_type == "batch"  # type: ignore[union-attr]

    async def test_only_logins_are_open_and_they_name_the_alias(self, door: Door) -> None:
        for route in door.engine.routes():
            assert route.login == (route.pattern.partition("/")[0] == "login"), route.pattern
            assert not route.while_sealed
            assert route.help
            if route.login:
                assert route.facts is not None

    async def test_wrong_types_are_refused_politely(self, door: Door) -> None:
        await self.prepare(door)
        path, good = (await self.attempts(door))["good"]
        for value in ([], {}, {"a": 1}, ["x"], 7, 1.5, True, "", "\0", "x" * 100_000):
            for field in good:
                with pytest.raises(VaultError) as caught:
                    await door.write(path, {**good, field: value})
                assert caught.value.status in (400, 403)

    async def test_a_locked_name_is_refused_even_with_the_right_proof(self) -> None:
        door = self.open_door(guard=lambda clock: Lockout(clock))
        await self.prepare(door)
        assert (await self.login(door)).auth is not None
        for which in ("wrong", "unknown"):
            for _ in range(5):
                with pytest.raises(BadRequest):
                    await self.login(door, which)
            with pytest.raises(PermissionDenied):
                await self.login(door, which)
        with pytest.raises(PermissionDenied):
            await self.login(door)
        assert isinstance(door.clock, Clock)
        door.clock.tick(900)
        assert (await self.login(door)).auth is not None

    async def test_parallel_changes_lose_nothing(self, door: Door) -> None:
        await self.prepare(door)
        fields = [{"token_ttl": 11}, {"token_max_ttl": 12}, {"token_policies": "x"}, {"token_explicit_max_ttl": 13}]
        await asyncio.gather(*(self.prepare(door, **field) for field in fields))
        auth = (await self.login(door)).auth
        assert auth is not None
        assert (auth.ttl, auth.max_ttl, auth.policies, auth.explicit_max_ttl) == (11, 12, ("x",), 13)
