"""SOPS files: real ones decrypted, changed ones refused, keys found where sops finds them."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.client import sops_tree
from strongroom.client.sops import Identities, Undecryptable, decrypt, looks_encrypted

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "sops"
ONE, TWO, THREE = (str(VECTORS / f"key-{name}.txt") for name in ("one", "two", "three"))
WITH_ONE = {"SOPS_AGE_KEY_FILE": ONE}
SECRETS = ("s3cret", "s3cr€t", "alice", "0042")
LOGIN = {"username": "alice", "password": "s3cret"}
RULES = {
    "password": "s3cret",
    "port": "5432",
    "ratio": "0.5",
    "note_unencrypted": "in clear",
    "host": "db.example",
    "pin_sealed": "0042",
    "_kubevault": {"type": "Opaque", "immutable": "true", "labels": {"app": "web"}},
    "list": ["a", "7"],
    "empty": "",
}


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def read(document: bytes) -> Any:
    """The document with every scalar as text, as kubevault reads it."""
    return yaml.load(document, Loader=yaml.CBaseLoader)


def opened(name: str, data: bytes | None = None, environ: dict[str, str] | None = None, **more: Any) -> Any:
    found = decrypt(vector(name) if data is None else data, name=name, environ=environ or WITH_ONE, **more)
    return read(found)


def refused(data: bytes, environ: dict[str, str] | None = None, name: str = "x.yaml", **more: Any) -> Undecryptable:
    with pytest.raises(Undecryptable) as caught:
        decrypt(data, name=name, environ=WITH_ONE if environ is None else environ, **more)
    said = f"{caught.value} {caught.value.hint}"
    assert not any(secret in said for secret in SECRETS)
    assert "ENC[" not in said and "AGE-SECRET" not in said
    return caught.value


class Never:
    """Stands for subprocess.run where nothing may be run."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(args)


def test_every_type_of_the_yaml_store() -> None:
    document = decrypt(vector("types.yaml"), name="types.yaml", environ=WITH_ONE, run=Never())
    assert read(document) == {
        "username": "alice",
        "password": "s3cr€t: {x}",
        "int": "31",
        "hex": "31",
        "big": "9007199254740993",
        "float": "12345678.5",
        "one": "1",
        "tiny": "0.000000001",
        "huge": "1" + "0" * 30,
        "yes": "true",
        "no": "no",
        "off": "false",
        "nothing": "null",
        "empty": "",
        "date": "2024-01-02T00:00:00Z",
        "when": "2024-01-02T03:04:05.678+02:00",
        "colon": "2024-01-02 x",
        "text": "first line\nsecond: line\n",
        "folded": "a b",
        "unicode": "žluťoučký 🦄\u2028\u0085\x7f",
        "tab": 'a\tb\r\n"quoted" \\ end',
        "binary": "/wD+AAECgIE=",
        "wordy": "hello",
        "number text": "0123",
        "quoted: key": "v",
        "_kubevault": {"type": "kubernetes.io/tls", "immutable": "true", "labels": {"app": "web"}},
        "list": ["one", "2", ["a", "b"], {"c": "d"}],
    }
    assert b'"no": "no"\n' in document and b'"number text": "0123"\n' in document and b'"int": 31\n' in document
    assert b'"binary": !!binary "/wD+AAECgIE="\n' in document
    assert b"comment" not in document and b"sops" not in document


def test_every_type_of_the_json_store() -> None:
    assert opened("types.json") == {
        "username": "alice",
        "int": "31",
        "big": "9007199254740993",
        "huge": "123456789012345680000000000000",
        "float": "12345678.5",
        "exponent": "0.000000001",
        "yes": "true",
        "no": "false",
        "nothing": "null",
        "empty": "",
        "unicode": "žluťoučký 🦄 <&>\u2028\x7f",
        "escaped": 'a\tb\r\n"q" \\ /',
        "list": ["one", "2", ["a"], {"c": "d"}],
        "_kubevault": {"type": "Opaque", "immutable": "true"},
    }


@pytest.mark.parametrize("name", ["bytes.bin", "login"])
def test_the_binary_store_gives_the_bytes(name: str) -> None:
    assert decrypt(vector(name), name=name, environ=WITH_ONE) == vector(f"plain/{name}")


