"""What a policy is expected to allow and to deny, a line each; checked before the policy is stored.

allow read,list secret/data/app/*        # a pattern stands for itself: the path is asked as written
deny  update    secret/data/app/db
# a comment
"""

from collections.abc import Sequence

import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.acl import Acl
from strongroom.policy.rules import Policy
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.policy import Question
from strongroom.sdk.request import Caller, Op

MAX_LINES = 1000
_OPS = {op.value: op for op in (Op.CREATE, Op.READ, Op.UPDATE, Op.PATCH, Op.DELETE, Op.LIST, Op.SCAN)}
_NOBODY = Caller(accessor="", policies=())


class Expectation(msgspec.Struct, frozen=True):
    """One line."""

    line: int
    allowed: bool
    op: Op
    path: str
    sudo: bool = False


def parse_expectations(text: str) -> list[Expectation]:
    """The lines of a test file.

    Raises:
        BadRequest: a line that is none, with its number; more than ``MAX_LINES``.
    """
    found: list[Expectation] = []
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise BadRequest(f"a policy's tests have at most {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ("allow", "deny"):
            raise BadRequest(f"tests line {number}: expected `allow|deny OPERATION[,OPERATION] PATH`")
        verdict, ops, path = words
        for name in ops.split(","):
            sudo, name = name == "sudo", "update" if name == "sudo" else name
            if name not in _OPS:
                raise BadRequest(f"tests line {number}: the operations are {', '.join(_OPS)} and sudo")
            found.append(Expectation(number, verdict == "allow", _OPS[name], _path(path, _OPS[name], number), sudo))
    return found


def _path(path: str, op: Op, number: int) -> str:
    try:
        path = canonical_text(path.lstrip("/").removeprefix("v1/"))
    except BadRequest as error:
        raise BadRequest(f"tests line {number}: {error}") from error
    return path.rstrip("/") + "/" if op in (Op.LIST, Op.SCAN) else path


def failures(policies: Sequence[Policy], expectations: Sequence[Expectation]) -> list[str]:
    """What does not come out as expected, a sentence each."""
    acl, out = Acl(policies), []
    for one in expectations:
        decision = acl.decide(Question(caller=_NOBODY, op=one.op, path=one.path, sudo=one.sudo))
        if decision.allowed is not one.allowed:
            got = "allowed" if decision.allowed else "denied"
            rule = f" by {decision.rule}" if decision.rule else ""
            out.append(f"tests line {one.line}: {one.op.value} {one.path} is {got}{rule} ({decision.reason})")
    return out
