"""The login contract, for every auth method of the house."""

from typing import Any

import pytest

import api_server_stub
import oidc_provider
from certificates import make
from contracts.login_contract import LoginContract
from contracts.login_harness import CHEAP, Door
from strongroom.auth.approle import AppRole
from strongroom.auth.cert import Cert
from strongroom.auth.jwt import Jwt
from strongroom.auth.kubernetes import Kubernetes
from strongroom.auth.userpass import Userpass
from strongroom.core.lockout import Lockout
from strongroom.errors import BadRequest
from strongroom.sdk.request import Op, Request, Response


class TestUserpass(LoginContract):
    def open_door(self, **door: Any) -> Door:
        return Door(lambda mount: Userpass(mount, hasher=CHEAP), kind="userpass", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("users/bob", {"password": "right", **fields})

    async def remove(self, door: Door) -> None:
        await door.delete("users/bob")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            "good": ("login/bob", {"password": "right"}),
            "wrong": ("login/bob", {"password": "wrong"}),
            "unknown": ("login/nobody", {"password": "right"}),
            "no proof": ("login/bob", {}),
        }


class TestAppRole(LoginContract):
    def open_door(self, **door: Any) -> Door:
        return Door(AppRole, kind="approle", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("role/r", fields)

    async def remove(self, door: Door) -> None:
        await door.delete("role/r")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        role_id = (await door.read("role/r/role-id"))["role_id"]
        made = (await door.write("role/r/secret-id")).data or {}
        return {
            "good": ("login", {"role_id": role_id, "secret_id": made["secret_id"]}),
            "wrong": ("login", {"role_id": role_id, "secret_id": "wrong"}),
            "unknown": ("login", {"role_id": "nobody", "secret_id": made["secret_id"]}),
            "no proof": ("login", {"role_id": role_id}),
        }


class TestCert(LoginContract):
    """The proof is the connection's: what ``attempts`` tells is only the path and the body."""

    root = make("root", ca=True)
    clients = {"good": root.sign("a"), "wrong": make("a"), "unknown": make("other", ca=True).sign("b")}

    def open_door(self, **door: Any) -> Door:
        made = Door(Cert, kind="cert", **door)
        right = self.clients["good"].der

        class Renewing:
            """``renew`` over the certificate of the login, as the other methods have it."""

            def __getattr__(self, name: str) -> Any:
                return getattr(made.inner, name)

            async def renew(self, auth: Any) -> Any:
                return await made.inner.renew_from(auth, Request(id="r", op=Op.UPDATE, path="p", certificate=right))

        made.inner, made.engine = made.engine, Renewing()  # type: ignore[attr-defined]
        return made

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("certs/r", {"certificate": self.root.pem, **fields})

    async def remove(self, door: Door) -> None:
        await door.delete("certs/r")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        return dict.fromkeys(("good", "wrong", "unknown", "no proof"), ("login", {"name": "r"}))

    async def login(self, door: Door, which: str = "good", **more: Any) -> Response:
        path, data = (await self.attempts(door))[which]
        proof = {} if which == "no proof" else {"certificate": self.clients[which].der}
        return await door.write(path, data, **proof, **more)

    async def test_a_locked_name_is_refused_even_with_the_right_proof(self) -> None:
        """Nobody guesses a private key: failures lock nobody out."""
        door = self.open_door(guard=lambda clock: Lockout(clock))
        await self.prepare(door)
        for _ in range(20):
            with pytest.raises(BadRequest):
                await self.login(door, "wrong")


class TestJwt(LoginContract):
    """A key in the configuration; the provider's part is in unit/auth/test_jwt_provider.py."""

    def open_door(self, **door: Any) -> Door:
        return Door(Jwt, kind="jwt", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        key = oidc_provider.rsa_key()
        await door.write("config", {"jwt_validation_pubkeys": [oidc_provider.pem(key)]})
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"}
        await door.write("role/r", {**role, **fields})

    async def remove(self, door: Door) -> None:
        await door.delete("role/r")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        claims = {"sub": "alice", "aud": "vault", "exp": int(door.clock()) + 3600}
        good = oidc_provider.signed(oidc_provider.rsa_key(), claims)
        return {
            "good": ("login", {"role": "r", "jwt": good}),
            "wrong": ("login", {"role": "r", "jwt": oidc_provider.signed(oidc_provider.rsa_key("", 1), claims)}),
            "unknown": ("login", {"role": "nobody", "jwt": good}),
            "no proof": ("login", {"role": "r"}),
        }

    async def test_only_logins_are_open_and_they_name_the_alias(self, door: Door) -> None:
        """The browser's routes are open too, and no route names an alias: see the next test."""
        open_routes = {route.pattern for route in door.engine.routes() if route.login}
        assert "login" in open_routes and all(p.partition("/")[0] in ("login", "oidc") for p in open_routes)
        assert all(route.help and not route.while_sealed for route in door.engine.routes())

    async def test_a_locked_name_is_refused_even_with_the_right_proof(self) -> None:
        """Nobody can guess a signature, so there is nothing to lock, and nobody can lock a role for the others."""
        door = self.open_door(guard=lambda clock: Lockout(clock))
        await self.prepare(door)
        for which in ("wrong", "unknown", "no proof"):
            for _ in range(6):
                with pytest.raises(BadRequest):
                    await self.login(door, which)
        assert (await self.login(door)).auth is not None


class TestKubernetes(LoginContract):
    """Keys in the configuration; the API server's part is in unit/auth/kubernetes."""

    def open_door(self, **door: Any) -> Door:
        return Door(Kubernetes, kind="kubernetes", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("config", {"pem_keys": [api_server_stub.public_pem()]})
        bound = {"bound_service_account_names": "web", "bound_service_account_namespaces": "prod", "audience": "vault"}
        await door.write("role/r", {**bound, **fields})

    async def remove(self, door: Door) -> None:
        await door.delete("role/r")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        api = api_server_stub.ApiServer(door.clock)
        good = api.token("prod", "web", exp=int(door.clock()) + 36000)
        return {
            "good": ("login", {"role": "r", "jwt": good}),
            "wrong": ("login", {"role": "r", "jwt": api.token("prod", "web", by=1)}),
            "unknown": ("login", {"role": "nobody", "jwt": good}),
            "no proof": ("login", {"role": "r"}),
        }

    async def test_a_locked_name_is_refused_even_with_the_right_proof(self) -> None:
        """Nobody guesses a signature: failures lock nobody out."""
        door = self.open_door(guard=lambda clock: Lockout(clock))
        await self.prepare(door)
        for _ in range(20):
            with pytest.raises(BadRequest):
                await self.login(door, "wrong")
        assert (await self.login(door)).auth is not None
