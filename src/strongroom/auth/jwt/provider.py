"""The provider's keys and endpoints: asked for seldom, kept in the store for all processes.

``keyset`` holds what the provider last said. A key id that is not in it is a reason to ask again, but not within
``PAUSE`` of the last time, whatever came of it and whichever process asked: who makes up key ids makes no traffic.
"""

import ipaddress
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from strongroom.auth.jwt.config import Config, is_url
from strongroom.auth.jwt.keys import Header, Invalid, Key, chosen, from_pem, from_set
from strongroom.errors import Conflict, Unavailable, Unreachable
from strongroom.sdk.engine import Mount
from strongroom.sdk.outside import Fetched
from strongroom.sdk.storage import Write

PAUSE = 5.0  # seconds between two questions for keys
FRESH = 300.0  # seconds after which the keys are asked for again: a key that was withdrawn ends then
STALE = 3600.0  # seconds for which keys still count while the provider does not answer
PATIENCE = 10.0  # seconds that one question may take
_WAIT = 0.05  # seconds between two looks for what another process is fetching
_WAITERS = 8  # requests of one process that wait so; the others are told to try again
_LIMIT = 256 * 1024  # bytes of an answer
_KEY = "keyset"
_DISCOVERY = "/.well-known/openid-configuration"
_ENDPOINTS = (
    "jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "device_authorization_endpoint",
)  # fmt: skip


class Endpoints(msgspec.Struct, frozen=True, omit_defaults=True):
    """What discovery said (OpenID Connect Discovery 1.0 section 3)."""

    issuer: str = ""
    jwks_uri: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    device_authorization_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ()


