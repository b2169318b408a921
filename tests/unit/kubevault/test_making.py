"""Checks before anything is made."""

from pathlib import Path

import pytest

from kubevault_world import make, vault
from strongroom.errors import BadRequest


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"namespace": "Bad"}, "namespace"),
        ({"namespace": ""}, "namespace"),
        ({"kind": "external-secret"}, "--store"),
        ({"kind": "push-secret"}, "--store"),
        ({"kind": "sealed-secret"}, "--sealed-cert"),
        ({"kind": "configmap"}, "kind must be"),
        ({"format": "yaml"}, "format must be"),
        ({"tokens": "maybe"}, "tokens must be"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, wanted: dict[str, str], text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        make(vault(tmp_path, {}), **wanted)


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot read"):
        make(vault(tmp_path, {}), kind="sealed-secret", sealed_cert=str(tmp_path / "none.pem"))


def test_the_same_bytes_whatever_the_order_of_creation(tmp_path: Path) -> None:
    from strongroom.kubevault.yaml_text import document

    def text(order: int) -> str:
        names = [f"f{number}" for number in range(20)][::order]
        folder = vault(tmp_path / str(order), {name: f"k: {name}" for name in names}, dict.fromkeys(names[:3], "**"))
        for extra in ("f0", "f1", "f2", "f17", "f18", "f19"):
            vault(tmp_path / str(order), {}, {extra: "**"})
        return "".join(map(document, make(folder).objects()))

    assert text(1) == text(-1)


def test_progress_is_told(tmp_path: Path) -> None:
    from kubevault_world import NOW, clear
    from strongroom.kubevault import making
    from strongroom.kubevault.folder import Folder

    told: list[tuple[int, int]] = []
    folder = vault(tmp_path, {f"f{number}": "" for number in range(130)})
    making.make(Folder(folder), making.Wanted(), clear, now=NOW, step=lambda done, total: told.append((done, total)))
    assert told == [(0, 130), (64, 130), (128, 130)]
