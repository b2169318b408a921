"""Vault folders read at git revisions, with real repositories."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.kubevault.found import Found, Problem, locked_by
from strongroom.kubevault.revision import Revision, RevisionFailed

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="the program git is not installed")
PERSON = {f"GIT_{who}_{what}": "t@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
CLEAN = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **PERSON}


class Repository:
    """A repository with a vault folder, at a place without other configuration."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.git("init", "-q", "-b", "main")
        self.vault = place / "vault"

    def git(self, *words: str, given: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", *words], cwd=self.place, env=CLEAN, input=given, capture_output=True, check=True, timeout=60
        )
        return done.stdout

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.vault / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, **files: str) -> None:
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def at(self, rev: str = "main", **more: Any) -> Revision:
        return Revision(more.pop("folder", self.vault), rev, environ={**CLEAN, **more.pop("environ", {})}, **more)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "r")
    made.write({"kvstore/db": "a: 1\n", "kvstore/team/api": "b: 2\n", "access_control/alice": "**\n"})
    made.commit()
    return made


def texts(files: tuple[list[Found], list[Problem]]) -> dict[str, str]:
    assert not files[1]
    return {found.path: found.read().decode() for found in files[0]}


def test_a_path_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(RevisionFailed, match="is no path|in no git repository"):
            Revision(tmp_path / name, "HEAD")


def test_a_room_is_read_as_it_was(repository: Repository) -> None:
    repository.git("tag", "v1")
    repository.write({"kvstore/db": "a: changed\n", "kvstore/team/new": "c: 3\n"})
    repository.commit()
    repository.write({"kvstore/not-committed": "x: y\n"})
    assert texts(repository.at("v1").files("kvstore")) == {"db": "a: 1\n", "team/api": "b: 2\n"}
    assert texts(repository.at("HEAD~1").files("kvstore")) == {"db": "a: 1\n", "team/api": "b: 2\n"}
    now = texts(repository.at().files("kvstore"))
    assert now == {"db": "a: changed\n", "team/api": "b: 2\n", "team/new": "c: 3\n"}
    found = repository.at("v1").files("access_control")[0][0]
    assert (found.path, found.where) == ("alice", "v1:vault/access_control/alice")


def test_the_folder_may_be_gone_from_the_work_tree(repository: Repository) -> None:
    repository.git("rm", "-rq", "vault")
    repository.commit()
    assert not repository.vault.exists()
    assert list(texts(repository.at("HEAD~1").files("kvstore"))) == ["db", "team/api"]
    with pytest.raises(RevisionFailed, match="no folder main:vault"):
        repository.at()


