"""The second factor of a login: which ones are asked for, the login that waits for them, and judging the codes.

Everything that codes depend on is in the store, and each attempt is one commit that expects what it was judged by. So
a code is used once, and guesses are counted, across all workers and restarts.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from strongroom.core import layout
from strongroom.core.identity.mfa_records import (
    Enforcement,
    Method,
    MfaKeys,
    Pending,
    State,
    enforcement_of,
    method_of,
    pending_of,
    secret_of,
    state_of,
)
from strongroom.core.identity.mfa_totp import matching_step
from strongroom.core.identity.records import pack
from strongroom.core.identity.store import IdentityStore, is_id
from strongroom.core.identity.view import Views
from strongroom.core.mount_entry import MountEntry
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, Conflict, PermissionDenied
from strongroom.sdk.request import Auth
from strongroom.sdk.storage import Write

PENDING_SECONDS = 300
LOCKED_SECONDS = 300  # after too many wrong codes; single failures are forgotten as late
_TRIES = 64
_SWEPT = 8  # logins that nobody finished, removed whenever one begins to wait
_UNKNOWN = "invalid request ID"
_CREDENTIAL = 256  # characters that are looked at

Rule = tuple[Enforcement, tuple[Method, ...]]
Passcodes = Mapping[str, Sequence[str]]  # id or name of a method -> what was given for it


class LoginMfa:
    """See the module."""

    def __init__(self, store: IdentityStore, views: Views, hash_text: Callable[[str], str]) -> None:
        self._store, self._views, self._hash = store, views, hash_text
        self.keys = MfaKeys(layout.identity_prefix(store.namespace))
        self._rules: tuple[Rule, ...] | None = None
        self._age = 0

    def forget(self) -> None:
        """The epoch moved."""
        self._age += 1
        self._rules = None

    # -- which factors -------------------------------------------------------------------------------------------

    async def rules(self, mount: MountEntry, entity_id: str) -> tuple[Rule, ...]:
        """The enforcements that a login at ``mount`` as the entity has to satisfy, all of them, by name.

        Raises:
            PermissionDenied: there are some and the login has no entity that could hold a secret.
        """
        every = self._rules if self._rules is not None else await self._load()
        if not every:
            return ()
        view = await self._views.view(entity_id) if entity_id else None
        groups = {group_id for group_id, _, _ in view.groups} if view is not None else set()
        own = view.id if view is not None else None
        found = tuple(
            (rule, methods)
            for rule, methods in every
            if mount.accessor in rule.accessors
            or mount.type in rule.types
            or own in rule.entities
            or not groups.isdisjoint(rule.groups)
        )
        if found and view is None:
            raise PermissionDenied
        return found

    async def _load(self) -> tuple[Rule, ...]:
        age, store = self._age, self._store
        rules: list[Rule] = []
        after = ""
        while rows := await store.storage.scan(self.keys.enforcement, after=after, limit=500):
            for _, stored in rows:
                rule = enforcement_of(stored.value)
                living = [await store.living(name) for name in rule.entities]
                rule = msgspec.structs.replace(rule, entities=tuple(e.id for e in living if e is not None))
                methods = [await self.method(name) for name in rule.methods]
                rules.append((rule, tuple(method for method in methods if method is not None)))
            after = rows[-1][0]
        if age == self._age:
            self._rules = tuple(rules)
        return tuple(rules)

    async def method(self, method_id: str) -> Method | None:
        """The method with that id."""
        if not is_id(method_id):
            return None
        stored = await self._store.storage.get(self.keys.method + method_id)
        return None if stored is None else method_of(stored.value)

    # -- waiting -------------------------------------------------------------------------------------------------

    async def hold(self, pending: Pending, rules: Sequence[Rule]) -> Auth:
        """Keep a login until its second factor comes; the ``auth`` block that says what is asked for."""
        now = self._store.now()
        request_id = new_uuid()
        name = self._hash("mfa " + request_id)
        pending = msgspec.structs.replace(pending, expires=now + PENDING_SECONDS)
        writes = [
            Write(self.keys.pending + name, pack(pending)),
            Write(self.keys.due + _due(pending.expires, name), b"1"),
        ]
        for key, _ in await self._store.storage.scan(self.keys.due, until=f"{int(now):012d}", limit=_SWEPT):
            writes += [Write(self.keys.due + key, None), Write(self.keys.pending + key.partition(".")[2], None)]
        await self._store.storage.commit(writes)
        constraints = {rule.name: {"any": [_shown(method) for method in methods]} for rule, methods in rules}
        return Auth(
            token_type="default",
            renewable=False,
            orphan=False,
            mfa_requirement={"mfa_request_id": request_id, "mfa_constraints": constraints},
        )

    async def waiting(self, request_id: str) -> Pending:
        """The login that waits under that id. Raises BadRequest: there is none, it is over, or it was used."""
        pending = (await self._waiting(request_id))[0]
        if await self._views.view(pending.entry.entity_id) is None:
            raise BadRequest(_UNKNOWN)
        return pending

    async def _waiting(self, request_id: str) -> tuple[Pending, str, int]:
        name = self._hash("mfa " + request_id)
        stored = await self._store.storage.get(self.keys.pending + name)
        if stored is None:
            raise BadRequest(_UNKNOWN)
        pending = pending_of(stored.value)
        if pending.expires <= self._store.now():
            raise BadRequest(_UNKNOWN)
        return pending, name, stored.revision

    # -- judging -------------------------------------------------------------------------------------------------

    async def satisfy(
        self, rules: Sequence[Rule], entity_id: str, given: Passcodes, *, request_id: str = ""
    ) -> tuple[str, ...]:
        """Judge the codes that were given for a login.

        Args:
            rules: what the login has to satisfy.
            entity_id: who logs in.
            given: the codes.
            request_id: of the waiting login, which is taken if all is satisfied; "" = it does not wait.

        Returns:
            the ids of the methods that were passed, sorted.

        Raises:
            PermissionDenied: an enforcement is not satisfied. Wrong codes are counted.
            BadRequest: the login is not waiting (any more).
        """
        entity = await self._store.living(entity_id)
        if entity is None or entity.disabled:
            raise PermissionDenied
        for _ in range(_TRIES):
            judged = _Judged()
            failed = [rule.name for rule, methods in rules if not await self._any(methods, entity.id, given, judged)]
            if request_id and not failed:
                pending, name, revision = await self._waiting(request_id)
                judged.expect[self.keys.pending + name] = revision
                judged.writes += [
                    Write(self.keys.pending + name, None),
                    Write(self.keys.due + _due(pending.expires, name), None),
                ]
            try:
                if judged.writes:
                    await self._store.storage.commit(judged.writes, expect=judged.expect)
            except Conflict:
                continue  # another attempt came between: this one is judged again by what that one left
            if failed:
                raise PermissionDenied(f"failed to satisfy enforcement {failed[0]}")
            return tuple(sorted(name for name, passed in judged.methods.items() if passed))
        raise Conflict("too many attempts at once")

    async def _any(self, methods: Sequence[Method], entity_id: str, given: Passcodes, judged: "_Judged") -> bool:
        """Whether one of ``methods`` was passed. Those that no code was given for are not tried."""
        passed = False
        for method in methods:
            codes = given.get(method.id) or (given.get(method.name) if method.name else None)
            if passed or codes is None:
                continue
            if method.id not in judged.methods:  # one code is judged once, though several enforcements ask for it
                judged.methods[method.id] = await self._judge(method, entity_id, codes, judged)
            passed = judged.methods[method.id]
        return passed

    async def _judge(self, method: Method, entity_id: str, codes: Sequence[str], judged: "_Judged") -> bool:
        where = f"{method.id}/{entity_id}"
        key = self.keys.state + where
        kept, stored = await self._store.storage.get_many([self.keys.secret + where, key])
        if kept is None:
            return False
        now = self._store.now()
        state = State() if stored is None else state_of(stored.value)
        if state.failures and now >= state.last + LOCKED_SECONDS:
            state = msgspec.structs.replace(state, failures=0)
        if state.failures >= method.max_attempts:
            return False  # whatever the code is; and what is tried meanwhile does not prolong it
        secret = secret_of(kept.value)
        step = None
        if len(codes) == 1:
            step = matching_step(
                secret.key,
                codes[0].removeprefix("passcode="),
                now,
                period=secret.period,
                skew=secret.skew,
                digits=secret.digits,
                algorithm=secret.algorithm,
                after=state.step,
            )
        if step is None:
            state = msgspec.structs.replace(state, failures=state.failures + 1, last=now)
        else:
            state = State(step=step)
        judged.writes.append(Write(key, pack(state)))
        judged.expect |= {key: stored.revision if stored else 0, self.keys.secret + where: kept.revision}
        return step is not None


class _Judged:
    """What judging codes leads to: methods passed or not, and what is to be written of it."""

    def __init__(self) -> None:
        self.methods: dict[str, bool] = {}
        self.writes: list[Write] = []
        self.expect: dict[str, int] = {}


def header_passcodes(text: str) -> Passcodes:
    """The header X-Vault-MFA: ``METHOD[:CODE]``, several of them separated by commas; METHOD is an id or a name.

    Returns:
        method -> codes; a method without a code has none.
    """
    given: dict[str, list[str]] = {}
    for part in text.split(","):
        method, colon, code = part.strip(" \t").partition(":")
        if method:
            given.setdefault(method, []).extend([code[:_CREDENTIAL]] if colon else [])
    return given


def payload_passcodes(payload: Mapping[str, object]) -> Passcodes:
    """``mfa_payload``: a method's id (or name) to a list of codes.

    Raises:
        BadRequest: it holds something else.
    """
    given: dict[str, list[str]] = {}
    for method, codes in payload.items():
        codes = [codes] if isinstance(codes, str) else [] if codes is None else codes
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            raise BadRequest("mfa_payload must map each method ID to a list of passcodes")
        given[method] = [code[:_CREDENTIAL] for code in codes]
    return given


def _shown(method: Method) -> dict[str, object]:
    named = {"name": method.name} if method.name else {}
    return {"type": "totp", "id": method.id, "uses_passcode": True, **named}


def _due(expires: float, name: str) -> str:
    return f"{int(expires) + 1:012d}.{name}"
