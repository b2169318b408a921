"""external-secret-store: what is printed, what is checked first, and that no token is printed unasked."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_stub import KubectlStub, Run, runner
from kubevault_world import vault
from strongroom.errors import BadRequest
from strongroom.kubevault.stores import check_url, store_name

URL = "https://vault.kubernetes:6443"
TOKEN = base64.b64encode(b"eyJhbGciOi.hunter2").decode()
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("KUBECONFIG", "KUBEVAULT_DIR", "KUBEVAULT_NAMESPACE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    vault(tmp_path, {"db": "a: b\n"}, {"alice": "db\n", "nil": "other\n"})
    go = runner(capsys)
    return lambda *words: go("external-secret-store", *words)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubectlStub:
    made = KubectlStub(tmp_path / "stub")
    monkeypatch.setenv("KUBECTL", str(made.program))
    made.answer(token_secret())
    return made


def token_secret(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "alice-token", "annotations": {"kubernetes.io/service-account.name": "alice"}},
        "data": {"ca.crt": base64.b64encode(PEM.encode()).decode(), "namespace": "dg==", "token": TOKEN},
        **more,
    }


def provider(store: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = store["spec"]["provider"]["kubernetes"]
    return inner


def test_the_cluster_store_of_the_readme_for_todays_operator(run: Run) -> None:
    done = run("alice", "--vault-url", URL, "--secret-namespace", "external-secret")
    assert done.code == 0 and "kubectl" in done.err
    store = yaml.safe_load(done.out)
    assert (store["apiVersion"], store["kind"]) == ("external-secrets.io/v1", "ClusterSecretStore")
    assert store["metadata"] == {"name": "vault.kubernetes"}
    ref = {"name": "vault.kubernetes", "namespace": "external-secret"}
    assert provider(store) == {
        "remoteNamespace": "vault-kvstore",
        "server": {"url": URL, "caProvider": {"type": "Secret", **ref, "key": "ca.crt"}},
        "auth": {"token": {"bearerToken": {**ref, "key": "token"}}},
    }
    assert run("alice", "--vault-url", URL, "--secret-namespace", "external-secret", "--clustered").out == done.out


def test_a_store_of_one_namespace_names_none_in_its_references(run: Run) -> None:
    words = ("alice", "--vault-url", URL, "-n", "kv", "--name", "shop", "--secret-namespace", "shop", "--no-clustered")
    store = yaml.safe_load(run(*words, "--api-version", "v1beta1").out)
    assert (store["apiVersion"], store["kind"]) == ("external-secrets.io/v1beta1", "SecretStore")
    assert store["metadata"] == {"name": "shop", "namespace": "shop"}
    assert provider(store)["remoteNamespace"] == "kv" and "namespace" not in str(provider(store)["auth"])
    assert provider(store)["server"]["caProvider"] == {"type": "Secret", "name": "shop", "key": "ca.crt"}


def test_the_address_of_the_kubeconfig(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text(
        "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443', insecure-skip-tls-verify: true}}]\n"
    )
    done = run("alice", "--kubeconfig", config)
    assert yaml.safe_load(done.out)["metadata"]["name"] == "10.0.0.1" and "does not verify" in done.err
    assert run("alice", "--kubeconfig", config, "--context", "y").code == 1
    assert run("alice").code == 1 and "--vault-url" in run("alice").err


@pytest.mark.parametrize(
    "url",
    [
        "/x",
        "",
        "vault:6443",
        "https://",
        "https:///x",
        "ftp://h",
        "https://u:hunter2@h",
        "https://h:99999",
        "https://h?x=1",
        "https://h/ x",
        "https://h\n",
    ],
)
def test_addresses_that_are_none(run: Run, url: str) -> None:
    done = run("alice", "--vault-url", url)
    assert (done.code, done.out) == (2, "") and done.err.startswith("error: ") and "hunter2" not in done.err


def test_hosts_and_names() -> None:
    assert check_url("https://[::1]:6443/base") == "::1"
    assert store_name("", "Vault.Example") == "vault.example" and store_name("shop", "::1") == "shop"
    with pytest.raises(BadRequest, match="another with --name"):
        store_name("", "::1")
    with pytest.raises(BadRequest) as caught:
        store_name("Shop_1", "h")
    assert "--name" not in str(caught.value)


def test_doubts_are_told(run: Run) -> None:
    for words, doubt in (
        (("alice", "--vault-url", "http://h"), "without TLS"),
        (("alice", "--vault-url", "https://127.0.0.1:6443"), "this machine only"),
        (("alice", "--vault-url", URL, "--api-version", "v1beta1"), "0.17"),
        (("nil", "--vault-url", URL), "may read nothing"),
    ):
        done = run(*words)
        assert done.code == 0 and "warning: " in done.err and doubt in done.err


def test_the_user_is_looked_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("alicia", "--vault-url", URL)
    assert (done.code, done.out) == (1, "") and "did you mean alice" in done.err
    assert run("alice", "--vault-url", URL, "--vault-dir", "gone").code == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = run("bob", "--vault-url", URL)
    assert done.code == 0 and "could not be checked" in done.err
    assert run("Bob!", "--vault-url", URL).code == 2
    monkeypatch.setenv("KUBEVAULT_DIR", "gone")
    assert run("bob", "--vault-url", URL).code == 1


@pytest.mark.parametrize(
    "words", [("--name", ""), ("--secret-namespace", "A b"), ("-n", "A"), ("--api-version", "v2"), ("--kubeconfig", "")]
)
def test_flags_used_wrongly(run: Run, words: tuple[str, str]) -> None:
    done = run("alice", "--vault-url", URL, *words)
    assert (done.code, done.out) == (2, "")


def test_the_token_comes_along_when_asked_for(run: Run, stub: KubectlStub) -> None:
    done = run("alice", "--vault-url", URL, "--with-token", "--kubeconfig", "k", "--context", "c")
    secret, store = yaml.safe_load_all(done.out)
    assert done.code == 0 and TOKEN not in done.err
    assert secret["metadata"] == {"name": "vault.kubernetes", "namespace": "external-secrets"}
    assert secret["type"] == "Opaque" and sorted(secret["data"]) == ["ca.crt", "token"]
    assert secret["data"]["token"] == TOKEN and store["kind"] == "ClusterSecretStore"
    (asked,) = stub.asked
    assert (
        asked[:2] == ["--kubeconfig=k", "--context=c"]
        and "alice-token" in asked
        and "--namespace=vault-kvstore" in asked
    )


def test_another_authority_than_the_kubeconfigs_is_told(run: Run, stub: KubectlStub, tmp_path: Path) -> None:
    for pem, differs in ((PEM, False), (PEM.replace("AAAA", "BBBB"), True)):
        data = base64.b64encode(pem.encode()).decode()
        config = tmp_path / "c"
        config.write_text(
            "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"
            f"clusters: [{{name: c, cluster: {{server: 'https://h', certificate-authority-data: {data}}}}}]\n"
        )
        done = run("alice", "--kubeconfig", config, "--with-token")
        assert done.code == 0 and ("another CA" in done.err) is differs


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (token_secret(type="Opaque"), "is not of the type"),
        (
            token_secret(metadata={"annotations": {"kubernetes.io/service-account.name": "bob"}}),
            "another ServiceAccount",
        ),
        (token_secret(data={"ca.crt": "eA==", "extra": TOKEN}), "no token yet"),
        (token_secret(data=None), "no token yet"),
        (token_secret(data={"ca.crt": "eA==", "token": "hunter2!"}), "not base64"),
        ("hunter2", "no JSON object"),
    ],
)
def test_what_is_no_token_of_the_user(run: Run, stub: KubectlStub, answer: Any, words: str) -> None:
    stub.answer(answer)
    done = run("alice", "--vault-url", URL, "--with-token")
    assert (done.code, done.out) == (1, "") and words in done.err
    assert TOKEN not in done.err and "hunter2" not in done.err


def test_a_secret_that_is_not_there_and_a_kubectl_that_is_not(
    run: Run, stub: KubectlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answer("", err='Error from server (NotFound): secrets "alice-token" not found\n', code=1)
    done = run("alice", "--vault-url", URL, "--with-token")
    assert (done.code, done.out) == (1, "") and "there is no Secret alice-token" in done.err
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")
    done = run("alice", "--vault-url", URL, "--with-token")
    assert (done.code, done.out) == (1, "") and "KUBECTL" in done.err
