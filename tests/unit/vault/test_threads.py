"""One ``Vault`` in the hands of several threads."""

import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom import SealConfig, Vault
from strongroom.errors import BadRequest, NotFound, PermissionDenied, VaultError
from strongroom.storage.completion import Completion
from strongroom.vault.turns import FairLock, Slow, Turns
from unit.vault.vaults import opened, opened_with_keys


def together(work: Callable[[int], Any], threads: int = 8) -> list[Any]:
    """The results of ``work(0..threads-1)``, begun at once; the first error is raised."""
    start = threading.Barrier(threads)
    results: list[Any] = [None] * threads

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


class Passer:
    async def log(self, call: Any, outcome: Any) -> None: ...


@pytest.mark.parametrize("custom", [False, True], ids=["direct", "loop"])
@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_mixed_work(kind: str, custom: bool, tmp_path: Path) -> None:
    vault = opened({kind: {} if kind == "memory" else {"path": str(tmp_path / "s"), "sync": False}})
    if custom:
        vault.add_handler(Passer())
    vault.mount("secret", "kv", options={"version": "2"})
    vault.mount("plain", "kv")
    vault.write("secret/data/n", {"data": {"n": 0}})

    def work(number: int) -> int:
        dice, counted = random.Random(number), 0
        for step in range(200):
            match dice.randrange(8):
                case 0 | 1:
                    counted += increment(vault)
                case 2:
                    vault.write(f"plain/{number}/{step}", {"at": [number, step]})
                    found = vault.read(f"plain/{number}/{step}")
                    assert found is not None and found.data == {"at": [number, step]}
                case 3:
                    vault.list("plain")
                case 4:
                    child = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}).auth
                    assert child is not None
                    assert vault.read("auth/token/lookup-self", token=child.client_token) is not None
                    vault.write("auth/token/revoke", {"token": child.client_token})
                    with pytest.raises(PermissionDenied):
                        vault.read("auth/token/lookup-self", token=child.client_token)
                case 5 if step % 5 == 0:
                    vault.mount(f"m/{number}/{step}", "kv")
                    vault.write(f"m/{number}/{step}/x", {"x": 1})
                    vault.unmount(f"m/{number}/{step}")
                    with pytest.raises(NotFound):
                        vault.read(f"m/{number}/{step}/x")
                case 6:
                    vault.write(f"sys/policies/acl/p{number}", {"policy": 'path "x" { capabilities = ["read"] }'})
                case _:
                    vault.read("secret/data/n")
        return counted

    total = sum(together(work))
    assert vault.read("secret/data/n").data["data"]["n"] == total > 0  # type: ignore[union-attr, index]
    vault.close()


def increment(vault: Vault) -> int:
    found = vault.read("secret/data/n")
    assert found is not None and found.data is not None
    body = {"data": {"n": found.data["data"]["n"] + 1}, "options": {"cas": found.data["metadata"]["version"]}}
    try:
        vault.write("secret/data/n", body)
    except BadRequest:
        return 0
    return 1


def test_commits_of_several_threads_overlap() -> None:
    """A thread that waits for its commit does not keep the others from theirs."""
    turns, arrived = Turns(), threading.Barrier(4)

    async def work() -> int:
        await Slow(lambda: arrived.wait(10))
        return 1

    assert together(lambda _: turns.run(work()), 4) == [1] * 4


def test_steps_do_not_overlap() -> None:
    turns, inside, most = Turns(), [0], [0]

    async def work() -> None:
        for _ in range(3):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1
            await Slow(lambda: None)

    together(lambda _: turns.run(work()), 4)
    assert most == [1]


