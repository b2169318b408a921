"""kubevault push and pull as commands, against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_stub import Run, runner
from kubevault_world import objects, vault
from server_fixture import Server, running

SECRETS: dict[str, str | bytes] = {
    "production/applicationB/postgresql": (
        "# comment\npassword: s3cret\nport: 0x1F\n? yes\n: no\ncert: |\n  -----BEGIN\n  abc\n"
    ),
    "production/applicationA/b-64": (
        "raw: !!binary AAH/\n_kubevault: {type: t/u, labels: {team: x}, annotations: {a: 'é\n1'}}\n"
    ),
    "empty": "",
    'odd "name": $x %25?#é[a]{b} x': "k: v\n",
    "A.b_c": 'k: "a\\u2028b\\x00c\\td "\nspace: " x "\n',
}
USERS = {"ann": "production/**\n!production/applicationA/*\n", "people/bob": "odd*\n\\A.b_c\n", "nil": "", "cy": "**\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("bridge")) as one:
        yield one


@pytest.fixture
def run(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Run:
    """Commands with a mount of their own."""
    mount = request.node.name.replace("[", "-").replace("]", "")[:40]
    server.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    go = runner(capsys)
    return lambda *words: go(*words, "--mount", mount, "--policy-prefix", f"{mount}-")


def test_push_pull_push_is_the_identity(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path / "1", SECRETS, USERS)
    assert run("push", "--vault-dir", one).code == 0
    two = tmp_path / "2" / "vault"
    done = run("pull", two)
    assert done.code == 0 and len(done.out.splitlines()) == len(SECRETS) + len(USERS)
    assert objects(two) == objects(one)
    again = run("push", "--vault-dir", two, "--prune")
    assert (again.code, again.out) == (0, "") and again.err.endswith("0 changes.\n")
    assert run("pull", one).out == "" and (one / "kvstore/production/applicationB/postgresql").read_text().startswith(
        "#"
    )
    assert (two / "access_control/people/bob").read_text() == "odd*\n\\A.b_c\n"
    assert (two / ".gitignore").exists() and (two / "kvstore/empty").stat().st_mode & 0o777 == 0o600


def test_below_a_prefix(run: Run, server: Server, tmp_path: Path) -> None:
    one = vault(tmp_path / "1", SECRETS, USERS)
    assert run("push", "--vault-dir", one, "--prefix", "/team/x/").code == 0
    two = tmp_path / "2" / "vault"
    assert run("pull", two, "--prefix", "team/x").code == 0 and objects(two) == objects(one)
    done = run("push", "--vault-dir", one)
    assert done.code == 1 and "not from a push to this place" in done.err and "--adopt" in done.err


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path, {"a": "k: s3cret\n"}, {"ann": "a\n"})
    words = ("push", "--vault-dir", one, "--dry-run")
    first = run(*words)
    assert first.code == 0 and first.out.count("\n") == 2 and "2 changes to make." in first.err
    assert run(*words).out == first.out and "s3cret" not in first.out + first.err
    shown = json.loads(run(*words, "--format", "json").out)["changes"]
    assert [(one["change"], one["what"]) for one in shown] == [("added", "secret"), ("added", "policy")]


def test_a_vault_that_is_not_right_is_not_pushed(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path, {"a": "k: v\n", "b": "- 1\n", "1": "k: v\n", "c/+/d": "k: v\n"}, {"Bad_User": "**\n"})
    done = run("push", "--vault-dir", one)
    assert (done.code, done.out) == (1, "") and done.err.count("error: ") == 3
    for path in ("b", "1"):
        (one / "kvstore" / path).unlink()
    (one / "access_control/Bad_User").unlink()
    done = run("push", "--vault-dir", one)
    assert done.code == 1 and "c/+/d: cannot be pushed" in done.err
    (one / "kvstore/c/+/d").unlink()
    assert "+ secret " in run("push", "--vault-dir", one, "--dry-run").out  # nothing was written before


def test_pull_leaves_what_differs(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path / "1", {"a": "k: v\n", "b": "k: v\n"}, {"ann": "a\n"})
    assert run("push", "--vault-dir", one).code == 0
    (one / "kvstore/a").write_text("k: changed here\n")
    (one / "kvstore/b").unlink()
    done = run("pull", one)
    assert (done.code, done.out) == (1, "") and "--force" in done.err and "changed here" not in done.err
    assert not (one / "kvstore/b").exists()  # nothing at all was written
    assert run("pull", one, "--force").out == "~ file kvstore/a\n+ file kvstore/b\n"
    assert (one / "kvstore/a").read_text() == 'k: "v"\n'


def test_mounts_that_are_none(run: Run, server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one = vault(tmp_path, {"a": "k: v\n"})
    go = runner(capsys)
    server.call("POST", "sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
    server.call("POST", "sys/mounts/two", {"type": "kv", "options": {"version": "2"}})
    for words, said in (
        (["push", "--vault-dir", one, "--mount", "plain"], "is no KV mount of version 2"),
        (["push", "--vault-dir", one, "--mount", "nothing/here"], "there is no mount"),
        (["pull", one, "--mount", "two/team"], "--mount two/ --prefix team"),
    ):
        done = go(*words)
        assert (done.code, done.out) == (1, "") and said in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["push", "--mount", ""],
        ["push", "--policy-prefix", ""],
        ["push", "--prefix", "a/+"],
        ["pull", "--prefix", "../x"],
        ["pull", "a", "b"],
        ["push", "extra"],
        ["push", "--force"],
    ],
)
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    vault(tmp_path, {"a": "k: v\n"})
    done = runner(capsys)(*words)
    assert (done.code, done.out) == (2, "") and done.err.startswith("error: ")


def test_a_server_that_says_no(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = vault(tmp_path, {"a": "k: v\n"})
    monkeypatch.setenv("VAULT_TOKEN", "nobody")
    done = run("push", "--vault-dir", one)
    assert done.code == 1 and done.out == ""
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    done = run("pull", one)
    assert done.code == 1 and "nothing listens" in done.err


def test_answers_are_never_wrapped(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = vault(tmp_path / "1", {"a": "k: v\n"}, {"ann": "a\n"})
    monkeypatch.setenv("VAULT_WRAP_TTL", "60")
    assert run("push", "--vault-dir", one).code == 0
    assert run("push", "--vault-dir", one).out == ""
    assert run("pull", tmp_path / "2").out == "+ file kvstore/a\n+ file access_control/ann\n"


def test_curl_is_printed_and_nothing_is_sent(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path, {"a": "k: v\n"})
    done = run("push", "--vault-dir", one, "-output-curl-string")
    assert done.code == 0 and done.out.startswith("curl ")
    assert "+ secret" in run("push", "--vault-dir", one, "--dry-run").out


def test_what_is_wrong_together_is_told(run: Run, tmp_path: Path) -> None:
    one = vault(tmp_path / "1", {"a/b": "k: v\n"})
    assert run("push", "--vault-dir", one).code == 0
    two = vault(tmp_path / "2", {"a-b": "k: v\n"})
    done = run("pull", two)
    assert done.code == 0 and "warning: " in done.err and "becomes the Secret a-b" in done.err


def test_nothing_is_asked_before_the_vault_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = vault(tmp_path, {"a/+/b": "k: v\n"})
    done = runner(capsys)("push", "--vault-dir", one, "-address", "http://127.0.0.1:1")
    assert done.code == 1 and "cannot be pushed" in done.err and "listens" not in done.err
