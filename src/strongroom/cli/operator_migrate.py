"""The command ``operator migrate``: copies a store into another while no server runs on either."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom.cli import terminal
from strongroom.cli.command import command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.progress import Progress
from strongroom.cli.session import Session
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.storage.migrate import CopyReport

SOURCE, DESTINATION = "storage_source", "storage_destination"


@command(
    "migrate",
    value("config", f"File with one {SOURCE} and one {DESTINATION} stanza."),
    value("start", "Accepted for Vault's sake: a copy that was broken off goes on by itself."),
    switch("reset", "Accepted for Vault's sake: no lock is left behind by a copy."),
    value("max-parallel", "Accepted for Vault's sake.", kind=int),
    form=False,
    http=False,
)
def migrate(session: Session, config: str | None, **_: Any) -> int:
    """Copy one store into another. What is copied stays encrypted; a copy that was broken off goes on."""
    if not config:
        raise Misused("no configuration is given", "name it with -config")
    source, destination = read_stanzas(config)
    report = copy(source, destination, Progress("keys"))
    if report.resumed:
        terminal.note("An earlier copy that was broken off was gone on with.")
    terminal.note(f"{report.copied} entries copied, {report.compared} compared.")
    terminal.say("Success! All of the keys have been migrated.")
    return 0


def copy(source: dict[str, Any], destination: dict[str, Any], progress: Progress) -> "CopyReport":
    """Open both stores, copy and close them. Raises ``BadRequest`` or ``StorageFailed``."""
    from strongroom.storage import migrate as migration
    from strongroom.storage.completion import drive
    from strongroom.vault.assemble import open_backend

    origin = open_backend(source)
    try:
        target = open_backend(destination)
        try:
            return drive(migration.copy(origin, target, progress=progress))
        finally:
            progress.done()
            drive(target.close())
    finally:
        drive(origin.close())


def read_stanzas(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The source and the destination named in a file, each as ``{kind: options}``. Raises ``BadRequest``."""
    from strongroom.server.config_read import read_files

    root = read_files([path])
    found: list[dict[str, Any]] = []
    for name in (SOURCE, DESTINATION):
        blocks = [block for outer in root.blocks(name) for block in outer.split(1)]
        if len(blocks) != 1:
            raise BadRequest(f'{path}: needs one {name} stanza, as {name} "lmdb" {{ path = "..." }}')
        found.append({blocks[0].labels[0]: blocks[0].place(name).scalars()})
    if _path(found[0]) == _path(found[1]):
        raise BadRequest(f"{path}: source and destination are the same store")
    if not os.path.exists(_path(found[0])):
        raise BadRequest(f"{path}: there is no store at the source's path")
    return found[0], found[1]


def _path(store: Mapping[str, Any]) -> str:
    ((kind, options),) = store.items()
    if not options.get("path"):
        raise BadRequest(f"the {kind} store needs a path")
    return os.path.realpath(str(options["path"]))
