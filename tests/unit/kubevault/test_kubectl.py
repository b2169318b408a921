"""kubectl as a program: a stub stands for it, and the real one where no cluster is needed."""

import os
import shutil
from pathlib import Path

import pytest

from kubectl_stub import KubectlStub
from strongroom.kubevault.kubectl import Cluster, KubectlFailed


@pytest.fixture
def stub(tmp_path: Path) -> KubectlStub:
    return KubectlStub(tmp_path / "stub")


def cluster(stub: KubectlStub, *flags: str, timeout: float = 30) -> Cluster:
    return Cluster(*flags, environ={**os.environ, "KUBECTL": str(stub.program)}, timeout=timeout)


def test_what_it_is_asked_with(stub: KubectlStub) -> None:
    stub.answer({"kind": "Secret"})
    assert cluster(stub, "/k/config", "-odd").get("secret", "ns", "a-token") == {"kind": "Secret"}
    assert cluster(stub).get("secrets,roles", "other")["kind"] == "Secret"
    assert stub.asked == [
        ["--kubeconfig=/k/config", "--context=-odd", "get", "secret", "a-token", "--namespace=ns", "--output=json"],
        ["get", "secrets,roles", "--namespace=other", "--output=json"],
    ]


def test_its_own_complaint_is_repeated_and_nothing_else(stub: KubectlStub) -> None:
    plugin = "plugin says hunter2\n"
    stub.answer("hunter2", err=plugin + 'Error from server (NotFound): secrets "a-token" not found\n', code=1)
    with pytest.raises(KubectlFailed) as caught:
        cluster(stub).get("secret", "ns", "a-token")
    assert caught.value.missing and '"a-token" not found' in str(caught.value) and "hunter2" not in str(caught.value)
    stub.answer("", err='Error from server (Forbidden): secrets is forbidden: {"password": "hunter2"}\n', code=1)
    with pytest.raises(KubectlFailed) as caught:
        cluster(stub).get("secret", "ns")
    assert not caught.value.missing and "can-i" in caught.value.hint and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("out", ["", "hunter2", "[1]", "[" * 100000, '{"hunter2'])
def test_an_answer_that_is_no_object(stub: KubectlStub, out: str) -> None:
    stub.answer(out)
    with pytest.raises(KubectlFailed, match="no JSON object") as caught:
        cluster(stub).get("secret", "ns")
    assert "hunter2" not in repr(caught.value) and caught.value.__cause__ is None


def test_a_program_that_is_not_there_or_never_ends(stub: KubectlStub) -> None:
    with pytest.raises(KubectlFailed, match="cannot start .*nowhere") as caught:
        Cluster(environ={"KUBECTL": "/nowhere/kubectl"}).get("secret", "ns")
    assert "KUBECTL" in caught.value.hint
    stub.program.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(KubectlFailed, match="within 0.2 seconds"):
        cluster(stub, timeout=0.2).get("secret", "ns")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_real_program_without_a_cluster(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("apiVersion: v1\nkind: Config\n")
    environ = {name: value for name, value in os.environ.items() if name not in ("KUBECTL", "KUBECONFIG")}
    with pytest.raises(KubectlFailed, match='context "nope" does not exist') as caught:
        Cluster(str(config), "nope", environ={**environ, "HOME": str(tmp_path)}).get("secret", "ns", "a")
    assert "get-contexts" in caught.value.hint
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
    )
    with pytest.raises(KubectlFailed, match="refused"):
        Cluster(str(config), environ={**environ, "HOME": str(tmp_path)}).get("secret", "ns", "a")
