"""A new vault folder."""

import os

from strongroom.errors import BadRequest

_README = """\
# A vault for kubevault

    kvstore/           secrets: YAML files, each a map of keys to values; the path becomes the name
    access_control/    users: one file each, a list of globs; the last rule that matches a path decides

    kubevault lint              what is wrong here
    kubevault can-read USER     what a user may read
    kubevault generate          the manifests

Nothing below kvstore is committed until you say so: see .gitignore. Encrypt the files first (SOPS, transcrypt or
git-crypt), then remove the lines that keep them out.
"""

_IGNORE = """\
# Secrets in clear do not belong into git. When the files of kvstore are encrypted before they are committed (SOPS,
# transcrypt, git-crypt), remove the next two lines.
/kvstore/**
!/kvstore/.gitkeep

# Keys, decrypted copies, what editors leave behind, and generated manifests: never.
*.agekey
keys.txt
*.dec
*.dec.*
*.orig
*.swp
*~
.#*
.env
kubeconfig*
/manifests/
"""

_FILES = {
    "README.md": _README,
    ".gitignore": _IGNORE,
    "kvstore/.gitkeep": "",
    "access_control/.gitkeep": "",
}


def make_vault(folder: str) -> list[str]:
    """Make what is missing of a vault folder and return the paths that were made. Nothing is overwritten.

    Raises:
        BadRequest: something else is in the way, or the folder cannot be written.
    """
    made = []
    try:
        for room in ("kvstore", "access_control"):
            path = os.path.join(folder, room)
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o700)
                made.append(path)
        for name, text in _FILES.items():
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                continue
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
            made.append(path)
    except OSError as error:
        raise BadRequest(f"cannot make {error.filename or folder}: {error.strerror}") from error
    return made
