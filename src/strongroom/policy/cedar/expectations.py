"""Allow and deny expectations of Cedar policies: a file of questions with the answers that its writer expects.

{"tests": [
  {"name": "developers read dev", "user": "bob", "groups": ["developers"],
   "action": "read", "secret": "database/dev/app", "expect": "allow"},
  {"service": "github-actions", "action": "generate", "secret": "database/dynamic/creds/app",
   "context": {"ttl": "2h"}, "expect": "deny"}
]}
"""

import datetime
from collections.abc import Mapping, Sequence

import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.cedar.decide import CedarSet
from strongroom.policy.cedar.principals import SERVICE, USER
from strongroom.policy.cedar.schema import ACTIONS, WITH_TTL
from strongroom.sdk.fields import parse_duration
from strongroom.sdk.policy import Circumstances, Principal, Verdict

_OPERATIONS = {"read": "read", "list": "list", "delete": "delete", "generate": "read"}


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cedar's ``context`` as a file gives it; what is left out has a plain value."""

    now: str = "2030-01-01T00:00:00Z"  # RFC 3339
    ip: str = "127.0.0.1"
    namespace: str = "root"
    operation: str = ""  # "" = what the action suggests
    auth_method: str = "token"
    mfa: bool = False
    ttl: str = ""  # "30m"; needed by generate and renew


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question and the expected answer. Exactly one of ``user`` and ``service`` is given."""

    action: str
    secret: str
    expect: str = "allow"  # "allow" | "deny"
    name: str = ""
    user: str = ""
    service: str = ""
    groups: tuple[str, ...] = ()
    context: Context = Context()
    by: str = ""  # id of a policy that must be among those that decide; "" = any

    @property
    def title(self) -> str:
        return self.name or f"{self.user or self.service} {self.action} {self.secret}"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tests: tuple[Expectation, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What became of an expectation; ``wrong`` is empty if it was met."""

    title: str
    verdict: Verdict
    wrong: str


def read_expectations(text: str, what: str) -> tuple[Expectation, ...]:
    """The expectations of a JSON file.

    Raises:
        BadRequest: begins with ``what``; no JSON, unknown or missing fields, or a question that cannot be asked.
    """
    try:
        tests = msgspec.json.decode(text.encode(), type=_File).tests
    except msgspec.DecodeError as error:
        raise BadRequest(f"{what}: {error}") from None
    if not tests:
        raise BadRequest(f"{what}: there are no tests in it")
    for number, test in enumerate(tests, 1):
        if test.expect not in ("allow", "deny"):
            raise BadRequest(f"{what}: test {number}: expect must be 'allow' or 'deny'")
        try:
            question(test)
        except BadRequest as error:
            raise BadRequest(f"{what}: test {number}: {error}") from None
    return tests


def question(test: Expectation) -> tuple[Principal, Circumstances]:
    """Who asks in ``test``, and in which circumstances.

    Raises:
        BadRequest: neither or both of user and service, an unknown action, a wrong secret, time or duration, a ttl
            that is missing or too many.
    """
    if bool(test.user) == bool(test.service):
        raise BadRequest("one of user and service must be given")
    if test.action not in ACTIONS:
        raise BadRequest(f"the action must be one of {', '.join(ACTIONS)}")
    if not test.secret or test.secret.startswith("/") or test.secret.endswith("/"):
        raise BadRequest("the secret is <mount>/<path> without a slash at either end")
    given = test.context
    if (test.action in WITH_TTL) != bool(given.ttl):
        raise BadRequest(f"{test.action} has no ttl" if given.ttl else f"{test.action} needs a ttl")
    try:
        now = datetime.datetime.fromisoformat(given.now).timestamp()
    except ValueError:
        raise BadRequest("now must be a time as in 2030-01-01T00:00:00Z") from None
    who = Principal(USER if test.user else SERVICE, test.user or test.service, test.groups)
    return who, Circumstances(
        now=now,
        ip=given.ip,
        namespace=given.namespace,
        operation=given.operation or _OPERATIONS.get(test.action, "update"),
        auth_method=given.auth_method,
        mfa=given.mfa,
        ttl=parse_duration(given.ttl, name="ttl") if given.ttl else None,
    )


def run(policies: CedarSet, tests: Sequence[Expectation]) -> list[Outcome]:
    """What became of each of ``tests``, in their order."""
    return [_outcome(test, ask(policies, test)) for test in tests]


def ask(policies: CedarSet, test: Expectation) -> Verdict:
    """What ``policies`` say to the question of ``test``. Raises BadRequest if it cannot be asked."""
    who, context = question(test)
    return policies.decide(who, test.action, test.secret, context)


def _outcome(test: Expectation, verdict: Verdict) -> Outcome:
    allowed = verdict.effect == "permit"
    wrong = ""
    if allowed is not (test.expect == "allow"):
        wrong = f"expected {test.expect}, but it is {said(verdict)}"
    elif test.by and test.by not in verdict.policies:
        wrong = f"expected {test.by} to decide, but it is {said(verdict)}"
    return Outcome(test.title, verdict, wrong)


def said(verdict: Verdict) -> str:
    """A verdict in words, for people."""
    if verdict.errors:
        return f"denied, because a policy failed: {'; '.join(verdict.errors)}"
    words: Mapping[str, str] = {"permit": "allowed by", "forbid": "denied by"}
    if verdict.effect == "none":
        return "denied, because no policy permits it"
    return f"{words[verdict.effect]} {', '.join(verdict.policies)}"
