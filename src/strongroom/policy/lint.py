"""What surprises people about their policies: rules that never match, or that match more than was meant."""

from collections.abc import Mapping, Sequence

import msgspec

from strongroom.policy.rules import CAPABILITIES, DENY, Policy, Rule

_KV2 = ("data", "metadata", "delete", "undelete", "destroy", "subkeys", "config", "detailed-metadata")
_LIST = CAPABILITIES["list"]
_DATA_ONLY = CAPABILITIES["create"] | CAPABILITIES["update"] | CAPABILITIES["patch"]


class Finding(msgspec.Struct, frozen=True):
    """One warning. ``code`` is stable, for scripts."""

    policy: str
    line: int
    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.policy}:{self.line}: {self.text} [{self.code}]"


def lint(policy: Policy, mounts: Mapping[str, str]) -> list[Finding]:
    """Warnings about ``policy``, in the order of its lines.

    Args:
        policy: as parsed.
        mounts: path with slash -> kind ("kv2", "kv", "userpass", ...); {} where the mounts are not known.
    """
    found: list[Finding] = []
    seen: dict[str, Rule] = {}
    for rule in policy.rules:
        for code, text in _of_rule(rule, mounts):
            found.append(Finding(policy.name, rule.line, code, text))
        if (first := seen.setdefault(rule.pattern, rule)) is not rule:
            what = "a deny there decides both" if (first.capabilities | rule.capabilities) & DENY else "both count"
            found.append(
                Finding(policy.name, rule.line, "twice", f'"{rule.pattern}" stands in line {first.line} too: {what}')
            )
    return sorted(found, key=lambda finding: finding.line)


def _of_rule(rule: Rule, mounts: Mapping[str, str]) -> list[tuple[str, str]]:
    pattern, out = rule.pattern, []
    if not rule.capabilities:
        out.append(("empty", f'"{pattern}" has no capabilities: it hides broader rules and grants nothing'))
    inner = pattern.removesuffix("*")
    if "*" in inner:
        out.append(
            ("star", f'"{pattern}": a * counts at the end only, elsewhere it is a plain character; + is a segment')
        )
    if any("+" in part and part != "+" for part in pattern.split("/")):
        out.append(("plus", f'"{pattern}": a + counts only where it is a whole segment'))
    if pattern.endswith("*") and inner and inner[-1] not in "/+" and not rule.capabilities & DENY:
        out.append(
            (
                "sibling",
                f'"{pattern}" also grants siblings such as "{inner}-other"; end it in "/*" to mean what lies below',
            )
        )
    if not pattern.endswith(("*", "/")) and rule.capabilities & _LIST and "+" not in pattern:
        out.append(("list", f'"{pattern}" lists this one folder; what lies below needs "{pattern}/*"'))
    out += _of_mount(rule, mounts)
    return out


def _of_mount(rule: Rule, mounts: Mapping[str, str]) -> list[tuple[str, str]]:
    pattern = rule.pattern
    mount = max((path for path in mounts if pattern.startswith(path)), key=len, default="")
    if not mount:
        known = bool(mounts) and not pattern.startswith(("sys/", "auth/", "cubbyhole/", "identity/", "+", "*"))
        if known and "*" not in pattern.partition("/")[0]:
            return [("nowhere", f'"{pattern}" lies below no mount that is there now')]
        return []
    if mounts[mount] != "kv2":
        return []
    folder, _, rest = pattern[len(mount) :].partition("/")
    if folder not in (*_KV2, "+", "*", "") and not folder.endswith("*"):
        place = f"{mount}data/{folder}" + (f"/{rest}" if rest else "")
        return [("kv2-data", f'"{pattern}" never matches: {mount} is kv version 2, secrets are at "{place}"')]
    if folder == "data" and rule.capabilities & _LIST:
        return [("kv2-list", f'"{pattern}": kv version 2 lists at "{mount}metadata/", not at data/')]
    if folder == "metadata" and rule.capabilities & _DATA_ONLY and not rule.capabilities & DENY:
        return [
            ("kv2-metadata", f'"{pattern}" changes settings and custom metadata; secrets are written at "{mount}data/"')
        ]
    return []


def lint_all(policies: Sequence[Policy], mounts: Mapping[str, str]) -> list[Finding]:
    """``lint`` of several policies."""
    return [finding for policy in policies for finding in lint(policy, mounts)]
