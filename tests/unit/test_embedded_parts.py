"""Parts from outside in an embedded vault: handlers, engines, auth methods, plug-ins, stores."""

import asyncio
import functools
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom import AsyncVault, SealConfig, Vault
from strongroom.errors import BadRequest, NotFound, PermissionDenied
from strongroom.sdk import Auth, Call, Engine, Handler, Mount, Op, Response, Route, Write
from strongroom.storage.memory import MemoryStore
from strongroom.vault import plugins
from unit.vault.vaults import opened, opened_async, opened_with_keys


class Named(msgspec.Struct, frozen=True):
    name: str


class Notes:
    """A third party's engine: inherits from nothing, keeps notes, counts how often each was read."""

    def __init__(self, mount: Mount) -> None:
        self._storage, self._options = mount.storage, mount.options

    def routes(self) -> Sequence[Route]:
        return (
            Route(
                pattern="note/{name}",
                args=Named,
                ops={Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete},
                strict=False,
                help="A note.",
            ),
            Route(pattern="note/", ops={Op.LIST: self.names}, help="The notes there are."),
            Route(pattern="fail", ops={Op.READ: self.fail}, help="Fails."),
        )

    async def read(self, call: Call, args: Named) -> Response:
        entry = await self._storage.get(f"note/{args.name}")
        if entry is None:
            raise NotFound(f"no note {args.name!r}")
        await asyncio.sleep(0)
        return Response(data=msgspec.json.decode(entry.value))

    async def write(self, call: Call, args: Named) -> Response:
        assert not call.request.token
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await self._storage.commit([Write(f"note/{args.name}", msgspec.json.encode(call.request.data))])
        return Response()

    async def delete(self, call: Call, args: Named) -> Response:
        await self._storage.commit([Write(f"note/{args.name}", None)])
        return Response()

    async def names(self, call: Call, args: Any) -> Response:
        return Response(data={"keys": await self._storage.list("note/")})

    async def fail(self, call: Call, args: Any) -> Response:
        raise ZeroDivisionError("the engine's own fault")

    async def revoke(self, lease_private: Mapping[str, Any]) -> None: ...


class Doorman:
    """A third party's auth method: who says the word may enter."""

    def __init__(self, mount: Mount, word: str) -> None:
        self._word = word

    def routes(self) -> Sequence[Route]:
        return (
            Route(pattern="login/{name}", args=Named, ops={Op.UPDATE: self.login}, login=True, strict=False, help="x"),
        )

    async def login(self, call: Call, args: Named) -> Response:
        await asyncio.sleep(0)
        if call.request.data.get("word") != self._word:
            raise BadRequest("no")
        return Response(auth=Auth(policies=("default",), display_name=args.name, alias=args.name))

    async def revoke(self, lease_private: Mapping[str, Any]) -> None: ...


