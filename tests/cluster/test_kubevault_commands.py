"""diff --live and external-secret-store --with-token against a real API server, and the jq of the latter's advice."""

import json
import os
import re
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_stub import Run, runner
from kubevault_world import vault

kubernetes_server = pytest.importorskip("kubernetes_server")

SECRETS: dict[str, str | bytes] = {
    "prod/db": "password: 0x1F\nport: yes\n_kubevault: {type: t/u, labels: {team: x}, immutable: false}\n",
    "prod/raw": "raw: !!binary AAH/\n",
    "empty": "",
    "top": "k: v\n",
}
USERS = {"alice": "prod/**\n", "bob.ops": "**\n!top\n", "nil": "# nothing\n"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cluster: Any) -> Run:
    for name in [name for name in os.environ if name.startswith("KUBE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    return runner(capsys)


def applied(run: Run, cluster: Any, folder: Path, namespace: str, *flags: str) -> None:
    made = run("generate", "--vault-dir", folder, "-n", namespace, *flags)
    assert made.code == 0, made.err
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=made.out)


def token_of(cluster: Any, namespace: str, user: str) -> str:
    def filled() -> str:
        return cluster.get("secret", f"{user}-token", f"--namespace={namespace}").get("data", {}).get("token", "")

    token: str = cluster.until(filled, "the controller filled the token")
    return token


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
@pytest.mark.parametrize("form", ["data", "stringData"])
def test_what_was_applied_does_not_differ(
    run: Run, cluster: Any, namespace: str, tmp_path: Path, how: str, form: str
) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    made = run("generate", "--vault-dir", folder, "-n", namespace, "--format", form)
    cluster.kubectl("apply", how, "--filename=-", stdin=made.out)
    for user in USERS:
        token_of(cluster, namespace, user)
    cluster.kubectl("create", "secret", "generic", "foreign", "--from-literal=k=v", f"--namespace={namespace}")
    done = run("diff", "--vault-dir", folder, "-n", namespace, "--live", "--exit-code")
    assert (done.code, done.out) == (0, ""), done


def test_what_differs_is_what_applying_changes(run: Run, cluster: Any, namespace: str, tmp_path: Path) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    applied(run, cluster, folder, namespace)
    vault(tmp_path, {"prod/db": "password: 0x20\n_kubevault: {type: t/u, immutable: false}\n", "new": "k: v\n"})
    vault(tmp_path, {}, {"alice": "top\n"})
    (folder / "kvstore/prod/raw").unlink()
    words = ("diff", "--vault-dir", folder, "-n", namespace, "--live")
    before = run(*words)
    assert before.out == (
        f"~ Role {namespace}/kubevault:alice:read\n    - prod-db\n    - prod-raw\n    + top\n"
        "    - rule prod/**\n    + rule top\n"
        f"~ Role {namespace}/kubevault:bob.ops:read\n    + new\n    - prod-raw\n"
        f"+ Secret {namespace}/new\n    + k\n"
        f"~ Secret {namespace}/prod-db\n    ~ password\n    - port\n    - metadata.labels.team: x\n"
        f"- Secret {namespace}/prod-raw\n    - raw\n"
        "access:\n"
        f"    - alice may no longer read {namespace}/prod-db\n    - alice may no longer read {namespace}/prod-raw\n"
        f"    + alice may read {namespace}/top\n"
        f"    + bob.ops may read {namespace}/new\n    - bob.ops may no longer read {namespace}/prod-raw\n"
    )
    applied(run, cluster, folder, namespace)
    cluster.kubectl("delete", "secret", "prod-raw", f"--namespace={namespace}")
    assert run(*words).out == ""


def test_the_token_comes_along_and_reads(run: Run, cluster: Any, namespace: str, tmp_path: Path) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    words = ("external-secret-store", "alice", "--vault-dir", folder, "-n", namespace, "--name", "shop")
    missing = run(*words, "--with-token")
    assert (missing.code, missing.out) == (1, "") and "there is no Secret alice-token" in missing.err
    applied(run, cluster, folder, namespace)
    token = token_of(cluster, namespace, "alice")
    done = run(*words, "--with-token")
    secret, store = yaml.safe_load_all(done.out)
    assert done.code == 0 and secret["data"]["token"] == token and "another CA" not in done.err
    assert store["spec"]["provider"]["kubernetes"]["server"]["url"] == cluster.url
    for name, may in (("prod-db", True), ("top", False)):
        asked = ["get", "secret", name, f"--namespace={namespace}", "--output=name"]
        assert (cluster.ask(asked, token=b64decode(token).decode()).returncode == 0) is may
    assert token not in run(*words).out


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_advice_makes_the_same_secret(run: Run, cluster: Any, namespace: str, tmp_path: Path) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    applied(run, cluster, folder, namespace)
    token_of(cluster, namespace, "alice")
    words = ("external-secret-store", "alice", "--vault-dir", folder, "-n", namespace)
    (program,) = re.findall(r"jq '(.*)' ", run(*words).err)
    found = json.dumps(cluster.get("secret", "alice-token", f"--namespace={namespace}"))
    made = subprocess.run(["jq", program], input=found, capture_output=True, text=True, check=True, timeout=30)
    secret, _ = yaml.safe_load_all(run(*words, "--with-token").out)
    assert json.loads(made.stdout) == secret
