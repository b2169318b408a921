"""The program kubevault: exit codes, streams, and that ``strongroom kubevault`` is the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from kubevault_world import vault
from scripts.transcript import Ran, Run
from strongroom.cli import kubevault

SECRETS = {"a/db": "password: s3cret-value\n", "b/key": "k: 1_000\n"}
USERS = {"alice": "a/**\n", "bob": "**\n!a/db\n"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = vault(tmp_path, SECRETS, USERS)
    monkeypatch.setenv("KUBEVAULT_DIR", str(made))
    return made


@pytest.fixture
def kv(run: Run) -> "Run":
    return lambda words, stdin="": run(["kubevault", *words], stdin)


def error(ran: Ran) -> str:
    assert ran.out == "" and "Traceback" not in ran.err
    return ran.err


def test_no_command(kv: Run) -> None:
    ran = kv([])
    assert ran.code == 1 and "no command" in error(ran)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["help", "generate"], ["generate", "-h"]])
def test_help(kv: Run, words: list[str]) -> None:
    ran = kv(words)
    assert ran.code == 0 and ran.out.startswith("Usage: ")


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(kv: Run, word: str) -> None:
    ran = kv([word])
    assert ran.code == 0 and ran.out.startswith("kubevault ")


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["help", "nonsense"],
        ["generate", "--nonsense"],
        ["generate", "--namespace"],
        ["generate", "--namespace", ""],
        ["generate", "--namespace", "Not-A-Label"],
        ["generate", "--vault-dir", ""],
        ["generate", "--output-dir", ""],
        ["generate", "--format", "json"],
        ["generate", "--kind", "configmap"],
        ["generate", "--tokens", "some"],
        ["generate", "--prune"],
        ["generate", "--prune=maybe"],
        ["generate", "--rev", ""],
        ["generate", "extra"],
        ["new", ""],
        ["new", "a", "b"],
        ["can-read"],
        ["can-read", "a", "b"],
        ["completion"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_use_is_2(kv: Run, folder: Path, words: list[str]) -> None:
    ran = kv(words)
    assert ran.code == 2, ran
    assert error(ran).startswith("error: ")


@pytest.mark.parametrize("name", ["KUBEVAULT_DIR", "KUBEVAULT_NAMESPACE", "KUBEVAULT_OUTPUT_DIR"])
def test_an_empty_variable_is_wrong_use(kv: Run, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    ran = kv(["generate"])
    assert ran.code == 2 and name in error(ran)


def test_what_cannot_be_done_is_1(kv: Run, folder: Path, tmp_path: Path) -> None:
    for words in (
        ["generate", "--vault-dir", "none"],
        ["can-read", "alice", "--vault-dir", "none"],
        ["can-read", "nobody"],
        ["can-read", "../kvstore/a/db"],
        ["explain", "alice", "nothing"],
        ["who-can-read", "nothing"],
        ["generate", "--output-dir", "none"],
        ["generate", "--kind", "external-secret"],
    ):
        ran = kv(words)
        assert ran.code == 1, words
        assert error(ran).startswith("error: ")


def test_generate_prints_everything_or_nothing(kv: Run, folder: Path) -> None:
    ran = kv(["generate", "--namespace", "team"])
    assert ran.code == 0 and ran.err == ""
    assert ran.out.startswith("---\napiVersion: v1\n") and ran.out.count("\n---\n") == 9
    assert "namespace: team" in ran.out and "vault-kvstore" not in ran.out
    (folder / "kvstore/bad").write_text("a: s3cret-value: b")
    (folder / "kvstore/worse").write_text("- 1")
    ran = kv(["generate"])
    assert ran.code == 1 and ran.out == ""
    assert ran.err.splitlines() == [
        f"error: {folder}/kvstore/bad:1: is not YAML: mapping values are not allowed in this context",
        f"error: {folder}/kvstore/worse:1: must be a map of keys to values",
        "Nothing was done: 2 problems.",
    ]


def test_flags_beat_the_environment(kv: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEVAULT_NAMESPACE", "from-env")
    assert "namespace: from-env" in kv(["generate"]).out
    assert "from-env" not in kv(["generate", "-n", "from-flag"]).out
    monkeypatch.setenv("KUBEVAULT_DIR", str(tmp_path / "none"))
    assert kv(["generate"]).code == 1
    assert kv(["generate", f"--vault-dir={folder}"]).code == 0
    monkeypatch.setenv("KUBEVAULT_OUTPUT_DIR", str(tmp_path / "home"))
    assert kv(["generate", f"--vault-dir={folder}"]).out == ""
    assert (tmp_path / "home/secret-a-db.yaml").exists()


def test_generate_into_a_folder(kv: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ran = kv(["generate", "--output-dir", str(out)])
    assert ran.code == 0 and ran.out == "" and ran.err == "4 files written, 0 removed.\n"
    assert sorted(path.name for path in out.iterdir()) == [
        ".kubevault-made", "access-control-alice.yaml", "access-control-bob.yaml", "secret-a-db.yaml",
        "secret-b-key.yaml",
    ]  # fmt: skip
    assert (out / "secret-a-db.yaml").read_text().startswith("apiVersion")
    assert (out / "access-control-bob.yaml").read_text().count("---\n") == 3
    (folder / "kvstore/b/key").unlink()
    ran = kv(["generate", "--output-dir", str(out)])
    assert "--prune removes it" in ran.err and (out / "secret-b-key.yaml").exists()
    ran = kv(["generate", "--output-dir", str(out), "--prune"])
    assert ran.code == 0 and not (out / "secret-b-key.yaml").exists()


def test_can_read(kv: Run, folder: Path) -> None:
    ran = kv(["can-read", "bob"])
    assert ran.code == 0
    assert ran.out == (
        "List of secrets accessible by user 'bob':\n"
        '\u25cb a-db ("a/db")\n'
        '\u25cf b-key ("b/key")\n'
    )  # fmt: skip
    assert kv(["can-read", "bob", "--show-only-allowed"]).out.count("\n") == 2
    ran = kv(["can-read", "nobody"])
    place = folder / "access_control/nobody"
    assert ran.err.splitlines()[0] == f'error: user "nobody" does not exist (file "{place}" not found)'
    assert '"allowed": true' in kv(["can-read", "alice", "--format", "json", "--show-only-allowed"]).out


def test_can_read_looks_at_no_secret(kv: Run, folder: Path) -> None:
    (folder / "kvstore/bad").write_text("[")
    assert kv(["can-read", "bob"]).code == 0
    (folder / "kvstore/BAD_").write_text("")
    assert kv(["can-read", "bob"]).code == 1


def test_paths_are_quoted(kv: Run, folder: Path) -> None:
    (folder / 'kvstore/q"u\\o\tt\u200be').write_text("")
    assert '("q\\"u\\\\o\\tt\\u{200b}e")' in kv(["can-read", "bob"]).out


def test_who_can_read(kv: Run, folder: Path) -> None:
    assert kv(["who-can-read", "a/db"]).out == "alice\n"
    assert kv(["who-can-read", "b-key"]).out == "bob\n"
    (folder / "kvstore/c").write_text("")
    (folder / "access_control/bob").write_text("a/**")
    ran = kv(["who-can-read", "c"])
    assert ran.code == 0 and ran.out == "" and "Nobody" in ran.err


def test_explain(kv: Run, folder: Path) -> None:
    assert kv(["explain", "bob", "a/db"]).out.splitlines() == [
        "bob may not read a/db (a-db)",
        f"decided by {folder}/access_control/bob:2: !a/db",
    ]
    assert kv(["explain", "alice", "b/key"]).out.splitlines()[1] == "no rule matches it"
    assert '"allowed": true' in kv(["explain", "alice", "a-db", "--format=json"]).out


def test_lint(kv: Run, folder: Path) -> None:
    ran = kv(["lint"])
    assert ran.code == 0 and ran.out == ""
    (folder / "access_control/carol").write_text("a/*\nnothing\n")
    (folder / "kvstore/dup").write_text("a: 1\na: 2")
    ran = kv(["lint"])
    assert ran.code == 3 and ran.err == ""
    assert [line.split(": ")[1].removeprefix(f"{folder}/") for line in ran.out.splitlines()] == [
        "kvstore/dup:2", "access_control/carol:2",
    ]  # fmt: skip
    (folder / "kvstore/bad").write_text("[")
    ran = kv(["lint", "--format", "json"])
    assert ran.code == 3 and '"level": "error"' in ran.out and '"code": "no-match"' in ran.out


def test_new(kv: Run, tmp_path: Path) -> None:
    ran = kv(["new", "fresh"])
    assert ran.code == 0 and ran.out == "" and "fresh/kvstore" in ran.err
    assert kv(["generate", "--vault-dir", "fresh"]) == Ran(0, "", "")
    assert kv(["new"]).code == 0 and (tmp_path / "vault/access_control").is_dir()


def test_completion(kv: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        ran = kv(["completion", shell])
        assert ran.code == 0 and "_KUBEVAULT_COMPLETE" in ran.out


def test_the_program_itself(folder: Path) -> None:
    program = Path(sys.executable).with_name("kubevault")
    ran = subprocess.run([program, "generate"], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0 and ran.stdout.count("kind: Secret\n") == 4
    ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    piped = subprocess.run(f"{program} generate | head -1", shell=True, capture_output=True, text=True, timeout=60)
    assert piped.stdout == "---\n" and piped.stderr == ""
    completed = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "_KUBEVAULT_COMPLETE": "bash_complete",
            "COMP_WORDS": "kubevault can-",
            "COMP_CWORD": "1",
            "PATH": "/usr/bin",
        },
    )
    assert completed.stdout == "plain,can-read\n"


def test_no_output_tells_a_secret_that_was_not_asked_for(kv: Run, folder: Path) -> None:
    for words in (["lint"], ["can-read", "bob"], ["explain", "bob", "a/db"], ["who-can-read", "a/db"]):
        ran = kv(words)
        assert "s3cret" not in ran.out + ran.err


def test_every_command_explains_itself(kv: Run) -> None:
    for name in kubevault.KUBEVAULT.table:
        ran = kv([name, "--help"])
        assert ran.code == 0, name


def test_sealed_secrets(kv: Run, folder: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from certificates import make

    place = tmp_path / "cert.pem"
    words = ["generate", "--kind", "sealed-secret", "--sealed-cert", str(place), "--format", "stringData"]
    place.write_text(make("controller", key=rsa.generate_private_key(65537, 2048)).pem)
    ran = kv(words)
    assert ran.code == 0 and ran.out.count("kind: SealedSecret\n") == 2 and ran.out.count("\nkind: Role\n") == 2
    assert "s3cret" not in ran.out and ran.out.count("\nkind: Secret\n") == 2  # the users' tokens
    place.write_text(make("controller").pem)
    ran = kv(words)
    assert ran.code == 1 and "RSA" in error(ran)
    assert kv(["generate", "--kind", "sealed-secret"]).code == 1
