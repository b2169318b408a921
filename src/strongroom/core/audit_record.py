"""What an audit line says: a call and its outcome as one JSON object, every secret as an HMAC (wire facts B.13).

Pure: nothing here writes, waits or looks up. One ``LineMaker`` belongs to one device, because each device has a salt of
its own. The page docs/formats/audit-line.md describes the line field by field.
"""

import datetime
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from strongroom.errors import VaultError
from strongroom.sdk.engine import Call, Match
from strongroom.sdk.kept import Kept
from strongroom.sdk.request import Auth, Caller, Op, Request, Response, WrapInfo

MAX_DEPTH = 128  # levels of data; a body may have 64
TOO_DEEP = "(nested too deeply to record)"
NO_KEYS: frozenset[str] = frozenset()
_CACHED_CALLERS = 4096
_KEPT = 4096  # bytes of an answer's record that are kept for the next time
_BLOCK = 64  # bytes, SHA-256
_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))
_PLAIN = frozenset({int, float, bool, type(None)})
_LISTS = frozenset({Op.LIST, Op.SCAN})


def salted(key: bytes) -> Callable[[str | bytes], str]:
    """HMAC-SHA-256 (RFC 2104) under ``key``, with the two key blocks hashed once.

    Returns:
        a function that gives "hmac-sha256:" and 64 hex digits; text is hashed as UTF-8.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    copy_inner = hashlib.sha256(block.translate(_INNER)).copy
    copy_outer = hashlib.sha256(block.translate(_OUTER)).copy

    def hash_text(value: str | bytes) -> str:
        if not value:
            return of_nothing
        try:
            raw = value.encode() if isinstance(value, str) else value
        except UnicodeEncodeError:
            raw = str(value).encode("utf-8", "surrogatepass")  # half a surrogate pair, from JSON that Python built
        inner = copy_inner()
        inner.update(raw)
        outer = copy_outer()
        outer.update(inner.digest())
        return "hmac-sha256:" + outer.hexdigest()

    of_nothing = "hmac-sha256:" + hmac.digest(key, b"", "sha256").hex()  # many an answer has empty texts in it
    return hash_text


class _Namespace(msgspec.Struct, omit_defaults=True):
    id: str | None = None
    path: str = ""


class _Request(msgspec.Struct, omit_defaults=True):
    id: str | None = None
    client_id: str = ""
    operation: Op | None = None
    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    mount_class: str = ""
    client_token: str = ""
    client_token_accessor: str = ""
    namespace: _Namespace | None = None
    path: str | None = None
    data: Any = None
    remote_address: str = ""
    remote_port: int = 0
    wrap_ttl: int = 0
    headers: Any = None


class _Auth(msgspec.Struct, omit_defaults=True):
    client_token: str = ""
    accessor: str = ""
    display_name: str = ""
    policies: tuple[str, ...] = ()
    token_policies: tuple[str, ...] = ()
    identity_policies: tuple[str, ...] = ()
    policy_results: Any = None
    metadata: Any = None
    entity_id: str = ""
    num_uses: int = 0
    token_type: str = ""
    token_ttl: int | None = None
    token_issue_time: str = ""


class _Wrap(msgspec.Struct, omit_defaults=True):
    token: str = ""
    accessor: str = ""
    ttl: int | None = None
    creation_time: str = ""
    creation_path: str = ""
    wrapped_accessor: str = ""


class _Secret(msgspec.Struct):
    lease_id: str


class _Response(msgspec.Struct, omit_defaults=True):
    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    mount_class: str = ""
    auth: _Auth | None = None
    wrap_info: _Wrap | None = None
    secret: _Secret | None = None
    data: Any = None
    warnings: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True):
    """What an operator has decided about the records of one call."""

    request_keys: frozenset[str] = NO_KEYS  # data keys of the mount that stay in clear, at any depth
    response_keys: frozenset[str] = NO_KEYS
    headers: Mapping[str, bool] = {}  # lower-case header name -> is its value HMACed


DEFAULT_RULES = Rules()


_Asked = tuple[str, str, str, int]  # token's hash, path, address, port


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What was said of a call without data. The parts are compared as objects: all are kept as long as they hold."""

    op: Op
    caller: Caller
    match: Match
    results: Mapping[str, Any] | None
    namespace: str
    head: bytes
    tail: bytes


