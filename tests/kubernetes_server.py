"""A real Kubernetes API server for tests: etcd, kube-apiserver, kube-controller-manager on loopback; RBAC, no nodes.

with KubernetesServer(folder) as server:
    server.kubectl("get", "secrets")                         as an administrator
    server.kubectl("get", "secrets", token=...)              as somebody else

``make test-cluster`` builds the programs; KUBE_ASSETS names another folder that holds them.
"""

import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import certificates
from ending import with_us
from server_process import free_port

BUILT = Path(__file__).resolve().parent.parent / "build" / "kubernetes"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
ISSUER = "https://kubernetes.default.svc.cluster.local"
CONTROLLERS = ("serviceaccount-token-controller", "serviceaccount-controller", "namespace-controller")
_WAIT = 120.0  # seconds
_ADMIN, _MANAGER = "the-administrators-token", "the-controller-managers-token"


def programs() -> dict[str, str]:
    """Name -> path of those programs that are there, ``kubectl`` among them."""
    place = os.environ.get("KUBE_ASSETS", str(BUILT))
    searched = os.pathsep.join([place, os.environ.get("PATH", "")])
    # A kube-apiserver that happens to be on PATH may be of any version; etcd and kubectl may.
    found = {name: shutil.which(name, path=searched if name == "etcd" else place) for name in PROGRAMS}
    found["kubectl"] = shutil.which("kubectl", path=searched)
    return {name: path for name, path in found.items() if path}


def missing() -> str:
    """Why there can be no server, or the empty string."""
    lost = sorted({*PROGRAMS, "kubectl"} - set(programs()))
    return f"{', '.join(lost)} not found: make test-cluster builds them, kubectl must be installed" if lost else ""


class KubernetesServer:
    """See the module. Everything is kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = programs()
        self.url = f"https://127.0.0.1:{free_port()}"
        self.kubeconfig = folder / "kubeconfig"
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "KubernetesServer":
        try:
            self._keys()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for _name, process in reversed(self._running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    # Starting.

    def _keys(self) -> None:
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        dates: dict[str, Any] = {"since": since, "until": since + datetime.timedelta(days=2)}
        authority = certificates.make("test cluster", ca=True, **dates)
        sans = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        server = authority.sign("kube-apiserver", usage=[certificates.SERVER], sans=sans, **dates)
        accounts = certificates.make("service accounts", key=rsa.generate_private_key(65537, 2048), **dates)
        self.ca = authority.pem
        for name, text in {
            "ca.crt": authority.pem,
            "server.crt": server.pem,
            "server.key": server.key_pem,
            "accounts.key": accounts.key_pem,
            "tokens.csv": f'{_ADMIN},admin,1,"system:masters"\n{_MANAGER},manager,2,"system:masters"\n',
            "kubeconfig": self._config(_ADMIN),
            "manager.kubeconfig": self._config(_MANAGER),
            "nobody.kubeconfig": self._config(""),
        }.items():
            (self.folder / name).write_text(text)

    def _config(self, token: str) -> str:
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.crt")}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "me", "user": {"token": token} if token else {}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
                "current-context": "test",
            }
        )

    def _start(self) -> None:
        etcd, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        place = self.folder
        self._run("etcd", f"--data-dir={place}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                  f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
                  f"--initial-cluster=default={peers}", "--unsafe-no-fsync=true", "--log-level=error")  # fmt: skip
        self._run("kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
                  f"--secure-port={self.url.rpartition(':')[2]}", "--advertise-address=127.0.0.1",
                  "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
                  f"--tls-cert-file={place}/server.crt", f"--tls-private-key-file={place}/server.key",
                  f"--client-ca-file={place}/ca.crt", f"--token-auth-file={place}/tokens.csv",
                  "--authorization-mode=RBAC", "--anonymous-auth=true", f"--service-account-issuer={ISSUER}",
                  f"--service-account-key-file={place}/accounts.key",
                  f"--service-account-signing-key-file={place}/accounts.key", f"--cert-dir={place}",
                  "--max-requests-inflight=0", "--max-mutating-requests-inflight=0", "--profiling=false",
                  "--enable-priority-and-fairness=false")  # fmt: skip
        self._until_ready()
        self._run("kube-controller-manager", f"--kubeconfig={place}/manager.kubeconfig", "--leader-elect=false",
                  f"--controllers={','.join(CONTROLLERS)}", f"--root-ca-file={place}/ca.crt", "--secure-port=0",
                  f"--service-account-private-key-file={place}/accounts.key",
                  "--use-service-account-credentials=false", "--kube-api-qps=200", "--kube-api-burst=400")  # fmt: skip

    def _run(self, name: str, *flags: str) -> None:
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [self.programs[name], *flags],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=with_us(),
            )
        self._running.append((name, process))

    def _until_ready(self) -> None:
        context = ssl.create_default_context(cadata=self.ca)
        asked = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {_ADMIN}"})

        def ready() -> bool:
            with contextlib.suppress(OSError, urllib.error.URLError):
                return bool(urllib.request.urlopen(asked, context=context, timeout=5).status == 200)
            return False

        self.until(ready, "the API server is ready")

    def until(self, condition: Any, what: str, seconds: float = _WAIT) -> Any:
        """Poll until ``condition`` gives something true; with the end of a program's log when one has ended."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            for name, process in self._running:
                if process.poll() is not None:
                    end = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                    raise AssertionError(f"{name} ended with {process.returncode}: {end}")
            assert time.monotonic() < deadline, f"did not happen: {what}"
            time.sleep(0.05)
        return found

    # Asking.

    def kubectl(self, *words: str, stdin: str = "", token: str = "", fails: bool = False) -> str:
        """What ``kubectl`` prints; with ``fails`` its errors, and it must end with another code than 0.

        ``token``: of the one who asks; an administrator without.
        """
        done = self.ask(words, stdin=stdin, token=token)
        assert (done.returncode != 0) is fails, f"kubectl {' '.join(words)[:200]}: {done.stderr[:4000]}"
        return done.stderr if fails else done.stdout

    def ask(self, words: Sequence[str], *, stdin: str = "", token: str = "") -> "subprocess.CompletedProcess[str]":
        """Run ``kubectl``, whatever comes of it."""
        config = self.folder / "nobody.kubeconfig" if token else self.kubeconfig
        command = [self.programs["kubectl"], f"--kubeconfig={config}", *([f"--token={token}"] if token else []), *words]
        home = {"HOME": str(self.folder), "PATH": os.environ.get("PATH", "")}
        return subprocess.run(command, input=stdin, env=home, capture_output=True, text=True, check=False, timeout=300)

    def get(self, *words: str, token: str = "") -> Any:
        """What ``kubectl get`` finds, decoded."""
        return json.loads(self.kubectl("get", *words, "--output=json", token=token))
