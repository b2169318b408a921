"""The commands ``token create``, ``lookup``, ``renew``, ``revoke`` and ``capabilities``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session, sanitise
from strongroom.cli.words import parse_pairs
from strongroom.client import calls
from strongroom.client.settings import parse_seconds

TOKEN = Group(
    "token",
    {
        "create": "token:create",
        "lookup": "token:lookup",
        "renew": "token:renew",
        "revoke": "token:revoke",
        "capabilities": "token:capabilities",
    },
    "Make, look up, renew and revoke tokens.",
)

ACCESSOR = switch("accessor", "The argument is an accessor, not a token.")


@command(
    "create",
    value("id", "The token itself; needs a root token."),
    value("display-name", "Name shown in logs."),
    value("ttl", "How long it lives at first, as 30m."),
    value("explicit-max-ttl", "How long it may live whatever happens."),
    value("period", "Make it periodic: each renewal gives it this long."),
    value("policy", "Policy of the token; may be repeated.", many=True),
    value("metadata", "key=value kept with the token; may be repeated.", many=True),
    value("use-limit", "How often it may be used; 0 is no limit.", kind=int),
    value("role", "Create it by this token role."),
    value("type", "service or batch."),
    value("entity-alias", "Alias of an entity; needs a role that allows it."),
    switch("renewable", "Whether it can be renewed (default: yes)."),
    switch("orphan", "Give it no parent."),
    switch("no-default-policy", "Leave the policy named default out."),
    field=True,
)
def create(session: Session, **flags: Any) -> int:
    """Create a token, a child of the current one."""
    fields: dict[str, Any] = {
        "policies": list(flags["policy"]),
        "meta": parse_pairs(flags["metadata"], "metadata"),
        "ttl": flags["ttl"],
        "explicit_max_ttl": flags["explicit_max_ttl"],
        "period": flags["period"],
        "id": flags["id"],
        "display_name": flags["display_name"],
        "num_uses": flags["use_limit"],
        "renewable": flags["renewable"],
        "type": flags["type"],
        "entity_alias": flags["entity_alias"],
        "no_default_policy": flags["no_default_policy"],
        "no_parent": flags["orphan"],
    }
    body = {name: item for name, item in fields.items() if item not in (None, "", [], {})}
    orphan = bool(flags["orphan"]) and not flags["role"]
    return session.show_answer(session.call(calls.token_create(body, role=flags["role"] or "", orphan=orphan)))


@command("lookup", ACCESSOR, argument("which", "TOKEN", required=False), field=True)
def lookup(session: Session, which: str | None, accessor: bool | None) -> int:
    """Show what is known about TOKEN (default: the current token)."""
    given = _given(session, which, accessor)
    call = calls.token_lookup("" if accessor else given, given if accessor else "")
    return session.show_answer(session.call(call))


@command(
    "renew",
    ACCESSOR,
    value("increment", "How much longer, as 30m; the server may give less.", short="i"),
    switch("fail-if-not-fulfilled", "Fail when the server gives less than -increment."),
    argument("which", "TOKEN", required=False),
    field=True,
)
def renew(session: Session, which: str | None, accessor: bool | None, increment: str | None, **rest: Any) -> int:
    """Give TOKEN (default: the current token) more time."""
    given = _given(session, which, accessor)
    call = calls.token_renew("" if accessor else given, given if accessor else "", increment or "")
    answer = session.call(call)
    code = session.show_answer(answer)
    wanted = parse_seconds(increment, "-increment") if increment else 0
    if rest["fail_if_not_fulfilled"] and ((answer.body or {}).get("auth") or {}).get("lease_duration", 0) < wanted:
        raise Failed("the token was renewed, but for less time than -increment asks for", code=1)
    return code


@command(
    "revoke",
    ACCESSOR,
    switch("self", "Revoke the current token."),
    value("mode", "orphan: leave its children alive; path: revoke every token of this path."),
    argument("which", "TOKEN", required=False),
    form=False,
)
def revoke(session: Session, which: str | None, mode: str | None, accessor: bool | None, **rest: Any) -> int:
    """Revoke TOKEN and its children."""
    itself = bool(rest["self"])
    if itself and (which or accessor or mode):
        raise Misused("-self goes with no token, -accessor or -mode")
    if not itself and not which:
        raise Misused("a token is missing", "give the token, -accessor and an accessor, or -self")
    if mode not in (None, "", "orphan", "path") or (accessor and mode):
        raise Misused("-mode must be orphan or path, and does not go with -accessor")
    given = _given(session, which, accessor)
    if mode == "path":
        call = calls.lease_revoke(sanitise(given), prefix=True)
    elif accessor:
        call = calls.token_revoke(accessor=given)
    else:
        call = calls.token_revoke(given, orphan=mode == "orphan")
    session.call(call)
    terminal.say("Success! Revoked token (if it existed)")
    return 0


@command("capabilities", ACCESSOR, argument("words", "[TOKEN] PATH", count=-1))
def capabilities(session: Session, words: tuple[str, ...], accessor: bool | None) -> int:
    """Show what [TOKEN] (default: the current token) may do at PATH."""
    if len(words) > 2 or (accessor and len(words) != 2):
        raise Misused("give [TOKEN] and one PATH, or -accessor ACCESSOR and one PATH")
    given = words[0] if len(words) == 2 else ""
    call = calls.capabilities(words[-1], "" if accessor else given, given if accessor else "")
    found = session.call(call).data.get("capabilities")
    names = sorted(str(name) for name in found) if isinstance(found, list) else []
    terminal.say(output.render(names, session.form) if session.form in ("json", "yaml") else ", ".join(names))
    return 0


def _given(session: Session, which: str | None, accessor: bool | None) -> str:
    """The token or accessor of the command line; ``-`` is read from standard input."""
    if accessor and not which:
        raise Misused("-accessor needs an accessor")
    return session.stdin.take().strip() if which == "-" else (which or "")
