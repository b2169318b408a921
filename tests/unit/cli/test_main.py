"""The whole command: versions, help, exit codes, manners, every command's help, and what it costs to start."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from packaging.version import Version

from scripts.transcript import Exchange, Run, Stub
from strongroom.cli.command import Command, Group
from strongroom.cli.root import ROOT
from strongroom.cli.version import API_VERSION, version_line

LOOKUP = "/v1/auth/token/lookup-self"


def commands(group: Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in group.table:
        command = group.get_command(click.Context(group), name)
        assert command is not None, name
        found += commands(command, (*path, name)) if isinstance(command, Group) else [((*path, name), command)]
    return found


ALL = commands(ROOT)


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_explains_itself(path: tuple[str, ...], command: click.Command, run: Run) -> None:
    ran = run([*path, "-help"])
    assert ran.code == 0 and not ran.err
    assert ran.out.startswith(f"Usage: strongroom {' '.join(path)}")
    assert command.help
    names = [option.name for option in command.params]
    assert len(names) == len(set(names))
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_flags_are_read_alike_everywhere() -> None:
    for path, command in ALL:
        assert isinstance(command, Command), path
        switches, valued = command.flags()
        assert not set(switches) & set(valued), path


@pytest.mark.parametrize("words", ["-version", "--version", "-v", "version"])
def test_version(words: str, run: Run) -> None:
    ran = run([words])
    assert ran.code == 0
    name, version, _ = ran.out.split(" ", 2)
    assert name == "Strongroom" and version.startswith("v")
    assert Version(version.removeprefix("v"))


def test_the_interface_version_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    core = importlib.import_module("strongroom.core.core")
    assert core.REPORTED_VERSION == API_VERSION
    monkeypatch.setenv("STRONGROOM_VERSION", "1.18.3+ent")
    assert version_line().startswith("Strongroom v1.18.3+ent ")
    monkeypatch.setenv("STRONGROOM_VERSION", "\x1b[31m")
    assert API_VERSION in version_line()


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        ([], 127, "", "Usage: strongroom"),
        (["-h"], 0, "Usage: strongroom", ""),
        (["kv"], 1, "", "Usage: strongroom kv"),
        (["kv", "-help"], 0, "Usage: strongroom kv", ""),
        (["kv", "metadata"], 1, "", "Usage: strongroom kv metadata"),
        (["nothing"], 127, "", "error: there is no command 'strongroom nothing'"),
        (["kv", "gte"], 127, "", "hint: did you mean get?"),
        (["-address=x", "status"], 1, "", "error: "),
        (["status", "-format=xml"], 1, "", "error: -format must be table, json or yaml"),
        (["read", "-address=nonsense", "x"], 1, "", "error: the server address must look like"),
        (["server"], 1, "", "error: no configuration is given"),
        (["server", "-dev-no-kv", "-config=x"], 1, "", "error: -dev-no-kv goes with -dev only"),
        (["kv", "get", "-version=x", "a"], 1, "", "error: invalid value for"),
    ],
)
def test_exit_codes(words: list[str], code: int, out: str, err: str, run: Run) -> None:
    ran = run(words)
    assert ran.code == code
    assert ran.out.startswith(out) if out else not ran.out
    assert err in ran.err
    assert "Traceback" not in ran.err


def test_a_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_FORMAT", "xml")
    assert "VAULT_FORMAT must be" in run(["read", "x"]).err


def test_field_without_newline_in_a_pipe(run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("GET", "/v1/a", "", 200, '{"data":{"x":"v"}}')]
    assert run(["read", "-field=x", "a"]).out == "v"


def test_the_token_comes_from_flag_variable_file(
    run: Run, stub: Stub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".vault-token").write_text("of-the-file\n")

    def token_of(*words: str) -> str:
        stub.expected = [Exchange("GET", LOOKUP, "", 200, '{"data":{}}')]
        assert run(["token", "lookup", *words]).code == 0
        return stub.seen[-1][3]["x-vault-token"]

    assert token_of() == "of-the-file"
    monkeypatch.setenv("VAULT_TOKEN", "of-the-variable")
    assert token_of() == "of-the-variable"
    assert token_of("-token=of-the-flag") == "of-the-flag"


def test_headers_of_flags(run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("GET", "/v1/a", "", 200, '{"data":{"x":1}}')]
    words = "read -namespace=ns1 -wrap-ttl=60 -header=X-Own=1 -mfa=m:1 -mfa=n:2 -policy-override a".split()
    assert run(words).code == 0
    headers = stub.seen[-1][3]
    assert headers["x-vault-namespace"] == "ns1/" and headers["x-vault-wrap-ttl"] == "60"
    assert headers["x-own"] == "1" and headers["x-vault-mfa"] == "m:1,n:2"
    assert headers["x-vault-policy-override"] == "true"


def test_the_preflight_is_never_wrapped(run: Run, stub: Stub) -> None:
    stub.expected = [
        Exchange("GET", "/v1/sys/internal/ui/mounts/secret/a", "", 200, '{"data":{"path":"secret/","options":null}}'),
        Exchange("GET", "/v1/secret/a", "", 200, '{"wrap_info":{"token":"w","ttl":60},"data":null}'),
    ]
    ran = run(["kv", "get", "-wrap-ttl=60", "secret/a"])
    assert ran.code == 0 and "wrapping_token:" in ran.out
    assert ["x-vault-wrap-ttl" in headers for _, _, _, headers in stub.seen] == [False, True]


@pytest.mark.parametrize(
    "body", ["<html>gateway</html>", "[]", '{"errors": 5}', '{"data": 7}', '{"auth": "x"}', "{}", ""]
)
@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("words", ["read a", "kv get a/b", "token lookup", "secrets list", "list a", "status"])
def test_strange_answers_never_break_it(words: str, status: int, body: str, run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("GET", "*", "", status, body)] * 4
    ran = run(words.split())
    assert ran.code in (0, 1, 2)
    assert "Traceback" not in ran.err


def test_sec_secrets_of_the_command_line_are_in_no_error(run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("PUT", "/v1/a", "", 400, '{"errors":["no"]}')]
    ran = run(["write", "-token=hvs.canary", "a", "password=canary"])
    assert ran.code == 2 and "canary" not in ran.out + ran.err
    for words in (
        ["login", "-method=userpass", "username=b", "canary"],
        ["write", "a", "canary"],
        ["kv", "put", "a", "canary"],
    ):
        stub.expected = []
        ran = run(words)
        assert ran.code and "canary" not in ran.out + ran.err


def test_a_missing_token_is_told(run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("GET", "/v1/a", "", 403, '{"errors":["permission denied"]}')] * 2
    assert "hint: there is no token" in run(["read", "a"]).err
    assert "there is no token" not in run(["read", "-token=x", "a"]).err


def test_completion(run: Run) -> None:
    for shell in ("zsh", "fish"):
        ran = run(["completion", shell])
        assert ran.code == 0 and "_STRONGROOM_COMPLETE" in ran.out
    assert run(["completion", "csh"]).code == 1


def complete(words: str) -> set[str]:
    env = {
        **os.environ,
        "_STRONGROOM_COMPLETE": "zsh_complete",
        "COMP_WORDS": f"strongroom {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    done = subprocess.run([sys.executable, "-m", "strongroom"], env=env, capture_output=True, text=True, timeout=30)
    return set(done.stdout.split("\n")[1::3])


def test_completion_knows_commands_and_flags() -> None:
    assert {"kv", "token", "status"} <= complete("")
    assert complete("kv met") == {"metadata"}
    assert complete("kv get -fi") == {"-field"}
    assert complete("kv get --fi") == {"--field"}


def test_a_closed_pipe_makes_no_noise() -> None:
    script = f"{sys.executable} -m strongroom -h | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stderr == "" and done.stdout == ""


HEAVY = ["asyncio", "msgspec", "cryptography", "yaml", "lmdb", "uvloop", "argon2", "inspect", "http.client", "ssl"]


@pytest.mark.parametrize("words", [["-version"], ["kv", "get", "-address=http://127.0.0.1:1", "a"]])
def test_a_command_loads_little(words: list[str]) -> None:
    """Time cannot be measured on a busy machine; what is loaded can."""
    code = (
        f"import sys; from strongroom.cli.main import main; main({words!r}); "
        f"print(*[n for n in {HEAVY} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    loaded = done.stderr.strip().split("\n")[-1].split()
    assert set(loaded) <= ({"inspect", "http.client", "ssl"} if words[0] == "kv" else set())
