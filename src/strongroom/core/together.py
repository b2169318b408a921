"""Several waits at once, without an event loop's help: commits that are begun together share one flush.

Each coroutine is run to its first wait before the first of these waits is waited for. What is waited for is handed up
as it is, so it works wherever the house's coroutines do: in a task, driven by the HTTP door, and in the sync facade.
"""

import types
from collections import deque
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, TypeVar

from strongroom.errors import VaultError

T = TypeVar("T")


@types.coroutine
def together(works: Sequence[Coroutine[Any, Any, T]]) -> Generator[Any, Any, list[T | VaultError]]:
    """Run ``works`` side by side; the result of each, or the VaultError that it raised, in their order.

    Anything else that one raises, or that interrupts the wait, ends them all and is raised.
    """
    outcomes: list[Any] = [None] * len(works)
    waiting: deque[tuple[int, Any]] = deque()  # which work, and what it waits for

    def step(number: int, send: Any, value: Any) -> None:
        try:
            waiting.append((number, send(value)))
        except StopIteration as stop:
            outcomes[number] = stop.value
        except VaultError as error:
            outcomes[number] = error

    try:
        for number, work in enumerate(works):
            step(number, work.send, None)
        while waiting:
            number, awaited = waiting.popleft()
            try:
                value = yield awaited
            except BaseException as error:
                step(number, works[number].throw, error)
            else:
                step(number, works[number].send, value)
    finally:
        for work in works:
            work.close()
    return outcomes


def first_error(outcomes: Sequence[object]) -> None:
    """Raise the first VaultError among the outcomes of ``together``."""
    for outcome in outcomes:
        if isinstance(outcome, VaultError):
            raise outcome
