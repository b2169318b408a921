"""The git program, asked about one repository: never through a shell, never with a word of the caller's as an
option."""

import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.errors import Hinted

RUN_LIMIT = 600.0  # seconds; a filter may run once for each file
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_IMPLICIT_WORK_TREE")
_OBJECT = re.compile(rb"[0-9a-f]{40,64}")


class RevisionFailed(Hinted):
    """A revision cannot be read. ``hint`` says what would help."""


class Blob(NamedTuple):
    """A file of a revision: its object, and its path in the repository, by which filters are chosen."""

    oid: str
    path: bytes


class Git:
    """One repository, found from a folder of its work tree that may be gone by now, or from a bare repository.

    ``environ`` as a hook gets it from git: what it says of places counts only where the folder's own repository is not
    found; where new objects wait before a push is accepted counts always. ``prefix`` is the folder in the repository,
    with ``/`` and without one at the end. Raises RevisionFailed: no git, no repository.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, run: Callable[..., Any] = subprocess.run
    ) -> None:
        self._run = run
        given = dict(os.environ if environ is None else environ)
        given |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        folder = folder.absolute()
        try:
            self.start = next(place for place in (folder, *folder.parents) if place.is_dir())
        except (OSError, ValueError):  # too long, or with a NUL
            raise RevisionFailed(f"{str(folder)[:100]!r} is no path of a folder") from None
        plain = {name: value for name, value in given.items() if name not in _OF_A_HOOK}
        tries = [plain]
        if at := given.get("GIT_DIR"):
            top = given.get("GIT_WORK_TREE") or "."
            tries.append({**plain, "GIT_DIR": os.path.abspath(at), "GIT_WORK_TREE": os.path.abspath(top)})
        for self.environ in tries:
            said = self.ask("rev-parse", "--is-bare-repository", "--absolute-git-dir", "--show-cdup", "--show-prefix")
            if said.returncode == 0:
                break
        else:
            raise RevisionFailed(f"{folder} is in no git repository", "a revision needs one" + self.complaint(said))
        bare, place, up, prefix = bytes(said.stdout).split(b"\n", 3)
        rest = os.fsencode(folder.relative_to(self.start))
        if bare == b"true":
            rest = os.fsencode(os.path.relpath(folder, os.fsdecode(place)))
        parts = [part for part in (prefix.removesuffix(b"\n") + b"/" + rest).split(b"/") if part not in (b"", b".")]
        self.prefix = b"/".join(parts)
        self.start = self.start / os.fsdecode(up)  # the top, from which check-attr counts paths

    def ask(self, *words: str | bytes, given: bytes = b"") -> Any:
        """The finished git process; ``given`` is its standard input."""
        try:
            return self._run(
                ["git", "-C", str(self.start), *words],
                input=given,
                env=self.environ,
                capture_output=True,
                timeout=RUN_LIMIT,
                check=False,
            )
        except FileNotFoundError:
            raise RevisionFailed("the program git is not installed", "install git, or leave the revision out") from None
        except (OSError, ValueError, subprocess.SubprocessError):
            raise RevisionFailed("git did not run, or not in time") from None

    def complaint(self, said: Any) -> str:
        """What git says went wrong, without the words of filters: the first line marked as its own."""
        lines = bytes(said.stderr).decode("utf-8", "replace").splitlines()
        own = [line[7:207] for line in lines if line.startswith("fatal: ") and "filter" not in line]
        return f" (git: {own[0]})" if own else ""

    def resolve(self, rev: str) -> str:
        """The object that a person's words name. Raises RevisionFailed."""
        hint = "see git branch -a, git tag and git log for what there is"
        if not rev or rev.startswith("-") or any(sign in rev for sign in "\0\r\n"):
            raise RevisionFailed(f"{rev!r} is not a revision", hint)
        said = self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", rev)
        found = bytes(said.stdout).strip()
        if said.returncode != 0 or not _OBJECT.fullmatch(found):
            raise RevisionFailed(f"there is no revision {rev!r}", hint)
        # Attributes of the revision decide about its filters; git before 2.41 takes those of the work tree
        self.environ = {**self.environ, "GIT_ATTR_SOURCE": found.decode()}
        return found.decode()

    def read(self, blobs: Iterable[Blob], *, filtered: bool = True) -> dict[Blob, bytes]:
        """Each blob's bytes, as a work tree would have them if ``filtered``. One process for all, one more for those
        with a filter. Raises RevisionFailed when an object is missing or a filter that is required fails."""
        wanted = list(dict.fromkeys(blobs))
        through = self._with_filter(wanted) if filtered and wanted else set()
        found = self._batch([blob for blob in wanted if blob not in through])
        odd = [blob for blob in through if b"\n" in blob.path]  # a request is a line
        found |= self._batch([blob for blob in wanted if blob in through and blob not in odd], "--filters")
        for blob in odd:
            said = self.ask("cat-file", "--filters", b"--path=" + blob.path, blob.oid)
            if said.returncode != 0:
                raise RevisionFailed("git did not give a file, or its filter failed", self.complaint(said).strip())
            found[blob] = bytes(said.stdout)
        return found

    def _with_filter(self, blobs: list[Blob]) -> set[Blob]:
        """Those whose path has a filter that is configured. To run all through --filters is ten times as slow."""
        said = self.ask("config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(smudge|process)$")
        names = {name.removeprefix(b"filter.").rpartition(b".")[0] for name in bytes(said.stdout).split(b"\0") if name}
        if not names:
            return set()
        said = self.ask("check-attr", "-z", "--stdin", "filter", given=b"".join(blob.path + b"\0" for blob in blobs))
        fields = bytes(said.stdout).split(b"\0")
        if said.returncode != 0 or len(fields) != 3 * len(blobs) + 1:
            raise RevisionFailed("git does not tell the attributes of files", self.complaint(said).strip())
        return {blob for blob, value in zip(blobs, fields[2::3], strict=False) if value in names}

    def _batch(self, blobs: list[Blob], *options: str) -> dict[Blob, bytes]:
        """The header's size is the one before filters, so a word that nobody can guess stands before each blob."""
        if not blobs:
            return {}
        mark = secrets.token_hex(16)
        lines = b"".join(blob.oid.encode() + (b" " + blob.path) * bool(options) + b"\n" for blob in blobs)
        said = self.ask("cat-file", f"--batch={mark} %(objecttype)", *options, given=lines)
        start = f"{mark} blob\n".encode()
        parts = (b"\n" + bytes(said.stdout)).split(b"\n" + start)
        if said.returncode != 0 or len(parts) != len(blobs) + 1 or parts[0]:
            raise RevisionFailed("git did not give all files, or a filter failed", self.complaint(said).strip())
        parts[-1] = parts[-1].removesuffix(b"\n")
        return dict(zip(blobs, parts[1:], strict=True))
