"""What the offline checks refuse, the API server refuses too, but for the decisions below; what they pass, it takes."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubernetes_server import KubernetesServer
from kubevault_program import kubevault, write_tree

Object = dict[str, Any]


def secret(name: str = "a", data: dict[str, str] | None = None, **more: Any) -> Object:
    metadata = {"name": name, **more.pop("metadata", {})}
    coded = {key: b64encode(value.encode()).decode() for key, value in (data or {}).items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": coded, **more}


def account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


class Check(NamedTuple):
    """A vault that is refused, and the object that would have come of it."""

    name: str
    kvstore: dict[str, Any]
    users: tuple[str, ...]
    sent: Object


def _settings(name: str, file: Object, **sent: Any) -> Check:
    own = {key: value for key, value in file.items() if key != "_kubevault"}
    return Check(name, {"a": yaml.safe_dump(file)}, (), secret(data=own, **sent))


BAD_KEYS = ("a/b", "a b", "..", "..a", ".", "~", "\u00fc", "k" * 254, "a:b", "a\n")
BAD_USERS = ("Alice", "a_b", "a b", "-a", "a-", "a..b", ".a", "a.", "\u00fcser", "a@b", "u" * 254)
TYPES = {
    "tls without a key": ("kubernetes.io/tls", {"tls.crt": "x"}),
    "tls without a certificate": ("kubernetes.io/tls", {"tls.key": "x"}),
    "registry without its key": ("kubernetes.io/dockerconfigjson", {"a": "x"}),
    "registry without JSON": ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "{"}),
    "registry with a list": ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "[]"}),
    "old registry without its key": ("kubernetes.io/dockercfg", {"a": "x"}),
    "old registry without JSON": ("kubernetes.io/dockercfg", {".dockercfg": "x"}),
    "basic-auth without either": ("kubernetes.io/basic-auth", {"a": "x"}),
    "ssh-auth without its key": ("kubernetes.io/ssh-auth", {"a": "x"}),
    "a token of nobody": ("kubernetes.io/service-account-token", {"a": "x"}),
}
LABELS = (
    {"-a": "x"},
    {"a b": "x"},
    {"a/b/c": "x"},
    {"A_.example/b": "x"},
    {"a": "x y"},
    {"a": "-"},
    {"a": "v" * 64},
    {"k" * 64: "v"},
)
ANNOTATIONS = (
    {"-a": "x"},
    {"a b": "x"},
    {"/a": "x"},
    {"a/": "x"},
    {"k" * 64: "v"},
    {"a": "x" * (1 << 18)},
    {f"{'p' * 254}/a": "x"},
)

CHECKS = [
    *(Check(f"key {key[:9]!r}", {"a": {key: "v"}}, (), secret(data={key: "v"})) for key in BAD_KEYS),
    *(Check(f"user {name[:9]!r}", {}, (name,), account(name)) for name in BAD_USERS),
    Check("long name", {"a/" + "b" * 252: {"k": "v"}}, (), secret("a-" + "b" * 252)),
    Check("begins with a hyphen", {"-a": {"k": "v"}}, (), secret("-a")),
    Check("ends with a hyphen", {"a-": {"k": "v"}}, (), secret("a-")),
    Check("ends with an umlaut", {"caf\u00e9": {"k": "v"}}, (), secret("caf\u00e9")),
    Check("over 1 MiB", {"a": {"k": "x" * (1 << 20), "l": "x"}}, (), secret(data={"k": "x" * (1 << 20), "l": "x"})),
    *(_settings(name, {**data, "_kubevault": {"type": kind}}, type=kind) for name, (kind, data) in TYPES.items()),
    *(_settings(f"label {n}", {"_kubevault": {"labels": m}}, metadata={"labels": m}) for n, m in enumerate(LABELS)),
    *(
        _settings(f"annotation {n}", {"_kubevault": {"annotations": m}}, metadata={"annotations": m})
        for n, m in enumerate(ANNOTATIONS)
    ),
]  # fmt: skip

# What the server would take, and we do not: why, in docs/kubevault/differs.md.
DECISIONS = [
    Check("a name that begins with a digit", {"1x": {"k": "v"}}, (), secret("1x")),  # the original's rule
    Check("user default", {}, ("default",), account("default")),
    Check("token's name too long", {}, ("u" * 248,), account("u" * 248)),
    _settings(
        "our own annotation",
        {"_kubevault": {"annotations": {"kubevault.chezmoi.sh/source": "x"}}},
        metadata={"annotations": {"kubevault.chezmoi.sh/source": "x"}},
    ),
    _settings("immutable as a word", {"_kubevault": {"immutable": "yes"}}, immutable=True),
]


def refused(folder: Path, check: Check) -> None:
    write_tree(folder, check.kvstore, dict.fromkeys(check.users, "**\n"))
    ran = kubevault(folder, "generate")
    assert (ran.code, ran.out) == (1, ""), ran.err
    assert ran.err.startswith("error: vault/")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_both_refuse(cluster: KubernetesServer, tmp_path: Path, check: Check) -> None:
    said = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(check.sent), fails=True
    )
    assert "nvalid" in said or "Too long" in said, said
    refused(tmp_path, check)


@pytest.mark.parametrize("check", DECISIONS, ids=lambda check: check.name)
def test_only_we_refuse(cluster: KubernetesServer, tmp_path: Path, check: Check) -> None:
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(check.sent))
    refused(tmp_path, check)


# The other way: whatever passes the checks is taken.

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_KEY = st.text("ab.-_Z0", min_size=1, max_size=6) | st.sampled_from(["yes", "1_0", "k" * 253, "..", "."])
_PATH = st.text("abZ0-_./ \u00fc", min_size=1, max_size=10).filter(
    lambda path: not path.startswith("/") and all(part not in ("", ".", "..") for part in path.split("/"))
)
_QUALIFIED = st.text("ab./-_Z0", min_size=1, max_size=12)
_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([kind for kind, _ in TYPES.values()]) | st.text("a./ \u00fc", min_size=1, max_size=9),
        "labels": st.dictionaries(_QUALIFIED, st.text("ab.-_Z0 ", max_size=6), max_size=2),
        "annotations": st.dictionaries(_QUALIFIED, _TEXT, max_size=2),
        "immutable": st.booleans(),
    },
)
_KNOWN = st.sampled_from(
    ["tls.crt", "tls.key", ".dockerconfigjson", ".dockercfg", "username", "password", "ssh-privatekey"]
)
_VALUE = _TEXT | st.sampled_from(["{}", "[]", "null", '{"auths": {}}', "{", "1"])
_FILE = st.tuples(st.dictionaries(_KEY | _KNOWN, _VALUE, max_size=4), _SETTINGS)
_USER = st.text("ab.-0Z_", min_size=1, max_size=8).filter(lambda name: name not in (".", "..")) | st.just("u" * 247)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    store=st.dictionaries(_PATH, _FILE, max_size=3),
    users=st.dictionaries(_USER, st.sampled_from(["**\n", "a*\n", "", "!a\n", "*\u0085\n"]), max_size=2),
    form=st.sampled_from(["data", "stringData"]),
)
def test_what_passes_is_taken(
    cluster: KubernetesServer,
    tmp_path_factory: pytest.TempPathFactory,
    store: dict[str, tuple[dict[str, str], Object]],
    users: dict[str, str],
    form: str,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    files: dict[str, Any] = {}
    for path, (values, setting) in store.items():
        if not any(other != path and other.startswith(f"{path}/") for other in store):
            files[path] = yaml.safe_dump({**values, **({"_kubevault": setting} if setting else {})}, default_style='"')
    write_tree(folder, files, users)
    ran = kubevault(folder, "generate", "--namespace", "default", "--format", form)
    if ran.code == 0 and ran.out:
        cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=ran.out)
        cluster.kubectl("apply", "--dry-run=server", "--filename=-", stdin=ran.out)
    else:
        assert ran.code == 0 or "error: " in ran.err
