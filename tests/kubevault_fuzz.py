"""Generated vaults for `kubevault generate`: it refuses with reasons, or makes what an oracle expects."""

import contextlib
import io
import os
import shutil
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from strongroom.cli.kubevault import main

Tree = dict[str, bytes]

_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_WORD = st.sampled_from(
    ["yes", "null", "0x1F", "1_000", "~", "", "<<", "a", "\x00", "\x7f", "\x85", "\u2028", "\U0001f511", "x" * 70_000]
)
_NAME = st.text("abzA0-_. \u00fc\u0130\n'\"\\#!*[{", min_size=1, max_size=5).filter(
    lambda name: name not in (".", "..")
)
_SIMPLE = st.text("abz", min_size=1, max_size=2)
_MOSTLY = _SIMPLE | st.text("xyA", min_size=1, max_size=2) | st.text("mnB_1", min_size=1, max_size=3) | _NAME
PATH = st.lists(_MOSTLY, min_size=1, max_size=3).map("/".join)
_KEY = st.one_of(
    *(
        st.text(letters, min_size=1, max_size=5)
        for letters in ("ab", "cd.", "ef-", "g_0", "yesno", "01x", "hi", "null", "kl")
    ),
    _WORD,
    _ANY,
)
_SETTING = st.one_of(
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["Opaque", "kubernetes.io/tls", "x", ""]) | _ANY),
    st.builds(lambda labels: {"labels": labels}, st.dictionaries(_KEY, _ANY, max_size=2)),
    st.builds(lambda notes: {"annotations": notes}, st.dictionaries(_KEY, _ANY, max_size=2)),
    st.builds(lambda word: {"immutable": word}, st.sampled_from(["true", "false", "yes"])),
    st.builds(lambda word: {"b64": word}, st.sampled_from(["true", "x"])),
    _ANY,
)
_VALUES = st.dictionaries(_KEY, _WORD | _ANY, max_size=4)


def _dumped(values: dict[str, str], setting: Any, style: str | None) -> bytes:
    whole: dict[str, Any] = values if setting is None else {**values, "_kubevault": setting}
    return yaml.safe_dump(whole, default_style=style, allow_unicode=True).encode()


GOOD = st.builds(_dumped, _VALUES, st.none() | st.none() | _SETTING, st.sampled_from(['"', None]))
# Pieces of YAML in any order: what a person, or a broken tool, may leave in a file.
_PIECE = st.sampled_from([
    "a: ", "b: ", "? ", "- ", ": ", "\n", "\n", "\n  ", "|\n", ">-\n", "'", '"', "x", "yes", "0x1F", "# c", "&a ",
    "*a", "!t ", "!!binary ", "aGk=",
    "{", "}", "[", "]", ",", "---\n", "...\n", "%YAML 1.1\n", "\t", "\\", "<<: ", "\r\n", "_kubevault: ", "type: ",
    "\ufeff", "\x00", "\u0085",
])  # fmt: skip
RAW = st.lists(_PIECE, max_size=14).map(lambda pieces: "".join(pieces).encode()) | st.binary(max_size=8)
FILE = st.integers(0, 7).flatmap(lambda number: RAW if number == 0 else GOOD)  # one wrong file is enough to be refused
_RULE = st.text("ab*/!?[]{},-\\# z.", max_size=8) | PATH | st.sampled_from(["**", "!**", "*", "**/*a", "# c", "", " "])
RULES = st.lists(_RULE, max_size=5).map(lambda rules: "\n".join(rules).encode()) | st.binary(max_size=4)
USER = st.one_of(
    st.text("ab", min_size=1, max_size=4),
    st.sampled_from(["al", "team/bo", "c.d", "e-1", "9"]),
    st.text("xyz", min_size=1),
    _NAME,
)
# What nothing is wrong with, so that not every vault is refused for one of many reasons.
_TIDY_KEY = st.from_regex(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,6}", fullmatch=True)
_TIDY_FILE = st.builds(
    _dumped, st.dictionaries(_TIDY_KEY, _WORD | _ANY, max_size=4), st.none(), st.sampled_from(['"', None])
)
_TIDY_PATH = st.from_regex(r"[a-z]{1,3}(/[a-zA-Z]{1,2}[ ._\u00fcA-Z*{\[\n]?[a-z0-9]){0,2}", fullmatch=True)
_TIDY_USER = st.from_regex(r"(team/)?[a-z]{1,3}(\.[a-z0-9]-?[0-9])?", fullmatch=True)
_TIDY_RULE = (
    st.text("abc*/!?. ", max_size=6) | _TIDY_PATH | st.sampled_from(["**", "!**", "*", "**/*a", "[a-c]*", "{a,b}*/**"])
)
_TIDY_RULES = st.lists(_TIDY_RULE, max_size=5).map(lambda rules: "\n".join(rules).encode())
STORES = st.dictionaries(_TIDY_PATH, _TIDY_FILE, max_size=5) | st.dictionaries(PATH, FILE, max_size=5)
USERS = st.dictionaries(_TIDY_USER, _TIDY_RULES, max_size=3) | st.dictionaries(USER, RULES, max_size=3)
FLAGS = st.lists(
    st.sampled_from(["--format=stringData", "--tokens=none", "--namespace-by-folder", "--b64-suffix", "--namespace=x"]),
    unique=True, max_size=3,
)  # fmt: skip


