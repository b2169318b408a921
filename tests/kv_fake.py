"""A KV version 2 mount and policies in a dictionary, as the bridge asks for them; it may lie like a hostile server."""

from typing import Any

from strongroom.client.messages import Answer, Call, Refused


class Fake:
    """``lists``: path of a folder -> names; ``data``: path -> (data, custom_metadata); ``policies``: name -> text."""

    def __init__(self, mount: str = "secret") -> None:
        self.mount = mount
        self.lists: dict[str, list[Any]] = {}
        self.data: dict[str, tuple[Any, Any]] = {}
        self.policies: dict[str, str] = {}
        self.calls: list[Call] = []

    def put(self, path: str, data: Any, custom: Any = None) -> None:
        """A secret, listed where it belongs."""
        self.data[path] = (data, custom)
        parts = path.split("/")
        for depth, part in enumerate(parts):
            folder = "".join(f"{name}/" for name in parts[:depth])
            name = part if depth == len(parts) - 1 else f"{part}/"
            names = self.lists.setdefault(folder, [])
            if name not in names:
                names.append(name)

    def read(self, call: Call) -> Answer | None:
        self.calls.append(call)
        assert call.method == "GET"
        if call.path == "sys/policies/acl":
            return _answer({"keys": list(self.policies)})
        if call.path.startswith("sys/policies/acl/"):
            text = self.policies.get(call.path.removeprefix("sys/policies/acl/"))
            return None if text is None else _answer({"policy": text})
        if call.query.get("list"):
            names = self.lists.get(call.path.removeprefix(f"{self.mount}/metadata/"))
            return None if names is None else _answer({"keys": names})
        held = self.data.get(call.path.removeprefix(f"{self.mount}/data/"))
        if held is None:
            return None
        return _answer({"data": held[0], "metadata": {"version": 1, "custom_metadata": held[1]}})

    def call(self, call: Call) -> Answer:
        found = self.read(call)
        if found is None:
            raise Refused(call, Answer(404, {"errors": []}))
        return found


def _answer(data: Any) -> Answer:
    return Answer(200, {"data": data})