def test_one_key_named_data_in_a_json_file_is_a_map() -> None:
    assert opened("app.json", vector("login")) == {"data": vector("plain/login").decode()}


def test_values_in_clear_count_for_the_mac_in_gos_types() -> None:
    assert opened("clear.yaml")["clear"] == {
        "int": "31",
        "octal": "15",
        "new_octal": "15",
        "negative": "-5",
        "grouped": "1000",
        "float": "12345678.5",
        "exponent": "1000",
        "tiny": "0.000000001",
        "infinite": "-.inf",
        "yes": "true",
        "off": "false",
        "nothing": "null",
        "date": "2024-01-02T00:00:00Z",
        "when": "2024-01-02T03:04:05.67+02:00",
        "spaced": "2024-01-02T03:04:05Z",
        "text": "0x1F",
        "version": "1.2.3",
        "dash": "-",
        "empty": "",
        "binary": "/wD+",
        "word": "hello",
        "block": "one\ntwo\n",
    }
    assert opened("clear.json")["clear"]["huge"] == "123456789012345680000000000000"


SAME_VALUE = [
    (b"int: 31", b"int: 0x1F"),
    (b"octal: 15", b"octal: 017"),
    (b"new_octal: 15", b"new_octal: 0o17"),
    (b"negative: -5", b"negative: -0b101"),
    (b"grouped: 1000", b"grouped: 1_000"),
    (b"float: 1.23456785e+07", b"float: 12345678.50"),
    (b"exponent: 1000", b"exponent: !!float 1e3"),
    (b"infinite: -.inf", b"infinite: -.INF"),
    (b'"off": false', b"off: False"),
    (b"nothing: null", b"nothing: ~"),
    (b"date: 2024-01-02T00:00:00Z", b"date: 2024-1-2"),
    (b"when: 2024-01-02T03:04:05.67+02:00", b"when: 2024-1-2t3:4:5.6700+02:00"),
    (b"spaced: 2024-01-02T03:04:05Z", b"spaced: 2024-01-02 03:04:05"),
    (b"word: hello", b"word: !!binary |\n        aGVs\n        bG8="),
    (b"version: 1.2.3", b"version: !!str 1.2.3"),
    (b"block: |\n        one\n        two", b'block: "one\\ntwo\\n"'),
]
OTHER_VALUE = [
    (b"int: 31", b"int: '0x1F'"),
    (b"int: 31", b"int: 32"),
    (b"octal: 15", b"octal: 015"),
    (b"exponent: 1000", b"exponent: 1e3x"),
    (b'"off": false', b'"off": "false"'),
    (b"date: 2024-01-02T00:00:00Z", b"date: 2024-01-02T00:00:00ZZ"),
    (b"nothing: null", b'nothing: "null"'),
    (b"word: hello", b"word: !!binary aGVsbG8h"),
    (b"dash: '-'", b"other: '-'\n    dash2: '-'"),
]


@pytest.mark.parametrize(("old", "new"), SAME_VALUE, ids=[old.decode() for old, _ in SAME_VALUE])
def test_another_spelling_of_a_value_in_clear_is_the_same_value(old: bytes, new: bytes) -> None:
    data = vector("clear.yaml")
    assert old in data
    assert opened("clear.yaml", data.replace(old, new)) == opened("clear.yaml")


@pytest.mark.parametrize(("old", "new"), OTHER_VALUE, ids=[new.decode() for _, new in OTHER_VALUE])
def test_another_value_in_clear_is_refused(old: bytes, new: bytes) -> None:
    data = vector("clear.yaml")
    assert old in data
    refused(data.replace(old, new))


@pytest.mark.parametrize(
    "name",
    [f"{rule}.yaml" for rule in ("unencrypted-regex", "encrypted-regex", "unencrypted-suffix", "encrypted-suffix")],
)
def test_rules_about_keys(name: str) -> None:
    assert opened(name) == RULES
    assert b"in clear" in vector(name) or name == "unencrypted-regex.yaml"


def test_rules_about_comments() -> None:
    plain = {"password": "s3cret", "port": "5432", "host": "db.example", "list": ["one", "two"]}
    assert opened("encrypted-comment.yaml") == opened("unencrypted-comment.yaml") == plain
    refused(vector("encrypted-comment.yaml").replace(b"port: 5432", b"port: 5433"))


