"""What every plug-in imports."""

from strongroom.sdk.engine import Call, Engine, Handler, Match, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Caller, Lease, Op, Request, Response
from strongroom.sdk.storage import Backend, Entry, Storage, View, Write

__all__ = [
    "Auth", "Backend", "Call", "Caller", "Engine", "Entry", "Handler", "Lease", "Match", "Mount", "NoArgs", "Op",
    "Request", "Response", "Route", "Storage", "View", "Write",
]  # fmt: skip
