"""The command ``kubevault external-secret-store``."""

import os
import sys
from typing import TYPE_CHECKING, Any

from strongroom.cli import terminal
from strongroom.cli.argv import BadFlag
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Failed
from strongroom.cli.kubevault_vault import DEFAULT_DIR, choice, namespace_of, source_of, vault_flags
from strongroom.cli.session import Session
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.kubevault.kubeconfig import Server
    from strongroom.kubevault.manifests import Object
    from strongroom.kubevault.stores import Store


@command(
    "external-secret-store",
    argument("user"),
    *vault_flags(),
    value("namespace", "Namespace of the vault (KUBEVAULT_NAMESPACE).", short="n"),
    value("kubeconfig", "The kubeconfig of the vault's cluster (KUBECONFIG)."),
    value("context", "Its context; the current one when not given."),
    value("vault-url", "Address of the vault's API server as the other cluster reaches it."),
    value("name", "Name of the store and its Secret; the host of the address when not given."),
    value("secret-namespace", "Namespace, in the other cluster, of the Secret with token and CA."),
    switch("clustered", "Make a ClusterSecretStore (the default); --no-clustered makes a SecretStore."),
    value("api-version", "v1 (the default), or v1beta1 for External Secrets before 0.16."),
    switch("with-token", "Fetch the user's token with kubectl and print it, in clear, as a Secret for the store."),
    form=False,
    http=False,
)
def external_secret_store(session: Session, user: str, vault_dir: str | None, rev: str | None, **flags: Any) -> int:
    """Print the store by which External Secrets in another cluster reads as USER."""
    from strongroom.kubevault.yaml_text import document

    name = _checked(user, vault_dir, rev, flags["namespace"])
    store, server = _store(flags)
    objects = [_secret(store, name, server, flags)] if flags["with_token"] else []
    if not objects:
        _how(store, name)
    sys.stdout.write("".join(f"---\n{document(thing)}" for thing in [*objects, _object(store)]))
    return 0


def _object(store: "Store") -> "Object":
    from strongroom.kubevault.stores import store_object

    return store_object(store)


def _checked(name: str, vault_dir: str | None, rev: str | None, namespace: str | None) -> str:
    """The user's own name; the vault says that there is such a user, and what it may read."""
    from strongroom.kubevault.names import BadName, check_user
    from strongroom.kubevault.tree import names_of

    named = vault_dir is not None or rev is not None or os.environ.get("KUBEVAULT_DIR") is not None
    if not named and not os.path.lexists(DEFAULT_DIR):
        try:
            check_user(name)
        except BadName as error:
            raise BadFlag(str(error)) from None
        terminal.warning(
            f"there is no vault folder {DEFAULT_DIR} here, so whether {name} is a user could not be checked"
        )
        return name
    tree = names_of(source_of(vault_dir, rev), namespace_of(namespace))
    person = tree.user(name)
    if person is None:
        from strongroom.cli.argv import did_you_mean

        near = did_you_mean(name, [one.name for one in tree.users])
        raise Failed(f"user {name!r} does not exist", near, code=1)
    if not tree.index.allowed(person.rules):
        terminal.warning(f"{person.name} may read nothing, so nothing can be read through this store")
    return person.name


def _store(flags: dict[str, Any]) -> tuple["Store", "Server"]:
    from strongroom.kubevault import stores
    from strongroom.kubevault.kubeconfig import Server, find_server
    from strongroom.kubevault.names import BadName, check_namespace

    place = flags["secret_namespace"]
    if place is None:
        place = stores.SECRET_NAMESPACE
    try:
        check_namespace(place)
    except BadName as error:
        raise BadFlag(str(error)) from None
    for flag in ("vault_url", "name", "kubeconfig", "context"):
        if flags[flag] == "":
            raise BadFlag(f"--{flag.replace('_', '-')} is empty")
    if flags["vault_url"]:
        server = Server(flags["vault_url"])
    else:
        server = find_server(flags["kubeconfig"] or "", flags["context"] or "", os.environ)
    try:
        host = stores.check_url(server.url)
        name = stores.store_name(flags["name"] or "", host)
    except BadRequest as error:
        if server.source and not flags["name"]:  # what the kubeconfig says is no fault of the command line
            raise
        raise BadFlag(str(error)) from None
    made = stores.Store(
        name=name,
        url=server.url,
        namespace=namespace_of(flags["namespace"]),
        secret_namespace=place,
        clustered=flags["clustered"] is not False,
        api_version=choice("api-version", flags["api_version"], stores.API_VERSIONS),
    )
    _doubts(made, server, host)
    return made, server


def _doubts(store: "Store", server: "Server", host: str) -> None:
    if store.url.startswith("http:"):
        terminal.warning(f"{store.url} is without TLS: the token and every secret would be readable on the way")
    if server.insecure:
        terminal.warning(
            f"{server.source} does not verify the server's certificate; External Secrets will, with the token's CA"
        )
    if host in ("localhost", "::1") or host.startswith("127."):
        text = f"{host} is this machine only; --vault-url gives the address as the other cluster reaches it"
        terminal.warning(text)
    if store.api_version == "v1beta1":
        terminal.warning("External Secrets does not serve v1beta1 any more since 0.17")


def _secret(store: "Store", user: str, server: "Server", flags: dict[str, Any]) -> "Object":
    from strongroom.kubevault.kubectl import Cluster, KubectlFailed
    from strongroom.kubevault.names import token_name
    from strongroom.kubevault.stores import ca_differs, token_secret

    cluster = Cluster(flags["kubeconfig"] or "", flags["context"] or "")
    try:
        found = cluster.get("secret", store.namespace, token_name(user))
    except KubectlFailed as error:
        if not error.missing:
            raise
        text = f"there is no Secret {token_name(user)} in the namespace {store.namespace}"
        raise Failed(text, "kubevault generate | kubectl apply -f - makes it (without --tokens none)", code=1) from None
    secret = token_secret(store, user, found)
    if ca_differs(secret, server.ca):
        terminal.warning("the kubeconfig knows the server by another CA than the one in the token's Secret")
    return secret


def _how(store: "Store", user: str) -> None:
    """What has to be done besides applying the store."""
    # jq builds the object anew, as token_secret does: no annotation of the token's own Secret comes along.
    metadata = f'{{name: "{store.name}", namespace: "{store.secret_namespace}"}}'
    data = '{"ca.crt": .data["ca.crt"], token: .data.token}'
    new = f'{{apiVersion, kind, type: "Opaque", metadata: {metadata}, data: {data}}}'
    terminal.note(
        f"{store.name} refers to a Secret of the same name, with the token of {user}. To bring it over:\n"
        f"  kubectl --context VAULT get secret --namespace {store.namespace} {user}-token --output json \\\n"
        f"    | jq '{new}' \\\n"
        "    | kubectl --context TARGET apply --server-side --filename -\n"
        "or let --with-token print it in front of the store."
    )
