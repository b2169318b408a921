"""The commands ``policy explain``, ``who-can``, ``reach``, ``lint`` and ``test``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, command, value
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.client import calls

_LINT_FINDINGS = 3


@command(
    "explain",
    argument("what", "DENIAL|OPERATION"),
    argument("path", required=False),
    value("for-token", "The token asked about."),
    value("accessor", "The accessor of the token asked about."),
    value("entity", "The entity asked about: name or id."),
    value("policies", "Policies asked about, with commas."),
)
def explain_(
    session: Session,
    what: str,
    path: str | None,
    for_token: str | None,
    accessor: str | None,
    entity: str | None,
    policies: str | None,
) -> int:
    """Tell why a request was refused, by its X-Strongroom-Denial header, or how OPERATION on PATH is decided."""
    if path is None:
        body: dict[str, Any] = {"denial": what}
    else:
        body = {"operation": what, "path": path, **_who(for_token, accessor, entity, policies)}
    data = session.call(calls.policy_ask("explain", body)).data
    return session.show_data(data, _told(data))


def _who(token: str | None, accessor: str | None, entity: str | None, policies: str | None) -> dict[str, Any]:
    given = {"token": token, "accessor": accessor, "entity": entity, "policies": policies}
    chosen: dict[str, Any] = {name: text for name, text in given.items() if text}
    if len(chosen) != 1:
        raise Misused("whose decision?", "give one of -for-token, -accessor, -entity and -policies")
    return chosen


def _told(data: dict[str, Any]) -> str:
    verdict = "allowed" if data.get("allowed") else "denied"
    lines = [f"{data.get('operation')} {data.get('path')}: {verdict} ({data.get('decided_by')}: {data.get('reason')})"]
    if data.get("rule"):
        lines.append(f'rule: path "{data["rule"]}"')
    lines += [
        f"  {rule['policy']} line {rule['line']}: {', '.join(rule['capabilities']) or 'nothing'}"
        for rule in data.get("rules") or []
    ]
    lines += [f"  cedar: {line}" for line in (data.get("cedar") or {}).get("deciding", [])]
    if data.get("smallest_policy"):
        lines += ["the smallest policy that would allow it:", str(data["smallest_policy"]).rstrip()]
    if data.get("remedy"):
        lines.append(str(data["remedy"]))
    return "\n".join(lines)


@command("who-can", argument("operation"), argument("path"))
def who_can(session: Session, operation: str, path: str) -> int:
    """List the policies, groups and entities that allow OPERATION on PATH."""
    data = session.call(calls.policy_ask("who-can", {"operation": operation, "path": path})).data
    rows = [f'policy {one["policy"]} line {one["line"]}: path "{one["rule"]}"' for one in data.get("policies") or []]
    rows += [f"group {name}" for name in data.get("groups") or []]
    rows += [f"entity {name}" for name in data.get("entities") or []]
    rows += [f"policy {name}: depends on who asks (templates)" for name in data.get("depends_on_identity") or []]
    return session.show_data(data, "\n".join(rows) or "nobody but root")


@command(
    "reach",
    value("for-token", "The token asked about."),
    value("accessor", "The accessor of the token asked about."),
    value("entity", "The entity asked about: name or id."),
    value("policies", "Policies asked about, with commas."),
)
def reach(
    session: Session, for_token: str | None, accessor: str | None, entity: str | None, policies: str | None
) -> int:
    """List all paths that a token, an entity or a set of policies reaches, with the capabilities there."""
    data = session.call(calls.policy_ask("reach", _who(for_token, accessor, entity, policies))).data
    if data.get("root"):
        return session.show_data(data, "everything: it holds the root policy")
    paths = {**(data.get("exact_paths") or {})}
    for pattern, words in (data.get("glob_paths") or {}).items():
        paths[pattern if "+" in pattern or pattern.endswith("*") else f"{pattern}*"] = words
    rows = [f"{path}  {', '.join(words)}" for path, words in sorted(paths.items())]
    return session.show_data(data, "\n".join(rows) or "nothing")


@command("lint", argument("files", "FILE", count=-1), http=False)
def lint_(session: Session, files: tuple[str, ...]) -> int:
    """Warn of what surprises people in the policies in FILE...; exit code 3 if there is anything."""
    from strongroom.policy.acl_parse import parse_policy
    from strongroom.policy.lint import lint

    found = []
    for file in files:
        name = file.rpartition("/")[2].rpartition(".")[0].lower() or "policy"
        found += lint(parse_policy(name, session.stdin.take() if file == "-" else read_file(file)), {})
    shown = [{"policy": one.policy, "line": one.line, "code": one.code, "text": one.text} for one in found]
    if session.form in ("json", "yaml"):
        terminal.say(output.render(shown, session.form))
    else:
        for one in found:
            terminal.say(str(one))
    return _LINT_FINDINGS if found else 0


@command("test", argument("file"), argument("tests"), form=False, http=False)
def test_(session: Session, file: str, tests: str) -> int:
    """Check the policy in FILE against the expectations in TESTS, without a server."""
    from strongroom.policy.acl_parse import parse_policy
    from strongroom.policy.expectations import failures, parse_expectations

    expectations = parse_expectations(read_file(tests))
    failed = failures([parse_policy("policy", read_file(file))], expectations)
    for line in failed:
        terminal.say(line)
    if failed:
        raise Failed(f"{len(failed)} of {len(expectations)} expectations are not met")
    terminal.say(f"Success! {len(expectations)} expectations are met.")
    return 0
