"""The kept token: a private file, replaced whole, or an outside helper."""

import os
import stat
from pathlib import Path

import pytest

from strongroom.cli.token_file import MAX_TOKEN, TokenStore
from strongroom.errors import BadRequest


@pytest.fixture
def store(home: Path) -> TokenStore:
    return TokenStore({"HOME": str(home)})


def test_put_get_erase(store: TokenStore, home: Path) -> None:
    assert store.get() == ""
    store.put("hvs.one")
    store.put("hvs.two")
    assert store.get() == "hvs.two"
    assert [path.name for path in home.iterdir()] == [".vault-token"]
    store.erase()
    store.erase()
    assert store.get() == ""


def test_sec_the_file_is_private_whatever_the_umask(store: TokenStore, home: Path) -> None:
    before = os.umask(0)
    try:
        store.put("hvs.x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / ".vault-token").stat().st_mode) == 0o600


def test_sec_a_link_is_replaced_not_followed(store: TokenStore, home: Path) -> None:
    victim = home / "victim"
    victim.write_text("keep")
    (home / ".vault-token").symlink_to(victim)
    store.put("hvs.x")
    assert victim.read_text() == "keep"
    assert not (home / ".vault-token").is_symlink()


def test_blanks_around_a_token_go(store: TokenStore, home: Path) -> None:
    (home / ".vault-token").write_text("hvs.x\n")
    assert store.get() == "hvs.x"


def test_a_huge_file_is_refused(store: TokenStore, home: Path) -> None:
    (home / ".vault-token").write_text("x" * (MAX_TOKEN + 1))
    with pytest.raises(BadRequest):
        store.get()


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot write"):
        TokenStore({"HOME": str(tmp_path / "nowhere")}).put("hvs.secret")


HELPER = """#!/bin/sh
case "$1" in
  get) cat "$0.kept" 2>/dev/null || true ;;
  store) cat > "$0.kept" ;;
  erase) rm -f "$0.kept" ;;
esac
"""


def test_an_outside_helper(store: TokenStore, home: Path, tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    helper.write_text(HELPER)
    helper.chmod(0o700)
    (home / ".vault").write_text(f'# mine\ntoken_helper = "{helper}"\n')
    assert store.get() == ""
    store.put("hvs.outside")
    assert store.get() == "hvs.outside"
    assert not (home / ".vault-token").exists()
    store.erase()
    assert store.get() == ""


def test_helpers_that_fail(store: TokenStore, home: Path) -> None:
    (home / ".vault").write_text('token_helper = "/bin/false"')
    with pytest.raises(BadRequest, match="exit code 1") as caught:
        store.put("hvs.secret")
    assert "hvs" not in str(caught.value)
    (home / ".vault").write_text('token_helper = "relative"')
    with pytest.raises(BadRequest, match="absolute"):
        store.get()
    (home / ".vault").write_text('token_helper = "/nowhere/at/all"')
    with pytest.raises(BadRequest, match="cannot be run"):
        store.get()
