"""Files encrypted with SOPS, decrypted in memory: the YAML, JSON and binary stores.

Data keys under age are opened here, key groups (Shamir) included. What is under other key services, or under an age
key that is not found, goes to the ``sops`` program through a pipe. Nothing is written to disk on the way.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from strongroom.client.sops_age import Identities
from strongroom.client.sops_cipher import open_tree, settled, words
from strongroom.client.sops_error import Undecryptable
from strongroom.client.sops_tree import Leaf, Node, emit, parse_json, parse_yaml
from strongroom.errors import VaultError

__all__ = ["Identities", "Undecryptable", "decrypt", "looks_encrypted"]

PROGRAM_LIMIT = 300.0  # seconds for the sops program, which may ask people for a passphrase
_SERVICES = {
    "age": "age",
    "pgp": "PGP",
    "kms": "AWS KMS",
    "gcp_kms": "Google Cloud KMS",
    "azure_kv": "Azure Key Vault",
    "hc_vault": "Vault",
    "hckms": "Huawei Cloud KMS",
}
_YAML_MAP = re.compile(rb"^[\"']?sops[\"']?[ \t]*:[ \t]*\r?$", re.MULTILINE)
_YAML_MAC = re.compile(rb"^[ \t]+[\"']?mac[\"']?[ \t]*:[ \t]*[\"']?ENC\[AES256_GCM,", re.MULTILINE)
_DOTENV = re.compile(rb"^sops_mac=ENC\[AES256_GCM,", re.MULTILINE)
_INI = re.compile(rb"^\[sops\][ \t]*\r?$", re.MULTILINE)
_CODES = {
    25: "the sops program found a value that was changed or moved",
    51: "the sops program found a MAC that does not match: the values are not those that were encrypted",
}
_NO_KEY = 128
_PRIVATE = re.compile(r"AGE-(?:SECRET-KEY|PLUGIN)-\S+|ENC\[[^\]]*\]?|-----BEGIN.*", re.DOTALL)


def looks_encrypted(data: bytes) -> bool:
    """Whether ``data`` is a file that SOPS encrypted: a map ``sops`` with a MAC at the top of YAML or JSON, or the
    same in the dotenv and ini stores (which ``decrypt`` then refuses by name). Cheap for what is not; raises
    nothing."""
    if b"ENC[AES256_GCM," not in data or b"sops" not in data:
        return False
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        try:
            tree = parse_json(data) or parse_yaml(data)
        except Undecryptable:
            return False
        meta = tree.get("sops")
        return isinstance(meta, dict) and words(meta, "mac").startswith("ENC[AES256_GCM,")
    in_yaml = _YAML_MAP.search(data) is not None and _YAML_MAC.search(data) is not None
    return in_yaml or _DOTENV.search(data) is not None or _INI.search(data) is not None


def decrypt(
    data: bytes,
    *,
    name: str,
    environ: Mapping[str, str],
    home: Path | None = None,
    run: Callable[..., Any] | None = None,
    identities: Identities | None = None,
) -> bytes:
    """The plaintext of a file for which ``looks_encrypted`` is true, as a YAML document in UTF-8 without the ``sops``
    map: text in double quotes, numbers and booleans as ``sops decrypt`` shows them (floats without an exponent), bytes
    that are not UTF-8 as ``!!binary``, no comments. A file of the binary store (an object with ``data`` alone, unless
    ``name`` ends in .json, .yaml or .yml) gives the bytes that were encrypted.

    ``environ`` and ``home`` say where age keys are; ``run`` stands for ``subprocess.run``. Who decrypts many files
    hands in one ``Identities``, so that keys are read once. Raises Undecryptable: damaged, moved or foreign values, no
    key, no program, a store that is not supported. The message holds neither ciphertext nor plaintext and not
    ``name``.
    """
    tree, kind = _load(data, name)
    meta = tree.pop("sops", None)
    if not isinstance(meta, dict):
        raise Undecryptable("there is no sops map")
    identities = identities or Identities(environ, home, run)
    key = _data_key(meta, identities)
    if key is None:
        opened = _by_program(data, kind, meta, identities)
        return opened if kind == "binary" else emit(_settled(parse_yaml(opened)))
    found = open_tree(tree, meta, key)
    if kind == "binary":
        leaf = found["data"]
        assert isinstance(leaf, Leaf)
        return leaf.data
    return emit(found)


def _load(data: bytes, name: str) -> tuple[dict[str, Node], str]:
    """The tree with its ``sops`` map, and the store: yaml, json or binary."""
    for pattern, store in ((_DOTENV, "dotenv"), (_INI, "ini")):
        if pattern.search(data) and not _YAML_MAP.search(data):
            raise Undecryptable(
                f"encrypted as {store}, which is not supported",
                f"decrypt it and encrypt it again with --input-type {store} --output-type yaml",
            )
    tree = parse_json(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else None
    if tree is None:
        return parse_yaml(data), "yaml"
    alone = tree.keys() == {"data", "sops"} and isinstance(tree["data"], Leaf) and tree["data"].kind == "str"
    if alone and not name.lower().endswith((".json", ".yaml", ".yml")):
        return tree, "binary"
    return tree, "json"


def _groups(meta: Mapping[str, Node]) -> list[Mapping[str, Node]]:
    """Key groups, each a map of a service's name to its entries. Without ``key_groups`` the ``sops`` map is the only
    one."""
    if any(isinstance(meta.get(service), list) and meta[service] for service in _SERVICES):
        return [meta]
    groups = meta.get("key_groups")
    return [group for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []


def _entries(group: Mapping[str, Node], service: str) -> list[Mapping[str, Node]]:
    found = group.get(service)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _data_key(meta: Mapping[str, Node], identities: Identities) -> bytes | None:
    """The data key, or None when age identities at hand do not give it. Several groups hold Shamir shares of it."""
    groups = _groups(meta)
    if not groups:
        raise Undecryptable("the sops map names no key")
    parts = [part for group in groups if (part := _part(group, identities)) is not None]
    if len(groups) == 1:
        return parts[0] if parts else None
    if len(parts) < _threshold(meta, len(groups)):
        return None
    from strongroom.crypto.shamir import combine

    try:
        return bytes(combine(parts))
    except VaultError:
        raise Undecryptable("the key groups' shares do not belong together") from None


def _part(group: Mapping[str, Node], identities: Identities) -> bytes | None:
    entries = [(words(entry, "recipient"), words(entry, "enc")) for entry in _entries(group, "age")]
    if len(entries) > 1:  # what is surely ours first: each other try costs a key agreement, or runs a command
        entries.sort(key=lambda entry: not identities.own(entry[0]))
    for recipient, sealed in entries:
        if (part := identities.unseal(sealed, recipient)) is not None:
            return part
    return None


def _by_program(data: bytes, kind: str, meta: Mapping[str, Node], identities: Identities) -> bytes:
    """What the ``sops`` program makes of ``data``: YAML for YAML and JSON, else bytes. Where only age keys would help
    and all that there are were tried, it is not asked: it would look for the same ones, 10,000 times."""
    import shutil
    import subprocess

    environ = identities.environ
    hopeless = _services(meta) == ["age"] and not identities.notes and not environ.get("SOPS_KEYSERVICE")
    program = None if hopeless else shutil.which("sops", path=environ.get("PATH"))
    if program is None:
        raise _no_key(meta, identities)
    run = identities.run or subprocess.run
    shape = ["--input-type", kind, "--output-type", "binary" if kind == "binary" else "yaml"]
    try:
        done = run(
            [program, "--decrypt", *shape, "/dev/stdin"],
            input=data,
            env=dict(environ),
            capture_output=True,
            timeout=PROGRAM_LIMIT,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        raise Undecryptable("the sops program did not run, or not in time") from None
    if done.returncode == 0:
        return bytes(done.stdout)
    if done.returncode != _NO_KEY:  # its words may hold values then
        said = _CODES.get(done.returncode, f"the sops program ended with {done.returncode}")
        raise Undecryptable(f"{said}; encrypted for {_described(meta)}")
    raise _no_key(meta, identities, _reasons(done.stderr.decode("utf-8", "replace")))


def _reasons(said: str) -> list[str]:
    """Why the program's key services other than age failed: paragraphs of lines that begin with ``|`` in what it
    says."""
    paragraphs = re.findall(r"^ *- \|((?:.*\n)(?: *\|.*\n)*)", said, re.MULTILINE)
    texts = [" ".join(_PRIVATE.sub("...", text).replace("|", " ").split()) for text in paragraphs]
    return [text[:300] for text in texts if not re.search(r"\bage\b", text)]


def _services(meta: Mapping[str, Node]) -> list[str]:
    return [service for service in _SERVICES if any(_entries(group, service) for group in _groups(meta))]


def _no_key(meta: Mapping[str, Node], identities: Identities, reasons: list[str] | None = None) -> Undecryptable:
    """``reasons`` are the sops program's; None: it was not asked."""
    services = _services(meta)
    hints = ["name a file with the key in SOPS_AGE_KEY_FILE"] if "age" in services else []
    if services != ["age"] and reasons is None:
        hints.append("install the program sops, which speaks to the other services")
    looked = [f"keys were found in {', '.join(identities.places)}"] if identities.places else []
    return Undecryptable(
        f"no key opens it: encrypted for {_described(meta)}",
        "; ".join([text for text in [" or ".join(hints), *looked, *identities.notes, *(reasons or [])] if text]),
    )


def _described(meta: Mapping[str, Node]) -> str:
    """Services and age recipients of a file, group by group, for messages."""
    told = []
    for group in _groups(meta):
        names = [_SERVICES[service] for service in _SERVICES if service != "age" and _entries(group, service)]
        recipients = [words(entry, "recipient")[:100] for entry in _entries(group, "age")]
        told.append(", ".join([f"age {', '.join(recipients)}"] * bool(recipients) + names))
    if len(told) == 1:
        return told[0]
    return f"{_threshold(meta, len(told))} of these: {' | '.join(told)}"


def _threshold(meta: Mapping[str, Node], groups: int) -> int:
    """How many of several key groups are needed."""
    text = words(meta, "shamir_threshold")
    return max(2, int(text) if text.isdecimal() else groups)


def _settled(node: Any) -> Any:
    """The program's YAML with values in the text that ``decrypt`` gives them."""
    if isinstance(node, dict):
        return {name: _settled(inner) for name, inner in node.items()}
    return [_settled(inner) for inner in node] if isinstance(node, list) else settled(node)
