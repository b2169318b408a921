"""kubevault diff against a folder, a revision and a cluster (a stub stands for kubectl)."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kubectl_stub import KubectlStub, Run, runner
from kubevault_world import objects, vault

SECRETS = {"a/db": "password: s3cret-value\n", "b": "k: other-s3cret\n"}
USERS = {"alice": "a/**\n", "bob": "**\n"}
AFTER = """\
~ Role vault-kvstore/kubevault:alice:read
    + b
    - rule a/**
    + rule **
~ Secret vault-kvstore/a-db
    ~ password
    + user
access:
    + alice may read vault-kvstore/b
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return vault(tmp_path, SECRETS, USERS)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    return runner(capsys)


def changed(tmp_path: Path) -> None:
    vault(tmp_path, {"a/db": "password: n3w-s3cret\nuser: app\n"}, {"alice": "**\n"})


def test_against_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert run("generate", "--output-dir", "m").code == 0
    done = run("diff", "--against", "m", "--exit-code")
    assert (done.code, done.out, done.err) == (0, "", "Nothing differs.\n")
    changed(tmp_path)
    done = run("diff", "--against", "m")
    assert (done.code, done.out) == (0, AFTER)
    assert run("diff", "--against", "m", "--exit-code").code == 3
    assert run("diff", "--against", "m", "-n", "other").out.count("+ Secret other/") == 4
    assert run("diff", "--against", "none").code == 1


def test_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    run("generate", "--output-dir", "m", "--format", "stringData")
    changed(tmp_path)
    shown = json.loads(run("diff", "--against", "m", "--format", "json").out)
    assert [(one["change"], one["kind"], one["name"]) for one in shown["objects"]] == [
        ("changed", "Role", "kubevault:alice:read"),
        ("changed", "Secret", "a-db"),
    ]
    assert shown["objects"][1]["keys"] == [
        {"change": "changed", "text": "password"},
        {"change": "added", "text": "user"},
    ]
    assert shown["access"] == [{"user": "alice", "change": "added", "namespace": "vault-kvstore", "secret": "b"}]


@pytest.mark.skipif(shutil.which("git") is None, reason="the program git is not installed")
def test_against_a_revision(run: Run, tmp_path: Path) -> None:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {f"GIT_{who}_{what}": "t@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in (["init", "-q"], ["add", "vault"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, env=env, check=True, timeout=60)
    assert run("diff", "--against-rev", "HEAD").err == "Nothing differs.\n"
    changed(tmp_path)
    assert run("diff", "--against-rev", "HEAD").out == AFTER
    done = run("diff", "--against-rev", "nonsense")
    assert done.code == 1 and "nonsense" in done.err


def live(folder: Path) -> list[dict[str, Any]]:
    """The vault's objects as a cluster has them, and others."""
    found = []
    for thing in objects(folder).values():
        metadata = {
            **thing["metadata"],
            "uid": "1",
            "resourceVersion": "2",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        found.append({**thing, "metadata": metadata})
    foreign = {
        "kind": "Secret",
        "metadata": {"name": "helm", "namespace": "vault-kvstore"},
        "data": {"x": "aHVudGVyMg=="},
    }
    return [*found, foreign]


def test_against_a_cluster(run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = KubectlStub(tmp_path / "stub")
    monkeypatch.setenv("KUBECTL", str(stub.program))
    stub.answer({"kind": "List", "items": live(folder)})
    done = run("diff", "--live", "--kubeconfig", "k", "--context", "c", "--exit-code")
    assert (done.code, done.out, done.err) == (0, "", "Nothing differs.\n")
    (asked,) = stub.asked
    assert asked[:3] == ["--kubeconfig=k", "--context=c", "get"] and "--namespace=vault-kvstore" in asked
    changed(tmp_path)
    assert run("diff", "--live").out == AFTER
    stub.answer("", err="Error from server (Forbidden): secrets is forbidden\n", code=1)
    done = run("diff", "--live")
    assert (done.code, done.out) == (1, "") and "(Forbidden)" in done.err and "hint: " in done.err


def test_a_cluster_is_asked_about_each_namespace(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = KubectlStub(tmp_path / "stub")
    monkeypatch.setenv("KUBECTL", str(stub.program))
    done = run("diff", "--live", "--namespace-by-folder")
    assert "+ Secret a/a-db" in done.out and "+ Secret vault-kvstore/b" in done.out
    assert [call[-2] for call in stub.asked] == ["--namespace=a", "--namespace=vault-kvstore"]


def test_no_value_is_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    run("generate", "--output-dir", "m")
    vault(tmp_path, {"a/db": "password: n3w-s3cret\n", "c": "k: third-s3cret\n"})
    (tmp_path / "vault/kvstore/b").unlink()
    for form in ("table", "json", "yaml"):
        done = run("diff", "--against", "m", "--format", form)
        assert done.code == 0 and "password" in done.out
        for value in ("s3cret", "czNjcmV0", "bjN3LX", "b3RoZXIt", "dGhpcmQt"):
            assert value not in done.out + done.err


def test_names_cannot_steer_a_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/x.yaml").write_text('kind: Secret\nmetadata: {name: "a\\e[2Jb"}\nstringData: {"k\\e]0;x": v}\n')
    done = run("diff", "--against", "m")
    assert "\x1b" not in done.out and "a\\x1b[2Jb" in done.out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--against", "m", "--live"],
        ["--against", ""],
        ["--against-rev", ""],
        ["--against", "m", "--context", "c"],
        ["--live", "--kind", "push-secret", "--store", "s"],
        ["--against", "m", "--kind", "sealed-secret"],
        ["--against", "m", "extra"],
    ],
)
def test_wrong_use(run: Run, words: list[str]) -> None:
    done = run("diff", *words)
    assert (done.code, done.out) == (2, "") and done.err.startswith("error: ")
