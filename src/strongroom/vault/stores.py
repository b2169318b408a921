"""The store under an embedded vault: opened from its name, or the caller's own object, checked before it is used."""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Backend
from strongroom.storage.migrate import UNFINISHED
from strongroom.vault import plugins

_OPENING = ("sys/init", "sys/unseal")
_NEEDED = ("get", "get_many", "list", "scan", "commit", "close")


class StoreName:
    """``{kind: {options}}``, taken apart. Options may hold a password: they are not printed.

    Raises:
        BadRequest: it is something else.
    """

    __slots__ = ("kind", "options")

    def __init__(self, spec: Any) -> None:
        if not isinstance(spec, Mapping) or len(spec) != 1:
            raise BadRequest("name one store: {kind: {options}}")
        ((kind, options),) = spec.items()
        if not isinstance(kind, str) or not isinstance(options, Mapping | None):
            raise BadRequest("name one store: {kind: {options}}")
        self.kind = "memory" if kind == "inmem" else kind
        self.options = dict(options or {})

    def __repr__(self) -> str:
        return f"StoreName({self.kind})"

    def same_as(self, other: "StoreName") -> bool:
        """Whether both name one store: the kind, and the place if it has one."""
        return self.kind == other.kind and self.place() == other.place()

    def place(self) -> str:
        path = self.options.get("path")
        return os.path.realpath(path) if isinstance(path, str | os.PathLike) else ""

    def open(self) -> Backend:
        """Open it. Raises BadRequest for an unknown kind or wrong options, StorageFailed if it cannot be opened."""
        return fit(plugins.load("storage", self.kind)(dict(self.options)))


class _Fitted:
    """A store object of somebody else's with what it left out: ``kind``, ``stamp``, ``watch``."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.kind = str(getattr(store, "kind", "") or type(store).__name__)
        self._stamp = getattr(store, "stamp", None)
        for name in (*_NEEDED, "watch", "raise_revisions", "last_revision"):
            method = getattr(store, name, None)
            if method is not None:
                setattr(self, name, method)

    def __repr__(self) -> str:
        return f"Store({self.kind})"

    def stamp(self) -> int | None:
        return None if self._stamp is None else self._stamp()

    async def watch(self, prefix: str) -> AsyncIterator[str]:
        raise BadRequest(f"the store {self.kind} cannot be watched")
        yield ""


def fit(store: Any) -> Backend:
    """``store`` as a Backend; ``kind``, ``stamp`` and ``watch`` may be missing.

    Raises:
        BadRequest: a method is missing; the text names it.
    """
    missing = [name for name in _NEEDED if not callable(getattr(store, name, None))]
    if missing:
        raise BadRequest(
            f"the store {type(store).__name__} has no {', '.join(missing)} "
            "(strongroom.sdk.storage.Backend says what each must do)"
        )
    if isinstance(getattr(store, "kind", None), str) and callable(getattr(store, "stamp", None)):
        made: Backend = store
        return made
    fitted: Backend = _Fitted(store)  # type: ignore[assignment]
    return fitted


def needs_loop(store: Backend) -> bool:
    """Whether something may wait for more than commits: a store or plug-in that is not the house's own."""
    if any(plugins.foreign(group) for group in ("engines", "auth", "storage", "audit")):
        return True
    return not type(store).__module__.startswith("strongroom.storage.")


def open_backend(backend: Any) -> Backend:
    """A store object as it is, or one opened from ``{kind: {options}}``.

    Raises:
        BadRequest: there is no such kind, its options are wrong, or the object lacks a method.
    """
    if isinstance(backend, Mapping):
        return StoreName(backend).open()
    return fit(backend)


class WholeStore:
    """Handler: the half of a copy is not taken for a store; it is neither initialised nor unsealed."""

    def __init__(self, store: Backend) -> None:
        self._store = store

    async def pre_route(self, call: Call) -> Response | None:
        if call.request.path in _OPENING and call.request.op is not Op.READ:
            await self.check()
        return None

    async def check(self) -> None:
        """Raises BadRequest if the store is an unfinished copy."""
        if await self._store.get(UNFINISHED) is not None:
            raise BadRequest(
                "the store is an unfinished copy of another one: run the migration again, or open the other one"
            )