def test_a_mac_over_encrypted_values_only() -> None:
    data = vector("mac-only-encrypted.yaml")
    assert opened("x.yaml", data) == RULES
    assert opened("x.yaml", data.replace(b"port: 5432", b"port: 1"))["port"] == "1"
    refused(data.replace(b"mac_only_encrypted: true", b"mac_only_encrypted: false"))
    refused(data.replace(b"pin_sealed", b"pin_other"))
    lines = data.split(b"\n")
    refused(b"\n".join(line for line in lines if not line.startswith(b"pin_sealed")))


def lines_of(name: str) -> dict[str, str]:
    return {line.partition(":")[0]: line for line in vector(name).decode().splitlines() if "ENC[" in line}


def altered(data: bytes, line: str, part: str) -> bytes:
    """``data`` with one character of base64 changed in a part of a value."""
    found = re.search(rf"{part}:(.)", line)
    assert found is not None
    other = "A" if found[1] != "A" else "B"
    return data.replace(line.encode(), line.replace(found[0], f"{part}:{other}", 1).encode())


def swapped(name: str, one: str, other: str) -> bytes:
    """``name`` with the values of two keys exchanged."""
    lines = lines_of(name)
    a, b = (lines[key].partition(": ")[2] for key in (one, other))
    return vector(name).decode().replace(a, "\0").replace(b, a).replace("\0", b).encode()


def test_what_was_changed_is_refused() -> None:
    data = vector("login-as-yaml")
    assert opened("x.yaml", data) == LOGIN  # the control: as it came it opens
    lines = lines_of("login-as-yaml")
    user, word = (lines[key] for key in ("username", "password"))
    assert "was changed or moved" in str(refused(swapped("login-as-yaml", "username", "password")))
    for part in ("data", "iv", "tag"):
        assert "was changed" in str(refused(altered(data, user, part)))
    assert "in clear" in str(refused(data.replace(user.encode(), b"username: mallory")))
    assert "MAC does not match" in str(refused(data.replace(user.encode(), b'username: ""')))
    assert "MAC does not match" in str(refused(data.replace((user + "\n").encode(), b"")))
    assert "MAC does not match" in str(refused(data.replace(f"{user}\n{word}".encode(), f"{word}\n{user}".encode())))
    assert "in clear" in str(refused(b"extra: 1\n" + data))
    refused(b"extra_unencrypted: 1\n" + data)
    refused(data.replace(user.encode(), b"#" + user.encode()))
    later = re.sub(rb'lastmodified: "....', b'lastmodified: "2031', data)
    assert later != data and "time of the last change" in str(refused(later))
    mac = data.split(b"    mac: ")[1].split(b"\n")[0]
    assert "MAC" in str(refused(data.replace(mac, b'""')))
    assert "MAC" in str(refused(data.replace(mac, user.partition(": ")[2].encode())))
    assert "MAC" in str(refused(data.replace(b"    mac: " + mac + b"\n", b"")))
    assert "is repeated" in str(refused(data.replace(user.encode(), user.encode() + b"\n" + user.encode())))
    assert "both" in str(refused(data + b"    encrypted_regex: x\n"))


def test_a_list_is_bound_by_the_mac() -> None:
    data = vector("unencrypted-regex.yaml").decode()
    items = [line for line in data.splitlines() if line.startswith("    - ENC[")]
    assert opened("x.yaml", data.encode()) == RULES
    assert "MAC" in str(refused(data.replace("\n".join(items), "\n".join(reversed(items))).encode()))
    dropped = data.replace(items[0], items[0].replace("type:str", "type:comment"))
    assert "MAC" in str(refused(dropped.encode()))


@pytest.mark.parametrize(
    "data",
    [b"", b"a: 1\n", b"- sops\n", b"{", b"sops: {}\na: 1", b"sops: 1\n", b"\xff\xfe", b"a: &x 1\nb: *x\nsops: {mac: x}",
     b"a: 1\n---\nb: 2\n", b"{[" * 5000, b'{"a":' * 100_000, b"? [a]\n: b\n", b"a: !!int x\nsops: {}", b"a: !foo x"],
)  # fmt: skip
def test_what_is_no_sops_file_is_refused_without_a_crash(data: bytes) -> None:
    assert not looks_encrypted(data)
    refused(data)


