"""What the tests of Cedar share: the published examples, and short ways to ask."""

from strongroom.policy.cedar.decide import build
from strongroom.sdk.policy import Circumstances, Principal, Verdict

EXAMPLES = """\
// policy: developers can read dev secrets, not prod
permit(
  principal in Group::"developers",
  action == Action::"read",
  resource in Secret::"database/dev"
);
forbid(
  principal in Group::"developers",
  action == Action::"read",
  resource in Secret::"database/prod"
);
// policy: CI/CD can generate dynamic DB credentials
permit(
  principal == Service::"github-actions",
  action == Action::"generate",
  resource in Secret::"database/dynamic"
) when {
  context.ttl <= duration("1h")
};
"""
BOB = Principal("User", "bob", ("developers",))
CI = Principal("Service", "github-actions")


def context(**fields: object) -> Circumstances:
    known = {"now": 1_900_000_000.0, "ip": "10.0.0.1", "namespace": "root", "operation": "read"}
    return Circumstances(**{**known, "auth_method": "userpass", **fields})  # type: ignore[arg-type]


def ask(text: str, who: Principal, action: str, path: str, **fields: object) -> Verdict:
    return build({"p": text}).decide(who, action, path, context(**fields))
