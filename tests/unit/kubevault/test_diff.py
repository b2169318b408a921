"""What differs between two states of a vault's objects, and that no value shows."""

import base64
from pathlib import Path
from typing import Any

from kubevault_world import make, vault
from strongroom.kubevault.diff import EVERYTHING, Change, Ref, State, compare, ours, state_of

KEY = b"k" * 32
NS = "vault-kvstore"


def state(folder: Path, **wanted: Any) -> State:
    return state_of(make(folder, **wanted).objects(), KEY)


def secret(name: str = "db", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NS, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", **more}


def role(*names: str, user: str = "ann", **more: Any) -> list[dict[str, Any]]:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"], "resourceNames": list(names)}
    metadata = {"name": f"kubevault:{user}:read", "namespace": NS}
    binding = {
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"kind": "Role", "name": metadata["name"], "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": NS}],
    }
    return [{"kind": "Role", "metadata": metadata, "rules": [rule], **more}, binding]


def changes(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[Change]:
    return compare(state_of(old, KEY), state_of(new, KEY)).changes


def test_each_kind_of_change(tmp_path: Path) -> None:
    old = state(vault(tmp_path / "1", {"a": "x: 1\ny: 2\n", "gone": "k: v\n"}, {"ann": "a\ngone\n", "out": "a\n"}))
    after = {"a": "x: 1\ny: 3\nz: 4\n_kubevault: {type: t/u, labels: {team: b}}\n", "new": "k: v\n"}
    new = state(vault(tmp_path / "2", after, {"ann": "a\nnew\n"}))
    found = compare(old, new)
    by_ref = {str(change.ref): change for change in found.changes}
    assert by_ref[f"Secret {NS}/a"] == Change(
        "~",
        Ref("Secret", NS, "a"),
        [("~", "y"), ("+", "z")],
        [],
        [],
        [("+", "metadata.labels.team: b"), ("~", "type: Opaque -> t/u")],
    )
    assert by_ref[f"Secret {NS}/gone"].sign == "-" and by_ref[f"Secret {NS}/new"].keys == [("+", "k")]
    changed = by_ref[f"Role {NS}/kubevault:ann:read"]
    assert changed.names == [("-", "gone"), ("+", "new")] and changed.rules == [("-", "gone"), ("+", "new")]
    assert {str(ref) for ref in by_ref if "out" in str(ref)} == {
        f"{kind} {NS}/{name}"
        for kind, name in (
            ("ServiceAccount", "out"),
            ("Secret", "out-token"),
            ("Role", "kubevault:out:read"),
            ("RoleBinding", "kubevault:out:read"),
        )
    }
    assert found.access == [("ann", "-", NS, "gone"), ("ann", "+", NS, "new"), ("out", "-", NS, "a")]
    assert [change.ref for change in found.changes] == sorted(change.ref for change in found.changes)
    assert not compare(new, new) and not compare(new, new).changes


def test_the_place_of_a_value_does_not_matter(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a": "x: 1\nb: !!binary aGk=\n"}, {"ann": "a\n"})
    assert not compare(state(folder), state(folder, format="stringData"))
    plain = secret(stringData={"x": "1"}, data={"x": base64.b64encode(b"old").decode()})
    assert not changes([plain], [secret(data={"x": "MQ=="})])  # stringData wins, as in the cluster
    assert changes([secret(data={"x": "%"})], [secret(stringData={"x": "%"})])


def test_marks_need_the_key() -> None:
    one, two = (state_of([secret(stringData={"x": "hunter2"})], key) for key in (b"1" * 32, b"2" * 32))
    assert compare(one, two) and "hunter2" not in repr(one) and "hunter2" not in repr(compare(one, two))


def test_what_a_cluster_adds_is_no_difference() -> None:
    server = {
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "t",
        "generation": 1,
        "managedFields": [{"f": 1}],
        "labels": {"kustomize.toolkit.fluxcd.io/name": "x", "kubernetes.io/legacy-token-last-used": "t"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": '{"data": "hunter2"}',
            "argocd.argoproj.io/tracking-id": "x",
        },
    }
    assert not changes([secret(metadata=server, data={})], [secret(data={})])
    token = {"type": "kubernetes.io/service-account-token"}
    uid = {"kubernetes.io/service-account.uid": "1", "kubernetes.io/service-account.name": "ann"}
    held = secret("ann-token", metadata={"annotations": uid}, data={"token": "hunter2"}, **token)
    made = secret("ann-token", metadata={"annotations": {"kubernetes.io/service-account.name": "ann"}}, **token)
    assert not changes([held], [made])
    other = secret("ann-token", metadata={"annotations": {"kubernetes.io/service-account.name": "bob"}}, **token)
    assert changes([held], [other])  # whose token it is does count
    (change,) = changes([secret(metadata={"labels": {"mine": "1"}})], [secret()])
    assert change.fields == [("-", "metadata.labels.mine: 1")]
    # what the vault itself sets counts, also under such a name
    assert changes([secret()], [secret(metadata={"labels": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}})])


def test_types_of_yaml_and_json_are_one() -> None:
    assert not changes([secret(immutable="true")], [secret(immutable=True)])
    assert changes([secret(immutable="false")], [secret(immutable=True)])
    assert not changes([secret()], [{k: v for k, v in secret().items() if k != "type"}])


def test_a_role_without_names_reads_everything() -> None:
    found = compare(state_of(role(), KEY), state_of(role("a"), KEY))
    assert found.access == [("ann", "-", NS, EVERYTHING)]
    assert compare(state_of(role("a"), KEY), state_of(role(), KEY)).access == [("ann", "+", NS, EVERYTHING)]
    (change,) = found.changes
    assert change.names == [("-", EVERYTHING), ("+", "a")]


def test_rules_that_a_vault_does_not_make_are_shown() -> None:
    odd = role("a")
    odd[0]["rules"].append({"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]})
    (change,) = changes(role("a"), odd)
    assert ("+", "rules[1].resources[0]: pods") in change.fields and not change.names


def test_bindings_to_others_give_no_access() -> None:
    objects = role("a")
    objects[1]["subjects"].append({"kind": "User", "name": "eve"})
    assert state_of(objects, KEY).access == {"ann": {(NS, "a")}}
    objects[1]["roleRef"]["kind"] = "ClusterRole"
    assert state_of(objects, KEY).access == {}


def test_of_a_clusters_objects_only_those_of_a_vault() -> None:
    source = {"annotations": {"kubevault.chezmoi.sh/source": "db"}}
    token = {"type": "kubernetes.io/service-account-token"}
    account = {"annotations": {"kubernetes.io/service-account.name": "ann"}}
    mine = [
        secret(metadata=source),
        *role("db"),
        {"kind": "ServiceAccount", "metadata": {"name": "ann", "namespace": NS}},
        secret("ann-token", metadata=account, **token),
        secret("ann", metadata=account, **token),  # the original's name for it
        secret("wanted"),
    ]
    foreign = [
        secret("helm"),
        {"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NS}},
        {"kind": "Role", "metadata": {"name": "kubevault:x", "namespace": NS}},
        {"kind": "Role", "metadata": {"name": "kubevault:x:write", "namespace": NS}},
        secret("default-token", metadata={"annotations": {"kubernetes.io/service-account.name": "default"}}, **token),
        {"kind": "ConfigMap", "metadata": {"name": "db", "namespace": NS}},
    ]
    assert ours([*foreign, *mine], state_of([secret("wanted")], KEY)) == mine