class Keyset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As stored. Times in seconds since the Unix epoch, 0 = never."""

    config: str  # uid of the configuration that it belongs to
    asked: float = 0.0
    got: float = 0.0
    asking: bool = False  # somebody is, since ``asked``
    keys: bytes = b""  # the JWK set as it came
    endpoints: Endpoints = Endpoints()

    def __repr__(self) -> str:
        return f"Keyset(got={self.got})"


_EMPTY = Keyset(config="")


class Provider:
    """The keys and endpoints behind a configuration."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._actual = self._decoded = 0  # revision in the store, and of what is decoded here
        self._known: Keyset = _EMPTY
        self._keys: tuple[Key, ...] = ()
        self._static: tuple[str, tuple[Key, ...]] = ("", ())
        self._waiting = 0

    async def candidates(self, config: Config, header: Header) -> list[Key]:
        """The trusted keys that may have signed a token with ``header``; empty if there is none.

        Raises:
            Unreachable: there are no keys, and the provider did not answer.
            Unavailable: another process is asking, and too many wait for it.
        """
        if not config.asks:
            return [key for key in self._pems(config) if key.fits(header.alg)]
        await self._look(config)
        found, now = chosen(header, self._keys), self._mount.now()
        fresh = now - self._known.got < FRESH
        if not (found and fresh):
            await self._ask_again(config, found=bool(found))
            found = chosen(header, self._keys)
        if not self._keys:
            raise Unreachable("the keys of the provider cannot be fetched")
        return found

    async def endpoints(self, config: Config) -> Endpoints:
        """What discovery said. Raises Unreachable while it has never answered, Unavailable."""
        await self._look(config)
        if self._mount.now() - self._known.got >= FRESH:
            await self._ask_again(config, found=bool(self._keys))
        if not self._known.endpoints.issuer:
            raise Unreachable("the provider has not been discovered")
        return self._known.endpoints

    async def first(self, config: Config) -> Keyset:
        """Ask for a configuration that is about to be stored. Raises Unreachable."""
        endpoints, keys = await self._fetch(config)
        return Keyset(config=config.uid, got=self._mount.now(), keys=keys, endpoints=endpoints)

    # -- what is kept

    def _pems(self, config: Config) -> tuple[Key, ...]:
        if self._static[0] != config.uid:
            keys = tuple(from_pem(text, name="jwt_validation_pubkeys") for text in config.jwt_validation_pubkeys)
            self._static = (config.uid, keys)
        return self._static[1]

    async def _look(self, config: Config) -> None:
        """Take over what the store has; another configuration's keys, and such as are too old, are none."""
        entry = await self._mount.storage.get(_KEY)
        self._actual = 0 if entry is None else entry.revision
        if entry is None:
            self._known, self._keys, self._decoded = _EMPTY, (), 0
        elif entry.revision != self._decoded:
            self._known = msgspec.msgpack.decode(entry.value, type=Keyset)
            self._keys = from_set(self._known.keys) if self._known.keys else ()
            self._decoded = entry.revision
        if self._known.config != config.uid:
            self._known, self._keys, self._decoded = _EMPTY, (), 0
        if self._mount.now() - self._known.got >= STALE:
            self._keys = ()

    async def _ask_again(self, config: Config, *, found: bool) -> None:
        """Ask the provider, unless somebody did a moment ago. ``found``: there is a key to go on with meanwhile."""
        now, known = self._mount.now(), self._known
        since = now - known.asked
        if known.asking and 0 <= since < PATIENCE + PAUSE:
            if not found:
                await self._wait(config)
            return
        if 0 <= since < PAUSE:
            return
        claim = msgspec.structs.replace(known, config=config.uid, asked=now, asking=True)
        revision = await self._put(claim, self._actual)
        if not revision:
            await self._look(config)
            if not found and self._known.asking:
                await self._wait(config)
            return
        result = msgspec.structs.replace(claim, asking=False)
        try:
            endpoints, keys = await self._fetch(config)
            result = msgspec.structs.replace(result, got=now, keys=keys, endpoints=endpoints)
        except Unreachable:
            if not found:
                raise
        finally:
            await self._put(result, revision)
            await self._look(config)

    async def _put(self, keyset: Keyset, revision: int) -> int:
        """Store ``keyset`` over the entry of that revision; the new one, or 0 if somebody was faster."""
        value = msgspec.msgpack.encode(keyset)
        try:
            await self._mount.storage.commit([Write(_KEY, value)], expect={_KEY: revision})
        except Conflict:
            return 0
        entry = await self._mount.storage.get(_KEY)
        return entry.revision if entry is not None and entry.value == value else 0

    async def _wait(self, config: Config) -> None:
        """Until the other one has its answer. The house has no clock to sleep by, so a thread of ``offload`` does."""
        if self._waiting >= _WAITERS:
            raise Unavailable("the provider's keys are being fetched; try again")
        self._waiting += 1
        try:
            ends = time.monotonic() + PATIENCE
            while self._known.asking and time.monotonic() < ends:
                await self._mount.offload(lambda: time.sleep(_WAIT))
                await self._look(config)
        finally:
            self._waiting -= 1

    # -- the provider

    async def _fetch(self, config: Config) -> tuple[Endpoints, bytes]:
        """Endpoints and JWK set. Raises Unreachable."""
        endpoints = await self._discover(config) if config.oidc_discovery_url else Endpoints()
        url = endpoints.jwks_uri or config.jwks_url
        answer = await self.ask(config, "GET", url)
        try:
            keys = from_set(answer.body) if answer.status == 200 else ()
        except Invalid:
            keys = ()
        if not keys:
            raise Unreachable(f"{urlsplit(url).hostname} gave no usable keys")
        return endpoints, answer.body

    async def _discover(self, config: Config) -> Endpoints:
        url = config.oidc_discovery_url
        host = urlsplit(url).hostname
        answer = await self.ask(config, "GET", url + _DISCOVERY)
        try:
            found = msgspec.json.decode(answer.body, type=Endpoints) if answer.status == 200 else Endpoints()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = Endpoints()
        if not found.issuer or not found.jwks_uri:
            raise Unreachable(f"{host} gave no discovery document")
        if found.issuer.rstrip("/") != url:
            raise Unreachable(f"{host} says that it is another issuer")
        for name in _ENDPOINTS:
            if not may_lead(url, getattr(found, name)):
                raise Unreachable(f"the {name} that {host} gave is not one that may be asked")
        return found

    async def ask(
        self, config: Config, method: str, url: str, *, headers: Mapping[str, str] = {}, body: bytes = b""
    ) -> Fetched:
        """One question to the provider. Raises Unreachable."""
        sent = {"Accept": "application/json", **headers}
        return await self._mount.fetch(
            method, url, headers=sent, body=body, ca_pem=config.ca_pem, seconds=PATIENCE, limit=_LIMIT
        )


def may_lead(base: str, url: str) -> bool:
    """Whether a document from ``base`` may send us to ``url``: not out of TLS, nor to an inner address of its choice.

    An operator may configure an address like 10.0.0.7, a provider may not name one (threat GHSA-m479); names are
    judged when they are connected to. "" leads nowhere, which is fine.
    """
    if not url:
        return True
    if not is_url(url):
        return False
    here, there = urlsplit(base), urlsplit(url)
    if here.scheme == "https" and there.scheme != "https":
        return False
    try:
        address: Any = ipaddress.ip_address(there.hostname or "")
    except ValueError:
        return True
    return there.hostname == here.hostname or bool(address.is_global)
