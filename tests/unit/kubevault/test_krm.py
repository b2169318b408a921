"""kubevault as a function of kustomize."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubevault_world import NOW, clear, vault
from strongroom.errors import BadRequest
from strongroom.kubevault import making
from strongroom.kubevault.krm import run
from strongroom.kubevault.making import Made, Wanted
from strongroom.kubevault.tree import Source


def make(source: Source, wanted: Wanted) -> Made:
    return making.make(source, wanted, clear, now=NOW)


def asked(spec: Any, *items: Any) -> bytes:
    config = {"apiVersion": "kubevault.chezmoi.sh/v1", "kind": "KubevaultGenerator", "metadata": {"name": "x"}}
    given = {
        "apiVersion": "config.kubernetes.io/v1",
        "kind": "ResourceList",
        "items": list(items),
        "functionConfig": {**config, "spec": spec},
    }
    return yaml.safe_dump(given).encode()


def test_what_comes_in_stays_and_manifests_are_added(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a/b": "k: 1_000"}, {"me": "**"})
    before = {"kind": "ConfigMap", "data": {"n": "on", "d": "2024-01-02", "many": "a\n\nb\n"}, "list": [[1, 2], []]}
    itself = {"apiVersion": "kubevault.chezmoi.sh/v1", "kind": "KubevaultGenerator", "metadata": {"name": "x"}}
    text, code = run(asked({"vaultDir": str(folder), "namespace": "team", "tokens": "none"}, itself, before), make)
    assert code == 0
    answer = yaml.safe_load(text)
    assert answer["kind"] == "ResourceList" and answer["functionConfig"]["kind"] == "KubevaultGenerator"
    assert answer["items"][0] == before
    kinds = [item["kind"] for item in answer["items"]]
    assert kinds == ["ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding"]
    assert answer["items"][1]["metadata"]["namespace"] == "team"
    assert "results" not in answer


def test_a_date_in_an_item_stays_text(tmp_path: Path) -> None:
    data = asked({"vaultDir": str(vault(tmp_path, {}))}).replace(b"items: []", b"items: [{on: 2024-01-02}]")
    assert "2024-01-02" in run(data, make)[0] and "2024-01-02 00" not in run(data, make)[0]


def test_problems_are_results(tmp_path: Path) -> None:
    text, code = run(asked({"vaultDir": str(vault(tmp_path, {"a": "- x", "B_": ""}))}), make)
    answer = yaml.safe_load(text)
    assert code == 1 and answer["items"] == []
    assert [result["severity"] for result in answer["results"]] == ["error", "error"]
    text, code = run(asked({"vaultDir": str(vault(tmp_path / "2", {}, {"me": ""}))}), make)
    assert code == 0 and [result["severity"] for result in yaml.safe_load(text)["results"]] == ["warning"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"x",
        b"kind: ResourceList",
        b"kind: ResourceList\nfunctionConfig: {kind: Other}",
        asked({"vaultdir": "x"}),
        asked({"vaultDir": 5}),
        asked({"namespaceByFolder": "yes"}),
        asked({"namespace": ["x"]}),
        asked({"vaultDir": "x", "rev": 5}),
        asked("text"),
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(BadRequest):
        run(data, make)


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="needs kustomize, which runs the function")
def test_kustomize_runs_it(tmp_path: Path) -> None:
    vault(tmp_path, {"a/b": "k: 1_000\nm: |\n  x\n  y\nyes: no"}, {"me": "**"})
    program = tmp_path / "function"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m strongroom.cli.kubevault krm\n")
    program.chmod(0o755)
    (tmp_path / "kustomization.yaml").write_text("generators: [generator.yaml]\nnamespace: moved\n")
    (tmp_path / "generator.yaml").write_text(
        "apiVersion: kubevault.chezmoi.sh/v1\nkind: KubevaultGenerator\nmetadata:\n  name: x\n  annotations:\n"
        "    config.kubernetes.io/function: |\n      exec: {path: ./function}\nspec: {vaultDir: vault}\n"
    )
    command = ["kustomize", "build", "--enable-alpha-plugins", "--enable-exec", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    made = {(thing["kind"], thing["metadata"]["name"]): thing for thing in yaml.safe_load_all(ran.stdout)}
    secret = made["Secret", "a-b"]
    assert secret["data"] == {"k": "MV8wMDA=", "m": "eAp5Cg==", "yes": "bm8="}
    assert secret["metadata"]["namespace"] == "moved"


def test_depth_does_not_end_the_process() -> None:
    with pytest.raises(BadRequest, match="not YAML"):
        run(b"kind: ResourceList\nitems: " + b"[" * 200_000, make)
