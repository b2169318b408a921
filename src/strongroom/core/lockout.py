"""Shuts a name out of an auth method after too many failed logins.

Every login route that tells a ``login_alias`` among its facts is watched. The alias is the one spelling of the name
that the method itself looks up, so no other spelling gives fresh attempts (threat CVE-2025-6004), and names that do not
exist are counted like those that do (threat CVE-2025-6010). While a name is locked its logins are refused before the
method does any work, and what is tried meanwhile neither counts nor prolongs.

Counts are kept per process by default and are gone after a restart; a server with several workers gives them one
``Counters`` that all of them share.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.engine import Call
from strongroom.sdk.fields import parse_bool, parse_duration
from strongroom.sdk.request import Response

FACT = "login_alias"  # the fact by which a login route says whose login it is
MAX_ALIAS = 256  # characters; a longer one is counted under its SHA-256
_NOTE = "lockout"  # the key and settings of a login under way, in ``call.notes``


class LockoutConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When to lock. Times in seconds; the defaults are Vault's."""

    threshold: int = 5  # failed logins
    duration: int = 900  # locked for so long after the last failure
    counter_reset: int = 900  # failures are forgotten when none came for so long
    disabled: bool = False

    def merged(self, tuned: Mapping[str, Any]) -> "LockoutConfig":
        """These settings under those of a mount, in the names of ``user_lockout_config`` (all optional).

        Raises:
            BadRequest: a value is of the wrong type or the threshold is not positive.
        """
        if not tuned:
            return self
        changes: dict[str, Any] = {}
        if tuned.get("lockout_threshold") not in (None, ""):
            changes["threshold"] = _count(tuned["lockout_threshold"])
        for field, name in _TIMES.items():
            if tuned.get(name) not in (None, ""):
                changes[field] = parse_duration(tuned[name], name=name)
        if tuned.get("lockout_disable") is not None:
            changes["disabled"] = parse_bool(tuned["lockout_disable"], name="lockout_disable")
        return msgspec.structs.replace(self, **changes)


_TIMES = {"duration": "lockout_duration", "counter_reset": "lockout_counter_reset_duration"}


