"""kubevault as a KRM function, so that kustomize runs it as a generator.

Source: kpt's "KRM Functions Specification": a ResourceList with ``items`` and ``functionConfig`` comes in, the same
list with what was made goes out, and ``results`` say what is wrong. The configuration:

    apiVersion: kubevault.chezmoi.sh/v1
    kind: KubevaultGenerator
    metadata: {name: secrets}
    spec: {vaultDir: vault, namespace: team-a, kind: secret, ...}
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from strongroom.errors import BadRequest
from strongroom.kubevault.folder import Folder
from strongroom.kubevault.making import Made, Wanted
from strongroom.kubevault.settings import OURS
from strongroom.kubevault.tree import Invalid, Source
from strongroom.kubevault.yaml_read import check_depth
from strongroom.kubevault.yaml_text import document

KIND = "KubevaultGenerator"
_NAMES = {
    "namespace": "namespace",
    "format": "format",
    "tokens": "tokens",
    "namespaceByFolder": "by_folder",
    "b64Suffix": "b64",
    "kind": "kind",
    "store": "store",
    "storeKind": "store_kind",
    "sealedCert": "sealed_cert",
    "sealedScope": "sealed_scope",
}
Make = Callable[[Source, Wanted], Made]


def run(data: bytes, make: Make) -> tuple[str, int]:
    """The ResourceList that answers the one in ``data``, and the exit code: 0, or 1 with the reasons in ``results``.

    Raises:
        BadRequest: ``data`` is no ResourceList with a configuration of this function.
    """
    given = _read(data)
    config = given["functionConfig"]
    # kustomize hands its generator over among the items too; given back, it would be an object to apply.
    items = [_dump(item) for item in given.get("items") or [] if not _is_config(item)]
    results: list[dict[str, str]] = []
    source, wanted = _wanted(config)
    code = 0
    try:
        made = make(source, wanted)
        results = [{"message": str(problem), "severity": "warning"} for problem in made.warnings]
        items += map(document, made.objects())
    except Invalid as error:
        results = [{"message": str(problem), "severity": "error"} for problem in error.problems]
        code = 1
    head = {"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "functionConfig": config}
    if results:
        head["results"] = results
    return _dump(head) + ("items:\n" + "".join(map(_item, items)) if items else "items: []\n"), code


def _is_config(item: Any) -> bool:
    return isinstance(item, dict) and item.get("kind") == KIND and str(item.get("apiVersion")).startswith(OURS)


def _dump(value: Any) -> str:
    """What came in, given back. It may hold what ``yaml_text`` is not made for, as numbers and lists of lists."""
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True)
    return text


def _item(text: str) -> str:
    return "- " + "  ".join(text.splitlines(keepends=True))


class _Loader(yaml.CSafeLoader):
    """Without timestamps: a date stays the text it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _read(data: bytes) -> dict[str, Any]:
    try:
        check_depth(data)
        given = _Loader(data).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadRequest("standard input is no ResourceList: it is not YAML") from None
    if not isinstance(given, dict) or given.get("kind") != "ResourceList":
        raise BadRequest("standard input is no ResourceList: kustomize gives one to its functions")
    config = given.get("functionConfig")
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise BadRequest(f"the ResourceList has no functionConfig of kind {KIND}")
    return given


def _wanted(config: Mapping[str, Any]) -> tuple[Source, Wanted]:
    spec = config.get("spec") or {}
    if not isinstance(spec, dict):
        raise BadRequest(f"spec of {KIND} must be a map")
    fields: dict[str, Any] = {}
    for name, value in spec.items():
        if name in ("vaultDir", "rev"):
            continue
        field = _NAMES.get(name)
        if field is None:
            raise BadRequest(f"spec of {KIND} knows vaultDir, rev, {', '.join(_NAMES)}; not {name!r}")
        if not isinstance(value, bool if field in ("by_folder", "b64") else str):
            raise BadRequest(f"spec.{name} of {KIND} has the wrong type")
        fields[field] = value
    folder, rev = spec.get("vaultDir", "vault"), spec.get("rev")
    if not isinstance(folder, str) or not isinstance(rev, str | None):
        raise BadRequest(f"spec.vaultDir and spec.rev of {KIND} must be text")
    if rev is None:
        return Folder(folder), Wanted(**fields)
    from strongroom.kubevault.revision import Revision

    return Revision(Path(folder), rev), Wanted(**fields)
