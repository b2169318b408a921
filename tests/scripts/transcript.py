"""Reads and plays transcripts of the command line (``*.txt`` beside this file).

A transcript is a list of steps:

    # comment
    $ strongroom kv put secret/app user=bob          a command; ' << text' behind it is its standard input
    --> PUT /v1/secret/data/app {"data": {...}}      what must be asked of the stub (with a real server: left out)
    <-- 200 {"data": {...}}                          what the stub answers
    version    <n>                                   expected standard output; <n> matches anything and is remembered
    ! error: ...                                     expected standard error
    [2]                                              expected exit code, 0 when not written

``$ file NAME TEXT`` writes a file, ``$ cat NAME`` shows one, ``$ set NAME=VALUE`` sets a variable of the environment.
A remembered ``<n>`` stands for its value in later lines.
"""

import http.server
import json
import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
_HOLE = re.compile(r"<([a-z_]+)>")


class Exchange(NamedTuple):
    """One request the stub expects, and its answer."""

    method: str
    target: str
    body: str  # JSON; empty: none may come
    status: int
    answer: str


class Step(NamedTuple):
    line: int
    words: str
    stdin: str
    exchanges: list[Exchange]
    out: list[str]
    err: list[str]
    code: int


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def scripts(where: str) -> list[Path]:
    """The transcripts whose first line (``#: stub and real``) names ``where``."""
    found = sorted(FOLDER.glob("*.txt"))
    return [path for path in found if where in path.read_text().partition("\n")[0].removeprefix("#:").split()]


def steps(path: Path) -> list[Step]:
    """The steps of a transcript."""
    found: list[Step] = []
    asked: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("$ "):
            words, _, stdin = line[2:].partition(" << ")
            found.append(Step(number, words, stdin.replace("\\n", "\n"), [], [], [], 0))
        elif not found:
            assert line.startswith("#") or not line, f"{path.name}:{number}: text before the first command"
        elif line.startswith("--> "):
            asked = line[4:].split(" ", 2)
        elif line.startswith("<-- "):
            status, _, answer = line[4:].partition(" ")
            body = asked[2] if len(asked) > 2 else ""
            found[-1].exchanges.append(Exchange(asked[0], asked[1], body, int(status), answer))
        elif re.fullmatch(r"\[\d+\]", line):
            found[-1] = found[-1]._replace(code=int(line[1:-1]))
        elif line == "!" or line.startswith("! "):
            found[-1].err.append(line[2:])
        elif not line.startswith("# "):
            found[-1].out.append(line)
    return found


Run = Callable[..., Ran]  # (words, standard input) -> what came of it


class Stub:
    """A server that expects given requests in order, and answers as told."""

    def __init__(self) -> None:
        self.expected: list[Exchange] = []
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.faults: list[str] = []
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                stub.seen.append((self.command, self.path, raw, headers))
                status, answer = stub.reply(self.command, self.path, raw)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def reply(self, method: str, target: str, raw: bytes) -> tuple[int, bytes]:
        if not self.expected:
            self.faults.append(f"unexpected {method} {target}")
            return 418, b'{"errors":["unexpected"]}'
        want = self.expected.pop(0)
        if (method, target) != (want.method, want.target):
            self.faults.append(f"{method} {target} came, {want.method} {want.target} was expected")
        if (json.loads(raw) if raw else None) != (json.loads(want.body) if want.body else None):
            self.faults.append(f"{method} {target}: body {raw.decode()} came, {want.body or 'none'} was expected")
        return want.status, want.answer.encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def fill(text: str, known: dict[str, str]) -> str:
    return _HOLE.sub(lambda hole: known.get(hole[1], hole[0]), text)


def matches(expected: str, line: str, known: dict[str, str]) -> bool:
    """Whether ``line`` is what a transcript line expects; new holes are remembered in ``known``."""
    parts, at, names = "", 0, []
    for hole in _HOLE.finditer(expected):
        parts += re.escape(expected[at : hole.start()])
        if hole[1] in known:
            parts += re.escape(known[hole[1]])
        else:
            parts += "(.+?)" if hole[1] not in names else f"\\{names.index(hole[1]) + 1}"
            names += [hole[1]] if hole[1] not in names else []
        at = hole.end()
    found = re.fullmatch(parts + re.escape(expected[at:]), line)
    if found:
        known.update(zip(names, found.groups(), strict=True))
    return found is not None


def differences(step: Step, ran: Ran, known: dict[str, str]) -> list[str]:
    """What is not as the step expects."""
    wrong = [] if ran.code == step.code else [f"exit code {ran.code}, not {step.code}"]
    for name, expected, text in (("output", step.out, ran.out), ("errors", step.err, ran.err)):
        want, got = trimmed(expected), trimmed(text.split("\n"))
        same = len(want) == len(got) and all(matches(w, g, known) for w, g in zip(want, got, strict=True))
        if not same:
            wrong.append(f"{name} differs; expected:\n" + "\n".join(want) + "\ncame:\n" + "\n".join(got))
    return wrong


def trimmed(lines: list[str]) -> list[str]:
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def play(
    path: Path,
    run: Run,
    set_variable: Callable[[str, str], Any],
    stub: Stub | None = None,
) -> None:
    """Play a transcript in the current folder; assertion errors name the file and line."""
    known: dict[str, str] = {}
    for step in steps(path):
        where = f"{path.name}:{step.line}: {step.words}\n"
        verb, _, rest = fill(step.words, known).partition(" ")
        if verb == "file":
            name, _, text = rest.partition(" ")
            Path(name).write_text(text.replace("\\n", "\n"))
            continue
        if verb == "set":
            set_variable(*rest.split("=", 1))
            continue
        if stub:
            stub.expected = [e._replace(body=fill(e.body, known), target=fill(e.target, known)) for e in step.exchanges]
            stub.faults = []
        ran = Ran(0, Path(rest).read_text(), "") if verb == "cat" else run(shlex.split(rest), fill(step.stdin, known))
        wrong = differences(step, ran, known)
        if stub:
            wrong += stub.faults + [f"never asked: {e.method} {e.target}" for e in stub.expected]
        assert not wrong, where + "\n".join(wrong)
