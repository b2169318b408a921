"""The link of a worker is tested on the loop it runs on, and on the one that workers fall back to."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    both = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
    return both if item.path.name == "test_shared_writer.py" else {"asyncio": asyncio.SelectorEventLoop}
