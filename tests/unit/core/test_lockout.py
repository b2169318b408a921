"""Counting failed logins and locking names."""

from typing import Any

import pytest

from contracts.login_harness import START, Clock
from strongroom.core.lockout import (
    FACT,
    Count,
    Key,
    Locked,
    Lockout,
    LockoutConfig,
    LockoutRecheck,
    ProcessCounters,
    after_failure,
)
from strongroom.errors import BadRequest, PermissionDenied, StorageFailed
from strongroom.sdk.engine import Call, Match, Route
from strongroom.sdk.request import Auth, Op, Request, Response, WrapInfo

LOGIN = Route(pattern="login/{username}", ops={}, login=True)
SUCCESS = Response(auth=Auth())


def a_call(name: str = "bob", *, accessor: str = "acc1", route: Route = LOGIN, **match: Any) -> Call:
    place = Match("auth/userpass/", route, {}, mount_accessor=accessor, **match)
    return Call(Request(id="1", op=Op.UPDATE, path="auth/userpass/login/x"), place, facts={FACT: name} if name else {})


async def attempt(lockout: Lockout, outcome: Any = None, name: str = "bob", **more: Any) -> None:
    call = a_call(name, **more)
    await lockout.pre_route(call)
    await lockout.log(call, BadRequest("no") if outcome is None else outcome)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lockout(clock: Clock) -> Lockout:
    return Lockout(clock)


async def test_the_fifth_failure_locks_for_fifteen_minutes(lockout: Lockout, clock: Clock) -> None:
    for _ in range(5):
        await attempt(lockout)
    assert lockout.locked() == [Locked(accessor="acc1", alias="bob", until=START + 900)]
    for _ in range(3):
        with pytest.raises(PermissionDenied, match="^permission denied$"):
            await attempt(lockout, SUCCESS)
    await attempt(lockout, SUCCESS, "eve")
    await attempt(lockout, SUCCESS, accessor="acc2")
    clock.tick(899.9)
    with pytest.raises(PermissionDenied):
        await attempt(lockout)
    clock.tick(0.1)  # the tries in between did not prolong
    assert lockout.locked() == []
    await attempt(lockout)  # and the count begins anew
    for _ in range(3):
        await attempt(lockout)
    await attempt(lockout, SUCCESS)


async def test_success_clears_the_count(lockout: Lockout) -> None:
    wrapped = Response(wrap_info=WrapInfo(token="t", accessor="a", ttl=1, creation_time="", creation_path=""))
    for outcome in (SUCCESS, wrapped):
        for _ in range(4):
            await attempt(lockout)
        await attempt(lockout, outcome)
    for _ in range(4):
        await attempt(lockout)
    assert lockout.locked() == []


async def test_failures_are_forgotten_after_the_reset_time(lockout: Lockout, clock: Clock) -> None:
    for _ in range(4):
        await attempt(lockout)
    clock.tick(900)
    await attempt(lockout)
    assert lockout.locked() == []
    for _ in range(4):
        clock.tick(899)
        await attempt(lockout)
    assert len(lockout.locked()) == 1


async def test_only_proven_failures_of_logins_count(lockout: Lockout) -> None:
    for _ in range(9):
        await attempt(lockout, StorageFailed("disk"))
        await attempt(lockout, PermissionDenied())
        await attempt(lockout, Response())
        await attempt(lockout, route=Route(pattern="users/{username}", ops={}))
        await attempt(lockout, name="")
        await attempt(lockout, refusal=BadRequest("malformed"))
    await attempt(lockout, SUCCESS)
    assert lockout.locked() == []


async def test_unlock(lockout: Lockout) -> None:
    for _ in range(5):
        await attempt(lockout)
    assert lockout.unlock("acc2", "bob") is False
    assert lockout.unlock("acc1", "bob") is True
    await attempt(lockout, SUCCESS)


async def test_guesses_sent_all_at_once_get_no_more_than_the_threshold(lockout: Lockout) -> None:
    calls = [a_call() for _ in range(20)]
    for call in calls:
        await lockout.pre_route(call)
    recheck = LockoutRecheck(lockout)
    for call in calls[:4]:
        await lockout.log(call, BadRequest("no"))
    assert await recheck.post_route(calls[19], SUCCESS) is SUCCESS
    await lockout.log(calls[4], BadRequest("no"))
    with pytest.raises(PermissionDenied):
        await recheck.post_route(calls[19], SUCCESS)
    assert await recheck.post_route(a_call("eve"), SUCCESS) is SUCCESS


async def test_settings_of_a_mount_win(clock: Clock) -> None:
    own = {"acc1": LockoutConfig(threshold=2), "off": LockoutConfig(disabled=True)}
    lockout = Lockout(clock, config_of=lambda call: own.get(call.match.mount_accessor))
    for _ in range(2):
        await attempt(lockout)
    for _ in range(9):
        await attempt(lockout, accessor="off")
    for _ in range(4):
        await attempt(lockout, accessor="other")
    assert [name.accessor for name in lockout.locked()] == ["acc1"]


def test_tuned_settings_are_read_in_vaults_names() -> None:
    tuned = {
        "lockout_threshold": "7",
        "lockout_duration": "10m",
        "lockout_counter_reset_duration": 30,
        "lockout_disable": "true",
    }
    made = LockoutConfig().merged(tuned)
    assert made == LockoutConfig(threshold=7, duration=600, counter_reset=30, disabled=True)
    assert LockoutConfig().merged({}) == LockoutConfig()
    for bad in ({"lockout_threshold": 0}, {"lockout_threshold": "x"}, {"lockout_threshold": []},
                {"lockout_duration": "-1s"}, {"lockout_disable": "perhaps"}):  # fmt: skip
        with pytest.raises(BadRequest):
            LockoutConfig().merged(bad)


def test_a_lock_that_has_ended_starts_a_new_count_even_when_the_reset_time_is_longer() -> None:
    config = LockoutConfig(threshold=2, duration=10, counter_reset=1000)
    count = after_failure(after_failure(None, START, config), START, config)
    assert count == Count(2, START, START + 10)
    assert after_failure(count, START + 10, config) == Count(1, START + 10)


def test_counters_are_bounded_by_mount_and_locked_names_go_last() -> None:
    counters, config = ProcessCounters(limit=100), LockoutConfig(threshold=2)
    for _ in range(2):
        counters.add(Key("m", "victim"), START, config)
    counters.add(Key("other", "bob"), START, config)
    for n in range(1000):
        counters.add(Key("m", f"made-up-{n}"), START, config)
    assert len(list(counters.items())) == 101
    victim = counters.get(Key("m", "victim"))
    assert victim is not None and victim.locked_until
    assert counters.get(Key("other", "bob")) is not None
    assert counters.get(Key("m", "made-up-0")) is None and counters.get(Key("m", "made-up-999")) is not None


async def test_long_names_are_counted_but_not_kept(lockout: Lockout) -> None:
    name = "a" * 100_000
    for _ in range(5):
        await attempt(lockout, name=name)
    with pytest.raises(PermissionDenied):
        await attempt(lockout, name=name)
    await attempt(lockout, SUCCESS, name=name + "a")
    assert len(lockout.locked()[0].alias) == 64
    assert lockout.unlock("acc1", name)