def write(folder: Path, store: Tree, users: Tree, *, backwards: bool = False) -> None:
    """The vault in ``folder``. Of paths that cannot both be, as a and a/b, the first counts."""
    for room, files in (("kvstore", store), ("access_control", users)):
        (folder / "vault" / room).mkdir(parents=True)
        kept = [path for path in files if not any(other.startswith(f"{path}/") for other in files)]
        for path in reversed(kept) if backwards else kept:
            place = folder / "vault" / room / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[path])


def run(folder: Path, flags: list[str]) -> tuple[int, str, str]:
    """``generate`` in this process: exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["generate", f"--vault-dir={folder / 'vault'}", *flags])
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def temporary() -> Any:
    """A folder in memory where there is one: a fuzz makes thousands."""
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def check(store: Tree, users: Tree, flags: list[str]) -> bool:
    """Run and check; whether manifests were made."""
    with temporary() as one, temporary() as other:
        write(one, store, users)
        write(other, store, users, backwards=True)
        code, out, err = run(one, flags)
        again = run(other, flags)
        assert again == (code, out, err.replace(str(one), str(other))), "the same vault gives the same bytes"
    if code:
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        return False
    things = list(yaml.load_all(out, Loader=yaml.CSafeLoader))
    secrets = [t for t in things if t["kind"] == "Secret" and "service-account-token" not in t["type"]]
    _check_values(secrets, store, flags)
    _check_grants(things, secrets, users)
    return True


def _check_values(secrets: list[dict[str, Any]], store: Tree, flags: list[str]) -> None:
    names = [secret["metadata"]["name"] for secret in secrets]
    assert names == sorted(set(names))
    for secret in secrets:
        path = secret["metadata"]["annotations"]["kubevault.chezmoi.sh/source"]
        values = {key: b64decode(value, validate=True) for key, value in secret.get("data", {}).items()}
        values |= {key: value.encode() for key, value in secret.get("stringData", {}).items()}
        expected = values_of(store[path], b64="--b64-suffix" in flags)
        if expected is not None:
            assert values == expected, path


def values_of(data: bytes, *, b64: bool) -> dict[str, bytes] | None:
    """What a file says, read by PyYAML's own parser, not by libyaml's as `generate` does. None: cannot tell."""
    text = data.decode("utf-8-sig")
    if "!!binary" in text or "tag:yaml.org" in text or "b64" in text or (b64 and ".b64" in text):
        return None
    try:
        read = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError):
        return None  # the two parsers differ in what they refuse
    if read in (None, ""):
        return {}
    assert isinstance(read, dict)
    return {key: value.encode() for key, value in read.items() if key != "_kubevault"}


def _check_grants(things: list[dict[str, Any]], secrets: list[dict[str, Any]], users: Tree) -> None:
    names = {(secret["metadata"]["namespace"], secret["metadata"]["name"]) for secret in secrets}
    roles = [thing for thing in things if thing["kind"] == "Role"]
    assert {role["metadata"]["name"] for role in roles} == {
        f"kubevault:{user.rpartition('/')[2]}:read" for user in users if not user.startswith(".git")
    }
    for role in roles:
        for rule in role["rules"]:
            assert rule["resourceNames"], "an empty list would grant everything"
            assert rule["resources"] == ["secrets"] and rule["verbs"] == ["get", "list"]
            assert {(role["metadata"]["namespace"], name) for name in rule["resourceNames"]} <= names
