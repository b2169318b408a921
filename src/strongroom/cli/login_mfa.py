"""The second factor of a login: asked for on the terminal, or shown with what to do about it."""

import json
from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.hints import Failed
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.client.messages import Answer

WAITS = """\
The login waits for a second factor, for five minutes. Send its passcode with:

    {command}
"""


def requirement(answer: Answer) -> dict[str, Any] | None:
    """What a login is asked for before it gets its token; None if nothing."""
    auth = (answer.body or {}).get("auth")
    wanted = auth.get("mfa_requirement") if isinstance(auth, dict) and not auth.get("client_token") else None
    return wanted if isinstance(wanted, dict) else None


def second_phase(session: Session, wanted: dict[str, Any]) -> Answer | None:
    """Ask for the passcode and send it, where one is all that is wanted and somebody can be asked; else None."""
    methods = _methods(wanted)
    if len(methods) != 1 or not methods[0].get("uses_passcode") or not session.may_ask:
        return None
    method = methods[0]
    code = session.ask_secret(f"Passcode of {method.get('name') or method.get('id')}", "give it as -mfa=METHOD:CODE")
    body = {"mfa_request_id": wanted.get("mfa_request_id"), "mfa_payload": {method.get("id"): [code]}}
    return session.call(calls.write("sys/mfa/validate", body))


def show(session: Session, answer: Answer, wanted: dict[str, Any]) -> int:
    """Show what is wanted, and the command that sends it."""
    methods = _methods(wanted)
    payload = json.dumps({str(method.get("id")): ["PASSCODE"] for method in methods})
    request_id = wanted.get("mfa_request_id")
    command = f"strongroom write sys/mfa/validate mfa_request_id={request_id} mfa_payload='{payload}'"
    if session.field:
        raise Failed("the login wants a second factor", f"give -mfa=METHOD:CODE, or send it with: {command}")
    if session.form != "table":
        return session.show_answer(answer)
    terminal.note(WAITS.format(command=command))
    constraints = wanted.get("mfa_constraints") or {}
    rows = [("mfa_request_id", str(request_id))]
    for name in sorted(constraints):
        one_of = ", ".join(
            f"{m.get('type')} {m.get('name') or ''} {m.get('id')}".replace("  ", " ") for m in _any(constraints[name])
        )
        rows.append((f"mfa_constraint_{name}", one_of))
    terminal.say(output.table(("Key", "Value"), rows))
    return 0


def _any(constraint: Any) -> list[dict[str, Any]]:
    found = constraint.get("any") if isinstance(constraint, dict) else None
    return [method for method in found or [] if isinstance(method, dict)]


def _methods(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """The methods that the constraints name, each once."""
    constraints = wanted.get("mfa_constraints") or {}
    every = [method for name in sorted(constraints) for method in _any(constraints[name])]
    return list({str(method.get("id")): method for method in every}.values())
