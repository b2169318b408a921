"""From a vault folder to a server: what differs is found first, then written.

Rights that are lost go first, then secrets, then rights that are gained: at no moment can a user read a new value that
the vault does not give to it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from strongroom.client.messages import Call, Refused
from strongroom.errors import BadRequest
from strongroom.kubevault import bridge
from strongroom.kubevault.bridge import BridgeFailed, Place, Server, UserPolicy
from strongroom.kubevault.found import Problem
from strongroom.kubevault.manifests import base64
from strongroom.kubevault.settings import OPAQUE, Settings
from strongroom.kubevault.tree import Content, Invalid, Step, Tree
from strongroom.policy.acl_parse import MAX_NAME


class Wish(NamedTuple):
    """What is to be at ``path``."""

    path: str
    where: str
    data: dict[str, str]
    custom: dict[str, str]


class Change(NamedTuple):
    """One thing to be done. ``sign``: ``+``, ``~`` or ``-``; ``what``: ``secret``, ``marks`` or ``policy``."""

    sign: str
    what: str
    path: str
    calls: tuple[Call, ...]


class Plan(NamedTuple):
    """What is to be done, in order."""

    narrowed: list[Change]  # policies that lose something, as they are until the secrets are written
    secrets: list[Change]
    policies: list[Change]

    def shown(self) -> list[Change]:
        """Each change once."""
        return [*self.secrets, *self.policies, *(change for change in self.narrowed if change.sign == "-")]

    def ordered(self) -> list[Change]:
        return [*self.narrowed, *self.secrets, *self.policies]


def wishes(tree: Tree, contents: list[Content], place: Place) -> tuple[list[Wish], list[UserPolicy]]:
    """What the vault wants on the server.

    Raises:
        Invalid: paths, settings or users that the server or its policies cannot hold as they are.
    """
    problems: list[Problem] = []
    secrets = []
    for secret, content in zip(tree.secrets, contents, strict=True):
        if wrong := bridge.unfit(place.data(secret.path)):
            problems.append(Problem(secret.where, 0, f"cannot be pushed: its path {wrong}", "path"))
            continue
        binary = [key for key, value in content.entries.items() if isinstance(value, bytes)]
        data = {key: base64(value) if isinstance(value, bytes) else value for key, value in content.entries.items()}
        try:
            custom = bridge.marks(place, binary, settings_json(content.settings))
        except BadRequest as error:
            problems.append(Problem(secret.where, 0, f"cannot be pushed: {error}", "metadata"))
            continue
        secrets.append(Wish(secret.path, secret.where, data, custom))
    policies = []
    for user in tree.users:
        paths = [secret.path for secret in tree.allowed(user)]
        policy = UserPolicy(user.name, user.path, [rule.text for rule in user.rules], paths)
        if not problems and len(policy.text(place)) > bridge.MAX_POLICY:
            text = f"cannot be pushed: its policy would be larger than {bridge.MAX_POLICY} characters"
            problems.append(Problem(user.where, 0, text, "policy"))
        if len(place.policy(user.name)) > MAX_NAME:
            problems.append(Problem(user.where, 0, "cannot be pushed: its policy's name would be too long", "policy"))
        policies.append(policy)
    if problems:
        raise Invalid(problems)
    return secrets, policies


def settings_json(settings: Settings) -> dict[str, Any]:
    """The settings that are not the default. ``b64`` is left out: the values it is about have become bytes."""
    made: dict[str, Any] = {}
    if settings.type != OPAQUE:
        made["type"] = settings.type
    for name in ("labels", "annotations"):
        if getattr(settings, name):
            made[name] = dict(getattr(settings, name))
    if settings.immutable is not None:
        made["immutable"] = settings.immutable
    return made


def plan(
    server: Server,
    place: Place,
    secrets: list[Wish],
    policies: list[UserPolicy],
    *,
    prune: bool = False,
    adopt: bool = False,
    step: Step = lambda done, total: None,
) -> Plan:
    """Compare with the server, and write nothing.

    Args:
        prune: also remove what an earlier push to this place left and the vault does not have any more.
        adopt: take over secrets and policies of others that are in the way.

    Raises:
        BridgeFailed: something of others is in the way.
        Refused: the server said no.
    """
    changes: list[Change] = []
    foreign: list[str] = []
    for number, wish in enumerate(secrets):
        step(number, len(secrets))
        change, theirs = _secret_change(server, place, wish)
        if theirs and not adopt:
            foreign.append(place.data(wish.path))
        elif change is not None:
            changes.append(change)
    narrowed, wanted, more = _policy_changes(server, place, policies, adopt)
    foreign += more
    if foreign:
        shown = "\n".join(f"  * {name}" for name in foreign[:20])
        rest = f"\n  and {len(foreign) - 20} more" if len(foreign) > 20 else ""
        raise BridgeFailed(
            f"on the server, and not from a push to this place:\n{shown}{rest}",
            "choose another --prefix or --policy-prefix, or replace them with --adopt",
        )
    if prune:
        names = {wish.path for wish in secrets}
        changes += _pruned_secrets(server, place, names)
        narrowed += _pruned_policies(server, place, {place.policy(policy.user) for policy in policies})
    return Plan(narrowed, changes, wanted)


def _secret_change(server: Server, place: Place, wish: Wish) -> tuple[Change | None, bool]:
    """What has to be done for one secret, and whether somebody else's differing secret is there."""
    answer = server.read(Call("GET", place.data(wish.path)))
    held = answer.data if answer else {}
    metadata: dict[str, Any] = held.get("metadata") or {}
    version, custom = metadata.get("version") or 0, metadata.get("custom_metadata") or {}
    calls: list[Call] = []
    same = held.get("data") == wish.data
    if not same:
        body = {"data": wish.data, "options": {"cas": version}}
        calls.append(Call("POST", place.data(wish.path), body))
    stale = {name: None for name in custom if bridge.is_mark(name) and name not in wish.custom}
    marked = {name: text for name, text in wish.custom.items() if custom.get(name) != text}
    if stale or marked:
        kept = sum(not bridge.is_mark(name) for name in custom)
        if kept + len(wish.custom) > bridge.MAX_CUSTOM:
            raise BridgeFailed(f"{place.data(wish.path)}: custom_metadata of others leaves no room for its settings")
        # A merge patch: what others keep in custom_metadata stays.
        calls.append(Call("PATCH", place.metadata(wish.path), {"custom_metadata": {**stale, **marked}}))
    theirs = not same and held.get("data") is not None and not bridge.is_marked(custom, place)
    if not calls:
        return None, False
    sign = "~" if version else "+"
    return Change(sign, "marks" if same else "secret", place.data(wish.path), tuple(calls)), theirs


