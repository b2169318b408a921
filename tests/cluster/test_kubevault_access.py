"""RBAC really allows and denies what `can-read` says, for tokens of both kinds."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_server import KubernetesServer
from kubevault_program import generate, kubevault, write_tree

STORE = (
    "prod/api/db", "prod/api/db_key", "prod/web/tls", "prod/db_password", "staging/api/db", "staging/x", "Dev/Api",
    "team-a/db-prod",
    "shared", "top", "caf\u00e9s", "alice",
)  # fmt: skip
ACCESS = {
    "everything": "**\n",
    "alice": "prod/**\n!**/*_key\n!**/*password*\n",
    "bob.ops": "staging/*\nshared\n[Dd]ev/*\n",
    "one": "top\n",
    "again": "**\n!prod/**\nprod/web/*\n",
    "deny-only": "!prod/**\n",
    "comments": "# nothing\n",
    "typo": "pord/**\n",
    "hidden": "caf?s\n*/*/*\n",
}
NOTHING = ("deny-only", "comments", "typo")


class World:
    """An applied vault and its users' tokens."""

    def __init__(self, cluster: KubernetesServer, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder

    def tokens(self, user: str) -> dict[str, str]:
        def filled() -> str:
            secret = self.cluster.get("secret", f"{user}-token", f"--namespace={self.namespace}")
            return b64decode(secret.get("data", {}).get("token", "")).decode()

        lasting = self.cluster.until(filled, f"the controller filled the token of {user}")
        return {"secret": lasting, "request": self.requested(user)}

    def requested(self, user: str) -> str:
        return self.cluster.kubectl("create", "token", user, f"--namespace={self.namespace}").strip()

    def said(self, user: str) -> dict[str, bool]:
        """Secret -> whether `can-read` says that the user may read it."""
        ran = kubevault(self.folder, "can-read", user, "--format", "json", "--namespace", self.namespace)
        return {row["name"]: row["allowed"] for row in json.loads(ran.out)["secrets"]}

    def reads(self, token: str, name: str, namespace: str = "") -> bool:
        """Whether the API server gives the secret to who holds the token."""
        words = ("get", "secret", name, f"--namespace={namespace or self.namespace}", "--output=name")
        done = self.cluster.ask(words, token=token)
        assert done.returncode == 0 or "(Forbidden)" in done.stderr, done.stderr
        return done.returncode == 0


@pytest.fixture(scope="module")
def world(cluster: KubernetesServer, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("access")
    write_tree(folder, {path: {"k": path} for path in STORE}, ACCESS)
    cluster.kubectl("create", "namespace", "access")
    text = generate(folder, "--namespace", "access")
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=text)
    made = World(cluster, "access", folder)
    # Users come in order of their names, and "one" is the last with a grant: when it holds, all do.
    token = made.requested("one")
    cluster.until(lambda: made.reads(token, "top"), "the grants hold")
    return made


@pytest.mark.parametrize("user", ACCESS)
def test_a_user_reads_exactly_what_can_read_says(world: World, user: str) -> None:
    said = world.said(user)
    assert len(said) == len(STORE)
    assert any(said.values()) is (user not in NOTHING)
    for kind, token in world.tokens(user).items():
        assert {name: world.reads(token, name) for name in said} == said, kind


@pytest.mark.parametrize("user", ACCESS)
def test_nobody_lists_or_reads_tokens_or_writes(world: World, user: str) -> None:
    token = world.requested(user)
    at = f"--namespace={world.namespace}"
    for words in (
        ("get", "secrets", at),
        ("get", "secrets", "--all-namespaces"),
        ("get", "secret", f"{user}-token", at),
        ("get", "secret", "everything-token", at),
        ("get", "serviceaccounts", at),
        ("get", "roles", at),
        ("delete", "secret", "top", at),
        ("label", "secret", "top", at, "a=b"),
        ("create", "token", "everything", at),
        ("create", "secret", "generic", "fresh", at),
    ):
        assert "forbidden" in world.cluster.kubectl(*words, token=token, fails=True).lower(), words


def test_the_controls_of_the_above(world: World) -> None:
    """An administrator does all that, and what a Role like the original's grants to somebody without any rule."""
    at = f"--namespace={world.namespace}"
    assert len(world.cluster.get("secrets", at)["items"]) == len(STORE) + len(ACCESS)
    assert not world.reads(world.requested("comments"), "top")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "as-the-original", "namespace": world.namespace},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [], "verbs": ["get", "list"]}],
    }
    world.cluster.kubectl("apply", "--filename=-", stdin=json.dumps(role))
    world.cluster.kubectl("create", "serviceaccount", "victim", at)
    victim = f"--serviceaccount={world.namespace}:victim"
    world.cluster.kubectl("create", "rolebinding", "as-the-original", at, "--role=as-the-original", victim)
    token = world.requested("victim")
    allowed = world.cluster.until(lambda: world.reads(token, "top"), "the grant holds")
    assert allowed and all(world.reads(token, name) for name in world.said("comments"))
    assert world.reads(token, "everything-token")
    assert len(world.cluster.get("secrets", at, token=token)["items"]) == len(STORE) + len(ACCESS)


