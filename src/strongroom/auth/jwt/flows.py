"""Logins under way in a browser: what is remembered between the first request and the last, by any process.

``flow/<when it ends>/<hash of the state>`` holds one ``Flow``. The state says where it lies, so a look-up is one read,
and whoever reads the store finds no state. What has ended is swept by the next one that begins.
"""

import hashlib
import os
import re
from typing import Any

import msgspec

from strongroom.errors import Conflict
from strongroom.sdk.engine import Mount
from strongroom.sdk.storage import Write

LIFE = 300  # seconds that a login in a browser may take
_SWEEP = 20  # ended ones removed by one that begins
_STATE = re.compile(r"st_([0-9a-f]{10})_([A-Za-z0-9_-]{43})", re.ASCII)


class Flow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One login under way. ``stage``: "started", "asked" (a person must confirm), "proved" (the poll has the token)."""

    role: str
    uid: str  # of the role
    config: str  # uid of the configuration
    mode: str  # "client" | "direct" | "device"
    stage: str = "started"
    redirect_uri: str = ""
    nonce: str = ""
    verifier: str = ""  # PKCE, RFC 7636
    client_nonce: str = ""
    remote: str = ""  # who started it
    started: float = 0.0  # seconds since the Unix epoch
    code: str = ""  # from the provider, in stage "asked"
    id_token: str = ""
    confirmation: str = ""  # what the confirming page knows
    claims: dict[str, Any] = {}  # in stage "proved"
    device_code: str = ""
    interval: int = 5  # seconds between two questions about a device code
    next_poll: float = 0.0

    def __repr__(self) -> str:
        return f"Flow({self.mode}, {self.stage})"


class Kept(msgspec.Struct, frozen=True):
    """A flow and where it lies."""

    flow: Flow
    key: str
    revision: int

    def __repr__(self) -> str:
        return f"Kept({self.flow!r})"


class Flows:
    """The logins under way at one mount."""

    __slots__ = ("_mount",)

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    async def begin(self, flow: Flow, *, life: int = LIFE) -> str:
        """Keep ``flow`` for ``life`` seconds; its state, 256 random bits that say where it lies."""
        now = int(self._mount.now())
        state = f"st_{now + life:010x}_{secret()}"
        writes = [Write(_key(state), msgspec.msgpack.encode(flow))]
        ended = await self._mount.storage.scan("flow/", until=f"{now + 1:010x}", limit=_SWEEP)
        writes += [Write(f"flow/{key}", None) for key, _ in ended]
        await self._mount.storage.commit(writes)
        return state

    async def find(self, state: str) -> Kept | None:
        """The flow of that state, if it has not ended."""
        match = _STATE.fullmatch(state)
        if match is None or int(match[1], 16) <= self._mount.now():
            return None
        key = _key(state)
        entry = await self._mount.storage.get(key)
        return None if entry is None else Kept(msgspec.msgpack.decode(entry.value, type=Flow), key, entry.revision)

    async def take(self, kept: Kept) -> bool:
        """End the flow; True for one caller alone, however many try."""
        return await self._commit(kept, None)

    async def change(self, kept: Kept, **fields: Any) -> bool:
        """Go on with other fields; False if somebody else did meanwhile."""
        return await self._commit(kept, msgspec.msgpack.encode(msgspec.structs.replace(kept.flow, **fields)))

    async def _commit(self, kept: Kept, value: bytes | None) -> bool:
        try:
            await self._mount.storage.commit([Write(kept.key, value)], expect={kept.key: kept.revision})
        except Conflict:
            return False
        return True


def secret() -> str:
    """256 random bits as 43 characters."""
    import base64

    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 section 4.2)."""
    import base64

    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _key(state: str) -> str:
    return f"flow/{state[3:13]}/{hashlib.sha256(state.encode()).hexdigest()}"