def _count(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise BadRequest("lockout_threshold is not a number") from error
    if number < 1:
        raise BadRequest("lockout_threshold must be at least 1")
    return number


class Key(msgspec.Struct, frozen=True):
    """Who is counted: a name at a mount."""

    accessor: str
    alias: str


class Count(msgspec.Struct, frozen=True):
    """Failures in a row, the time of the last (seconds since the Unix epoch), and until when the name is locked."""

    failures: int
    last: float
    locked_until: float = 0.0  # 0 = not locked


def after_failure(count: Count | None, now: float, config: LockoutConfig) -> Count:
    """What ``count`` becomes when a login fails at ``now``; every ``Counters`` applies this rule in one step."""
    over = (
        count is None or now >= count.last + config.counter_reset or (count.locked_until and now >= count.locked_until)
    )
    failures = 1 if over or count is None else count.failures + 1
    return Count(failures, now, now + config.duration if failures >= config.threshold else 0.0)


class Counters(Protocol):
    """Where failures are counted. Each method is one atomic step and never waits."""

    def get(self, key: Key) -> Count | None:
        """The count of ``key``; None if nothing is held against it."""

    def add(self, key: Key, now: float, config: LockoutConfig) -> Count:
        """Count a failure by ``after_failure`` and give the new count."""

    def drop(self, key: Key) -> bool:
        """Forget ``key``; whether there was something to forget."""

    def items(self) -> Iterator[tuple[Key, Count]]:
        """All counts, in no order; a snapshot."""


class ProcessCounters:
    """Counts of one process, bounded by mount: names come from strangers.

    When a mount is full, its name that failed longest ago goes; locked names go last. So a flood of made-up names
    unlocks nobody before it has locked ``limit`` names itself, and touches no other mount.
    """

    __slots__ = ("_limit", "_mounts")

    def __init__(self, limit: int = 16384) -> None:
        self._limit = limit
        self._mounts: dict[str, tuple[OrderedDict[str, Count], OrderedDict[str, Count]]] = {}  # open, locked

    def get(self, key: Key) -> Count | None:
        mount = self._mounts.get(key.accessor)
        if mount is None:
            return None
        return mount[1].get(key.alias) or mount[0].get(key.alias)

    def add(self, key: Key, now: float, config: LockoutConfig) -> Count:
        count = after_failure(self.get(key), now, config)
        self.drop(key)
        free, locked = self._mounts.setdefault(key.accessor, (OrderedDict(), OrderedDict()))
        (locked if count.locked_until else free)[key.alias] = count
        if len(free) + len(locked) > self._limit:
            (free or locked).popitem(last=False)
        return count

    def drop(self, key: Key) -> bool:
        mount = self._mounts.get(key.accessor)
        if mount is None:
            return False
        found = mount[0].pop(key.alias, None) or mount[1].pop(key.alias, None)
        if not mount[0] and not mount[1]:
            del self._mounts[key.accessor]
        return found is not None

    def items(self) -> Iterator[tuple[Key, Count]]:
        snapshot = [
            (Key(accessor, alias), count)
            for accessor, tables in self._mounts.items()
            for table in tables
            for alias, count in table.items()
        ]
        return iter(snapshot)


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is locked now. ``until`` in seconds since the Unix epoch."""

    accessor: str
    alias: str
    until: float


class Lockout:
    """Handler, behind the Facts step: refuses logins of locked names, and counts how logins end.

    Args:
        now: seconds since the Unix epoch.
        counters: where to count.
        config: the settings of all mounts...
        config_of: ...unless this gives others for a call's mount.
    """

    __slots__ = ("_config", "_config_of", "_counters", "_now")
    log_note = _NOTE

    def __init__(
        self,
        now: Callable[[], float],
        *,
        counters: Counters | None = None,
        config: LockoutConfig = LockoutConfig(),
        config_of: Callable[[Call], LockoutConfig | None] | None = None,
    ) -> None:
        self._now = now
        self._counters: Counters = counters if counters is not None else ProcessCounters()
        self._config, self._config_of = config, config_of

    def concerns(self, call: Call) -> bool:
        return call.match.route.login

    async def pre_route(self, call: Call) -> Response | None:
        """Raises PermissionDenied if the name is locked, before the auth method sees the login."""
        match = call.match
        if not match.route.login or match.refusal is not None:
            return None
        alias = call.facts.get(FACT)
        if not alias:
            return None
        config = (self._config_of(call) if self._config_of is not None else None) or self._config
        if config.disabled:
            return None
        key = Key(match.mount_accessor, short_alias(alias))
        self._refuse_locked(key)
        call.notes[_NOTE] = (key, config)
        return None

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        """A login that proved nothing counts; one that succeeded clears the count; anything else changes nothing."""
        watched = call.notes.pop(_NOTE, None)
        if watched is None:
            return
        key, config = watched
        if isinstance(outcome, BadRequest):
            self._counters.add(key, self._now(), config)
        elif not isinstance(outcome, BaseException) and (outcome.auth is not None or outcome.wrap_info is not None):
            self._counters.drop(key)

    def check_again(self, call: Call) -> None:
        """Raises PermissionDenied if the name was locked while this login was under way.

        Without it, guesses sent all at once would each be judged by the count before them.
        """
        watched = call.notes.get(_NOTE)
        if watched is not None:
            self._refuse_locked(watched[0])

    def locked(self) -> list[Locked]:
        """The names that are locked now, by mount accessor and name."""
        now = self._now()
        found = [
            Locked(accessor=key.accessor, alias=key.alias, until=count.locked_until)
            for key, count in self._counters.items()
            if count.locked_until > now
        ]
        return sorted(found, key=lambda name: (name.accessor, name.alias))

    def unlock(self, accessor: str, alias: str) -> bool:
        """Forget the failures of a name; whether there were any."""
        return self._counters.drop(Key(accessor, short_alias(alias)))

    def _refuse_locked(self, key: Key) -> None:
        count = self._counters.get(key)
        if count is not None and count.locked_until > self._now():
            raise PermissionDenied


class LockoutRecheck:
    """Handler, before the step that makes tokens: a login must not succeed if its name was locked meanwhile."""

    special_only = True  # see Pipeline

    __slots__ = ("_lockout",)

    def __init__(self, lockout: Lockout) -> None:
        self._lockout = lockout

    async def post_route(self, call: Call, response: Response) -> Response:
        """Raises PermissionDenied instead of letting the token be made."""
        self._lockout.check_again(call)
        return response


def short_alias(alias: str) -> str:
    """``alias``, or its SHA-256 in hex if it is longer than ``MAX_ALIAS`` characters."""
    return alias if len(alias) <= MAX_ALIAS else hashlib.sha256(alias.encode()).hexdigest()
