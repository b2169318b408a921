"""Engines, auth methods, stores and audit sinks by name: entry points, the same for built-ins and third parties."""

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from strongroom.errors import BadRequest


@functools.cache
def _group(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"strongroom.{group}")}


def names(group: str) -> list[str]:
    """What is installed of a kind: "engines", "auth", "storage", "audit", "databases"."""
    return sorted(_group(group))


def load(group: str, name: str) -> Any:
    """The plug-in. Raises BadRequest if there is none of that name."""
    point = _group(group).get(name)
    if point is None:
        raise BadRequest(f"there is no plug-in {name!r} of the kind {group!r}")
    return point.load()


class Lazy:
    """A factory that loads its plug-in when it is first used."""

    def __init__(self, group: str, name: str) -> None:
        self._group, self._name = group, name

    def __call__(self, *args: Any) -> Any:
        return load(self._group, self._name)(*args)


def factories(group: str) -> dict[str, Any]:
    """A factory for each plug-in of a kind, not yet loaded."""
    return {name: Lazy(group, name) for name in names(group)}


def foreign(group: str) -> list[str]:
    """The plug-ins of a kind that come from other packages."""
    return sorted(
        n for n, point in _group(group).items() if point.value.partition(":")[0].split(".")[0] != "strongroom"
    )