class LineMaker:
    """Writes the lines of one device.

    Args:
        salt: key of the HMACs, 32 random bytes.
        elide_lists: a LIST's answer shows how many keys there were, not which.
        hmac_accessor: False leaves token accessors in clear.
    """

    __slots__ = ("_accessor", "_callers", "_elide", "_told", "hmac")

    def __init__(self, salt: bytes, *, elide_lists: bool = False, hmac_accessor: bool = True) -> None:
        self.hmac = salted(salt)
        self._elide = elide_lists
        self._accessor: Callable[[str], str] = self.hmac if hmac_accessor else str
        self._callers: dict[str, tuple[Caller, bytes, str, str]] = {}
        self._told: Kept[_Asked, _Told] = Kept(_CACHED_CALLERS)

    def who_and_what(self, call: Call, rules: Rules = DEFAULT_RULES) -> bytes:
        """The part that both records of a call share: ``auth`` and ``request``. To be made while the token is there.

        Of a call without data that was made before, only the id is another one.
        """
        request, caller = call.request, call.caller
        if caller is None or request.data or request.wrap_ttl or rules.headers or not (request.token and request.id):
            return b"".join(self._who_and_what(call, rules))
        asked = (caller.token_id, request.path, request.remote, request.remote_port)
        told = self._told.get(asked)
        if told is None or not (
            told.op is request.op
            and told.caller is caller
            and told.match is call.match
            and told.results is call.policy_results
            and told.namespace == request.namespace_path
        ):
            head, part = self._who_and_what(call, rules)
            if told is None and not self._told.room():
                return head + part
            tail = part[len(b'{"id":') + len(encode(request.id)) :]
            told = _Told(
                request.op, caller, call.match, call.policy_results, request.namespace_path, head + b'{"id":', tail
            )
            self._told.put(asked, told)
        return b"%b%b%b" % (told.head, encode(request.id), told.tail)

    def _who_and_what(self, call: Call, rules: Rules) -> tuple[bytes, bytes]:
        """It up to the value of ``request``, and that."""
        request, caller = call.request, call.caller
        if caller is None:
            auth, accessor = b"{", ""
            token = self.hmac(request.token) if request.token else ""
        else:
            auth, token, accessor = self._caller(caller, request)
        if call.policy_results is not None:
            comma = b',"policy_results":' if len(auth) > 1 else b'"policy_results":'
            auth = auth + comma + encode(call.policy_results)
        match = call.match
        part = _Request(
            request.id,
            caller.entity_id if caller is not None else "",
            request.op,
            match.mount_path,
            match.mount_type,
            match.mount_accessor,
            match.mount_class,
            token,
            accessor,
            _namespace(request.namespace, request.namespace_path),
            request.path,
            self._data(request.data, rules.request_keys, 0) if request.data else None,
            request.remote,
            request.remote_port,
            request.wrap_ttl,
            self._headers(request.headers, rules.headers) if rules.headers and request.headers else None,
        )
        return b',"auth":' + auth + b'},"request":', encode(part)

    def request(self, shared: bytes, now: float, refusal: BaseException | None = None) -> bytes:
        """The line before anything happens. ``now`` is in seconds since the Unix epoch."""
        if refusal is None:
            return b'{"time":"%b","type":"request"%b}\n' % (stamp(now), shared)
        return b'{"time":"%b","type":"request"%b,"error":%b}\n' % (stamp(now), shared, encode(error_text(refusal)))

    def response(
        self, shared: bytes, now: float, call: Call, outcome: Response | BaseException, rules: Rules = DEFAULT_RULES
    ) -> bytes:
        """The line before anything is answered."""
        match = call.match
        if isinstance(outcome, Response):
            return b'{"time":"%b","type":"response"%b,"response":%b}\n' % (
                stamp(now),
                shared,
                self._answered(call, outcome, rules),
            )
        part = _Response(match.mount_path, match.mount_type, match.mount_accessor, match.mount_class)
        if isinstance(outcome, VaultError):
            part.warnings = outcome.warnings
            if isinstance(outcome.data, Mapping):
                part.data = self._data(outcome.data, rules.response_keys, 0)
        return b'{"time":"%b","type":"response"%b,"response":%b,"error":%b}\n' % (
            stamp(now),
            shared,
            encode(part),
            encode(error_text(outcome)),
        )

    def _caller(self, caller: Caller, request: Request) -> tuple[bytes, str, str]:
        """``auth`` without its closing brace, and the HMACs of token and accessor; remembered by the token's hash."""
        known = self._callers.get(caller.token_id)
        if known is not None and request.token and (known[0] is caller or known[0] == caller):
            return known[1:]
        token = self.hmac(request.token) if request.token else ""
        accessor = self._accessor(caller.accessor) if caller.accessor else ""
        auth = _Auth(
            client_token=token,
            accessor=accessor,
            display_name=caller.display_name,
            policies=caller.policies,
            token_policies=caller.token_policies,
            identity_policies=caller.identity_policies,
            metadata=self._metadata(caller.metadata),
            entity_id=caller.entity_id,
            token_type=caller.token_type,
            token_ttl=caller.ttl,
            token_issue_time=_seconds(int(caller.issue_time)).decode() + "Z" if caller.issue_time else "",
        )
        made = (caller, encode(auth)[:-1], token, accessor)
        if token and caller.token_id:
            if len(self._callers) >= _CACHED_CALLERS:
                self._callers.clear()
            self._callers[caller.token_id] = made
        return made[1:]

    def _answered(self, call: Call, answer: Response, rules: Rules) -> bytes:
        """The ``response`` of a record. Of data that an engine answers again and again it is made once."""
        memo, key = answer.memo, (self, rules.response_keys)
        if memo is not None:
            known = memo.get(key)
            if known is not None:
                return known
        match = call.match
        part = _Response(match.mount_path, match.mount_type, match.mount_accessor, match.mount_class)
        self._answer(part, call, answer, rules)
        made = encode(part)
        if memo is not None and len(made) <= _KEPT and not (answer.auth or answer.wrap_info or answer.warnings):
            memo[key] = made
        return made

    def _answer(self, part: _Response, call: Call, answer: Response, rules: Rules) -> None:
        if answer.data:
            data: Mapping[str, Any] = answer.data
            if self._elide and call.request.op in _LISTS:
                data = {k: len(v) if k in ("keys", "key_info") and isinstance(v, list | tuple | dict) else v
                        for k, v in data.items()}  # fmt: skip
            part.data = self._data(data, rules.response_keys, 0)
        if answer.auth is not None:
            part.auth = self._granted(answer.auth)
        if answer.wrap_info is not None:
            part.wrap_info = self._wrapped(answer.wrap_info)
        if answer.lease_id:
            part.secret = _Secret(answer.lease_id)
        part.warnings = answer.warnings

    def _granted(self, auth: Auth) -> _Auth:
        return _Auth(
            client_token=self.hmac(auth.client_token) if auth.client_token else "",
            accessor=self._accessor(auth.accessor) if auth.accessor else "",
            display_name=auth.display_name,
            policies=tuple(sorted({*auth.policies, *auth.token_policies, *auth.identity_policies})),
            token_policies=auth.token_policies,
            identity_policies=auth.identity_policies,
            metadata=self._metadata(auth.metadata),
            entity_id=auth.entity_id,
            num_uses=auth.num_uses,
            token_type=auth.token_type,
            token_ttl=auth.ttl,
        )

    def _wrapped(self, info: WrapInfo) -> _Wrap:
        return _Wrap(
            token=self.hmac(info.token),
            accessor=self._accessor(info.accessor),
            ttl=info.ttl,
            creation_time=info.creation_time,
            creation_path=info.creation_path,
            wrapped_accessor=self._accessor(info.wrapped_accessor) if info.wrapped_accessor else "",
        )

    def _metadata(self, metadata: Mapping[str, str] | None) -> dict[str, str] | None:
        """Metadata is whatever a client put on its token, so its values are treated like data."""
        return {_name(key): self.hmac(str(value)) for key, value in metadata.items()} if metadata else None

    def _headers(self, sent: Mapping[str, str], audited: Mapping[str, bool]) -> dict[str, list[str]] | None:
        shown = {n: [self.hmac(sent[n]) if secret else sent[n]] for n, secret in audited.items() if n in sent}
        return shown or None

    def _data(self, value: Any, exempt: frozenset[str], depth: int) -> Any:
        """``value`` with each text and bytes in it replaced by its HMAC; keys, numbers, booleans and null stay."""
        kind = type(value)
        if kind is str:
            return self.hmac(value)
        if kind in _PLAIN:
            return value
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        if kind is dict or isinstance(value, Mapping):
            return self._mapping(value, exempt, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._data(item, exempt, depth + 1) for item in value]
        return self._odd(value, exempt, depth)

    def _mapping(self, value: Mapping[Any, Any], exempt: frozenset[str], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        hash_text = self.hmac
        for key, item in value.items():
            if exempt and key in exempt:
                item = _clear(item, depth)
            else:
                kind = type(item)
                if kind is str:
                    item = hash_text(item)
                elif kind not in _PLAIN:
                    item = self._data(item, exempt, depth)
            out[key if type(key) is str and key.isascii() else _name(key)] = item
        return out

    def _odd(self, value: Any, exempt: frozenset[str], depth: int) -> Any:
        """Values that are no plain JSON type: subclasses, bytes, times, structs."""
        if isinstance(value, str):
            return self.hmac(str(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return self.hmac(bytes(value))
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, datetime.datetime):
            return value.isoformat()
        if isinstance(value, msgspec.Struct):
            return self._data(msgspec.structs.asdict(value), exempt, depth)
        return self.hmac(str(value))


def _clear(value: Any, depth: int) -> Any:
    """``value`` as it is, in plain JSON types (keys that an operator exempted from HMAC)."""
    if type(value) in _PLAIN:
        return value
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {_name(k): _clear(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clear(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, int | float) and not isinstance(value, str):
        return int(value) if isinstance(value, int) else float(value)
    return _name(value)


def error_text(error: BaseException) -> str:
    """What a record says of a failure: our own messages, and of a defect only its kind (its text may quote input)."""
    if isinstance(error, VaultError):
        return str(error) or type(error).__name__
    return f"internal error ({type(error).__name__})"


def _name(key: object) -> str:
    """``key`` as text that JSON can carry."""
    return str(key).encode("utf-8", "replace").decode()


_json = msgspec.json.Encoder(enc_hook=str)


def encode(value: Any) -> bytes:
    """``value`` as JSON; what JSON cannot carry is replaced rather than refused."""
    try:
        return _json.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
        return _json.encode(_clear(msgspec.to_builtins(value, enc_hook=str), 0))


@lru_cache(maxsize=1024)
def _namespace(namespace_id: str, path: str) -> _Namespace:
    return _Namespace(namespace_id, path)


@lru_cache(maxsize=64)
def _seconds(whole: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)).encode()


def stamp(now: float) -> bytes:
    """Seconds since the Unix epoch as RFC 3339, UTC, nine decimals (a float of today's is exact to about 0.2 us)."""
    whole = int(now // 1)
    return b"%b.%09dZ" % (_seconds(whole), int((now - whole) * 1_000_000_000))