class Recorder(Handler):
    """Every phase, each of them waiting for the loop."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def pre_route(self, call: Call) -> Response | None:
        await asyncio.sleep(0.001)
        self.seen.append(("pre_route", call.request.path))
        return Response(data={"early": True}) if call.request.path == "secret/early" else None

    async def route(self, call: Call) -> Response | None:
        await asyncio.sleep(0)
        self.seen.append(("route", call.request.path))
        return Response(data={"instead": True}) if call.request.path == "secret/instead" else None

    async def post_route(self, call: Call, response: Response) -> Response:
        await asyncio.sleep(0)
        self.seen.append(("post_route", call.request.path))
        if response.data is None:
            return response
        return msgspec.structs.replace(response, data={**response.data, "seen": True})

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        await asyncio.sleep(0)
        self.seen.append(("log", type(outcome).__name__))


def test_every_phase() -> None:
    vault, handler = opened(), Recorder()
    vault.mount("secret", "kv")
    vault.core.add_handler(handler)
    vault.write("secret/a", {"x": 1})
    assert [phase for phase, _ in handler.seen] == ["pre_route", "route", "post_route", "log"]
    assert vault.read("secret/a").data == {"x": 1, "seen": True}  # type: ignore[union-attr]
    assert vault.read("secret/early").data == {"early": True, "seen": True}  # type: ignore[union-attr]
    assert vault.read("secret/instead").data == {"instead": True, "seen": True}  # type: ignore[union-attr]
    handler.seen.clear()
    with pytest.raises(PermissionDenied):
        vault.read("secret/a", token="hvs.unknown")
    assert handler.seen == [("log", "PermissionDenied")]  # refused before the added handlers, still told to log
    vault.close()


async def test_every_phase_in_the_callers_loop() -> None:
    vault, _ = await opened_async()
    handler = Recorder()
    await vault.mount("secret", "kv")
    vault.add_handler(handler)
    await vault.write("secret/a", {"x": 1})
    found = await vault.read("secret/a")
    assert found is not None and found.data == {"x": 1, "seen": True}
    await vault.close()


@pytest.mark.parametrize("phase", ["pre_route", "route", "post_route", "log"])
@pytest.mark.parametrize("error", [PermissionDenied("not on Sundays"), ValueError("a bug")])
def test_one_that_raises_refuses(phase: str, error: Exception, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    vault = opened(config={"audit": {"file": {"f": {"file_path": str(log)}}}, "audit_dir": str(tmp_path)})
    vault.mount("secret", "kv")

    async def refuse(*_: Any) -> Any:
        raise error

    armed = type("Guard", (), {phase: staticmethod(refuse)})()
    vault.add_handler(armed)
    with pytest.raises(type(error)):
        vault.write("secret/a", {"x": 1})
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["type"] for record in records[-2:]] == ["request", "response"]
    assert records[-1]["request"]["path"] == "secret/a" and records[-1]["error"]
    stored = [key for key in dict_of(vault) if "/data/" in key]
    assert bool(stored) == (phase in ("post_route", "log"))
    vault.close()


def dict_of(vault: Vault) -> list[str]:
    return [key for key, _ in vault._run(vault._core.barrier.scan("ns/"))]  # type: ignore[union-attr]


@pytest.mark.parametrize("handler", [object(), None, "handler", type("Empty", (), {})()])
def test_what_is_no_handler(handler: Any) -> None:
    vault = opened()
    with pytest.raises(BadRequest):
        vault.add_handler(handler)


def test_a_handler_that_calls_its_own_vault() -> None:
    vault = opened()

    class Eager:
        async def pre_route(self, call: Call) -> None:
            vault.read("sys/mounts")

    vault.add_handler(Eager())
    with pytest.raises(BadRequest, match="cannot call the Vault that is calling it"):
        vault.read("sys/mounts")
    vault.close()


@pytest.mark.parametrize("by_core", [False, True])
def test_an_engine(by_core: bool) -> None:
    vault = opened()
    (vault.core if by_core else vault).add_engine("notes", Notes)
    vault.mount("n", "notes", options={"colour": "red"})
    vault.write("n/note/a", {"text": "hello"})
    assert vault.read("n/note/a").data == {"text": "hello"}  # type: ignore[union-attr]
    assert vault.list("n/note").data == {"keys": ["a"]}  # type: ignore[union-attr]
    assert vault.read("n/note/b") is None  # NotFound, with words of its own
    vault.delete("n/note/a")
    assert vault.read("n/note/a") is None
    with pytest.raises(ZeroDivisionError):
        vault.read("n/fail")
    assert vault.read("sys/mounts") is not None
    vault.close()


def test_a_factory_may_be_any_callable() -> None:
    vault = opened()

    def factory(mount: Mount) -> Engine:
        return Notes(mount)

    vault.add_engine("plain", factory)
    vault.add_engine("bound", functools.partial(Notes))
    for kind in ("plain", "bound"):
        vault.mount(kind, kind)
        vault.write(f"{kind}/note/a", {"x": 1})
        assert vault.read(f"{kind}/note/a").data == {"x": 1}  # type: ignore[union-attr]
    vault.close()


@pytest.mark.parametrize("kind", ["", "system", "token", "identity", 7, None])
def test_types_that_are_not_to_be_had(kind: Any) -> None:
    vault = opened()
    with pytest.raises(BadRequest):
        vault.add_engine(kind, Notes)
    with pytest.raises(BadRequest):
        vault.add_auth_handler(kind, Notes)
    with pytest.raises(BadRequest):
        vault.add_engine("notes", None)  # type: ignore[arg-type]


def test_an_auth_method() -> None:
    vault = opened()
    vault.add_auth_handler("doorman", lambda mount: Doorman(mount, "swordfish"))
    vault.mount("auth/door", "doorman")
    with pytest.raises(BadRequest):
        vault.login("auth/door/login/ann", {"word": "no"})
    vault.login("auth/door/login/ann", {"word": "swordfish"})
    own = vault.read("auth/token/lookup-self")
    assert own is not None and own.data is not None
    assert own.data["display_name"] == "door-ann" and own.data["policies"] == ["default"]
    vault.close()


def test_an_engine_after_a_restart() -> None:
    store = MemoryStore()
    vault, made = opened_with_keys(store)
    vault.add_engine("notes", Notes)
    vault.mount("n", "notes")
    vault.write("n/note/a", {"x": 1})
    vault.close()
    without = Vault(store)
    without.unseal(made.keys[0])  # its mount stays, and answers nothing
    with pytest.raises(NotFound):
        without.read("n/note/a", token=made.root_token)
    without.close()
    again = Vault(store)
    again.add_engine("notes", Notes)
    again.unseal(made.keys[0])
    assert again.read("n/note/a", token=made.root_token).data == {"x": 1}  # type: ignore[union-attr]
    again.close()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if a package with an engine and an auth method were installed."""
    real = plugins.entry_points

    def faked(*, group: str) -> EntryPoints:
        own = {"strongroom.engines": "notes", "strongroom.auth": "doorman"}.get(group)
        added = [EntryPoint(own, f"{__name__}:plugged_{own}", group)] if own else []
        return EntryPoints([*real(group=group), *added])

    monkeypatch.setattr(plugins, "entry_points", faked)
    monkeypatch.setattr(EntryPoint, "load", _load(EntryPoint.load))
    plugins._group.cache_clear()
    yield
    plugins._group.cache_clear()


