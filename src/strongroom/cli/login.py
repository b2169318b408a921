"""The command ``login``."""

from collections.abc import Mapping
from typing import Any

from strongroom.cli import login_mfa, output, terminal
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session, sanitise
from strongroom.cli.words import parse_texts
from strongroom.client import calls
from strongroom.client.messages import Answer, Call
from strongroom.client.settings import variable, variable_name

METHODS = ("token", "userpass", "approle", "cert", "kubernetes", "jwt", "oidc")
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # where a pod finds its own token
STORED = """\
Success! You are now authenticated. The token information displayed below
is already stored in the token helper. You do NOT need to run "strongroom login"
again. Future requests will automatically use this token.
"""
NOT_STORED = """\
The token was not stored. Set the VAULT_TOKEN environment variable or pass the
token below with each request.
"""


@command(
    "login",
    value("method", "token (default), userpass, approle, cert, kubernetes, jwt or oidc."),
    value("path", "Where the method is mounted below auth/ (default: its name)."),
    switch("no-store", "Do not keep the token."),
    switch("no-print", "Do not show the token."),
    switch("token-only", "Print only the token, and do not keep it."),
    argument("words", "TOKEN | K=V", count=-1, required=False),
    field=True,
)
def login(session: Session, words: tuple[str, ...], **flags: Any) -> int:
    """Log in with a TOKEN, or with the K=V words of a method, and keep the token for later commands."""
    method = (flags["method"] or "token").strip().lower()
    if method not in METHODS:
        raise Misused(f"unknown login method {method!r}", f"use one of {', '.join(METHODS)}")
    store, show = not flags["no_store"], not flags["no_print"]
    if flags["token_only"]:
        if session.form != "table" or session.field:
            raise Misused("-token-only goes with no -format and no -field")
        session.field, store = "token", False
    path = sanitise(flags["path"] or method).removeprefix("auth/")
    answer = _with_token(session, words) if method == "token" else _by_method(session, method, path, words)
    if (wanted := login_mfa.requirement(answer)) is not None:
        second = login_mfa.second_phase(session, wanted)
        if second is None:
            return login_mfa.show(session, answer, wanted)
        answer = second
    body = answer.body or {}
    if body.get("wrap_info"):
        return session.show_answer(answer)
    auth = body.get("auth")
    if not isinstance(auth, dict) or not auth.get("client_token"):
        raise Failed("the answer holds no token")
    if store:
        session.tokens.put(str(auth["client_token"]))
        if variable(session.environ, "TOKEN"):
            name = variable_name(session.environ, "TOKEN")
            terminal.note(f"WARNING! {name} is set and wins over the token stored now; unset it to use the new one.\n")
    if not show:
        return 0
    if session.field or session.form != "table":
        return session.show_answer(answer)
    if not store:
        terminal.note(NOT_STORED)
    terminal.say(STORED if store else "Success! You are now authenticated.\n")
    return session.show_answer(answer)


def _by_method(session: Session, method: str, path: str, words: tuple[str, ...]) -> Answer:
    fields = parse_texts(words, session.stdin)
    if method in ("jwt", "oidc"):
        from strongroom.cli import login_oidc

        given = method == "jwt" or "jwt" in fields
        return (login_oidc.with_token if given else login_oidc.in_browser)(session, path, fields)
    call = _CALLS[method](session, path, fields)
    session.use_token("")  # whatever token there is says nothing about who logs in
    return session.call(call)


def _userpass(session: Session, path: str, fields: dict[str, str]) -> Call:
    name = fields.pop("username", "") or session.environ.get("LOGNAME") or session.environ.get("USER") or ""
    if not name:
        raise Failed("the username is missing", "give it as username=NAME")
    password = fields.pop("password", "").rstrip("\r\n") or session.ask_secret("Password", "give it as password=-")
    return calls.write(f"auth/{path}/login/{name}", {"password": password, **fields})


def _approle(_session: Session, path: str, fields: dict[str, str]) -> Call:
    if not fields.get("role_id"):
        raise Misused("the role_id is missing", "give it as role_id=ID")
    return calls.write(f"auth/{path}/login", {name: text.strip() for name, text in fields.items()})


def _cert(session: Session, path: str, fields: dict[str, str]) -> Call:
    if not (session.settings.client_cert and session.settings.client_key):
        raise Misused("the client certificate is missing", "give -client-cert=FILE and -client-key=FILE")
    return calls.write(f"auth/{path}/login", fields)


def _kubernetes(_session: Session, path: str, fields: dict[str, str]) -> Call:
    if not fields.get("role"):
        raise Misused("the role is missing", "give it as role=NAME")
    if not fields.get("jwt"):
        try:
            with open(SERVICE_ACCOUNT, encoding="ascii") as kept:
                fields["jwt"] = kept.read()
        except (OSError, UnicodeDecodeError):
            raise Failed("there is no service account's token here", "give it as jwt=@FILE") from None
    return calls.write(f"auth/{path}/login", {**fields, "jwt": fields["jwt"].strip()})


_CALLS = {"userpass": _userpass, "approle": _approle, "cert": _cert, "kubernetes": _kubernetes}


def _with_token(session: Session, words: tuple[str, ...]) -> Answer:
    """Take a token from the command line, standard input or the terminal, and ask the server what it is."""
    if len(words) == 1 and "=" not in words[0]:
        token = session.stdin.take() if words[0] == "-" else words[0]
        look = True
    else:
        fields = parse_texts(words, session.stdin)
        token, look = fields.get("token", ""), fields.get("lookup", "true") not in ("false", "0")
    token = token.strip() or session.ask_secret("Token", "give the token, or - to read it from standard input")
    if not token:
        raise Misused("no token was given")
    session.use_token(token)
    if not look:
        return Answer(200, {"auth": {"client_token": token}})
    answer = session.call(calls.token_lookup())
    if (answer.body or {}).get("wrap_info"):
        return answer
    return Answer(200, auth_from_lookup(token, answer.data))


def auth_from_lookup(token: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """An answer like a login's, from what a look-up says about ``token``."""
    own = found.get("policies") or []
    identity = found.get("identity_policies") or []
    auth = {
        "client_token": token,
        "accessor": found.get("accessor") or "",
        "policies": sorted({*own, *identity}),
        "token_policies": own,
        "identity_policies": identity or None,
        "metadata": found.get("meta"),
        "lease_duration": found.get("ttl") or 0,
        "renewable": bool(found.get("renewable")),
        "entity_id": found.get("entity_id") or "",
        "token_type": found.get("type") or "",
        "orphan": bool(found.get("orphan")),
        "mfa_requirement": None,
        "num_uses": found.get("num_uses") or 0,
    }
    return output.envelope({"request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "auth": auth})
