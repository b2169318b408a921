"""The small client beneath the command line: calls as values, and one transport that carries them."""

from typing import TYPE_CHECKING, Any

from strongroom.client.messages import Answer, Call, Refused, Unreachable
from strongroom.client.settings import Settings

if TYPE_CHECKING:
    from strongroom.client.transport import Transport

__all__ = ["Answer", "Call", "Refused", "Settings", "Transport", "Unreachable"]


def __getattr__(name: str) -> Any:
    """Load the transport, and with it HTTP and TLS, only for those who send something."""
    if name == "Transport":
        from strongroom.client.transport import Transport

        return Transport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