def test_a_bare_repository_and_one_that_is_the_vault(repository: Repository, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    repository.git("clone", "-q", "--bare", ".", str(bare))
    assert texts(repository.at(folder=bare / "vault").files("kvstore"))["db"] == "a: 1\n"
    own = Repository(tmp_path / "own")
    own.vault = own.place
    own.write({"kvstore/db": "a: 1\n"})
    own.commit()
    assert own.at().files("kvstore")[0][0].where == "main:kvstore/db"
    assert texts(own.at().files("kvstore")) == {"db": "a: 1\n"}


def test_names_of_git_and_sops_are_passed_over(repository: Repository) -> None:
    for name in (".gitkeep", ".gitignore", ".gitattributes", ".sops.yaml"):
        repository.write({f"kvstore/{name}": "", f"kvstore/team/{name}": ""})
    repository.write({"kvstore/team/.hidden": "h: 1\n"})
    repository.commit()
    assert list(texts(repository.at().files("kvstore"))) == ["db", "team/.hidden", "team/api"]


def test_links_within_the_folder_are_followed(repository: Repository) -> None:
    store = repository.vault / "kvstore"
    (store / "alias").symlink_to("team/../db")
    (store / "chain").symlink_to("alias")
    (store / "squad").symlink_to("team")
    (store / "other-room").symlink_to("../access_control/alice")
    (repository.vault / "shared").mkdir()
    repository.write({"shared/deep/x": "x: 1\n"})
    (store / "shared").symlink_to("../shared")
    (repository.vault / "shared/deep/up").symlink_to("../../kvstore/db")
    repository.commit()
    assert texts(repository.at().files("kvstore")) == {
        "alias": "a: 1\n",
        "chain": "a: 1\n",
        "db": "a: 1\n",
        "other-room": "**\n",
        "shared/deep/up": "a: 1\n",
        "shared/deep/x": "x: 1\n",
        "squad/api": "b: 2\n",
        "team/api": "b: 2\n",
    }
    repository.git("mv", "vault/access_control", "vault/elsewhere")
    (repository.vault / "access_control").symlink_to("elsewhere")
    repository.commit()
    assert list(texts(repository.at().files("access_control"))) == ["alice"]


def test_links_that_leave_circle_or_lead_nowhere_are_problems(repository: Repository) -> None:
    store = repository.vault / "kvstore"
    (repository.place / "outside").write_text("o: 1\n")
    for name, target in {
        "absolute": str(store / "db"),
        "circle-a": "circle-b",
        "circle-b": "circle-a",
        "itself": "itself",
        "nowhere": "none",
        "outside": "../../outside",
        "way-out": "../../vault/kvstore/db",
        "through-a-file": "db/x",
        "team/above": "..",
    }.items():
        (store / name).symlink_to(target)
    repository.commit()
    found, problems = repository.at().files("kvstore")
    assert [file.path for file in found] == ["db", "team/api"]
    assert {problem.where.removeprefix("main:vault/kvstore/"): problem.text for problem in problems} == {
        "absolute": "the link leaves the vault folder",
        "circle-a": "the link leads in a circle",
        "circle-b": "the link leads in a circle",
        "itself": "the link leads in a circle",
        "nowhere": "the link leads nowhere",
        "outside": "the link leaves the vault folder",
        "way-out": "the link leaves the vault folder",
        "through-a-file": "the link leads nowhere",
        "team/above": "the link leads to a folder that holds it",
    }
    assert not any(problem.line for problem in problems)


def test_submodules_and_names_that_are_not_utf8_are_problems(repository: Repository) -> None:
    oid = repository.git("rev-parse", "HEAD").decode().strip()
    blob = repository.git("rev-parse", "HEAD:vault/kvstore/db").decode().strip()
    lines = f"160000 {oid}\tvault/kvstore/module\n".encode() + f"100644 {blob}\tvault/kvstore/".encode() + b"caf\xe9\n"
    lines += f"100644 {blob}\tvault/kvstore/".encode() + b"d\xe9/a\n"
    repository.git("update-index", "--index-info", given=lines)
    repository.git("commit", "-q", "-m", "odd")
    found, problems = repository.at().files("kvstore")
    assert [file.path for file in found] == ["db", "team/api"]
    assert [problem.where for problem in problems] == [
        r"main:vault/kvstore/caf\xe9",
        r"main:vault/kvstore/d\xe9",
        "main:vault/kvstore/module",
    ]
    assert "submodule" in problems[2].text and "UTF-8" in problems[0].text


ODD = ["with space", "quote'\"", "back\\slash", "new\nline", "tab\t", "-option", "žluť", "*", ":colon", "0 1 blob"]


@pytest.mark.parametrize("filtered", [False, True])
def test_odd_names_and_bytes(repository: Repository, filtered: bool) -> None:
    if filtered:
        (repository.place / ".gitattributes").write_text("* filter=toy\n")
        repository.git("config", "filter.toy.smudge", "cat")
    wanted = {name: f"{number}: \n\n{name}\n" for number, name in enumerate(ODD)} | {"empty": "", "end": "no newline"}
    repository.write({f"kvstore/odd/{name}": text for name, text in wanted.items()})
    repository.commit()
    assert texts(repository.at().files("kvstore")) == {
        "db": "a: 1\n",
        "team/api": "b: 2\n",
        **{f"odd/{name}": text for name, text in wanted.items()},
    }


@pytest.mark.parametrize(
    "rev",
    ["--all", "-h", "--output=x", "--", "", "main\0x", "main\n", "none", "main..main", "^main", "@{9}", "main:none"],
)
def test_what_is_no_revision_is_refused_and_no_option(repository: Repository, rev: str) -> None:
    with pytest.raises(RevisionFailed) as caught:
        repository.at(rev)
    assert caught.value.hint
    assert not (repository.place / "x").exists() and not (repository.vault / "x").exists()


def test_no_repository_no_room_no_git(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(RevisionFailed, match="in no git repository"):
        repository.at(folder=tmp_path / "elsewhere", environ={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    with pytest.raises(RevisionFailed, match="no folder main:vault/attic"):
        repository.at().files("attic")

    def missing(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    with pytest.raises(RevisionFailed, match="not installed"):
        repository.at(run=missing)


def test_smudge_filters_are_applied_as_in_a_check_out(repository: Repository) -> None:
    (repository.place / ".gitattributes").write_text("vault/kvstore/team/** filter=toy\n*.lfs filter=absent\n")
    repository.git("config", "filter.toy.clean", "base64")
    repository.git("config", "filter.toy.smudge", "base64 -d")
    repository.write({"kvstore/team/key": "k: " + "v" * 500 + "\n", "kvstore/big.lfs": "raw\n"})
    repository.git("add", "--renormalize", ".")
    repository.commit()
    assert b"k: vvv" not in repository.git("show", "main:vault/kvstore/team/key")  # the control: git stores it encoded
    files = texts(repository.at().files("kvstore"))
    assert files["team/key"] == "k: " + "v" * 500 + "\n"
    assert (files["db"], files["big.lfs"], files["team/api"]) == ("a: 1\n", "raw\n", "b: 2\n")
    repository.git("config", "--unset", "filter.toy.smudge")
    assert texts(repository.at().files("kvstore"))["team/api"] == "YjogMgo=\n"


def test_a_filter_that_is_required_and_fails_is_an_error(repository: Repository) -> None:
    (repository.place / ".gitattributes").write_text("* filter=toy\n")
    repository.git("config", "filter.toy.smudge", "false")
    repository.git("config", "filter.toy.required", "true")
    with pytest.raises(RevisionFailed, match="filter failed"):
        texts(repository.at().files("kvstore"))


def test_what_a_hook_says_of_places(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Repository(tmp_path / "other")
    monkeypatch.chdir(repository.place)
    hook = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index", "GIT_PREFIX": ""}
    assert texts(repository.at(environ=hook, folder=Path("vault")).files("kvstore"))["db"] == "a: 1\n"
    foreign = {"GIT_DIR": str(other.place / ".git"), "GIT_WORK_TREE": str(other.place)}
    assert texts(repository.at(environ=foreign).files("kvstore"))["db"] == "a: 1\n"
    (repository.place / ".git").rename(tmp_path / "dotfiles.git")  # a work tree whose repository is elsewhere
    apart = {"GIT_DIR": str(tmp_path / "dotfiles.git"), "GIT_WORK_TREE": str(repository.place)}
    apart["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)
    assert texts(repository.at(environ=apart).files("kvstore"))["db"] == "a: 1\n"


@pytest.mark.parametrize("filtered", [False, True])
def test_2000_files_take_one_process(repository: Repository, filtered: bool) -> None:
    repository.write({f"kvstore/many/{number}": f"n: {number}\n" for number in range(2000)})
    if filtered:  # configured, but for no path here
        repository.git("config", "filter.toy.smudge", "false")
    repository.commit()
    started: list[str] = []

    def run(command: list[Any], **more: Any) -> Any:
        started.append(command[3])
        return subprocess.run(command, **more)

    begin = time.monotonic()
    found = texts(repository.at(run=run).files("kvstore"))
    assert len(found) == 2002 and found["many/1999"] == "n: 1999\n"
    assert started == ["rev-parse", "rev-parse", "ls-tree", "config", *["check-attr"] * filtered, "cat-file"]
    assert time.monotonic() - begin < 30  # far above what it takes, far below one process for each file


def test_paths_alone_fetch_nothing(repository: Repository) -> None:
    started: list[str] = []

    def run(command: list[Any], **more: Any) -> Any:
        started.append(command[3])
        return subprocess.run(command, **more)

    assert len(repository.at(run=run).files("kvstore")[0]) == 2
    assert "cat-file" not in started


def test_what_is_still_locked_is_recognised() -> None:
    assert locked_by(b"\0GITCRYPT\0abc") == "git-crypt"
    assert locked_by(b"U2FsdGVkX19abc=\n") == "transcrypt"
    assert locked_by(b"a: U2FsdGVkX1") == "" == locked_by(b"")
