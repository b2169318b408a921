"""The commands ``kubevault generate`` and ``krm``."""

import sys
from collections.abc import Iterator
from typing import Any

from strongroom.cli import terminal
from strongroom.cli.argv import BadFlag
from strongroom.cli.command import command, switch, value
from strongroom.cli.kubevault_vault import make, naming_flags, setting, source_of, vault_flags, wanted_of, warn
from strongroom.cli.session import Session
from strongroom.kubevault.manifests import Group


@command(
    "generate",
    *vault_flags(),
    *naming_flags(),
    value("output-dir", "Write files into this folder, which must exist (KUBEVAULT_OUTPUT_DIR)."),
    switch("prune", "Remove from the folder what an earlier run made and this one does not."),
    value("format", "Where values go in a Secret: data (base64, the default) or stringData."),
    value("tokens", "Long-lived tokens for users: secret (the default) or none."),
    value("kind", "What secrets become: secret, external-secret, push-secret or sealed-secret."),
    value("store", "Name of the store that external-secret and push-secret refer to."),
    value("store-kind", "Its kind: ClusterSecretStore (the default) or SecretStore."),
    value("sealed-cert", "PEM file with the certificate of the Sealed Secrets controller."),
    value("sealed-scope", "strict (the default), namespace-wide or cluster-wide."),
    form=False,
    http=False,
)
def generate(session: Session, vault_dir: str | None, rev: str | None, output_dir: str | None, **flags: Any) -> int:
    """Print the manifests of a vault, or write them into a folder. Everything is checked before anything is written."""
    folder = setting("output-dir", output_dir, "KUBEVAULT_OUTPUT_DIR", "")
    if flags["prune"] and not folder:
        raise BadFlag("--prune is for --output-dir")
    wanted = wanted_of(flags)
    made = make(source_of(vault_dir, rev), wanted)
    warn(made.warnings)
    if folder:
        return _into(folder, made.groups, prune=bool(flags["prune"]))
    from strongroom.kubevault.yaml_text import document

    write = sys.stdout.write
    for group in made.groups:
        for thing in group.objects:
            write(f"---\n{document(thing)}")
    return 0


def _into(folder: str, groups: Iterator[Group], *, prune: bool) -> int:
    from strongroom.kubevault.output_folder import file_name, write_folder
    from strongroom.kubevault.yaml_text import document

    files = ((file_name(group.stem), "---\n".join(map(document, group.objects))) for group in groups)
    outcome = write_folder(folder, files, prune=prune)
    for name in outcome.changed:
        terminal.warning(f"{folder}/{name} is no longer made, but was changed: it is kept")
    for name in outcome.stale:
        terminal.warning(f"{folder}/{name} is no longer made: --prune removes it")
    terminal.note(f"{len(outcome.written)} files written, {len(outcome.removed)} removed.")
    return 0


@command("krm", form=False, http=False)
def krm(session: Session) -> int:
    """Work as a KRM function: a ResourceList on standard input, and with the manifests on standard output."""
    from strongroom.kubevault.krm import run

    text, code = run(sys.stdin.buffer.read(), make)
    sys.stdout.write(text)
    return code
