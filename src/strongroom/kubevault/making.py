"""From a vault to the groups of objects that were asked for: every check first, then one group after the other."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import NamedTuple

from strongroom.errors import BadRequest
from strongroom.kubevault import manifests
from strongroom.kubevault.found import Problem
from strongroom.kubevault.manifests import Group, Object, Options
from strongroom.kubevault.names import BadName, check_namespace
from strongroom.kubevault.sealed import SCOPES
from strongroom.kubevault.tree import Content, Decrypt, SecretFile, Source, Step, Tree, examine, load

NAMESPACE = "vault-kvstore"
KINDS = ("secret", "external-secret", "push-secret", "sealed-secret")
FORMATS = ("data", "stringData")
TOKENS = ("secret", "none")
STORE_KINDS = ("ClusterSecretStore", "SecretStore")


_ALLOWED = {
    "kind": KINDS,
    "format": FORMATS,
    "tokens": TOKENS,
    "store_kind": STORE_KINDS,
    "sealed_scope": SCOPES,
}


class Wanted(NamedTuple):
    """What is to be made of a vault."""

    namespace: str = NAMESPACE
    format: str = FORMATS[0]
    tokens: str = TOKENS[0]
    by_folder: bool = False
    b64: bool = False
    kind: str = KINDS[0]
    store: str = ""
    store_kind: str = STORE_KINDS[0]
    sealed_cert: str = ""
    sealed_scope: str = SCOPES[0]

    @property
    def options(self) -> Options:
        # What is sealed is read from data.
        string_data = self.format == "stringData" and self.kind != "sealed-secret"
        return Options(self.namespace, string_data, self.tokens == "secret")


class Made(NamedTuple):
    """``groups`` makes the objects when they are taken; the vault itself has passed every check."""

    tree: Tree
    contents: list[Content]
    warnings: list[Problem]
    groups: Iterator[Group]

    def objects(self) -> Iterator[Object]:
        return (thing for group in self.groups for thing in group.objects)


def check(wanted: Wanted) -> None:
    """Raises ``BadRequest`` for settings that do not exist or contradict each other."""
    for name, allowed in _ALLOWED.items():
        if getattr(wanted, name) not in allowed:
            raise BadRequest(f"{name} must be {' or '.join(allowed)}, not {getattr(wanted, name)!r}")
    try:
        check_namespace(wanted.namespace)
    except BadName as error:
        raise BadRequest(str(error)) from None
    if wanted.kind in ("external-secret", "push-secret") and not wanted.store:
        raise BadRequest(f"--kind {wanted.kind} needs --store, the name of the store it refers to")
    if wanted.kind == "sealed-secret" and not wanted.sealed_cert:
        raise BadRequest("--kind sealed-secret needs --sealed-cert, the file with the controller's certificate")


def make(
    source: Source,
    wanted: Wanted,
    decrypt: Decrypt,
    *,
    now: datetime,
    step: Step = lambda done, total: None,
) -> Made:
    """Read and check the vault, and prepare its objects.

    Raises:
        BadRequest: the settings, or a room that is missing.
        Invalid: the vault cannot be used; nothing was made.
    """
    check(wanted)
    tree, problems = examine(source, wanted.namespace, by_folder=wanted.by_folder)
    contents, warnings = load(tree, decrypt, b64=wanted.b64, before=problems, step=step)
    return Made(tree, contents, warnings, _groups(tree, contents, wanted, now))


def _groups(tree: Tree, contents: list[Content], wanted: Wanted, now: datetime) -> Iterator[Group]:
    options = wanted.options
    if wanted.kind in ("external-secret", "push-secret"):
        return _others(tree, contents, wanted)
    secrets = manifests.secrets(tree, contents, options)
    if wanted.kind == "sealed-secret":
        secrets = map(_sealer(wanted, now), secrets)
    return _chain(secrets, manifests.access(tree, options))


def _chain(*parts: Iterator[Group]) -> Iterator[Group]:
    for part in parts:
        yield from part


def _others(tree: Tree, contents: list[Content], wanted: Wanted) -> Iterator[Group]:
    from strongroom.kubevault import kinds

    one: Callable[[SecretFile, Content, str, str], Object]
    one = kinds.external_secret if wanted.kind == "external-secret" else kinds.push_secret
    for secret, content in manifests.by_name(tree, contents):
        yield Group(f"{wanted.kind}-{secret.name}", [one(secret, content, wanted.store, wanted.store_kind)])


def _sealer(wanted: Wanted, now: datetime) -> Callable[[Group], Group]:
    from strongroom.kubevault import sealed

    try:
        with open(wanted.sealed_cert, "rb") as file:
            certificate = sealed.load_certificate(file.read(), now)
    except OSError as error:
        raise BadRequest(f"cannot read {wanted.sealed_cert}: {error.strerror}") from error
    # A key that is too short must show before anything is made.
    sealed.seal(b"", certificate=certificate, namespace="", name="")
    seal = partial(sealed.sealed_secret, certificate=certificate, scope=wanted.sealed_scope)
    return lambda group: Group(f"sealed-{group.stem}", [seal(thing) for thing in group.objects])
