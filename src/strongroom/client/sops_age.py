"""Where the keys are that open what age sealed: the places in which SOPS looks, in the same order.

SSH keys (``SOPS_AGE_SSH_PRIVATE_KEY_FILE``, ``SOPS_AGE_SSH_PRIVATE_KEY_CMD``, ``~/.ssh/id_ed25519``,
``~/.ssh/id_rsa``), then ``SOPS_AGE_KEY``, ``SOPS_AGE_KEY_FILE``, ``SOPS_AGE_KEY_CMD`` and the user's
``sops/age/keys.txt``. Keys with a passphrase, of plug-ins and post-quantum ones are left to the ``sops`` program.
Source: age/keysource.go of SOPS 3.13.
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

RUN_LIMIT = 120.0  # seconds a command for a key may take; people may be asked for a PIN
MAX_KEY_BYTES = 1 << 20
_KEYS = "sops/age/keys.txt"


class Identities:
    """The age identities of one person or machine, each place looked at once.

    ``run`` is ``subprocess.run`` or acts like it. ``notes`` tells, after a look, what was not usable and why, without
    any text of a key; ``places`` where keys were found.
    """

    def __init__(
        self, environ: Mapping[str, str], home: Path | None = None, run: Callable[..., Any] | None = None
    ) -> None:
        self.environ = environ
        self.home = home or (Path(environ["HOME"]) if environ.get("HOME") else None)
        self.run = run
        self.notes: list[str] = []
        self.places: list[str] = []
        self._fixed: list[Any] | None = None
        self._made: dict[str, list[Any]] = {}  # by commands, which are told the recipient

    def unseal(self, armored: str, recipient: str) -> bytes | None:
        """The plaintext of one age file (ASCII armour) made for ``recipient``, or None when no identity fits."""
        import pyrage

        for identities in (self._files(), self._commands(recipient)):
            if not identities:
                continue
            try:
                return bytes(pyrage.decrypt(armored.encode(), identities))
            except (pyrage.DecryptError, ValueError):
                continue
        return None

    def own(self, recipient: str) -> bool:
        """Whether an identity is known to be the one of ``recipient`` (an X25519 key from a file or variable)."""
        return any(str(getattr(found, "to_public", str)()) == recipient for found in self._files())

    def _files(self) -> list[Any]:
        if self._fixed is None:
            self._fixed = []
            for name, path, kind in self._paths():
                if (data := self._read(name, path)) is not None:
                    self._fixed += self._ssh(name, data) if kind == "ssh" else self._age(name, data.splitlines())
            if text := self.environ.get("SOPS_AGE_KEY"):
                self._fixed += self._age("SOPS_AGE_KEY", text.encode().split())
        return self._fixed

    def _paths(self) -> Iterable[tuple[str, Path, str]]:
        """Files to read: the name people know them by, the path, and "ssh" or "age"."""
        for variable, kind in (("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "ssh"), ("SOPS_AGE_KEY_FILE", "age")):
            if path := self.environ.get(variable):
                yield variable, Path(path), kind
        usual = [] if self.home is None else [(self.home / ".ssh" / name, "ssh") for name in ("id_ed25519", "id_rsa")]
        if (config := self._config()) is not None:
            usual.append((config / _KEYS, "age"))
        yield from ((str(path), path, kind) for path, kind in usual if os.path.exists(path))

    def _config(self) -> Path | None:
        given = self.environ.get("XDG_CONFIG_HOME")
        if given and Path(given).is_absolute():
            return Path(given)
        if self.home is None:
            return None
        return self.home / ("Library/Application Support" if sys.platform == "darwin" else ".config")

    def _read(self, name: str, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(MAX_KEY_BYTES)
        except OSError as e:
            self.notes.append(f"{name}: {e.strerror or 'cannot be read'}")
            return None

    def _commands(self, recipient: str) -> list[Any]:
        if recipient not in self._made:
            keys = self._output("SOPS_AGE_KEY_CMD", recipient)
            ssh = self._output("SOPS_AGE_SSH_PRIVATE_KEY_CMD", recipient)
            made = [] if keys is None else self._age("SOPS_AGE_KEY_CMD", keys.splitlines())
            self._made[recipient] = made + ([] if ssh is None else self._ssh("SOPS_AGE_SSH_PRIVATE_KEY_CMD", ssh))
        return self._made[recipient]

    def _output(self, variable: str, recipient: str) -> bytes | None:
        """What the command in ``variable`` prints; run without a shell, its complaints kept out of ours."""
        import subprocess

        command = self.environ.get(variable)
        if not command:
            return None
        run = self.run or subprocess.run
        try:
            done = run(
                shlex.split(command),
                env={**self.environ, "SOPS_AGE_RECIPIENT": recipient},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=RUN_LIMIT,
                check=False,
            )
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            self.notes.append(f"{variable}: the command did not run")
            return None
        if done.returncode != 0:
            self.notes.append(f"{variable}: the command ended with {done.returncode}")
            return None
        return bytes(done.stdout)

    def _age(self, name: str, lines: Iterable[bytes]) -> list[Any]:
        import pyrage

        found, other = [], 0
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if text and not text.startswith("#"):
                try:
                    found.append(pyrage.x25519.Identity.from_str(text))
                except (pyrage.IdentityError, ValueError):
                    other += 1
        if other:
            self.notes.append(f"{name}: {other} line(s) are no age key, or one of a kind that is not read here")
        if found:
            self.places.append(name)
        return found

    def _ssh(self, name: str, data: bytes) -> list[Any]:
        import pyrage

        try:
            found = pyrage.ssh.Identity.from_buffer(data)
        except (pyrage.IdentityError, ValueError):
            self.notes.append(f"{name}: no SSH key that is read here, or one with a passphrase")
            return []
        self.places.append(name)
        return [found]
