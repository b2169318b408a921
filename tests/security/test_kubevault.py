"""Threats around kubevault (docs/threat-model.md): what it prints, what its policies grant, where it writes."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from kubectl_stub import KubectlStub, Run, runner
from kubevault_world import make, vault
from strongroom.kubevault.bridge import UserPolicy, place_of, readable
from strongroom.kubevault.bridge_push import wishes
from strongroom.kubevault.tree import Invalid

NEEDLE = "n33dle-s3cret"
IN_BASE64 = base64.b64encode(NEEDLE.encode()).decode()
STORE = ("external-secret-store", "ann", "--vault-url", "https://vault.kubernetes:6443", "--vault-dir")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("KUBECONFIG", "KUBEVAULT_DIR", "KUBEVAULT_NAMESPACE", "VAULT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return runner(capsys)


def test_sec_cve_2026_54725_no_token_is_printed_unless_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = KubectlStub(tmp_path / "stub")
    monkeypatch.setenv("KUBECTL", str(stub.program))
    stub.answer(
        {
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {"annotations": {"kubernetes.io/service-account.name": "ann"}},
            "data": {"ca.crt": "eA==", "token": IN_BASE64, "namespace": "eA=="},
        }
    )
    folder = vault(tmp_path, {"a": f"k: {NEEDLE}\n"}, {"ann": "**\n"})
    done = run(*STORE, folder)
    assert done.code == 0 and "ClusterSecretStore" in done.out
    assert IN_BASE64 not in done.out + done.err and NEEDLE not in done.out + done.err and stub.asked == []
    assert IN_BASE64 in run(*STORE, folder, "--with-token").out  # the control: the token was there to be had


def test_sec_cve_2026_54725_a_store_of_the_whole_cluster_refers_to_one_namespace(run: Run, tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a": "k: v\n"}, {"ann": "**\n"})
    assert run(*STORE, folder).out.count("namespace: external-secrets\n") == 2
    assert "namespace: external-secrets\n" in run(*STORE, folder, "--no-clustered").out  # its own place, no reference


def test_sec_cve_2026_54725_a_comparison_shows_no_value(run: Run, tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a": f"k: {NEEDLE}\n"}, {"ann": "**\n"})
    made = tmp_path / "made"
    made.mkdir()
    run("generate", "--vault-dir", folder, "--output-dir", made, "--format", "stringData")
    vault(tmp_path, {"a": f"k: {NEEDLE}2\n"})
    applied = json.dumps({"data": {"k": IN_BASE64}})
    (made / "odd.yaml").write_text(
        f"kind: Secret\nmetadata: {{name: odd, namespace: vault-kvstore, annotations: "
        f"{{kubectl.kubernetes.io/last-applied-configuration: '{applied}'}}}}\ndata: {{k: [{NEEDLE}]}}\n"
    )
    for form in ("table", "json", "yaml"):
        done = run("diff", "--vault-dir", folder, "--against", made, "--format", form)
        assert done.code == 0 and "odd" in done.out
        assert NEEDLE not in done.out + done.err and IN_BASE64[:-4] not in done.out + done.err
    (made / "odd.yaml").write_text(f"kind: Secret\ndata: {{k: {NEEDLE}: [\n")
    done = run("diff", "--vault-dir", folder, "--against", made)
    assert done.code == 1 and "odd.yaml" in done.err and NEEDLE not in done.err


@pytest.mark.parametrize("name", ["a/+/b", "a/*/b", "a/b*c", "a/{{identity.entity.name}}/b", "a/${x}b"])
def test_sec_kubevault_a_file_name_widens_no_policy(tmp_path: Path, name: str) -> None:
    folder = vault(tmp_path, {name: "k: v\n", "a/other/b": "k: v\n"}, {"ann": f"{name.replace('*', '?')}\n"})
    place = place_of("secret", "", "kubevault-")
    made = make(folder)
    with pytest.raises(Invalid, match="cannot be pushed"):
        wishes(made.tree, made.contents, place)


def test_sec_kubevault_the_control_a_plus_in_a_policy_does_match_others() -> None:
    place = place_of("secret", "", "kubevault-")
    naive = UserPolicy("ann", "ann", [], ["a/+/b"]).text(place)
    assert readable(naive, place, ["a/other/b"]) == {"a/other/b"}


class Hostile(http.server.BaseHTTPRequestHandler):
    """A server of the KV interface whose listings hold ``names``."""

    names: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).removeprefix("/v1/")
        if path.startswith("sys/internal/ui/mounts/"):
            data: Any = {"path": "secret/", "options": {"version": "2"}, "type": "kv"}
        elif "list=true" in parts.query:
            data = {"keys": self.names if path == "secret/metadata" or path == "secret/metadata/" else ["owned"]}
        else:
            data = {"data": {"k": NEEDLE}, "metadata": {"version": 1, "custom_metadata": None}}
        body = json.dumps({"request_id": "x", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hostile]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("VAULT_TOKEN", "t")
        yield Hostile
        server.shutdown()
        thread.join()


ESCAPES = [
    "../escaped",
    "../",
    "..",
    "/tmp/escaped",
    "a/../../escaped",
    "../../access_control/root",
    "x\x00y",
    "",
    "/",
    "\\..\\x",
]


@pytest.mark.parametrize("name", ESCAPES, ids=ascii)
def test_sec_kubevault_a_server_writes_nothing_outside_the_folder(
    run: Run, hostile: type[Hostile], tmp_path: Path, name: str
) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    hostile.names = ["fine", name]
    before = sorted(tmp_path.rglob("*"))
    done = run("pull", inner / "vault", "--force")
    assert (done.code, done.out) == (1, "") and "cannot be a file" in done.err
    assert sorted(tmp_path.rglob("*")) == before  # not even what was fine
    assert NEEDLE not in done.err


def test_sec_kubevault_the_control_a_harmless_server_does_write(
    run: Run, hostile: type[Hostile], tmp_path: Path
) -> None:
    hostile.names = ["fine", "deeper/"]
    done = run("pull", tmp_path / "vault")
    assert done.code == 0, done.err
    assert (tmp_path / "vault/kvstore/deeper/owned").read_text() == f'k: "{NEEDLE}"\n'


def test_sec_kubevault_a_link_leads_no_pull_outside_the_folder(
    run: Run, hostile: type[Hostile], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "vault/kvstore").mkdir(parents=True)
    (tmp_path / "vault/kvstore/deeper").symlink_to(outside)
    hostile.names = ["deeper/"]
    done = run("pull", tmp_path / "vault", "--force")
    assert done.code == 1 and "leaves the vault folder" in done.err and list(outside.iterdir()) == []
