"""Lists that show only what the caller may see, where a mount is tuned so (``filter_lists``)."""

from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core.namespace import Namespace
from strongroom.core.policies import Acl
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Response

_LISTS = frozenset({Op.LIST, Op.SCAN})
_NOTE = "filter lists"  # the ACL by which the answer is filtered
_FOLDERS = ("data/", "metadata/")  # of kv version 2: one secret, two places


class VisibleLists:
    """Handler, behind the policies: takes out of a list what nothing is granted on, neither there nor below."""

    special_only = True  # see Pipeline

    def __init__(self, namespace: Callable[[str], Namespace]) -> None:
        self._namespace = namespace

    def concerns(self, call: Call) -> bool:
        return call.request.op in _LISTS

    async def pre_route(self, call: Call) -> Response | None:
        caller, space = call.caller, self._namespace(call.request.namespace)
        entry = space.mounts.entries.get(call.match.mount_path)
        if entry is not None and entry.config.filter_lists and caller is not None and not caller.root:
            call.notes[_NOTE] = await space.policies.acl(caller)
        return None

    async def post_route(self, call: Call, response: Response) -> Response:
        acl: Acl | None = call.notes.pop(_NOTE, None)
        keys = None if acl is None or response.data is None else response.data.get("keys")
        if acl is None or not isinstance(keys, list | tuple):
            return response
        shown = [key for key in keys if _visible(acl, call, str(key))]
        data: dict[str, Any] = {**(response.data or {}), "keys": shown}
        if isinstance(info := data.get("key_info"), dict):
            data["key_info"] = {key: value for key, value in info.items() if key in set(shown)}
        return msgspec.structs.replace(response, data=data, memo=None)


def _visible(acl: Acl, call: Call, key: str) -> bool:
    mount, below = call.match.mount_path, call.request.path[len(call.match.mount_path) :]
    places = [mount + below + key]
    if call.match.mount_type in ("kv", "generic") and below.startswith("metadata/"):
        places = [mount + folder + below.removeprefix("metadata/") + key for folder in _FOLDERS]
    return any(acl.may_any(place) if place.endswith("/") else acl.capabilities(place) != ["deny"] for place in places)
