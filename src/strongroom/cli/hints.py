"""An error in this program's words, and the hint that goes below it."""

from strongroom.cli.argv import UnknownFlag
from strongroom.client.messages import Refused, Unreachable
from strongroom.errors import BadRequest, VaultError


class Misused(BadRequest):
    """The command was used wrongly; ``hint`` says what would be right. Exit code 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Failed(VaultError):
    """The command ran and the outcome is a no; ``code`` is the exit code."""

    def __init__(self, message: str, hint: str = "", *, code: int = 2) -> None:
        super().__init__(message)
        self.hint, self.code = hint, code


class NothingThere(Failed):
    """The server has nothing at a path."""


_VERBS = {"GET": "read", "PUT": "write to", "POST": "write to", "PATCH": "patch", "DELETE": "delete", "LIST": "list"}

_MOUNT_OF = "sys/internal/ui/mounts/"  # what the KV commands ask first; people do not know that they do

_UNREACHABLE = {
    "refused": "start a server, or set VAULT_ADDR to where one listens",
    "timeout": "check VAULT_ADDR, or give it longer with VAULT_CLIENT_TIMEOUT",
    "broken": "check VAULT_ADDR: does the server speak http:// or https:// there?",
    "tls": "name the server's authority in VAULT_CACERT, or its name in VAULT_TLS_SERVER_NAME",
    "plain": "set VAULT_ADDR to an http:// address",
}


def small(text: str) -> str:
    """A sentence as this program's errors have them: no capital at the start, no full stop."""
    return text[:1].lower() + text[1:].rstrip(".")


def words_for(error: VaultError) -> str:
    """What went wrong, in one line or a few."""
    if not isinstance(error, Refused):
        return str(error) or "something went wrong"
    call = error.call
    verb = "list" if call.query.get("list") else _VERBS.get(call.method, call.method)
    start = f"cannot {verb} {call.path}: the server answered {error.code}"
    if call.path.startswith(_MOUNT_OF):
        start = f"cannot find the mount of {call.path.removeprefix(_MOUNT_OF)}: the server answered {error.code}"
    lines = list(error.messages)
    if len(lines) == 1:
        return f"{start}: {lines[0]}"
    return "\n".join([start + (":" if lines else ""), *(f"  * {line}" for line in lines)])


def hint_for(error: VaultError) -> str:
    """What the person may do about it, or the empty string."""
    if hint := getattr(error, "hint", ""):
        return str(hint)
    if isinstance(error, UnknownFlag):
        near = f"did you mean -{error.near}? " if error.near else ""
        return near + "values that begin with a dash go behind --"
    if isinstance(error, Unreachable):
        return _UNREACHABLE.get(error.kind, "")
    if isinstance(error, Refused):
        return _refusal_hint(error)
    return ""


def _refusal_hint(error: Refused) -> str:
    text = " ".join(error.messages)
    path = error.call.path.removeprefix(_MOUNT_OF)
    if error.code == 503 and "sealed" in text:
        return "open it with: strongroom operator unseal"
    if path.startswith(("sys/generate-root", "sys/rekey")) and error.code in (400, 403, 404):
        if error.code == 403:
            return (
                "this needs a token with sudo; when the root token is lost, restart the server with "
                "unauthenticated_operator_endpoints = true and try again"
            )
        return ""
    if error.code == 403 and error.without_token:
        return "there is no token: log in with strongroom login, or set VAULT_TOKEN"
    if error.code == 403:
        if path.startswith("auth/token/") and path.endswith("-self"):
            return "the token is missing, unknown or expired; log in again with: strongroom login"
        hint = f"log in with: strongroom login, or see what the token may do: strongroom token capabilities {path}"
        denial = error.answer.headers.get("x-strongroom-denial", "")
        return hint + (f"\nan operator can tell why: strongroom policy explain {denial}" if denial else "")
    if error.code == 404 and "no handler for route" in text:
        return "strongroom secrets list shows the mounts"
    if error.code == 404 and any("versioned" in warning for warning in error.warnings):
        return "this is a version 2 KV mount: use strongroom kv"
    return ""
