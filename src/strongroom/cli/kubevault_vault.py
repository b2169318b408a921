"""What the commands of kubevault share: their flags, the vault that these name, its warnings."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import terminal
from strongroom.cli.argv import BadFlag
from strongroom.cli.command import switch, value

if TYPE_CHECKING:
    from strongroom.client.sops import Identities
    from strongroom.kubevault.found import Problem
    from strongroom.kubevault.making import Made, Wanted
    from strongroom.kubevault.tree import Source

DEFAULT_DIR = "vault"
CHANGES = {"+": "added", "-": "removed", "~": "changed"}  # signs of changes, as JSON names them


def vault_flags() -> list[click.Option]:
    """The flags that say which vault is meant."""
    return [
        value("vault-dir", f"The vault folder (KUBEVAULT_DIR); {DEFAULT_DIR} when not given."),
        value("rev", "Read the vault as it is at this git revision."),
    ]


def naming_flags() -> list[click.Option]:
    """The flags that say where secrets go."""
    return [
        value("namespace", "Namespace of the objects (KUBEVAULT_NAMESPACE).", short="n"),
        switch("namespace-by-folder", "The first folder of a path is the namespace of its secrets."),
        switch("b64-suffix", "Keys that end in .b64 hold base64 and lose the ending."),
    ]


def choice(name: str, given: str | None, allowed: tuple[str, ...]) -> str:
    """One of ``allowed``, the first when nothing is given. Raises ``BadFlag``."""
    if given is None:
        return allowed[0]
    if given not in allowed:
        raise BadFlag(f"--{name} takes {' or '.join(allowed)}, not {given!r}")
    return given


def setting(flag: str, given: str | None, variable: str, default: str) -> str:
    """What a flag, else a variable of the environment, else the default says. Raises ``BadFlag`` when it is empty."""
    for where, text in ((f"--{flag}", given), (variable, os.environ.get(variable))):
        if text is not None:
            if not text:
                raise BadFlag(f"{where} is empty")
            return text
    return default


def namespace_of(given: str | None) -> str:
    """The namespace that the flag or KUBEVAULT_NAMESPACE names. Raises ``BadFlag``."""
    from strongroom.kubevault.making import NAMESPACE
    from strongroom.kubevault.names import BadName, check_namespace

    namespace = setting("namespace", given, "KUBEVAULT_NAMESPACE", NAMESPACE)
    try:
        check_namespace(namespace)
    except BadName as error:
        raise BadFlag(str(error)) from None
    return namespace


def folder_of(given: str | None) -> str:
    """The vault folder that the flag or KUBEVAULT_DIR names. Raises ``BadFlag``."""
    return setting("vault-dir", given, "KUBEVAULT_DIR", DEFAULT_DIR)


def source_of(vault_dir: str | None, rev: str | None = None) -> "Source":
    """The vault that the flags name."""
    folder = folder_of(vault_dir)
    if rev is None:
        from strongroom.kubevault.folder import Folder

        return Folder(folder)
    if not rev:
        raise BadFlag("--rev is empty")
    from strongroom.kubevault.revision import Revision

    return Revision(Path(folder), rev)


def wanted_of(flags: dict[str, Any]) -> "Wanted":
    """What the flags of ``generate`` ask for."""
    from strongroom.kubevault import making
    from strongroom.kubevault.sealed import SCOPES

    return making.Wanted(
        namespace=namespace_of(flags.get("namespace")),
        format=choice("format", flags.get("format"), making.FORMATS),
        tokens=choice("tokens", flags.get("tokens"), making.TOKENS),
        by_folder=bool(flags.get("namespace_by_folder")),
        b64=bool(flags.get("b64_suffix")),
        kind=choice("kind", flags.get("kind"), making.KINDS),
        store=flags.get("store") or "",
        store_kind=choice("store-kind", flags.get("store_kind"), making.STORE_KINDS),
        sealed_cert=flags.get("sealed_cert") or "",
        sealed_scope=choice("sealed-scope", flags.get("sealed_scope"), SCOPES),
    )


class Decryptor:
    """Called with a file's bytes: one that SOPS encrypted is decrypted, any other comes back as it is."""

    def __init__(self) -> None:
        self._identities: Identities | None = None  # keys are looked for when the first file needs them, and once

    def __call__(self, data: bytes, path: str, where: str) -> bytes:
        if b"sops" not in data:
            return data
        from strongroom.client import sops

        if not sops.looks_encrypted(data):
            return data
        self._identities = self._identities or sops.Identities(os.environ)
        return sops.decrypt(data, name=path, environ=os.environ, identities=self._identities)


def make(source: "Source", wanted: "Wanted") -> "Made":
    """Read, check and prepare everything, with a progress bar when it takes long."""
    from strongroom.cli.progress import Progress
    from strongroom.kubevault import making

    progress = Progress("files read", after=1.0)
    try:
        return making.make(source, wanted, Decryptor(), now=datetime.now(UTC), step=progress)
    finally:
        progress.done()


def warn(problems: "list[Problem]") -> None:
    """Show warnings, one a line."""
    for problem in problems:
        terminal.warning(str(problem))
