"""Which targets are refused, and what becomes of those that are taken."""

import os
import stat
from pathlib import Path

import pytest

from strongroom.audit import target as target_module
from strongroom.audit.file import open_sink
from strongroom.errors import BadRequest


def _open(path: str, audit_dir: Path | str) -> None:
    open_sink({"file_path": path}, audit_dir=str(audit_dir)).close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    audit = tmp_path / "audit"
    (audit / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    (audit / "link").symlink_to(tmp_path / "outside" / "file")
    (audit / "dangling").symlink_to(tmp_path / "outside" / "new")
    (audit / "inner-link").symlink_to(audit / "sub" / "real")
    (audit / "folder-link").symlink_to(tmp_path / "outside")
    (audit / "sub" / "real").write_text("")
    os.mkfifo(audit / "fifo")
    os.link(tmp_path / "outside" / "file", audit / "hard")
    (audit / "proc").symlink_to("/proc/self")
    return audit


@pytest.mark.parametrize(
    "name",
    [
        "link", "dangling", "inner-link", "folder-link/file", "folder-link/new", "fifo", "hard", "sub", "sub/",
        "proc/mem", "..", "../outside/file", "sub/../../outside/new", "sub/../x", "./x",
        "missing/x", "a\0b", "a\nb", "a\x7f", "/etc/passwd", "/proc/self/mem", "/dev/null", "/", "//",
        "x" * 5000, "x" * 300,
    ],
)  # fmt: skip
def test_refused(folder: Path, name: str) -> None:
    before = sorted(path.name for path in folder.parent.rglob("*"))
    for spelling in (name, f"{folder}/{name}"):
        if spelling.startswith(f"{folder}//"):
            continue  # "//etc/passwd" behind the folder is a file below it
        with pytest.raises(BadRequest) as caught:
            _open(spelling, folder)
        assert str(folder) not in str(caught.value)
    assert sorted(path.name for path in folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "path",
    ["/proc/self/mem", "/proc/self/comm", "/proc/self/fd/1", "/dev/null", "/dev/tty", "/tmp", "/sys/power/state"],
)
def test_refused_where_any_file_is_allowed(path: str) -> None:
    with pytest.raises(BadRequest):
        _open(path, "/")


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit-more").mkdir()
    with pytest.raises(BadRequest):
        _open(str(tmp_path / "audit-more" / "x"), tmp_path / "audit")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file of somebody else's")
def test_a_file_of_somebody_else_is_refused(folder: Path) -> None:
    (folder / "theirs").write_text("")
    os.chown(folder / "theirs", 12345, 12345)
    with pytest.raises(BadRequest):
        _open("theirs", folder)


def test_taken(folder: Path) -> None:
    os.umask(old := os.umask(0))
    for name in ("plain", "sub/deep", "with blank", "ü", str(folder / "absolute")):
        _open(name, folder)
        target = folder / name
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert old == os.umask(old)


def test_any_folder_if_audit_dir_is_the_root(tmp_path: Path) -> None:
    _open(str(tmp_path / "x"), "/")
    assert (tmp_path / "x").exists()


def test_the_audit_folder_itself_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    _open(str(tmp_path / "named" / "a"), tmp_path / "named")
    _open(str(tmp_path / "real" / "b"), tmp_path / "named")
    assert sorted(os.listdir(tmp_path / "real")) == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o600, 0o600), (0o640, 0o640), (0o644, 0o600), (0o777, 0o600), (0o4777, 0o600), (0o620, 0o600)],
)
def test_an_existing_file_is_appended_to_and_never_executable(folder: Path, before: int, after: int) -> None:
    target = folder / "old"
    target.write_bytes(b'{"time":"kept"}\n')
    target.chmod(before)
    sink = open_sink({"file_path": "old", "mode": "4777"}, audit_dir=str(folder))
    sink.request(b"new\n")
    sink.close()
    assert target.read_bytes() == b'{"time":"kept"}\nnew\n'
    assert stat.S_IMODE(target.stat().st_mode) == after


@pytest.mark.parametrize(
    "content",
    [bytes(4096), b"SRE1", b'storage "lmdb" {}\n', b'{"unseal_key":"k"}', b'{"storage":{}}', b"#!/bin/sh", b'{"tim"}'],
)
def test_what_is_no_audit_log_is_never_appended_to(folder: Path, content: bytes) -> None:
    (folder / "other").write_bytes(content)
    with pytest.raises(BadRequest, match="not an audit log"):
        _open("other", folder)
    assert (folder / "other").read_bytes() == content
    with pytest.raises(BadRequest):
        _open("planted.entry", folder)  # where a file store would read it


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b" " * 5000 + b"\n",
        b'{"time":"',
        b'{"ti',
        b"{\n",
        b'  \n{"time":"1"}\n',
        b'{"request":{}}',
        b'{"auth":',
    ],
)
def test_what_an_audit_log_may_begin_with(folder: Path, content: bytes) -> None:
    (folder / "log").write_bytes(content)
    _open("log", folder)
    assert (folder / "log").read_bytes().startswith(content)


def test_refusals_leak_no_descriptor(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("link", "fifo", "hard", "missing/x", "sub"):
        with pytest.raises(BadRequest):
            _open(name, folder)
    assert len(os.listdir("/proc/self/fd")) == before


def test_other_systems_have_no_kernel_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module.sys, "platform", "darwin")
    _open("plain", folder)
    for name in ("link", "fifo", "hard", "folder-link/new"):
        with pytest.raises(BadRequest):
            _open(name, folder)
