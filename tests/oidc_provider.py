"""A provider of identities with keys of its own, as a real HTTP server in the test's process."""

import base64
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwk, jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from outside_peer import Answer, Asked, Authority, Peer

_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "k")
_made: dict[tuple[str, int], Any] = {}


def rsa_key(kid: str = "", number: int = 0) -> Any:
    """RSA keys take time to make; each number is made once for all tests."""
    if ("RSA", number) not in _made:
        _made["RSA", number] = RSAKey.generate_key(2048)
    return named(_made["RSA", number], kid)


def ec_key(kid: str = "", curve: str = "P-256") -> Any:
    return named(ECKey.generate_key(curve), kid)


def ed_key(kid: str = "") -> Any:
    return named(OKPKey.generate_key("Ed25519"), kid)


def named(key: Any, kid: str, **more: str) -> Any:
    fields = {k: v for k, v in key.as_dict(private=True).items() if k != "kid"}
    return jwk.import_key({**fields, **({"kid": kid} if kid else {}), **more})


def public(key: Any, **more: str) -> dict[str, Any]:
    return {k: v for k, v in key.as_dict(private=True).items() if k not in _PRIVATE} | more


def pem(key: Any) -> str:
    return str(key.as_pem(private=False).decode())


def signed(key: Any, claims: Mapping[str, Any] | bytes, alg: str = "RS256", **header: Any) -> str:
    """A compact JWS. ``kid=None`` leaves the key's own out."""
    fields: dict[str, Any] = {"alg": alg, "typ": "JWT", **({"kid": key.kid} if key.kid else {}), **header}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc at the name EdDSA
        return jws.serialize_compact(
            {k: v for k, v in fields.items() if v is not None}, payload, key, registry=registry
        )


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def hmac_signed(secret: bytes, claims: Mapping[str, Any], bits: int = 256, **header: Any) -> str:
    """A compact JWS by HMAC, made by hand: libraries refuse to use a public key so."""
    head = {"alg": f"HS{bits}", "typ": "JWT", **header}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), f'sha{bits}'))}"


class MockProvider:
    """Discovery, JWK set, token, userinfo and device endpoints. Tests change its fields and look at ``peer.asked``."""

    def __init__(self, *, now: Callable[[], float] = time.time, tls: Authority | None = None) -> None:
        self.now = now
        self.key = rsa_key("one")
        self.published = [public(self.key)]
        self.down = False
        self.document: dict[str, Any] = {}  # over what discovery says
        self.claims: dict[str, Any] = {}  # over what ID tokens say
        self.userinfo: dict[str, Any] | None = None
        self.codes: dict[str, dict[str, str]] = {}  # code -> the query of the authorization request
        self.devices: dict[str, str] = {}  # device code -> "pending" | "slow" | "done" | "denied"
        self.peer = Peer(self.answer, tls=tls)
        self.url = self.peer.url

    def __enter__(self) -> "MockProvider":
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.__exit__()

    def asked(self, path: str) -> int:
        return sum(urlsplit(one.path).path == path for one in self.peer.asked)

    def token(self, **claims: Any) -> str:
        """A token of this issuer for ``alice``, valid for five minutes. A claim that is None is left out."""
        now = int(self.now())
        fields = {"iss": self.url, "sub": "alice", "aud": "vault", "iat": now, "exp": now + 300, **claims}
        return signed(self.key, {name: value for name, value in fields.items() if value is not None})

    def rotate(self, kid: str, number: int = 1) -> None:
        """Sign with another key from now on, and publish that one alone."""
        self.key = rsa_key(kid, number)
        self.published = [public(self.key)]

    def answer(self, asked: Asked) -> Answer:
        path = urlsplit(asked.path).path
        if self.down:
            return 503, {}, b"away"
        if path == "/.well-known/openid-configuration":
            return self._json({**self._discovery(), **self.document})
        if path == "/keys":
            return self._json({"keys": self.published})
        if path == "/token":
            return self._token(asked)
        if path == "/userinfo" and self.userinfo is not None:
            return self._json(self.userinfo) if asked.headers.get("authorization") == "Bearer at" else (401, {}, b"")
        if path == "/device":
            code = f"device-{len(self.devices)}"
            self.devices[code] = "pending"
            return self._json(
                {
                    "device_code": code,
                    "user_code": "AB-CD",
                    "verification_uri": f"{self.url}/activate",
                    "verification_uri_complete": f"{self.url}/activate?user_code=AB-CD",
                    "expires_in": 300,
                }  # fmt: skip
            )
        return 404, {}, b"nothing here"

    def _discovery(self) -> dict[str, Any]:
        found = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return found if self.userinfo is None else {**found, "userinfo_endpoint": f"{self.url}/userinfo"}

    def authorize(self, auth_url: str) -> str:
        """What the browser does when the user agrees: a code for that authorization request."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(auth_url).query).items()}
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return code

    def _token(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        basic = "Basic " + base64.b64encode(b"client:s3cret%2B").decode()
        if asked.headers.get("authorization") != basic and form.get("client_secret") != "s3cret+":
            return 401, {}, b'{"error": "invalid_client"}'
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
            state = self.devices.get(form.get("device_code", ""), "")
            word = {"pending": "authorization_pending", "slow": "slow_down", "denied": "access_denied"}.get(state)
            if word or not state:
                return 400, {}, json.dumps({"error": word or "invalid_grant"}).encode()
            return self._json({"id_token": self.token(aud="client", **self.claims), "access_token": "at"})
        query = self.codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "").encode()
        if query is None or b64(hashlib.sha256(verifier).digest()) != query.get("code_challenge"):
            return 400, {}, b'{"error": "invalid_grant"}'
        if form.get("redirect_uri") != query["redirect_uri"]:
            return 400, {}, b'{"error": "invalid_grant"}'
        fields = {"aud": "client", "nonce": query["nonce"], **self.claims}
        return self._json({"id_token": self.token(**fields), "access_token": "at", "token_type": "Bearer"})

    @staticmethod
    def _json(body: Any) -> Answer:
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
