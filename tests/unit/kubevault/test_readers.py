"""Readers of YAML other than ours get every value back unchanged, and Kubernetes' schema takes every manifest."""

import re
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubevault_program import generate, write_tree
from odd_values import KEYS, ODD
from strongroom.kubevault.settings import UNSENT
from strongroom.kubevault.yaml_text import document

KUBECTL = shutil.which("kubectl")
VERSIONS = ("1.27", "1.37")
VALUES = {f"value-{number}": word for number, word in enumerate(ODD)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with everything that a vault can have."""
    made = tmp_path_factory.mktemp("rich")
    write_tree(
        made,
        {
            "values": VALUES,
            "keys": dict.fromkeys(KEYS, "yes"),
            "binary": b"k: !!binary AAECAwT//v0=\n",
            "empty": "",
            "yes": {"k": "v"},
            "prod/Db \u00fc 'x' \U0001f511 y": {"k": "v"},
            "tls": "tls.crt: ''\ntls.key: ''\n_kubevault: {type: kubernetes.io/tls, immutable: true}\n",
            "noted": "k: v\n_kubevault:\n  labels: {on: 'yes', 'example.com/a': '1'}\n  annotations: {off: 1_000}\n",
        },
        {"on": "**\n!keys\n", "null": "# nothing\n", "a.b": "prod/*\nyes\n", "1": "keys\n"},
    )
    return made


def secrets_of(things: list[dict[str, Any]]) -> dict[str, dict[str, bytes]]:
    """name -> values, from ``data`` and ``stringData``."""
    found = {}
    for thing in things:
        if thing["kind"] == "Secret" and thing["type"] != "kubernetes.io/service-account-token":
            values = {key: b64decode(value, validate=True) for key, value in thing.get("data", {}).items()}
            values |= {key: value.encode() for key, value in thing.get("stringData", {}).items()}
            found[thing["metadata"]["name"]] = values
    return found


def check(things: list[dict[str, Any]]) -> None:
    found = secrets_of(things)
    assert found["values"] == {key: value.encode() for key, value in VALUES.items()}
    assert found["keys"] == dict.fromkeys(KEYS, b"yes")
    assert found["binary"] == {"k": b"\0\1\2\3\4\xff\xfe\xfd"}
    assert found["empty"] == {} and found["yes"] == {"k": b"v"}
    (noted,) = (thing for thing in things if thing["metadata"]["name"] == "noted")
    assert noted["metadata"]["labels"] == {"on": "yes", "example.com/a": "1"}
    assert noted["metadata"]["annotations"]["off"] == "1_000"
    accounts = [thing["metadata"]["name"] for thing in things if thing["kind"] == "ServiceAccount"]
    assert sorted(accounts) == ["1", "a.b", "null", "on"]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader], ids=["python", "libyaml"])
@pytest.mark.parametrize("form", ["data", "stringData"])
def test_pyyaml(folder: Path, form: str, loader: Any) -> None:
    check(list(yaml.load_all(generate(folder, "--format", form), Loader=loader)))


class _Not:
    """A pattern of PyYAML's that does not match numbers to the base 60."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern

    def match(self, text: str) -> bool:
        return not _SIXTY.fullmatch(text) and self.pattern.match(text) is not None


class Printed(yaml.CSafeLoader):
    """For what Go prints: without quotes where PyYAML alone would see a number to the base 60, a merge or a default."""


_TAGS = ("merge", "value")
_SIXTY = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
Printed.yaml_implicit_resolvers = {
    first: [(tag, _Not(pattern)) for tag, pattern in known if not tag.endswith(_TAGS)]
    for first, known in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def kustomize(text: str, folder: Path) -> list[dict[str, Any]]:
    """What kustomize, whose reader of YAML is Go's, makes of manifests."""
    folder.mkdir(exist_ok=True)
    (folder / "made.yaml").write_text(text, encoding="utf-8")
    (folder / "kustomization.yaml").write_text("resources: [made.yaml]\n")
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=Printed))


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: see kubernetes.io, Install Tools")
@pytest.mark.parametrize("form", ["data", "stringData"])
def test_kustomize(folder: Path, form: str, tmp_path: Path) -> None:
    check(kustomize(generate(folder, "--format", form), tmp_path))


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: see kubernetes.io, Install Tools")
def test_kustomize_reads_what_yaml_1_1_reads(tmp_path: Path) -> None:
    """The control: without quotes it does take these words for something else."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: 1_000, b: 0x1F, c: 'on'}\n"
    (secret,) = kustomize(text, tmp_path)
    assert secret["stringData"]["a"] != "1_000" and secret["stringData"]["c"] == "on"


_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Go's tools pass objects on as JSON and read that as YAML: settings.UNSENT does not get through; we never send it so.
_SENT = _ANY.filter(lambda text: not UNSENT.search(text))
_PLAIN = st.text("yesnoffulrtYNO0123456789_.:+-exob~=<,#!&*%@'\"\\ \n\t", max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_ANY | _PLAIN, st.recursive(_ANY | _PLAIN | st.booleans(), lambda inner: (
    st.lists(_ANY | _PLAIN, max_size=3) | st.dictionaries(_ANY | _PLAIN, inner, max_size=3)
    | st.lists(st.dictionaries(_PLAIN, inner, min_size=1, max_size=3), max_size=2)
), max_leaves=6), max_size=4))  # fmt: skip
def test_any_object_is_read_back(value: dict[str, Any]) -> None:
    text = document(value) if value else "{}\n"
    assert yaml.load(text, Loader=yaml.CSafeLoader) == value
    assert yaml.safe_load(text) == value


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: see kubernetes.io, Install Tools")
@settings(max_examples=5, deadline=None)
@given(st.lists(_SENT | _PLAIN, min_size=40, max_size=200))
def test_any_text_is_read_back_by_go(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    values = {f"k{number}": text for number, text in enumerate(texts)}
    thing = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "annotations": values},
        "stringData": values,
    }
    (read,) = kustomize(document(thing), tmp_path_factory.mktemp("go"))
    assert read == thing


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "flags",
    [(), ("--format", "stringData"), ("--tokens", "none"), ("--namespace-by-folder",)],
    ids=lambda flags: " ".join(flags) or "plain",
)
def test_kubernetes_schema_takes_every_manifest(folder: Path, flags: tuple[str, ...], version: str) -> None:
    things = list(yaml.safe_load_all(generate(folder, *flags)))
    assert len(things) > 15
    for thing in things:
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_schema_refuses_what_is_wrong() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        wrong = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": True}}
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
