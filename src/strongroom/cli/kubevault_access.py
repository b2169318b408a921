"""The commands ``kubevault can-read``, ``who-can-read`` and ``explain``: who may read what, without a cluster."""

import os
import sys
from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.argv import BadFlag, did_you_mean
from strongroom.cli.command import argument, command, switch
from strongroom.cli.hints import Failed
from strongroom.cli.kubevault_vault import folder_of, namespace_of, naming_flags, source_of, vault_flags
from strongroom.cli.session import Session
from strongroom.kubevault.tree import SecretFile, Tree, User, names_of

_FLAGS = [*vault_flags(), *(flag for flag in naming_flags() if flag.name != "b64_suffix")]
_ALLOWED, _OTHER = "\u25cf", "\u25cb"


def _tree(flags: dict[str, Any]) -> Tree:
    source = source_of(flags["vault_dir"], flags["rev"])
    return names_of(source, namespace_of(flags["namespace"]), by_folder=bool(flags["namespace_by_folder"]))


def _user(tree: Tree, name: str, vault_dir: str) -> User:
    user = tree.user(name)
    if user is None:
        near = did_you_mean(name, [user.name for user in tree.users])
        place = os.path.join(vault_dir, "access_control", name)
        raise Failed(f"user {quoted(name)} does not exist (file {quoted(place)} not found)", near, code=1)
    return user


def _secret(tree: Tree, name: str) -> SecretFile:
    secret = tree.secret(name)
    if secret is None:
        near = did_you_mean(name, [secret.path for secret in tree.secrets])
        raise Failed(f"there is no secret {quoted(name)}", near, code=1)
    return secret


@command(
    "can-read",
    argument("user"),
    *_FLAGS,
    switch("show-only-allowed", "Leave out what the user may not read."),
    http=False,
)
def can_read(session: Session, user: str, show_only_allowed: bool | None, **flags: Any) -> int:
    """List the secrets, marked by whether USER may read them."""
    if not user:
        raise BadFlag("USER is empty")
    source_tree = _tree(flags)
    person = _user(source_tree, user, folder_of(flags["vault_dir"]))
    allowed = set(source_tree.index.allowed(person.rules))
    if session.form in ("json", "yaml"):
        rows = [
            {"allowed": at in allowed, "name": secret.name, "namespace": secret.namespace, "path": secret.path}
            for at, secret in enumerate(source_tree.secrets)
            if at in allowed or not show_only_allowed
        ]
        terminal.say(output.render({"secrets": rows, "user": person.name}, session.form))
        return 0
    lines = [f"List of secrets accessible by user '{person.name}':"]
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for at, secret in enumerate(source_tree.secrets):
        if at in allowed:
            lines.append(_line(_ALLOWED, secret, "\x1b[37m" if colours else ""))
        elif not show_only_allowed:
            lines.append(_line(_OTHER, secret, "\x1b[9;90m" if colours else ""))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _line(mark: str, secret: SecretFile, colour: str) -> str:
    text = f"{mark} {secret.name} ({quoted(secret.path)})"
    return f"{colour}{text}\x1b[0m" if colour else text


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def quoted(text: str) -> str:
    """``text`` in double quotes with what does not print written out, as the original's lines have it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text) + '"'


@command("who-can-read", argument("secret"), *_FLAGS, http=False)
def who_can_read(session: Session, secret: str, **flags: Any) -> int:
    """List the users who may read SECRET, given as its path or its name."""
    tree = _tree(flags)
    wanted = _secret(tree, secret)
    names = [user.name for user in tree.users if _may(tree, user, wanted)]
    if session.form in ("json", "yaml"):
        terminal.say(output.render({"path": wanted.path, "name": wanted.name, "users": names}, session.form))
        return 0
    for name in names:
        terminal.say(name)
    if not names:
        terminal.note(f"Nobody may read {wanted.path}.")
    return 0


def _may(tree: Tree, user: User, secret: SecretFile) -> bool:
    rule = tree.index.deciding(user.rules, secret.path)
    return rule is not None and not rule.denies


@command("explain", argument("user"), argument("secret"), *_FLAGS, http=False)
def explain(session: Session, user: str, secret: str, **flags: Any) -> int:
    """Say whether USER may read SECRET, and which rule decides it."""
    tree = _tree(flags)
    person = _user(tree, user, folder_of(flags["vault_dir"]))
    wanted = _secret(tree, secret)
    rule = tree.index.deciding(person.rules, wanted.path)
    allowed = rule is not None and not rule.denies
    if session.form in ("json", "yaml"):
        decided = {"line": rule.line, "rule": rule.text, "file": person.where} if rule else None
        shown = {
            "user": person.name,
            "path": wanted.path,
            "name": wanted.name,
            "allowed": allowed,
            "decided_by": decided,
        }
        terminal.say(output.render(shown, session.form))
        return 0
    verdict = "may read" if allowed else "may not read"
    terminal.say(f"{person.name} {verdict} {wanted.path} ({wanted.name})")
    if rule is None:
        terminal.say("no rule matches it")
    else:
        terminal.say(f"decided by {person.where}:{rule.line}: {rule.text}")
    return 0
