"""Where ``login`` keeps a token: the file ~/.vault-token, or an outside helper program named in ~/.vault.

The file is written beside its place and moved over it, with mode 0600 from its first byte, so that no reader sees half
a token and a symbolic link put there by somebody else is replaced, not followed.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from strongroom.client.settings import variable
from strongroom.errors import BadRequest

MAX_TOKEN = 64 * 1024  # bytes
HELPER_TIME = 30  # seconds
_HELPER = re.compile(r'^\s*"?token_helper"?\s*[=:]\s*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)


class TokenStore:
    """The token kept between commands, for one user."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        home = environ.get("HOME") or os.path.expanduser("~")
        self.file = Path(home) / ".vault-token"
        self._config = Path(variable(environ, "CONFIG_PATH") or Path(home) / ".vault")

    def get(self) -> str:
        """The kept token, or the empty string."""
        if helper := self._helper():
            return self._run(helper, "get").strip()
        try:
            with open(self.file, "rb") as file:
                raw = file.read(MAX_TOKEN + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return ""
        except OSError as error:
            raise BadRequest(f"cannot read {self.file}: {_why(error)}") from error
        if len(raw) > MAX_TOKEN:
            raise BadRequest(f"{self.file} is too long for a token")
        return raw.decode("utf-8", "replace").strip()

    def put(self, token: str) -> None:
        """Keep ``token`` in place of what was kept."""
        if helper := self._helper():
            self._run(helper, "store", token)
            return
        try:
            handle, name = tempfile.mkstemp(prefix=".vault-token.", dir=self.file.parent)  # 0600, O_EXCL
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(token)
                os.replace(name, self.file)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise BadRequest(f"cannot write {self.file}: {_why(error)}") from error

    def erase(self) -> None:
        """Forget the kept token. Having none is not an error."""
        if helper := self._helper():
            self._run(helper, "erase")
            return
        try:
            self.file.unlink(missing_ok=True)
        except OSError as error:
            raise BadRequest(f"cannot remove {self.file}: {_why(error)}") from error

    def _helper(self) -> str:
        try:
            with open(self._config, encoding="utf-8", errors="replace") as file:
                text = file.read(MAX_TOKEN)
        except OSError:
            return ""
        found = _HELPER.search(text)
        path = found[1].replace('\\"', '"').replace("\\\\", "\\") if found else ""
        if path and not os.path.isabs(os.path.expanduser(path)):
            raise BadRequest(f"token_helper in {self._config} must be an absolute path")
        return os.path.expanduser(path)

    def _run(self, helper: str, verb: str, token: str = "") -> str:
        import subprocess

        try:
            done = subprocess.run(  # noqa: S603 - the user's own program, named in the user's own file
                [helper, verb], input=token.encode(), capture_output=True, timeout=HELPER_TIME, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadRequest(f"the token helper {helper} cannot be run") from error
        if done.returncode:
            raise BadRequest(f"the token helper {helper} failed to {verb} (exit code {done.returncode})")
        return done.stdout[:MAX_TOKEN].decode("utf-8", "replace")


def _why(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
