"""What ``push`` and ``pull`` agree on: where a vault lies on a server, its marks there, and its users' policies.

A file becomes a secret of a KV version 2 mount at prefix + path. Its ``custom_metadata`` says that kubevault put it
there (``kubevault``: ``1``, and ``kubevault-prefix``), which of its values are base64 of bytes (``kubevault-binary``: a
JSON list of keys) and its ``_kubevault`` settings (``kubevault-settings``: JSON). What is longer than 512 bytes goes on
in ``kubevault-settings-2`` and so on.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from strongroom.client.messages import Answer, Call
from strongroom.errors import BadRequest, Hinted
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_stored
from strongroom.sdk.paths import canonical_text

MARK, PREFIX, BINARY, SETTINGS = "kubevault", "kubevault-prefix", "kubevault-binary", "kubevault-settings"
PIECE = 512  # bytes of one value of custom_metadata
MAX_CUSTOM = 64  # its entries
MAX_POLICY = 1 << 20  # characters
_HEAD, _RULE = "# kubevault ", "# rule "


class Server(Protocol):
    """What is asked: ``call`` raises ``Refused``; ``read`` gives None for a 404 that says nothing."""

    def call(self, call: Call) -> Answer: ...

    def read(self, call: Call) -> Answer | None: ...


class BridgeFailed(Hinted):
    """It could not be done; ``hint`` says what may help."""


class Place(NamedTuple):
    """Where on the server. ``prefix`` is empty or ends with a slash."""

    mount: str
    prefix: str
    policy_prefix: str

    def data(self, path: str) -> str:
        return f"{self.mount}/data/{self.prefix}{path}"

    def metadata(self, path: str) -> str:
        return f"{self.mount}/metadata/{self.prefix}{path}"

    def policy(self, user: str) -> str:
        return f"{self.policy_prefix}{user}"


def place_of(mount: str, prefix: str, policy_prefix: str) -> Place:
    """The place that the flags name.

    Raises:
        BadRequest: a path that a policy would read as a pattern, or no prefix for policies.
    """
    mount, prefix = mount.strip("/"), prefix.strip("/")
    if not mount:
        raise BadRequest("the mount's path is empty")
    for what, path in (("mount", mount), ("prefix", prefix)):
        if path and (wrong := unfit(path)):
            raise BadRequest(f"--{what} {wrong}")
    if len(prefix.encode()) > PIECE - 1:
        raise BadRequest(f"--prefix may have {PIECE - 1} bytes")
    if not re.fullmatch(r"[a-z0-9_.:@=~-]+", policy_prefix) or len(policy_prefix) > 64:
        # Without one, a user "admin" would replace the server's policy of that name.
        raise BadRequest("--policy-prefix needs 1 to 64 small letters, digits and _-.:@=~")
    return Place(mount, f"{prefix}/" if prefix else "", policy_prefix)


def unfit(path: str) -> str:
    """Why ``path`` cannot be a path on the server and in a policy that means exactly this path; else empty.

    In a policy ``+`` for a whole part and ``*`` at the end match other paths, ``{{ }}`` is a template and ``${ }``
    belongs to HCL. Servers refuse control characters, backslashes and other spellings of one path.
    """
    try:
        canonical_text(path)
    except BadRequest as error:
        return str(error)
    if "*" in path or "+" in path.split("/"):
        return "holds '*', or a part that is '+': a policy would read it as a pattern"
    if "{{" in path or "}}" in path or "${" in path:
        return "holds '{{', '}}' or '${': a policy would read it as a template"
    return "" if path.isprintable() else "holds a character that does not print"


def marks(place: Place, binary: Sequence[str], settings: Mapping[str, Any]) -> dict[str, str]:
    """The ``custom_metadata`` of a secret. Raises ``BadRequest`` when it takes more than a server keeps."""
    made = {MARK: "1"}
    if place.prefix:
        made[PREFIX] = place.prefix
    if binary:
        made |= _pieces(BINARY, list(binary))
    if settings:
        made |= _pieces(SETTINGS, settings)
    if len(made) > MAX_CUSTOM:
        most = (MAX_CUSTOM - 2) * PIECE
        raise BadRequest(
            f"its settings and the names of its binary keys take more than the {most} bytes of custom_metadata"
        )
    return made


def _pieces(name: str, value: Any) -> dict[str, str]:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))  # ASCII, so that bytes are characters
    parts = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    return {(name if number == 1 else f"{name}-{number}"): part for number, part in enumerate(parts, 1)}


def is_mark(name: str) -> bool:
    """Whether an entry of ``custom_metadata`` is one of ours; others are left alone."""
    return name in (MARK, PREFIX) or bool(re.fullmatch(rf"({BINARY}|{SETTINGS})(-\d+)?", name))


def is_marked(custom: Mapping[str, Any], place: Place) -> bool:
    """Whether a push to this very place put the secret there."""
    return custom.get(MARK) == "1" and custom.get(PREFIX, "") == place.prefix


def marked(custom: Mapping[str, Any], name: str) -> Any:
    """The JSON in the pieces of ``name``, or None when there is none. Raises ``BadRequest`` when it is no JSON."""
    parts = [custom.get(name)]
    if parts[0] is None:
        return None
    while (part := custom.get(f"{name}-{len(parts) + 1}")) is not None:
        parts.append(part)
    try:
        return json.loads("".join(map(str, parts)))
    except (ValueError, RecursionError):
        raise BadRequest(f"the custom_metadata {name} is no JSON") from None


class UserPolicy(NamedTuple):
    """A policy of a user as ``push`` writes it. ``file``: below access_control; ``paths``: below the prefix."""

    user: str
    file: str
    rules: Sequence[str]
    paths: Sequence[str]

    def text(self, place: Place) -> str:
        """The policy in HCL: read of exactly ``paths``, with the rules in its head."""
        head = {"file": self.file, "mount": place.mount, "prefix": place.prefix, "user": self.user}
        lines = [
            f"{_HEAD}{json.dumps(head, sort_keys=True)}",
            "# Made by kubevault push, which replaces it. The user's rules:",
            *(f"{_RULE}{json.dumps(rule)}" for rule in self.rules),
            *(f'path {hcl(place.data(path))} {{ capabilities = ["read"] }}' for path in self.paths),
        ]
        return "\n".join(lines) + "\n"


def hcl(path: str) -> str:
    """``path`` as a string of HCL; it has passed ``unfit``, so only quotes need care."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Head(NamedTuple):
    """What the head of a policy tells: whose, of which place, from which file and rules."""

    user: str
    mount: str
    prefix: str
    file: str
    rules: list[str]

    def is_of(self, place: Place) -> bool:
        return (self.mount, self.prefix) == (place.mount, place.prefix)