def _policy_changes(
    server: Server, place: Place, policies: list[UserPolicy], adopt: bool
) -> tuple[list[Change], list[Change], list[str]]:
    narrowed: list[Change] = []
    wanted: list[Change] = []
    foreign: list[str] = []
    for policy in policies:
        name, text = place.policy(policy.user), policy.text(place)
        held = bridge.read_policy(server, name)
        if held is not None and held.strip() == text.strip():
            continue
        sign = "+" if held is None else "~"
        if held is not None:
            head = bridge.head_of(held)
            if not adopt and (head is None or not head.is_of(place)):
                foreign.append(f"sys/policies/acl/{name}")
                continue
            before = bridge.readable(held, place, policy.paths)
            kept = [path for path in policy.paths if before is not None and path in before]
            narrow = policy._replace(paths=kept).text(place)
            if narrow != text:
                narrowed.append(Change(sign, "policy", name, (_write(name, narrow),)))
            else:  # nothing is gained: the policy as it will be goes first
                narrowed.append(Change(sign, "policy", name, (_write(name, text),)))
                wanted.append(Change(sign, "policy", name, ()))
                continue
        wanted.append(Change(sign, "policy", name, (_write(name, text),)))
    return narrowed, wanted, foreign


def _write(name: str, text: str) -> Call:
    return Call("PUT", f"sys/policies/acl/{name}", {"policy": text})


def _pruned_secrets(server: Server, place: Place, names: set[str]) -> Iterator[Change]:
    """Soft deletion of the latest version, which ``strongroom kv undelete`` takes back."""
    for path in sorted(_below(server, place, "")):
        if path in names:
            continue
        answer = server.read(Call("GET", place.data(path)))
        held = answer.data if answer else {}
        metadata: dict[str, Any] = held.get("metadata") or {}
        if held.get("data") is not None and bridge.is_marked(metadata.get("custom_metadata") or {}, place):
            yield Change("-", "secret", place.data(path), (Call("DELETE", place.data(path)),))


def _below(server: Server, place: Place, folder: str) -> Iterator[str]:
    for name in bridge.list_folder(server, place.metadata(folder)):
        if not isinstance(name, str) or bridge.unfit(folder + name.rstrip("/")):
            continue  # nothing that a push put there
        if name.endswith("/"):
            yield from _below(server, place, folder + name)
        else:
            yield folder + name


def _pruned_policies(server: Server, place: Place, names: set[str]) -> Iterator[Change]:
    for name in bridge.policy_names(server, place):
        if name in names:
            continue
        head = bridge.head_of(bridge.read_policy(server, name) or "")
        if head is not None and head.is_of(place) and place.policy(head.user) == name:
            yield Change("-", "policy", name, (Call("DELETE", f"sys/policies/acl/{name}"),))


def carry_out(server: Server, todo: Plan, step: Step = lambda done, total: None) -> None:
    """Do it. Nothing is taken back when the server says no: the next push goes on.

    Raises:
        BridgeFailed: a secret was changed by somebody else since the plan was made; it was not overwritten.
        Refused: the server said no.
    """
    changes = todo.ordered()
    for number, change in enumerate(changes):
        step(number, len(changes))
        for call in change.calls:
            try:
                server.call(call)
            except Refused as refusal:
                if refusal.code == 400 and "check-and-set" in " ".join(refusal.messages):
                    raise BridgeFailed(
                        f"{change.path} was changed by somebody else meanwhile; it was not overwritten",
                        "look at what was changed, then push again: what is done already is not done twice",
                    ) from None
                raise
