"""A vault with userpass and AppRole, whose logins have entities.

world = await people()
await world.user("bob", "p")                    # a user with that policy
auth = await world.login("bob")                 # the auth block
"""

import json
from typing import Any

from vault_world import World


class People(World):
    """See the module."""

    userpass = ""
    approle = ""

    async def user(self, name: str, *policies: str) -> None:
        await self.ok("POST", f"auth/userpass/users/{name}", {"password": "pw", "token_policies": list(policies)})

    async def login(self, name: str, *, mount: str = "userpass") -> dict[str, Any]:
        auth: dict[str, Any] = (await self.ok("POST", f"auth/{mount}/login/{name}", {"password": "pw"}, token=""))[
            "auth"
        ]
        return auth

    async def token_of(self, name: str) -> str:
        return str((await self.login(name))["client_token"])

    async def entity(self, **fields: Any) -> str:
        """The id of a new entity."""
        return str((await self.ok("POST", "identity/entity", fields))["data"]["id"])

    async def group(self, **fields: Any) -> str:
        return str((await self.ok("POST", "identity/group", fields))["data"]["id"])

    async def alias(self, name: str, entity: str, *, accessor: str = "") -> str:
        fields = {"name": name, "canonical_id": entity, "mount_accessor": accessor or self.userpass}
        return str((await self.ok("POST", "identity/entity-alias", fields))["data"]["id"])

    async def read(self, path: str) -> dict[str, Any]:
        data: dict[str, Any] = (await self.ok("GET", f"identity/{path}"))["data"]
        return data

    async def reads(self, path: str, *, policy: str) -> None:
        """A policy that may read ``path`` and list what is beside it."""
        text = json.dumps({"path": {path: {"capabilities": ["read"]}}})
        await self.ok("PUT", f"sys/policies/acl/{policy}", {"policy": text})


async def people(*, backend: Any = None) -> People:
    """A vault with ``secret/`` (kv 1), where ``secret/a`` and ``secret/b`` are, ``userpass/`` and ``approle/``."""
    world = await People.unsealed(backend=backend)
    assert isinstance(world, People)
    await fill(world)
    return world


async def fill(world: People) -> None:
    """Mount and write what ``people`` tells of."""
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"})
    for name in ("a", "b"):
        await world.ok("POST", f"secret/{name}", {"value": name})
        await world.reads(f"secret/{name}", policy=name)
    for kind in ("userpass", "approle"):
        await world.ok("POST", f"sys/auth/{kind}", {"type": kind})
    mounts = (await world.ok("GET", "sys/auth"))["data"]
    world.userpass, world.approle = mounts["userpass/"]["accessor"], mounts["approle/"]["accessor"]