def head_of(text: str) -> Head | None:
    """The head of a policy that ``push`` wrote; None for other policies."""
    first, *others = text.split("\n")
    if not first.startswith(_HEAD):
        return None
    try:
        head = json.loads(first.removeprefix(_HEAD))
        rules = [json.loads(line.removeprefix(_RULE)) for line in others if line.startswith(_RULE)]
        found = Head(head["user"], head["mount"], head["prefix"], head["file"], rules)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if all(isinstance(item, str) for item in (*found[:4], *rules)) else None


def readable(text: str, place: Place, paths: Iterable[str]) -> set[str] | None:
    """Which of ``paths`` a policy lets read; None when it cannot be told (templates, what is not understood)."""
    policy = parse_stored("policy", text)
    if policy.broken or policy.templated:
        return None
    acl = Acl([policy])
    return {path for path in paths if "read" in acl.capabilities(place.data(path))}


def read_policy(server: Server, name: str) -> str | None:
    """The text of the server's policy ``name``, None when there is none."""
    answer = server.read(Call("GET", f"sys/policies/acl/{name}"))
    text = None if answer is None else answer.data.get("policy")
    return text if isinstance(text, str) else None


def policy_names(server: Server, place: Place) -> list[str]:
    """The names of the server's policies that begin with the prefix."""
    answer = server.read(Call("GET", "sys/policies/acl", query={"list": "true"}))
    keys = answer.data.get("keys") if answer else None
    names = [name for name in (keys if isinstance(keys, list) else []) if isinstance(name, str)]
    return sorted(name for name in names if name.startswith(place.policy_prefix))


def list_folder(server: Server, path: str) -> list[Any]:
    """The names in a folder of the mount; those of folders end with a slash."""
    answer = server.read(Call("GET", path, query={"list": "true"}))
    keys = answer.data.get("keys") if answer else None
    return keys if isinstance(keys, list) else []
