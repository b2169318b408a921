"""A stub of the Kubernetes API server: not Kubernetes, only what the auth method asks of it (TokenReview, namespaces).

It signs service accounts' tokens, and reviews them as the API server does: signature, times, audience, and whether
the service account of that uid is still there. ``fetch`` is a ``Mount.fetch``; ``serve`` puts the same behind a socket.
"""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from strongroom.errors import Unreachable
from strongroom.sdk.outside import Fetched

URL = "https://api.stub:6443"
REVIEWER = "reviewer.token.x"
_KEYS: list[rsa.RSAPrivateKey] = []


def key(number: int = 0) -> rsa.RSAPrivateKey:
    """One of a few RSA keys, made once."""
    while len(_KEYS) <= number:
        _KEYS.append(rsa.generate_private_key(65537, 2048))
    return _KEYS[number]


def public_pem(number: int = 0) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key(number).public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: Mapping[str, Any], *, by: int = 0, header: Mapping[str, Any] | None = None) -> str:
    """A compact JWS, RS256."""
    text = f"{encoded(header or {'alg': 'RS256', 'kid': 'k'})}.{encoded(claims)}"
    return f"{text}.{encoded(key(by).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class ApiServer:
    """Service accounts, by namespace and name, and what was asked."""

    def __init__(self, now: Any) -> None:
        self.now = now
        self.accounts: dict[tuple[str, str], str] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.reviewers = {REVIEWER}
        self.up = True
        self.knows_audiences = True
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    def create(self, namespace: str, name: str, uid: str = "") -> str:
        uid = uid or f"uid-{namespace}-{name}"
        self.accounts[namespace, name] = uid
        return uid

    def claims(self, namespace: str, name: str, **more: Any) -> dict[str, Any]:
        uid = self.accounts.get((namespace, name), "uid-of-nobody")
        private = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        now = int(self.now())
        return {
            "iss": "https://kubernetes.default.svc", "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": ["vault"], "exp": now + 3600, "iat": now, "nbf": now, "kubernetes.io": private, **more,
        }  # fmt: skip

    def token(self, namespace: str, name: str, *, by: int = 0, **more: Any) -> str:
        return signed(self.claims(namespace, name, **more), by=by)

    def review(self, token: str, audiences: list[str]) -> dict[str, Any]:
        """The ``status`` of a TokenReview."""
        head, _, signature = token.rpartition(".")
        padded = [part + "=" * (-len(part) % 4) for part in (*head.split("."), signature)]
        try:
            claims = json.loads(base64.urlsafe_b64decode(padded[1]))
            proof = base64.urlsafe_b64decode(padded[2])
            key().public_key().verify(proof, head.encode(), padding.PKCS1v15(), hashes.SHA256())
            _, _, namespace, name = claims["sub"].split(":")
            uid = claims["kubernetes.io"]["serviceaccount"]["uid"]
        except Exception:
            return {"authenticated": False, "error": "invalid bearer token"}
        if claims["exp"] <= self.now() or self.accounts.get((namespace, name)) != uid:
            return {"authenticated": False, "error": "service account token has been invalidated"}
        shared = [one for one in audiences if one in claims["aud"]]
        if audiences and self.knows_audiences and not shared:
            return {"authenticated": False, "error": "token audiences do not fit"}
        user = {"username": claims["sub"], "uid": uid, "groups": ["system:serviceaccounts"]}
        status: dict[str, Any] = {"authenticated": True, "user": user}
        return {**status, "audiences": shared} if audiences and self.knows_audiences else status

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if bearer not in self.reviewers:
            known = self.review(bearer, [])["authenticated"]
            return (403, {"kind": "Status"}) if known else (401, {"kind": "Status"})
        if (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"):
            asked = json.loads(body)
            assert (asked["kind"], asked["apiVersion"]) == ("TokenReview", "authentication.k8s.io/v1")
            return 201, {**asked, "status": self.review(asked["spec"]["token"], asked["spec"].get("audiences", []))}
        namespace = path.removeprefix("/api/v1/namespaces/")
        if method == "GET" and namespace in self.labels:
            return 200, {"metadata": {"name": namespace, "labels": self.labels[namespace]}}
        return 404, {"kind": "Status"}

    async def fetch(self, method: str, url: str, *, headers: Any = {}, body: bytes = b"", **more: Any) -> Fetched:
        assert url.startswith(URL)
        self.asked.append((method, url.removeprefix(URL), {**headers, "ca": more.get("ca_pem", "")}))
        if not self.up:
            raise Unreachable("api.stub does not answer")
        bearer = headers["authorization"].removeprefix("Bearer ")
        status, answer = self.answer(method, url.removeprefix(URL), bearer, body)
        return Fetched(status, {}, json.dumps(answer).encode())

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """The URL of the same over HTTP on this machine."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                bearer = str(self.headers.get("Authorization", "")).removeprefix("Bearer ")
                status, answer = stub.answer(self.command, self.path, bearer, body)
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
