"""Where the microseconds of one kv read over HTTP go, stage by stage, on one core and without a network.

    python -m benchmarks.where_time_goes

A request's bytes are handed to the door, the answer's bytes are thrown away. Each stage is timed in place, in a run of
its own, and its own time is what is left after the stages inside it; a call that is timed costs a little more, so the
stages together come out higher than the whole.
"""

import contextlib
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.figures import Figure, Options, main
from benchmarks.vaults import PATH, World, embedded
from strongroom.audit import file as audit_file
from strongroom.core import audit_record, barrier, facts, pipeline, policies, router, token_auth
from strongroom.core.audit import Trail
from strongroom.server import http, http_connection, http_encode, http_frame
from strongroom.server.http_settings import Limits
from strongroom.storage import lmdb

# (depth, name, owner, attribute): a stage of depth n lies inside the last one of depth n - 1
STAGES: tuple[tuple[int, str, Any, str], ...] = (
    (0, "door: cut the bytes into a message", http_frame.Framer, "feed"),
    (0, "door: make the request", http_connection, "build"),
    (0, "pipeline", pipeline.Pipeline, "handle"),
    (1, "find the route", router.Router, "known"),
    (1, "check the token", token_auth.TokenCheck, "pre_route"),
    (1, "decode the fields", facts.Facts, "pre_route"),
    (1, "ask the policies", policies.Policies, "pre_route"),
    (1, "request record", Trail, "request"),
    (2, "its JSON", audit_record.LineMaker, "who_and_what"),
    (1, "engine", router.Router, "route"),
    (2, "read and decrypt", barrier.Barrier, "get"),
    (3, "read from LMDB", lmdb.LmdbStore, "get"),
    (1, "response record", Trail, "response"),
    (2, "its JSON, with the HMACs", audit_record.LineMaker, "response"),
    (2, "hand both to the kernel", audit_file.FileSink, "both"),
    (0, "door: encode the answer", http_encode, "answer"),
)


class _Transport:
    """A connection to nobody."""

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return ("127.0.0.1", 40000)

    def write(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data[:200]

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...


def door(world: World) -> Callable[[], None]:
    """A function that serves one read."""
    world.vault._made.audit.inline = False  # a server's checkpoints are no part of its requests
    connection = http.Door(world.vault._core.handle).listener(Limits())()
    connection.connection_made(_Transport())  # type: ignore[arg-type]
    head = f"GET /v1/{PATH} HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nX-Vault-Token: {world.token}\r\n\r\n".encode()
    return lambda: connection.data_received(head)


@contextlib.contextmanager
def timed(owner: Any, attribute: str, taken: list[int]) -> Iterator[None]:
    """Time each call of ``owner.attribute`` inside the block, in nanoseconds."""
    original = getattr(owner, attribute)
    clock = time.perf_counter_ns
    if inspect.iscoroutinefunction(original):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            result = await original(*args, **kwargs)
            taken.append(clock() - start)
            return result

        setattr(owner, attribute, awaited)
    else:

        def around(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            result = original(*args, **kwargs)
            taken.append(clock() - start)
            return result

        setattr(owner, attribute, around)
    try:
        yield
    finally:
        setattr(owner, attribute, original)


def measure(options: Options) -> tuple[float, list[float]]:
    """Microseconds of a whole read, and of each stage with what is inside it."""
    times = 300 if options.small else 5000
    clock = time.perf_counter_ns
    whole: list[int] = []
    with embedded(options.folder) as world:
        serve = door(world)
        for _ in range(times):
            start = clock()
            serve()
            whole.append(clock() - start)
    stages = []
    for _, _, owner, attribute in STAGES:
        taken: list[int] = []
        # Timed before the vault is made: parts keep the functions they call.
        with timed(owner, attribute, taken), embedded(options.folder) as world:
            serve = door(world)
            taken.clear()
            for _ in range(times):
                serve()
            stages.append(statistics.median(taken) / 1000 * len(taken) / times)
    return statistics.median(whole) / 1000, stages


def text(options: Options) -> str:
    """The stages as a list."""
    whole, stages = measure(options)
    lines = [f"  {'all of it':44} {whole:6.1f} us"]
    top = 0.0
    for index, ((depth, name, _, _), total) in enumerate(zip(STAGES, stages, strict=True)):
        inside = 0.0
        for (other, _, _, _), part in zip(STAGES[index + 1 :], stages[index + 1 :], strict=True):
            if other <= depth:
                break
            inside += part if other == depth + 1 else 0.0
        top += total if depth == 0 else 0.0
        own = f"  (itself {max(total - inside, 0):.1f})" if inside else ""
        lines.append(f"  {'  ' * (depth + 1) + name:44} {total:6.1f} us{own}")
    lines.append(f"  {'  door: the rest':44} {max(whole - top, 0):6.1f} us")
    return "\n".join(lines) + "\n"


def run(options: Options) -> list[Figure]:
    """The list below a line with the whole."""
    return [Figure(what="one HTTP read without a network", ours="see below", note="\n\n" + text(options))]


if __name__ == "__main__":
    main(run, __doc__ or "")
