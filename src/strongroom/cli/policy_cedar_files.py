"""The commands ``policy cedar validate``, ``test`` and ``explain``. With files they need no server."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.client import calls
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.policy.cedar.decide import CedarSet


@command("validate", argument("files", "FILE", count=-1), form=False, http=False)
def validate(session: Session, files: Sequence[str]) -> int:
    """Check each FILE (- is standard input) as the server would before it stores it."""
    from strongroom.policy.cedar.policy import check

    wrong = []
    for file in files:
        text = session.stdin.take() if file == "-" else read_file(file)
        try:
            statements = check(_name(file), text)
        except BadRequest as error:
            wrong.append(f"{file}: {error}")
        else:
            count = f"{len(statements)} statement{'s' * (len(statements) != 1)}"
            terminal.say(f"Success! {file}: {count}")
    if wrong:
        raise Failed("\n".join(wrong))
    return 0


@command("test", argument("tests"), argument("files", "FILE", count=-1, required=False))
def test(session: Session, tests: str, files: Sequence[str]) -> int:
    """Ask the policies in FILEs, or else those of the server, the questions in TESTS and compare the answers."""
    from strongroom.policy.cedar.expectations import read_expectations, run

    expected = read_expectations(session.stdin.take() if tests == "-" else read_file(tests), tests)
    outcomes = run(_policies(session, files), expected)
    failed = [outcome for outcome in outcomes if outcome.wrong]
    if session.form in ("json", "yaml"):
        rows = [
            {"name": outcome.title, "passed": not outcome.wrong, "reason": outcome.wrong, **_shown(outcome.verdict)}
            for outcome in outcomes
        ]
        terminal.say(output.render(rows, session.form))
    else:
        for outcome in outcomes:
            terminal.say(f"fail  {outcome.title}: {outcome.wrong}" if outcome.wrong else f"ok    {outcome.title}")
    if failed:
        raise Failed(f"{len(failed)} of {len(outcomes)} expectations are not met")
    return 0


@command(
    "explain",
    argument("files", "FILE", count=-1, required=False),
    value("user", "Who asks: the name of an entity."),
    value("service", "Who asks: the name of a service."),
    value("group", "A group that the asker is in; may be repeated.", many=True),
    value("action", "What is asked: read, write, generate, ..."),
    value("secret", "Of which secret: <mount>/<path>."),
    value("ttl", "TTL that the lease would get, for generate and renew."),
    value("ip", "Address of the asker."),
    value("now", "Time of the question, as in 2030-01-01T00:00:00Z."),
    value("auth-method", "Type of the auth method that was used."),
    value("operation", "Operation, where it is not what the action suggests."),
    value("in-namespace", "Namespace of the secret, as policies see it."),
    switch("with-mfa", "The login passed a second factor."),
)
def explain(session: Session, files: Sequence[str], **given: Any) -> int:
    """Say which of the policies in FILEs, or else of those on the server, decide a question, and how."""
    from strongroom.policy.cedar.expectations import Context, Expectation, question, said

    named = {"ttl": "ttl", "ip": "ip", "now": "now", "auth_method": "auth_method", "operation": "operation"}
    fields = {field: given[flag] for flag, field in named.items() if given.get(flag)}
    if given.get("in_namespace"):
        fields["namespace"] = given["in_namespace"]
    asked = Expectation(
        action=given.get("action") or "",
        secret=given.get("secret") or "",
        user=given.get("user") or "",
        service=given.get("service") or "",
        groups=tuple(given.get("group") or ()),
        context=Context(mfa=bool(given.get("with_mfa")), **fields),
    )
    who, context = question(asked)
    policies = _policies(session, files)
    verdict = policies.decide(who, asked.action, asked.secret, context)
    numbers = policies.index.find(who, asked.action, asked.secret)
    near = [policies.index.statements[number] for number in numbers]
    deciding = [statement for statement in near if statement.id in verdict.policies]
    rows = [{"id": s.id, "policy": s.policy, "n": s.n, "line": s.line, "text": s.text} for s in deciding]
    shown = {**_shown(verdict), "deciding": rows, "considered": [statement.id for statement in near]}
    words = said(verdict)
    lines = [words[:1].upper() + words[1:]]
    for statement in deciding:
        own = f"{statement.id}, " if statement.annotated else ""
        lines += ["", f"{own}{statement.place}:", statement.text]
    others = [statement.id for statement in near if statement not in deciding]
    if others:
        lines += ["", f"Their scopes fit too, but they do not decide: {', '.join(others)}"]
    return session.show_data(shown, "\n".join(lines))


def _shown(verdict: Any) -> dict[str, Any]:
    return {"decision": verdict.effect, "policies": list(verdict.policies), "errors": list(verdict.errors)}


def _name(file: str) -> str:
    """What a file's policy is called: app.cedar -> app."""
    return "stdin" if file == "-" else os.path.splitext(os.path.basename(file))[0].lower()


def _policies(session: Session, files: Sequence[str]) -> "CedarSet":
    """The policies in ``files``, checked, or those of the server."""
    from strongroom.policy.cedar.decide import build
    from strongroom.policy.cedar.policy import check

    texts: dict[str, str] = {}
    for file in files:
        name = _name(file)
        if name in texts:
            raise Misused(f"two files would be the policy {name}")
        texts[name] = session.stdin.take() if file == "-" else read_file(file)
        check(name, texts[name])
    if files:
        return build(texts)
    answer = session.read(calls.policies("cedar"))
    for key in (answer.data.get("keys") or ()) if answer else ():
        found = session.read(calls.policy_read(str(key), "cedar"))
        if found is not None:
            texts[str(key)] = str(found.data.get("policy") or "")
    return build(texts)
