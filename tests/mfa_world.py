"""A vault whose userpass logins need a second factor, and the authenticator of its users.

world = await factors()
await world.enforce()                             # every userpass login from now on
bob = await world.enrol("bob")                    # a user with a secret
status, body = await world.enter("bob", bob.code())   # both phases
"""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

from identity_world import People, fill
from strongroom.core.identity.mfa_totp import hotp
from vault_world import Clock


class Phone:
    """One secret, and the clock by which it shows codes."""

    def __init__(self, url: str, clock: Clock, entity: str) -> None:
        self.url, self.entity, self._clock = url, entity, clock
        fields = {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}
        text = fields["secret"]
        self.key = base64.b32decode(text + "=" * (-len(text) % 8))
        self._period, self._digits, self._algorithm = int(fields["period"]), int(fields["digits"]), fields["algorithm"]

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many steps later."""
        step = int(self._clock.time // self._period) + steps
        return hotp(self.key, step, digits=self._digits, algorithm=self._algorithm)

    def wrong(self) -> str:
        """A code that is not valid at present."""
        near = {self.code(steps) for steps in (-2, -1, 0, 1, 2)}
        return next(text for text in (f"{n:06d}" for n in range(10)) if text not in near)


class Factors(People):
    """See the module."""

    method = ""

    async def enforce(self, name: str = "all", **fields: Any) -> None:
        fields = fields or {"auth_method_types": ["userpass"]}
        await self.ok("POST", f"identity/mfa/login-enforcement/{name}", {"mfa_method_ids": [self.method], **fields})

    async def enrol(self, name: str) -> Phone:
        """A user with an entity and a secret for the method."""
        await self.user(name, "a")
        entity = await self.entity(name=name)
        await self.alias(name, entity)
        return await self.secret(entity)

    async def secret(self, entity: str) -> Phone:
        body = {"method_id": self.method, "entity_id": entity}
        made = (await self.ok("POST", "identity/mfa/method/totp/admin-generate", body))["data"]
        return Phone(made["url"], self.clock, entity)

    async def begin(self, name: str, **options: Any) -> str:
        """The id of a login that waits for its second factor."""
        body = await self.ok("POST", f"auth/userpass/login/{name}", {"password": "pw"}, token="", **options)
        auth = body["auth"]
        assert auth["client_token"] == "" and auth["mfa_requirement"], auth
        return str(auth["mfa_requirement"]["mfa_request_id"])

    async def finish(self, request_id: str, *codes: str, method: str = "") -> tuple[int, Any]:
        body = {"mfa_request_id": request_id, "mfa_payload": {method or self.method: list(codes)}}
        return await self.http("POST", "sys/mfa/validate", body, token="")

    async def enter(self, name: str, *codes: str) -> tuple[int, Any]:
        """Both phases of a login."""
        return await self.finish(await self.begin(name), *codes)

    async def at_once(self, name: str, text: str) -> tuple[int, Any]:
        """A login with the header X-Vault-MFA."""
        path, body = f"auth/userpass/login/{name}", {"password": "pw"}
        return await self.http("POST", path, body, token="", headers={"X-Vault-MFA": text})

    async def other_factors(self) -> "Factors":
        """Another worker on the same store, with the same clock."""
        other = Factors(backend=self.backend, clock=self.clock)
        other.root, other.keys, other.method, other.userpass = self.root, self.keys, self.method, self.userpass
        await other.core.submit(self.keys[0])
        return other


async def factors(*, backend: Any = None) -> Factors:
    """A vault with ``userpass/``, ``approle/``, ``secret/a`` and a TOTP method that nothing enforces yet."""
    world = await Factors.unsealed(backend=backend)
    assert isinstance(world, Factors)
    await fill(world)
    fields = {"issuer": "Strongroom", "method_name": "phone"}
    world.method = (await world.ok("POST", "identity/mfa/method/totp", fields))["data"]["method_id"]
    return world
