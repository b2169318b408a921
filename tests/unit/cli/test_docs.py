"""docs/cli.md names every command, every shared flag and every variable."""

import re
from pathlib import Path

import click

from strongroom.cli.command import Command, Group
from strongroom.cli.root import ROOT

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def test_every_command_is_documented() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    words = {word for row in rows for word in re.findall(r"`([a-z- ]+)`", row.split("|")[1])}
    documented = {part for word in words for part in word.split()}

    def names(group: Group) -> set[str]:
        found = set(group.table)
        for name in group.table:
            command = group.get_command(click.Context(group), name)
            found |= names(command) if isinstance(command, Group) else set()
        return found

    assert names(ROOT) <= documented
    assert documented <= names(ROOT)


def test_every_shared_flag_is_documented() -> None:
    from strongroom.cli.data import read

    assert isinstance(read, Command)
    for name in read.shared:
        assert f"`-{name.replace('_', '-')}" in TEXT, name


def test_every_variable_is_documented() -> None:
    sources = Path(__file__).parents[3] / "src" / "strongroom"
    used: set[str] = set()
    for file in [*sources.glob("cli/*.py"), *sources.glob("client/*.py")]:
        used |= set(re.findall(r'variable(?:_name)?\(\w+(?:\.\w+)?, "([A-Z_]+)"\)', file.read_text()))
    server_only = {name for name in used if name.startswith("DEV_")} | {"LOG_LEVEL", "LOCAL_CONFIG"}
    assert len(used) > 15
    for name in used - server_only:
        assert f"`{name}`" in TEXT, name
