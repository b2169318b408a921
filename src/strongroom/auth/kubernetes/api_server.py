"""Asking the API server: whose a token is (TokenReview), and what labels a namespace has."""

import urllib.parse
from typing import Any

import msgspec

from strongroom.auth.kubernetes.accounts import Account, Refused, check_audience
from strongroom.auth.kubernetes.entries import Config, Role
from strongroom.errors import Unreachable
from strongroom.sdk.engine import Mount

LOCAL = "/var/run/secrets/kubernetes.io/serviceaccount"  # where a pod finds its own token and its authority
_LIMIT = 1024 * 1024  # bytes of an answer
_PREFIX = "system:serviceaccount:"


class ApiServer:
    """The API server of one configuration. Files of ``local`` are read anew each time: Kubernetes renews them."""

    __slots__ = ("_config", "_local", "_mount")

    def __init__(self, mount: Mount, config: Config, local: str = LOCAL) -> None:
        self._mount, self._config, self._local = mount, config, local

    async def review(self, jwt: str, role: Role, claim: Account) -> Account:
        """Whose ``jwt`` is, by the API server's word; the answer must name the account that the token claims.

        Raises:
            Refused: the API server does not vouch for it, or not for the role's audience.
            Unreachable: it did not answer, or does not let this vault ask.
        """
        asker = await self._reviewer()
        spec: dict[str, Any] = {"token": jwt}
        if role.audience:
            spec["audiences"] = [role.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        code, answer = await self._ask("POST", path, asker or jwt, msgspec.json.encode(body))
        if code == 401 and not asker:
            raise Refused("the token is not taken by the API server")
        if code not in (200, 201):
            raise Unreachable(f"the API server refused to review a token: status {code}")
        status = answer.get("status")
        if not isinstance(status, dict) or status.get("authenticated") is not True or status.get("error"):
            raise Refused("the API server does not know the token")
        if role.audience:  # an API server that does not know of audiences names none, and then checked none
            check_audience(role, status.get("audiences"))
        user = status.get("user")
        user = user if isinstance(user, dict) else {}
        if user.get("username") != f"{_PREFIX}{claim.namespace}:{claim.name}" or user.get("uid") != claim.uid:
            raise Refused("the API server names somebody else")
        return claim

    async def labels(self, namespace: str, jwt: str) -> dict[str, str]:
        """The labels of a namespace. Raises Unreachable if the API server does not tell."""
        path = f"/api/v1/namespaces/{urllib.parse.quote(namespace, safe='')}"
        code, answer = await self._ask("GET", path, await self._reviewer() or jwt, b"")
        if code != 200:
            raise Unreachable(f"the API server does not tell of a namespace: status {code}")
        metadata = answer.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        return {key: value for key, value in (labels or {}).items() if isinstance(value, str)}

    async def _ask(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict[str, Any]]:
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if body:
            headers["content-type"] = "application/json"
        got = await self._mount.fetch(
            method,
            self._config.kubernetes_host + path,
            headers=headers,
            body=body,
            ca_pem=await self._authority(),
            limit=_LIMIT,
        )
        try:
            return got.status, msgspec.json.decode(got.body, type=dict[str, Any]) if got.body else {}
        except (msgspec.DecodeError, RecursionError):
            return got.status, {}

    async def _reviewer(self) -> str:
        """The token that asks: the configured one, or this pod's own; "" where the client's must do."""
        if self._config.token_reviewer_jwt or self._config.disable_local_ca_jwt:
            return self._config.token_reviewer_jwt
        return (await self._read("token")).strip()

    async def _authority(self) -> str:
        if self._config.kubernetes_ca_cert or self._config.disable_local_ca_jwt:
            return self._config.kubernetes_ca_cert
        return await self._read("ca.crt")

    async def _read(self, name: str) -> str:
        def read() -> str:
            try:
                with open(f"{self._local}/{name}", encoding="ascii") as file:
                    return file.read(1024 * 1024)
            except (OSError, UnicodeDecodeError):
                return ""

        return str(await self._mount.offload(read))
