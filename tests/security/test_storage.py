"""Named regressions of the threat list that touch the stores (threats A2, A11, B2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Backend, Write
from strongroom.storage import file, lmdb
from strongroom.storage.completion import drive

KINDS = {"lmdb": lmdb.open_store, "file": file.open_store}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(kind: str, path: Path) -> Backend:
    return KINDS[kind]({"path": str(path), "sync": False})


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770, 0o1777])
def test_sec_cve_2021_38553_open_folder_is_refused(kind: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(StorageFailed, match="chmod 700"):
        opened(kind, path)
    assert list(path.iterdir()) == []
    path.chmod(0o700)  # the control: the mode is what was refused
    drive(opened(kind, path).close())


def test_sec_cve_2021_38553_nothing_is_readable_by_others(kind: str, tmp_path: Path) -> None:
    """A whole life of a store under umask 0: no file or folder that others can touch."""
    before = os.umask(0)
    try:
        store = opened(kind, tmp_path / "s")
        for i in range(5):
            drive(store.commit([Write(f"a/{i}/b", b"1"), Write("k" * 3000, b"2")]))
        during = [p for p in (tmp_path / "s").rglob("*") if p.exists() and p.stat().st_mode & 0o077]
        drive(store.close())
        (tmp_path / "control").touch()
    finally:
        os.umask(before)
    assert during == []
    assert [p for p in [tmp_path / "s", *(tmp_path / "s").rglob("*")] if p.stat().st_mode & 0o077] == []
    assert (tmp_path / "control").stat().st_mode & 0o077


def test_sec_cve_2020_15113_wide_files_are_narrowed(tmp_path: Path) -> None:
    drive(opened("lmdb", tmp_path / "s").close())
    data = tmp_path / "s" / "data.mdb"
    data.chmod(0o644)
    drive(opened("lmdb", tmp_path / "s").close())
    assert data.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_sec_a11_a_folder_of_another_user_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)
    with pytest.raises(StorageFailed, match="another user"):
        opened(kind, path)
    os.chown(path, 0, -1)
    drive(opened(kind, path).close())


def test_sec_a11_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    for name in ("data.mdb", "lock.mdb"):
        folder = tmp_path / f"l-{name}"
        folder.mkdir(mode=0o700)
        victim = tmp_path / f"victim-{name}"
        victim.write_bytes(b"x" * 10000)
        (folder / name).symlink_to(victim)
        with pytest.raises(StorageFailed):
            opened("lmdb", folder)
        assert victim.read_bytes() == b"x" * 10000


@pytest.mark.parametrize(
    "key", ["../out", "a/../../out", "..", ".", "a/./b", "..\\out", "\\", "CON", "a\nb", "%2e%2e/out", "~/out", "-x"]
)
def test_sec_cve_2023_28433_no_key_leaves_the_folder(kind: str, key: str, tmp_path: Path) -> None:
    """Keys with dots, backslashes and escapes are plain names; nothing appears outside the store."""
    store = opened(kind, tmp_path / "deep" / "s")
    drive(store.commit([Write(key, b"1")]))
    assert [k for k, _ in drive(store.scan(""))] == [key]
    drive(store.commit([Write(key, None)]))
    drive(store.close())
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["s"]


@pytest.mark.parametrize("key", ["\0", "a\0b", "/etc/passwd", "a/", "", "k" * 4097])
def test_sec_cve_2023_28433_other_keys_are_400(kind: str, key: str, tmp_path: Path) -> None:
    store = opened(kind, tmp_path / "s")
    with pytest.raises(BadRequest) as caught:
        drive(store.commit([Write(key, b"canary")]))
    assert caught.value.status == 400
    assert "canary" not in str(caught.value)
    assert drive(store.scan("")) == []
    drive(store.close())


def test_sec_a11_two_ciphertexts_swapped_on_disk_are_noticed(tmp_path: Path) -> None:
    """In the file store at once; in every store by the barrier, which binds a value to its key."""
    store = opened("file", tmp_path / "s")
    drive(store.commit([Write("a", b"one"), Write("b", b"two")]))
    data = tmp_path / "s" / "data"
    (data / "a.entry").rename(data / "c")
    (data / "b.entry").rename(data / "a.entry")
    (data / "c").rename(data / "b.entry")
    for key in ("a", "b"):
        with pytest.raises(StorageFailed, match="another key"):
            drive(store.get(key))
    drive(store.close())


def test_sec_b2_no_secret_in_reprs_and_errors(kind: str, tmp_path: Path) -> None:
    program = (
        "import sys; from strongroom.sdk.storage import Write; from strongroom.storage.completion import drive;"
        "from strongroom.storage import lmdb, file; s = dict(lmdb=lmdb, file=file)[sys.argv[1]];"
        "s = s.open_store({'path': sys.argv[2]}); drive(s.commit([Write('k', b'canary-value')]));"
        "print(repr(s), repr(drive(s.get('k'))), repr(drive(s.scan(''))));"
        "drive(s.commit([Write('k', b'canary-value')], expect={'k': 0}))"
    )
    argv = [sys.executable, "-c", program, kind, str(tmp_path / "s")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert "Conflict" in done.stderr
    assert "12 bytes" in done.stdout
    assert "canary" not in (done.stdout + done.stderr).replace("b'canary-value'", "")