def _load(real: Any) -> Any:
    made = {"plugged_notes": Notes, "plugged_doorman": lambda mount: Doorman(mount, "sesame")}

    def load(point: EntryPoint) -> Any:
        return made.get(point.attr) or real(point)

    return load


def test_plug_ins_of_other_packages(installed: None) -> None:
    vault = opened()
    vault.mount("n", "notes")
    vault.write("n/note/a", {"x": 1})  # waits for an executor: the vault has its loop from the start
    assert vault.read("n/note/a").data == {"x": 1}  # type: ignore[union-attr]
    vault.mount("auth/door", "doorman")
    assert vault.login("auth/door/login/ann", {"word": "sesame"}).auth is not None
    vault.close()


class Slowly:
    """A third party's store: no ``kind``, no ``stamp``, no ``watch``, and every call waits for the loop."""

    def __init__(self) -> None:
        self._inner = MemoryStore()
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name not in ("get", "get_many", "list", "scan", "commit"):
            raise AttributeError(name)
        inner = getattr(self._inner, name)

        async def call(*args: Any, **more: Any) -> Any:
            self.calls += 1
            await asyncio.sleep(0)
            return await inner(*args, **more)

        return call

    async def close(self) -> None:
        raise AssertionError("the store is the caller's")


def test_a_store_of_somebody_elses() -> None:
    store = Slowly()
    vault, made = opened_with_keys(store)
    vault.mount("secret", "kv", options={"version": "2"})
    vault.write("secret/data/a", {"data": {"x": 1}})
    vault.seal()
    vault.unseal(made.keys[0])
    assert vault.read("secret/data/a").data["data"] == {"x": 1}  # type: ignore[union-attr, index]
    assert repr(vault) == "Vault(Slowly, unsealed)"
    assert vault.read("sys/seal-status").data["storage_type"] == "Slowly"  # type: ignore[union-attr, index]
    assert store.calls > 10
    vault.close()


async def test_a_store_of_somebody_elses_in_the_callers_loop() -> None:
    vault, _ = await opened_async(Slowly())
    await vault.mount("secret", "kv")
    await asyncio.gather(*(vault.write(f"secret/{n}", {"n": n}) for n in range(50)))
    found = await vault.list("secret")
    assert found is not None and found.data is not None and len(found.data["keys"]) == 50
    await vault.close()


class Little:
    """A store of an older make."""

    async def get(self, key: str) -> None: ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        return []

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.parametrize("face", [Vault, AsyncVault])
def test_a_store_that_lacks_methods_is_told_which(face: Any) -> None:
    with pytest.raises(BadRequest, match="Little has no get_many, scan"):
        face(Little())


def test_an_answer_has_the_published_names() -> None:
    vault = opened(shares=3, threshold=2)
    status = vault.read("sys/seal-status")
    assert isinstance(status, Response)
    assert SealConfig().secret_shares == 5 and SealConfig().secret_threshold == 3
    vault.close()
