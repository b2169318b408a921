"""Questions to audit logs: both shapes, streams, times, and what is no line of ours."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import postgres
from contracts.audit_harness import call, caller
from scripts.transcript import Ran, Run
from strongroom.audit.database import DatabaseSink, open_sink
from strongroom.audit.query import Found, Question, answers, moment
from strongroom.core.audit_record import LineMaker
from strongroom.core.audit_secretum import SecretumLines
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.request import Op, Response

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
NOW = datetime.datetime(2027, 1, 15, 9, 0, tzinfo=datetime.UTC)


def log(lines: Any) -> list[bytes]:
    """Two people, an hour of requests, a refusal and a Cedar decision."""
    out: list[bytes] = []
    steps: list[tuple[str, str, Any, dict[str, Any] | None]] = [
        ("bob", "secret/data/app/db", Response(data={"x": "y"}), None),
        ("eve", "secret/data/app/db", PermissionDenied(), {"allowed": False}),
        ("eve", "secret/data/other", Response(data={}), None),
        ("bob", "secret/data/app/web", Response(), {"allowed": True, "granting_policies": [],
                                                    "cedar": {"decision": "permit", "policy_id": "dev#1"}}),
    ]  # fmt: skip
    for n, (who, path, outcome, results) in enumerate(steps):
        of = call(Op.READ, path, who=caller(display_name=who, token_id=who))
        if results is not None:
            of.policy_results = results
        part = lines.who_and_what(of)
        out += [lines.request(part, START + 600 * n), lines.response(part, START + 600 * n + 1, of, outcome)]
    return out


SHAPES = {"json": LineMaker(b"s" * 32), "secretum": SecretumLines(b"s" * 32)}


@pytest.fixture(params=sorted(SHAPES))
def lines(request: pytest.FixtureRequest) -> list[bytes]:
    return log(SHAPES[request.param])


def ask(lines: list[bytes], **question: str) -> list[Found]:
    return list(answers(lines, Question(**question)))


def test_who_read_this_secret_and_by_which_policy(lines: list[bytes]) -> None:
    first, second = ask(lines, path="secret/data/app/db")
    assert (first.who, first.outcome, first.operation, first.address) == ("bob", "ok", "read", "192.0.2.7")
    assert first.time.startswith("2027-01-15T08:00:01") and first.request_id == "req-1"
    assert first.allowed_by in (["app"], ["one of app, default"])
    assert (second.who, second.outcome, second.allowed_by) == ("eve", "permission denied", [])


def test_the_other_questions(lines: list[bytes]) -> None:
    assert [f.path for f in ask(lines, who="eve")] == ["secret/data/app/db", "secret/data/other"]
    assert [f.path for f in ask(lines, who="entity-1", path="secret/data/app/*")] == [
        "secret/data/app/db", "secret/data/app/db", "secret/data/app/web",
    ]  # fmt: skip
    assert ask(lines, path="secret/data/app") == []
    assert [f.who for f in ask(lines, since="2027-01-15T08:15")] == ["eve", "bob"]
    assert [f.who for f in ask(lines, since="2027-01-15T08:05", until="2027-01-15T08:15")] == ["eve"]
    assert ask(lines, path="secret/data/app/web")[0].allowed_by == ["cedar:dev#1"]
    token = json.loads(lines[0])["auth"]["client_token"]
    assert len(ask(lines, who=token)) == 4, "the hash of a token finds what it did"


def test_what_is_no_line_is_passed_over(lines: list[bytes]) -> None:
    noise = [b'"response"\n', b'["response"]\n', b'{"response"\n', b'{"type":"response"}\n', b"\xff\xfe\n", b"\n"]
    assert ask([*noise, *lines, *noise], path="secret/data/app/db") == ask(lines, path="secret/data/app/db")


def test_nothing_is_read_ahead() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield from log(SHAPES["json"])

    found = answers(endless(), Question(who="bob"))
    assert [next(found).path for _ in range(3)] == ["secret/data/app/db", "secret/data/app/web", "secret/data/app/db"]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("", ""),
        ("30m", "2027-01-15T08:30:00.000000"),
        ("1d", "2027-01-14T09:00:00.000000"),
        ("2027-01-15", "2027-01-15T00:00:00.000000"),
        ("2027-01-15T10:00:00+02:00", "2027-01-15T08:00:00.000000"),
        ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00.000000"),
    ],
)
def test_times(text: str, when: str) -> None:
    assert moment(text, NOW) == when


@pytest.mark.parametrize("text", ["yesterday", "5", "h", "99999999999999d", "2027-13-01"])
def test_no_times(text: str) -> None:
    with pytest.raises(BadRequest):
        moment(text, NOW)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    from strongroom.cli.main import main

    def go(words: list[str], stdin: str = "") -> Ran:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return go


def test_the_command(lines: list[bytes], tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.1").write_bytes(b"".join(lines[:4]))
    (tmp_path / "a").write_bytes(b"".join(lines[4:]))
    files = [str(tmp_path / "a.1"), str(tmp_path / "a")]
    shown = run(["audit", "query", "-who=bob", "-since=2027-01-01", *files])
    assert shown.code == 0, shown.err
    assert [line.split("\t")[3] for line in shown.out.splitlines()] == [
        "Path", "secret/data/app/db", "secret/data/app/web",
    ]  # fmt: skip
    shown = run(["audit", "query", "-format=json", "-path=/secret/data/other", *files])
    assert [json.loads(line)["who"] for line in shown.out.splitlines()] == ["eve"]
    assert run(["audit", "query"]).code == 1
    assert run(["audit", "query", "-since=soon", *files]).code == 1
    assert run(["audit", "query", str(tmp_path / "none")]).code == 1


def test_from_a_database(lines: list[bytes], tmp_path: Path, run: Run) -> None:
    with postgres.running() as server:
        sink = open_sink({"dsn": server.dsn}, audit_dir=str(tmp_path))
        assert isinstance(sink, DatabaseSink)
        for line in lines:
            sink.response(line)
        sink.close()
        sink._thread.join(20)
        shown = run(["audit", "query", f"-dsn={server.dsn}", "-format=json", "-path=secret/data/app/db"])
        assert [json.loads(line)["who"] for line in shown.out.splitlines()] == ["bob", "eve"], shown.err
        assert run(["audit", "query", f"-dsn={server.dsn}", "-table=none"]).code == 1
    assert run(["audit", "query", f"-dsn={server.dsn}"]).code == 1