def test_what_slow_work_raises() -> None:
    async def work() -> Any:
        return await Slow(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        Turns().run(work())


def test_sealing_under_load(tmp_path: Path) -> None:
    """Readers see their secret or a sealed vault, nothing else, and none hangs."""
    vault, made = opened_with_keys({"lmdb": {"path": str(tmp_path / "s"), "sync": False}})
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": 1})
    stop = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            for _ in range(20):
                vault.seal()
                vault.unseal(made.keys[0])
            stop.set()
        seen = 0
        while not stop.is_set():
            try:
                found = vault.read("secret/a")
                assert found is not None and found.data == {"x": 1}
                seen += 1
            except VaultError as error:
                assert error.status == 503
        return seen

    assert sum(together(work, 4)) > 0
    vault.close()


@pytest.mark.parametrize("custom", [False, True], ids=["direct", "loop"])
def test_closing_under_load(custom: bool, tmp_path: Path) -> None:
    vault = opened({"lmdb": {"path": str(tmp_path / "s"), "sync": False}})
    if custom:
        vault.add_handler(Passer())
    vault.mount("secret", "kv")

    def work(number: int) -> None:
        if number == 0:
            time.sleep(0.05)
            vault.close()
            return
        while True:
            try:
                vault.write(f"secret/{number}", {"x": 1})
            except VaultError as error:
                assert error.status in (500, 503)
                return

    together(work, 4)


def test_handlers_added_under_load() -> None:
    """The change to the private loop happens between two steps of other threads' calls."""
    vault = opened()
    vault.mount("secret", "kv", options={"version": "2"})
    vault.write("secret/data/n", {"data": {"n": 0}})

    def work(number: int) -> int:
        if number == 0:
            vault.add_handler(Passer())
        return sum(increment(vault) for _ in range(50))

    total = sum(together(work, 4))
    assert vault.read("secret/data/n").data["data"]["n"] == total  # type: ignore[union-attr, index]
    vault.close()


class Interrupted(Slow):
    """A wait in which somebody presses Ctrl-C."""

    def wait(self, timeout: float = -1) -> bool:
        raise KeyboardInterrupt


def test_an_interrupt_reaches_the_work() -> None:
    heard: list[str] = []

    async def work() -> None:
        try:
            await Interrupted(lambda: None)
        except KeyboardInterrupt:
            heard.append("interrupt")
            await Slow(lambda: heard.append("recorded"))
            raise

    turns = Turns()
    with pytest.raises(KeyboardInterrupt):
        turns.run(work())
    assert heard == ["interrupt", "recorded"]
    with turns._lock:
        pass


def test_an_interrupted_call_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "audit.log"
    config = {"audit": {"file": {"file_path": str(log)}}, "audit_dir": str(tmp_path)}
    vault = opened({"lmdb": {"path": str(tmp_path / "s")}}, config)
    vault.mount("secret", "kv")
    vault.read("secret/a")
    with monkeypatch.context() as patched:
        patched.setattr(Completion, "wait", Interrupted.wait)
        with pytest.raises(KeyboardInterrupt):
            vault.write("secret/a", {"x": 1})
    kinds = [json.loads(line)["type"] for line in log.read_text().splitlines()]
    assert kinds.count("request") == kinds.count("response")
    assert not vault._core.in_flight
    vault.write("secret/a", {"x": 2})
    assert vault.read("secret/a").data == {"x": 2}  # type: ignore[union-attr]
    vault.close()


def test_the_lock_is_handed_on_in_order() -> None:
    lock, order = FairLock(), list[int]()

    def wait(number: int) -> None:
        with lock:
            order.append(number)

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(5)]
    with lock:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(lock._waiting) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_a_waiter_that_gives_up_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, real = FairLock(), threading.Lock

    class Impatient:
        def __init__(self) -> None:
            self._lock, self._first = real(), True

        def acquire(self) -> None:
            if not self._first:
                raise KeyboardInterrupt
            self._first = False

        def release(self) -> None: ...

    with lock:
        with monkeypatch.context() as patched:
            patched.setattr(threading, "Lock", Impatient)
            with pytest.raises(KeyboardInterrupt), lock:
                pass
        assert not lock._waiting
    with lock:
        pass


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_shares_given_at_once(kind: str, tmp_path: Path) -> None:
    """A share that comes while another call opens the vault is too late, not wrong."""
    vault = Vault({"memory": {}} if kind == "memory" else {"lmdb": {"path": str(tmp_path / "s")}})
    made = vault.init(SealConfig(5, 2))
    for _ in range(5):
        statuses = together(lambda n: vault.unseal(made.keys[n]), 5)
        assert not vault.sealed
        assert [status.n for status in statuses] == [5] * 5
        assert any(not status.sealed for status in statuses)
        vault.seal(token=made.root_token)
    vault.close()
