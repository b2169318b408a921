"""The board's numbers for people and for Prometheus (text format 0.0.4)."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from strongroom.server import board as b
from strongroom.server.board import Board


def text(board: Board, devices: Iterable[str] = ()) -> bytes:
    """Prometheus exposition of all workers together; no label holds a request's path, a name or a token.

    ``devices``: the audit devices as they are now.
    """
    lines: list[str] = []

    def put(name: str, kind: str, help_text: str, samples: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP {name} {help_text}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value}" for labels, value in samples)

    put("strongroom_requests_total", "counter", "Answers by operation and class of status.", _requests(board))
    lines += _latency(board)
    put("strongroom_bad_bytes_total", "counter", "Connections that sent no HTTP request.", _one(board, b.BAD_BYTES))
    put(
        "strongroom_audit_failures_total",
        "counter",
        "Records that an audit device did not take.",
        _one(board, b.AUDIT_FAILURES),
    )
    rows: list[tuple[str, float]] = [(f'{{device="{name}"}}', count) for name, count in _devices(board, devices)]
    put("strongroom_audit_device_failures_total", "counter", "The same for each device.", rows)
    put("strongroom_connections", "gauge", "Open client connections.", _one(board, b.CONNECTIONS))
    put("strongroom_requests_in_flight", "gauge", "Requests that wait for something.", _one(board, b.IN_FLIGHT))
    workers = _workers(board)
    put("strongroom_workers", "gauge", "Processes that serve.", [("", len(workers))])
    memory = [(f'{{worker="{n}"}}', numbers[b.RESIDENT]) for n, numbers in workers]
    put("strongroom_worker_memory_bytes", "gauge", "Anonymous memory of a worker.", memory)
    unsealed = int(any(numbers[b.UNSEALED] for _, numbers in workers))
    put("vault_core_unsealed", "gauge", "1 if the vault is unsealed.", [("", unsealed)])
    return ("\n".join(lines) + "\n").encode()


def as_json(board: Board, now: Callable[[], float] = time.time, devices: Iterable[str] = ()) -> dict[str, Any]:
    """The same numbers in the shape of Vault's ``sys/metrics``."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(now()))
    workers = _workers(board)
    gauges = [
        _gauge("strongroom.connections", board.total(b.CONNECTIONS)[0]),
        _gauge("strongroom.requests_in_flight", board.total(b.IN_FLIGHT)[0]),
        _gauge("strongroom.workers", len(workers)),
        _gauge("vault.core.unsealed", int(any(numbers[b.UNSEALED] for _, numbers in workers))),
        *(_gauge("strongroom.worker_memory_bytes", row[b.RESIDENT], worker=str(n)) for n, row in workers),
    ]
    counters = [
        _counter("strongroom.bad_bytes", board.total(b.BAD_BYTES)[0]),
        _counter("strongroom.audit_failures", board.total(b.AUDIT_FAILURES)[0]),
        *(_counter("strongroom.audit_device_failures", n, device=name) for name, n in _devices(board, devices)),
        *(
            _counter("strongroom.requests", board.total(b.requests_at(op, c))[0], operation=op.value, status=f"{c}xx")
            for op in b.OPS
            for c in b.CLASSES
            if board.total(b.requests_at(op, c))[0]
        ),
    ]
    return {"Timestamp": stamp, "Gauges": gauges, "Points": [], "Counters": counters, "Samples": []}


def _devices(board: Board, paths: Iterable[str]) -> list[tuple[str, int]]:
    """Each audit device by its name (a device's name has no quotes or control characters that matter here)."""
    return [
        (path.rstrip("/").replace("\\", "/").replace('"', "'"), board.total(b.DEVICE_FAILURES + slot)[0])
        for path, slot in b.device_slots(paths).items()
    ]


def _gauge(name: str, value: int, **labels: str) -> dict[str, Any]:
    return {"Name": name, "Value": value, "Labels": labels}


def _counter(name: str, count: int, **labels: str) -> dict[str, Any]:
    shared = {"Rate": 0, "Sum": count, "Min": 0, "Max": count, "Mean": 0, "Stddev": 0}
    return {"Name": name, "Count": count, "Labels": labels, **shared}


def _one(board: Board, at: int) -> list[tuple[str, float]]:
    return [("", board.total(at)[0])]


def _requests(board: Board) -> list[tuple[str, float]]:
    return [
        (f'{{operation="{op.value}",status="{hundreds}xx"}}', board.total(b.requests_at(op, hundreds))[0])
        for op in b.OPS
        for hundreds in b.CLASSES
    ]


def _latency(board: Board) -> list[str]:
    name = "strongroom_request_seconds"
    lines = [f"# HELP {name} Time from a request's last byte to its answer.", f"# TYPE {name} histogram"]
    running = 0
    counts = board.total(b.LATENCY, len(b.BUCKETS) + 1)
    for end, count in zip([*map(str, b.BUCKETS), "+Inf"], counts, strict=True):
        running += count
        lines.append(f'{name}_bucket{{le="{end}"}} {running}')
    lines.append(f"{name}_sum {board.total(b.LATENCY_SUM)[0] / 1e9}")
    lines.append(f"{name}_count {running}")
    return lines


def _workers(board: Board) -> list[tuple[int, Any]]:
    rows = ((n, board.numbers(n)) for n in range(board.rows))
    return [(n, numbers) for n, numbers in rows if numbers[b.PID]]
