"""How a plug-in reaches what lies outside the vault: it is handed a function and never opens a socket by itself."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Fetched(msgspec.Struct, frozen=True):
    """An HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    def __repr__(self) -> str:
        return f"Fetched(status={self.status}, {len(self.body)} bytes)"


class Fetch(Protocol):
    """One HTTP request; redirects are not followed.

    Raises:
        Unreachable: no answer within ``seconds``, an address that may not be asked, a certificate that does not
            verify, or a body longer than ``limit`` bytes. The text names the host, never a header or a body.
    """

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes = b"",
        ca_pem: str = "",
        seconds: float = 10.0,
        limit: int = 1024 * 1024,
    ) -> Fetched: ...


async def nowhere(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = {},
    body: bytes = b"",
    ca_pem: str = "",
    seconds: float = 10.0,
    limit: int = 1024 * 1024,
) -> Fetched:
    """The ``fetch`` of a vault that may not reach anything."""
    from strongroom.errors import Unreachable

    raise Unreachable("this vault reaches nothing outside itself")