def test_what_looks_encrypted() -> None:
    names = [path.name for path in VECTORS.iterdir() if path.is_file() and not path.name.startswith(("key", "SOURCES"))]
    assert len(names) > 18
    assert not [name for name in names if not looks_encrypted(vector(name))]
    assert not [path.name for path in (VECTORS / "plain").iterdir() if looks_encrypted(path.read_bytes())]
    assert not looks_encrypted(b"a: |\n  sops:\n    mac: ENC[AES256_GCM,data:x]\n")
    assert not looks_encrypted(b'{"a": "sops", "b": "ENC[AES256_GCM,"}')
    indented = json.dumps(json.loads(vector("types.json"))).encode()
    assert looks_encrypted(indented) and opened("types.json", indented) == opened("types.json")


@pytest.mark.parametrize("store", ["dotenv", "ini"])
def test_other_stores_are_named(store: str) -> None:
    said = refused(vector("app.env" if store == "dotenv" else "app.ini"))
    assert store in str(said) and f"--input-type {store}" in said.hint


def keys_of(path: str) -> str:
    return next(line for line in Path(path).read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))


def test_where_age_keys_are_found(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config/sops/age").mkdir(parents=True)
    data = vector("login-as-yaml")
    assert "no key" in str(refused(data, {}, home=home))
    assert opened("x.yaml", data, {"SOPS_AGE_KEY": f"{keys_of(TWO)} {keys_of(ONE)}"}, home=home) == LOGIN
    command = (
        f"{sys.executable} -c \"import os; print(open('{ONE}').read() if os.environ['SOPS_AGE_RECIPIENT'] else 1)\""
    )
    assert opened("x.yaml", data, {"SOPS_AGE_KEY_CMD": command, "SOPS_AGE_KEY_FILE": TWO}, home=home) == LOGIN
    shutil.copy(ONE, home / ".config/sops/age/keys.txt")
    assert opened("x.yaml", data, {"HOME": str(home)}) == LOGIN
    assert opened("x.yaml", data, {"XDG_CONFIG_HOME": str(home / ".config")}) == LOGIN
    assert "no key" in str(refused(data, {"XDG_CONFIG_HOME": str(home)}, home=home))


def test_where_a_mac_keeps_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    folder = tmp_path / "Library/Application Support/sops/age"
    folder.mkdir(parents=True)
    shutil.copy(ONE, folder / "keys.txt")
    assert opened("login-as-yaml", None, {"HOME": str(tmp_path)}) == LOGIN


def test_ssh_keys(tmp_path: Path) -> None:
    assert opened("for-ssh", None, {"SOPS_AGE_SSH_PRIVATE_KEY_FILE": str(VECTORS / "key-ssh")}) == LOGIN
    (tmp_path / ".ssh").mkdir()
    shutil.copy(VECTORS / "key-ssh", tmp_path / ".ssh/id_ed25519")
    assert opened("for-ssh", None, {"HOME": str(tmp_path)}) == LOGIN
    command = f"{sys.executable} -c \"print(open('{VECTORS / 'key-ssh'}').read())\""
    assert opened("for-ssh", None, {"SOPS_AGE_SSH_PRIVATE_KEY_CMD": command}) == LOGIN


def test_several_recipients_and_key_groups() -> None:
    for key in (ONE, TWO, THREE):
        assert decrypt(vector("several"), name="several", environ={"SOPS_AGE_KEY_FILE": key}) == vector("plain/login")
    pair = {"SOPS_AGE_KEY_FILE": TWO, "SOPS_AGE_KEY": keys_of(THREE)}
    assert opened("groups", None, pair, run=Never()) == LOGIN
    said = refused(vector("groups"), {"SOPS_AGE_KEY_FILE": TWO}, run=Never())
    assert "2 of these: age age1" in str(said)


def test_a_wrong_key_or_a_bad_place_is_told_without_text_of_keys(tmp_path: Path) -> None:
    said = refused(vector("login-as-yaml"), {"SOPS_AGE_KEY_FILE": TWO}, run=Never())
    assert "encrypted for age age1sxq3x6fgx2qxlqlpp67nlz4t982f9nw4archxmzmxfsgmlwm6gdsq8cgr9" in str(said)
    assert "SOPS_AGE_KEY_FILE" in said.hint
    environ = {"SOPS_AGE_KEY_FILE": str(tmp_path / "none"), "SOPS_AGE_KEY": "AGE-SECRET-KEY-1OOPS", "PATH": ""}
    hint = refused(vector("login-as-yaml"), {**environ, "SOPS_AGE_KEY_CMD": "false-program x"}).hint
    assert "SOPS_AGE_KEY_FILE: No such file" in hint and "1 line(s) are no age key" in hint
    assert "the command did not run" in hint and "OOPS" not in hint


def test_many_files_ask_for_the_key_once() -> None:
    asked = []

    def run(command: list[str], **more: Any) -> Any:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, Path(ONE).read_bytes(), b"")

    identities = Identities({"SOPS_AGE_KEY_CMD": "give 'the key'"}, run=run)
    for _ in range(3):
        assert read(decrypt(vector("login-as-yaml"), name="x", environ={}, identities=identities)) == LOGIN
    assert asked == [["give", "the key"]]


