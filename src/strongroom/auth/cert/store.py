"""Where roles, revocation lists and settings lie.

config            Config
certs/<name>      Role
crls/<name>       Crl
crl-der/<name>    the list itself, DER; always written with its Crl
"""

import os
from collections.abc import Callable

import msgspec

from strongroom.auth.cert.entries import Config, Crl, Role, der
from strongroom.errors import Conflict
from strongroom.sdk.engine import Mount
from strongroom.sdk.storage import Write

_PAGE = 500  # entries read at a time
_ATTEMPTS = 8  # of a read-modify-write that meets another writer


class Store:
    """What one mount keeps. Decoded roles are remembered under the revision of their entry."""

    __slots__ = ("_mount", "_roles", "_storage")

    def __init__(self, mount: Mount) -> None:
        self._mount, self._storage = mount, mount.storage
        self._roles: dict[str, tuple[int, Role]] = {}

    async def config(self) -> Config:
        """The settings."""
        entry = await self._storage.get("config")
        return Config() if entry is None else msgspec.json.decode(entry.value, type=Config)

    async def change_config(self, change: Callable[[Config], Config]) -> None:
        """Settings as ``change`` makes them of those stored."""
        for _ in range(_ATTEMPTS):
            entry = await self._storage.get("config")
            old = Config() if entry is None else msgspec.json.decode(entry.value, type=Config)
            write = Write("config", msgspec.json.encode(change(old)))
            try:
                await self._storage.commit([write], expect={"config": entry.revision if entry else 0})
            except Conflict:
                continue
            return
        raise Conflict("the settings are being changed by others; try again")

    async def role(self, name: str) -> Role | None:
        """The role ``name``."""
        entry = await self._storage.get(f"certs/{name}")
        return None if entry is None else msgspec.json.decode(entry.value, type=Role)

    async def roles(self) -> dict[str, Role]:
        """All roles by name, in byte order."""
        found: dict[str, tuple[int, Role]] = {}
        after = ""
        while page := await self._storage.scan("certs/", after=after, limit=_PAGE):
            for name, entry in page:
                known = self._roles.get(name)
                if known is None or known[0] != entry.revision:
                    known = (entry.revision, msgspec.json.decode(entry.value, type=Role))
                found[name] = known
            after = page[-1][0]
        self._roles = found
        return {name: role for name, (_, role) in found.items()}

    async def change_role(self, name: str, change: Callable[[Role], Role]) -> Role:
        """The role ``name``, new or old, as ``change`` makes it. Doors hear of it."""
        key = f"certs/{name}"
        for _ in range(_ATTEMPTS):
            entry = await self._storage.get(key)
            old = None if entry is None else msgspec.json.decode(entry.value, type=Role)
            made = change(old or Role(uid=os.urandom(8).hex()))
            known = {key: entry.revision if entry else 0}
            try:
                if old is not None and old.certificate == made.certificate:
                    await self._storage.commit([Write(key, msgspec.json.encode(made))], expect=known)
                else:
                    await self._publish(name, made, known)
            except Conflict:
                continue
            return made
        raise Conflict("the role is being changed by others; try again")

    async def delete_role(self, name: str) -> None:
        """Remove the role ``name``, which need not be there. Doors hear of it."""
        if await self._storage.get(f"certs/{name}") is not None:
            await self._publish(name, None, {})

    async def crls(self) -> dict[str, tuple[Crl, int]]:
        """All revocation lists by name, with the revisions of their entries; without the lists themselves."""
        found: dict[str, tuple[Crl, int]] = {}
        after = ""
        while page := await self._storage.scan("crls/", after=after, limit=_PAGE):
            found |= {name: (msgspec.json.decode(one.value, type=Crl), one.revision) for name, one in page}
            after = page[-1][0]
        return found

    async def crl(self, name: str) -> tuple[Crl, int] | None:
        """The entry of the list ``name`` and its revision."""
        entry = await self._storage.get(f"crls/{name}")
        return None if entry is None else (msgspec.json.decode(entry.value, type=Crl), entry.revision)

    async def crl_der(self, name: str) -> bytes:
        """The list ``name`` itself, DER; b"" if it has gone meanwhile."""
        entry = await self._storage.get(f"crl-der/{name}")
        return b"" if entry is None else entry.value

    async def put_crl(self, name: str, crl: Crl, content: bytes, revision: int | None = None) -> None:
        """Store a list; over ``revision`` of its entry only, if one is given (Conflict otherwise)."""
        writes = [Write(f"crls/{name}", msgspec.json.encode(crl)), Write(f"crl-der/{name}", content)]
        await self._storage.commit(writes, expect={} if revision is None else {f"crls/{name}": revision})

    async def delete_crl(self, name: str) -> None:
        """Remove the list ``name``, which need not be there."""
        await self._storage.commit([Write(f"crls/{name}", None), Write(f"crl-der/{name}", None)])

    async def _publish(self, name: str, role: Role | None, expect: dict[str, int]) -> None:
        """Store the role, or remove it, and what it trusts with it."""
        write = Write(f"certs/{name}", None if role is None else msgspec.json.encode(role))
        if self._mount.publish is None:
            await self._storage.commit([write], expect=expect)
        else:
            trusted = () if role is None else der(role.certificate, "certificate")
            await self._mount.publish([write], expect, {name: trusted})
