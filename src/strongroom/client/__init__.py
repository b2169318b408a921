"""The small client beneath the command line: calls as values, and one transport that carries them."""

from strongroom.client.messages import Answer, Call, Refused, Unreachable
from strongroom.client.settings import Settings
from strongroom.client.transport import Transport

__all__ = ["Answer", "Call", "Refused", "Settings", "Transport", "Unreachable"]