def test_one_secret_is_listed_by_its_name(world: World) -> None:
    """What ``list`` beside ``get`` is for: watching and listing one name."""
    at = f"--namespace={world.namespace}"
    token = world.requested("one")
    found = world.cluster.get("secrets", at, "--field-selector=metadata.name=top", token=token)
    assert [item["metadata"]["name"] for item in found["items"]] == ["top"]
    world.cluster.kubectl("get", "secrets", at, "--field-selector=metadata.name=shared", token=token, fails=True)


def test_a_grant_that_goes_away_is_gone(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> None:
    world = World(cluster, namespace, tmp_path)
    for way in (["--server-side"], []):
        user = f"al{len(way)}"
        write_tree(tmp_path, {"a": {"k": "v"}, "b": {"k": "v"}}, {user: "*\n"})
        cluster.kubectl("apply", *way, "--filename=-", stdin=generate(tmp_path, "--namespace", namespace))
        token = world.requested(user)
        assert cluster.until(lambda: world.reads(token, "a"), "the grant holds")
        write_tree(tmp_path, {}, {user: "# none\n"})
        cluster.kubectl("apply", *way, "--filename=-", stdin=generate(tmp_path, "--namespace", namespace))
        assert cluster.until(lambda: not world.reads(token, "a"), "the grant is gone")
        assert not world.reads(token, "b")


def test_no_lasting_tokens(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": {"k": "v"}}, {"al": "a\n"})
    text = generate(tmp_path, "--namespace", namespace, "--tokens", "none")
    cluster.kubectl("apply", "--filename=-", stdin=text)
    assert [s["metadata"]["name"] for s in cluster.get("secrets", f"--namespace={namespace}")["items"]] == ["a"]
    world = World(cluster, namespace, tmp_path)
    assert cluster.until(lambda: world.reads(world.requested("al"), "a"), "the grant holds")


def test_namespaces_by_folder(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> None:
    one, two = f"{namespace}-one", f"{namespace}-two"
    for name in (one, two):
        cluster.kubectl("create", "namespace", name)
    write_tree(
        tmp_path,
        {f"{one}/db": {"k": "1"}, f"{two}/db": {"k": "2"}, f"{two}/web/x": {"k": "3"}, "top": {"k": "4"}},
        {"al": f"{two}/**\ntop\n", "bo": f"{one}/db\n"},
    )
    text = generate(tmp_path, "--namespace", namespace, "--namespace-by-folder")
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=text)
    world = World(cluster, namespace, tmp_path)
    ran = kubevault(tmp_path, "can-read", "al", "--format", "json", "--namespace", namespace, "--namespace-by-folder")
    rows: list[dict[str, Any]] = json.loads(ran.out)["secrets"]
    assert {row["namespace"] for row in rows} == {one, two, namespace}
    token = world.requested("al")
    cluster.until(lambda: world.reads(token, "top"), "the grant holds")
    for row in rows:
        assert world.reads(token, row["name"], row["namespace"]) is row["allowed"], row
    # The same name in another namespace is another secret.
    assert not world.reads(token, f"{two}-db", one)
    cluster.kubectl("get", "secrets", f"--namespace={two}", token=token, fails=True)


def test_a_grant_of_thousands_is_split_and_holds(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> None:
    names = [f"team-{number // 100:03d}/service-with-a-rather-long-name-{number:05d}" for number in range(9000)]
    write_tree(tmp_path, dict.fromkeys(names, "k: v\n"), {"al": "**\n!team-089/*9\n"})
    things = [thing for thing in yaml.load_all(generate(tmp_path, "--namespace", namespace), yaml.CSafeLoader) if thing]
    roles = [thing for thing in things if thing["kind"] == "Role"]
    assert len(roles) > 2
    text = yaml.safe_dump_all([thing for thing in things if thing["kind"] != "Secret"])
    cluster.kubectl("apply", "--filename=-", stdin=text)
    cluster.kubectl("apply", "--filename=-", stdin=text)
    token = World(cluster, namespace, tmp_path).requested("al")

    def may(path: str) -> bool:
        secret = f"secret/{path.replace('/', '-')}"
        asked = ("auth", "can-i", "get", secret, f"--namespace={namespace}")
        return cluster.ask(asked, token=token).stdout.strip() == "yes"

    cluster.until(lambda: may(names[0]), "the grant holds")
    edges = [
        name for role in roles for name in (role["rules"][0]["resourceNames"][0], role["rules"][0]["resourceNames"][-1])
    ]
    assert all(map(may, [*edges, names[4000], names[-2]]))
    assert not any(map(may, [names[-1], names[-11], "team-000/unknown"]))
    whole = {**roles[0], "rules": [{**roles[0]["rules"][0], "resourceNames": [n.replace("/", "-") for n in names]}]}
    said = cluster.kubectl("apply", "--filename=-", stdin=json.dumps(whole), fails=True)
    assert "Too long" in said, "the control: unsplit it cannot be applied"
