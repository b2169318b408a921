"""The other shape of an audit line: SecretumVault's, chosen per device with ``format = "secretum"``.

It says who, what, from where and how it ended, and nothing of the data. Page: docs/formats/audit-line.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.core.audit_record import DEFAULT_RULES, Rules, encode, error_text, salted, stamp
from strongroom.errors import VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Request, Response

_CACHED_CALLERS = 4096
_MARK = len("hmac-sha256:")


class _Auth(msgspec.Struct, omit_defaults=True):
    client_token: str = ""
    accessor: str = ""
    display_name: str = ""
    policies: tuple[str, ...] = ()
    entity_id: str = ""


class _Request(msgspec.Struct, omit_defaults=True):
    operation: Op | None = None
    path: str | None = None
    remote_address: str = ""
    id: str | None = None
    namespace: str = ""


class _Cedar(msgspec.Struct, omit_defaults=True):
    decision: str | None = None
    policy_id: str = ""


class SecretumLines:
    """Writes the lines of one device; as ``LineMaker``.

    Args:
        salt: key of the HMACs, 32 random bytes.
        hmac_accessor: False leaves token accessors in clear.
    """

    __slots__ = ("_callers", "_hide_accessor", "hmac")

    def __init__(self, salt: bytes, *, hmac_accessor: bool = True) -> None:
        self.hmac: Callable[[str | bytes], str] = salted(salt)
        self._hide_accessor = hmac_accessor
        self._callers: dict[str, tuple[Any, bytes]] = {}

    def who_and_what(self, call: Call, rules: Rules = DEFAULT_RULES) -> bytes:
        """``auth`` and ``request``, and ``cedar_policy`` where Cedar decided."""
        asked = call.request
        part = _Request(
            asked.op, asked.path, asked.remote, asked.id, "" if asked.namespace == "root" else asked.namespace
        )
        return b',"auth":%b,"request":%b%b' % (self._who(call), encode(part), _cedar(call.policy_results))

    def request(self, shared: bytes, now: float, refusal: BaseException | None = None) -> bytes:
        """The line before anything happens. ``now`` is in seconds since the Unix epoch."""
        return _line(b"request", shared, now, b"", refusal)

    def response(
        self, shared: bytes, now: float, call: Call, outcome: Response | BaseException, rules: Rules = DEFAULT_RULES
    ) -> bytes:
        """The line before anything is answered; of the answer it holds the HTTP status."""
        error = outcome if isinstance(outcome, BaseException) else None
        return _line(b"response", shared, now, b',"response":{"status":%d}' % status_of(outcome), error)

    def _who(self, call: Call) -> bytes:
        caller, request = call.caller, call.request
        if caller is None:
            return encode(_Auth(client_token=self._token(request)))
        known = self._callers.get(caller.token_id)
        if known is not None and request.token and (known[0] is caller or known[0] == caller):
            return known[1]
        made = encode(
            _Auth(
                client_token=self._token(request),
                accessor=self._accessor(caller.accessor),
                display_name=caller.display_name,
                policies=caller.policies,
                entity_id=caller.entity_id,
            )
        )
        if request.token and caller.token_id:
            if len(self._callers) >= _CACHED_CALLERS:
                self._callers.clear()
            self._callers[caller.token_id] = caller, made
        return made

    def _token(self, request: Request) -> str:
        """Keyed, though the shape calls it a hash: a plain one would tell a guessable token."""
        return "sha256:" + self.hmac(request.token)[_MARK:] if request.token else ""

    def _accessor(self, accessor: str) -> str:
        if not accessor or not self._hide_accessor:
            return accessor
        return "hmac:" + self.hmac(accessor)[_MARK:]


def _line(kind: bytes, shared: bytes, now: float, answered: bytes, error: BaseException | None) -> bytes:
    tail = b',"error":' + encode(error_text(error)) if error is not None else b""
    return b'{"timestamp":"%b","type":"%b"%b%b%b}\n' % (stamp(now), kind, shared, answered, tail)


def _cedar(results: Mapping[str, Any] | None) -> bytes:
    decided = results.get("cedar") if results is not None else None
    if not isinstance(decided, Mapping) or decided.get("decision") not in ("permit", "forbid"):
        return b""
    part = _Cedar(str(decided["decision"]), str(decided.get("policy_id") or ""))
    return b',"cedar_policy":' + encode(part)


def status_of(outcome: Response | BaseException) -> int:
    """The HTTP status that the door gives to ``outcome``."""
    if isinstance(outcome, VaultError):
        return outcome.status
    if isinstance(outcome, BaseException):
        return 500
    if outcome.status:
        return outcome.status
    empty = outcome.data is None and outcome.raw is None and outcome.auth is None and outcome.wrap_info is None
    return 204 if empty and not (outcome.warnings or outcome.lease_id) else 200
