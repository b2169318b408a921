"""``python -m conformance``: see the package."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.replay import Replay, read
from conformance.report import Report, into_page
from conformance.routes import Operation, from_corpus, own_list
from conformance.wire import Answer, send
from server_fixture import Server, development, running

MOUNTED = {"kv1": ("kv", {"options": {"version": "1"}})}


def main() -> int:
    """Exit code 0 unless a goal given with --least was missed."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description="How much of Vault's API is served.")
    parser.add_argument("--corpus", type=Path, help="a folder with openapi*.json and golden*.jsonl")
    parser.add_argument("--write", type=Path, help="put the table into this page, between its marks")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    parser.add_argument(
        "--least", type=float, nargs=2, metavar=("ROUTES", "SHAPES"), help="fail below these percentages"
    )
    args = parser.parse_args()
    report = measure(args.corpus)
    print(report.table())
    if not args.quiet:
        print(report.details())
    if args.write:
        args.write.write_text(into_page(args.write.read_text(encoding="utf-8"), report.table()), encoding="utf-8")
    return reached(report, *(args.least or (0, 0)))


def measure(corpus: Path | None) -> Report:
    """Start servers of our own, and send everything."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        operations = from_corpus(corpus) if corpus else own_list()
        report.routes(sweep(folder, [one for one in operations if not one.destructive]))
        report.routes(sweep(folder, last(operations)))
        for number, path in enumerate(sorted(corpus.glob("golden*.jsonl")) if corpus else ()):
            place = folder / str(number)
            place.mkdir()
            with served(place, path.stem) as (server, root):
                report.replay(path.stem, Replay(server.address, root).run(read(path)))
    return report


def last(operations: list[Operation]) -> list[Operation]:
    """The destructive ones, what ends a token or the service behind all others."""
    order = ("auth/token/revoke-self", "sys/step-down", "sys/seal")
    found = [one for one in operations if one.destructive]
    return sorted(found, key=lambda one: (one.path in order and one.method != "GET", one.path == order[-1]))


class served:
    """A server as the recording had it: a fresh one for a recording of the seal, else a development server."""

    def __init__(self, folder: Path, name: str) -> None:
        fresh = name.endswith("seal")
        self._made = (
            running(folder, unseal=False, unauthenticated_operator_endpoints=True) if fresh else development(folder)
        )

    def __enter__(self) -> tuple[Server, str]:
        server = self._made.__enter__()
        return server, server.token

    def __exit__(self, *error: object) -> None:
        self._made.__exit__(*error)  # type: ignore[arg-type]


def sweep(folder: Path, operations: list[Operation]) -> Iterator[tuple[Operation, Answer | None]]:
    """Each operation once, to a server that has every engine it knows mounted."""
    if not operations:
        return
    with development(folder) as server:
        there = mount_all(server, {one.mount: one.type for one in operations if one.mount})
        for one in operations:
            if one.mount and one.mount not in there:
                yield one, None
                continue
            token = server.token
            if one.path == "auth/token/revoke-self":
                token = server.call("POST", "auth/token/create", {})[1]["auth"]["client_token"]
            body = {} if one.method in ("POST", "PUT", "PATCH") else None
            headers = {"Content-Type": "application/merge-patch+json"} if one.method == "PATCH" else {}
            yield one, send(server.address, one.method, one.path, body, token, headers)


def mount_all(server: Server, wanted: dict[str, str]) -> set[str]:
    """Mount what can be mounted; the places that are there then."""
    there = {"secret"}
    for place, kind in wanted.items():
        if place in there:
            continue
        route = f"sys/auth/{place.removeprefix('auth/')}" if place.startswith("auth/") else f"sys/mounts/{place}"
        name, extra = MOUNTED.get(place, (kind, {}))
        if server.call("POST", route, {"type": name, **extra})[0] == 204:
            there.add(place)
    return there


def reached(report: Report, routes: float, shapes: float) -> int:
    """0 if the built areas reach both percentages."""
    total = report.total()
    answered = 100 * total.answered / total.routes if total.routes else 100
    same = 100 * total.shape / (total.entries - total.absent) if total.entries > total.absent else 100
    return 0 if answered >= routes and same >= shapes else 1


if __name__ == "__main__":
    sys.exit(main())