def foreign(name: str) -> bytes:
    """``name`` with its age key exchanged for one of AWS KMS."""
    text = vector(name).decode()
    start, end = text.index("    age:"), text.index("    lastmodified")
    return f"{text[:start]}    kms:\n        - arn: arn:aws:kms:x\n          enc: aGk=\n{text[end:]}".encode()


def test_other_key_services_go_to_the_program(tmp_path: Path) -> None:
    program = tmp_path / "sops"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    said = refused(foreign("login-as-yaml"), {"PATH": ""})
    assert "encrypted for AWS KMS" in str(said) and "install the program sops" in said.hint
    seen: list[Any] = []

    def answer(code: int, out: bytes, err: bytes = b"") -> Any:
        def run(command: list[str], **more: Any) -> Any:
            seen.append((command, more))
            return subprocess.CompletedProcess(command, code, out, err)

        return run

    environ = {"PATH": str(tmp_path), "AWS_PROFILE": "x"}
    run = answer(0, b"a: 1.5e+10\nb: 'x'\nc: !!binary /w==\nd: true\n# note\n")
    found = decrypt(foreign("login-as-yaml"), name="x", environ=environ, run=run)
    assert found == b'"a": 15000000000\n"b": "x"\n"c": !!binary "/w=="\n"d": true\n'
    command, more = seen[0]
    assert command == [str(program), "--decrypt", "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"]
    assert more["input"] == foreign("login-as-yaml") and more["env"] == environ and not more.get("shell")
    binary = json.loads(vector("login"))
    binary["sops"]["age"], binary["sops"]["pgp"] = None, [{"fp": "ABC", "enc": "x"}]
    data = json.dumps(binary).encode()
    assert decrypt(data, name="x", environ=environ, run=answer(0, b"\x00raw")) == b"\x00raw"
    assert seen[-1][0][2:6] == ["--input-type", "binary", "--output-type", "binary"]
    assert "MAC" in str(refused(data, environ, run=answer(51, b"", b"MAC mismatch s3cret")))
    assert "ended with 3" in str(refused(data, environ, run=answer(3, b"", b"s3cret")))
    told = b"  arn: FAILED\n    - | no access to\n      | AGE-SECRET-KEY-1X\n  age1: FAILED\n    - | age x\n"
    said = refused(data, environ, run=answer(128, b"", told))
    assert "no access to ..." in said.hint and "age x" not in said.hint

    def hangs(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("sops", 1)

    assert "not in time" in str(refused(data, environ, run=hangs))


real = pytest.mark.skipif(shutil.which("sops") is None, reason="the program sops is not installed")


@real
@pytest.mark.parametrize(
    "name", ["types.yaml", "clear.yaml", "unencrypted-comment.yaml", "types.json", "login", "groups"]
)
def test_the_real_program_says_the_same(name: str) -> None:
    kind = {"types.json": "json", "login": "binary"}.get(name, "yaml")
    keys = {"SOPS_AGE_KEY_FILE": ONE, "SOPS_AGE_KEY": keys_of(TWO)}
    shape = ["--input-type", kind, "--output-type", "binary" if kind == "binary" else "yaml"]
    done = subprocess.run(
        ["sops", "decrypt", *shape, str(VECTORS / name)],
        env={**os.environ, **keys},
        capture_output=True,
        check=True,
        timeout=60,
    )
    ours = decrypt(vector(name), name=name, environ=keys, run=Never())
    if kind == "binary":
        assert ours == done.stdout
    else:
        assert same(read(ours), read(done.stdout))


def same(ours: Any, theirs: Any) -> bool:
    """Equal texts; of numbers, equal numbers (sops shows 12345678.5 as 1.23456785e+07)."""
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs or ("e" in theirs and float(ours) == float(theirs)))


