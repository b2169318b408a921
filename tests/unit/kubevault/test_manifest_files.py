"""Manifests read back from a folder, and from a cluster (a stub stands for kubectl)."""

import os
from pathlib import Path

import pytest

from kubectl_stub import KubectlStub
from strongroom.errors import BadRequest
from strongroom.kubevault.diff import Ref, state_of
from strongroom.kubevault.kubectl import Cluster
from strongroom.kubevault.manifest_files import folder_objects, live_objects

KEY = b"k" * 32
NS = "vault-kvstore"


def test_files_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {k: yes, n: 1_000, 007: on}\n"
        "---\nkind: Kustomization\n---\n- 1\n---\n"
    )
    (tmp_path / "b.json").write_text(
        '{"kind": "List", "items": [{"kind": "ServiceAccount", "metadata": {"name": "x"}}]}'
    )
    (tmp_path / "c.txt").write_text("kind: [")
    (tmp_path / ".hidden.yaml").write_text("kind: [")
    (tmp_path / "folder.yaml").mkdir()
    found = state_of(folder_objects(str(tmp_path)), KEY, NS)
    want = {"kind": "Secret", "metadata": {"name": "db"}, "stringData": {"k": "yes", "n": "1_000", "007": "on"}}
    ref = Ref("Secret", NS, "db")
    assert found.things[ref] == state_of([want], KEY, NS).things[ref]
    assert set(found.things) == {Ref("Secret", NS, "db"), Ref("ServiceAccount", NS, "x")}


@pytest.mark.parametrize("text", ["data: {hunter2: [", "a: *hunter2", "\xff\x00", "[" * 100_000])
def test_a_file_that_is_not_yaml_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadRequest, match=r"bad.yaml.*is not YAML") as caught:
        list(folder_objects(str(tmp_path)))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BadRequest, match="cannot read the folder"):
        list(folder_objects(str(tmp_path / "none")))


def test_a_cluster_is_asked_about_each_namespace(tmp_path: Path) -> None:
    stub = KubectlStub(tmp_path / "stub")
    for name in ("a", "b"):
        stub.answer({"kind": "List", "items": [{"kind": "Secret", "metadata": {"name": name}}]}, namespace=name)
    found = live_objects(Cluster(environ={**os.environ, "KUBECTL": str(stub.program)}), ["a", "b", "c"])
    assert [thing["metadata"]["name"] for thing in found] == ["a", "b"]
    assert len(stub.asked) == 3 and all("roles.rbac.authorization.k8s.io" in call[1] for call in stub.asked)