@real
def test_the_real_program_opens_what_we_cannot(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SOPS_AGE_KEY_FILE": str(VECTORS / "key-pq.txt")}
    assert opened("for-post-quantum", None, environ) == LOGIN
    changed = vector("for-post-quantum").replace(b"username: ENC", b"user: ENC")
    assert "changed or moved" in str(refused(changed, environ))


@real
def test_the_real_program_agrees_on_what_is_changed(tmp_path: Path) -> None:
    for old, new in SAME_VALUE:
        done = run_real(vector("clear.yaml").replace(old, new))
        assert done == 0, new
    for old, new in OTHER_VALUE:
        assert run_real(vector("clear.yaml").replace(old, new)) != 0, new


def run_real(data: bytes) -> int:
    command = ["sops", "--decrypt", "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"]
    done = subprocess.run(
        command, input=data, env={**os.environ, **WITH_ONE}, capture_output=True, timeout=60, check=False
    )
    return done.returncode


KEY = pyrage.x25519.Identity.generate()
DATA_KEY = hashlib.sha256(b"a data key for tests").digest()


def sealed(text: bytes, bound: str, kind: str) -> str:
    nonce = os.urandom(32)
    out = AESGCM(DATA_KEY).encrypt(nonce, text, bound.encode())
    parts = [base64.b64encode(part).decode() for part in (out[:-16], nonce, out[-16:])]
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{}]".format(*parts, kind)


def write(tree: dict[str, Any]) -> bytes:
    """A SOPS file (JSON) of texts, ints, booleans, maps and lists, by hand."""
    count = hashlib.sha512()

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner, f"{path}{key}:") for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, path) for inner in value]
        text, kind = str(value).encode(), type(value).__name__
        count.update(text)
        return sealed(text, path, kind) if text else ""

    data = walk(tree, "")
    changed = "2024-01-02T03:04:05Z"
    age = pyrage.encrypt(DATA_KEY, [KEY.to_public()], armored=True).decode()
    meta = {
        "age": [{"recipient": str(KEY.to_public()), "enc": age}],
        "lastmodified": changed,
        "mac": sealed(count.hexdigest().upper().encode(), changed, "str"),
        "encrypted_regex": "",
        "version": "3.9.0",
    }
    return json.dumps({**data, "sops": {**meta, "unencrypted_suffix": "\x01never"}}).encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda key: key != "sops")
TREES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_what_was_written_is_read_back(tree: dict[str, Any]) -> None:
    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: text(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [text(inner) for inner in value]
        return str(value).lower() if isinstance(value, bool) else str(value)

    assert read(decrypt(write(tree), name="x.json", environ={"SOPS_AGE_KEY": str(KEY)})) == text(tree)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_text_in_double_quotes_is_read_back_by_every_reader(value: str) -> None:
    document = sops_tree.emit({value: sops_tree.Leaf("str", value.encode())})
    assert yaml.load(document, Loader=yaml.CBaseLoader) == {value: value}
    assert yaml.safe_load(document.decode()) == {value: value}


def test_a_long_key_is_read_back() -> None:
    tree: Any = {"k" * 3000: {"j" * 3000: sops_tree.Leaf("str", b"v")}}
    assert read(sops_tree.emit(tree)) == {"k" * 3000: {"j" * 3000: "v"}}
    assert "v" not in repr(tree["k" * 3000]["j" * 3000])
