"""The commands ``kv get``, ``put``, ``patch``, ``delete``, ``list`` and the group they belong to."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, value
from strongroom.cli.data import show_list
from strongroom.cli.hints import Failed, Misused, NothingThere
from strongroom.cli.kv_mount import MOUNT, Place, find
from strongroom.cli.session import Session
from strongroom.cli.words import parse_data
from strongroom.client import calls
from strongroom.client.messages import Answer, Refused
from strongroom.errors import BadRequest

KV = Group(
    "kv",
    {
        "get": "kv:get",
        "put": "kv:put",
        "patch": "kv:patch",
        "delete": "kv:delete",
        "list": "kv:list_keys",
        "undelete": "kv_versions:undelete",
        "destroy": "kv_versions:destroy",
        "rollback": "kv_versions:rollback",
        "enable-versioning": "kv_versions:enable_versioning",
        "metadata": "kv_metadata:METADATA",
    },
    "Work with the key-value store, both versions of it.",
)

CAS = value("cas", "Write only if this is the current version; 0 means that the key must not exist.", kind=int)


@command("get", value("version", "Version to get.", kind=int), MOUNT, argument("key"), field=True)
def get(session: Session, key: str, mount: str | None, version: int | None) -> int:
    """Get the value at KEY."""
    place = find(session, key, mount)
    path = place.path("data")
    query = {"version": str(version)} if version is not None and place.versioned else {}
    answer = session.read(calls.read(path, query))
    if answer is None:
        hint = f"leave {'data/'!r} out of the key" if place.versioned and place.key.startswith("data/") else ""
        raise NothingThere(f"no value found at {path}", hint)
    if not place.versioned or (answer.body or {}).get("wrap_info"):
        return session.show_answer(answer) if session.field or session.form != "table" else _show_plain(answer)
    if session.field:
        inner = answer.data.get("data")
        if not isinstance(inner, dict):
            raise Failed(f"no data found at {path}", "this version is deleted; kv undelete may bring it back")
        # "data" is the whole of it, unless there is a field of that name.
        return session.show_field(inner.get("data", inner) if session.field == "data" else inner.get(session.field))
    if session.form != "table":
        return session.show_answer(answer)
    terminal.warn(answer.warnings)
    terminal.say(output.path_block("Secret Path", path))
    show_parts(answer.data)
    return 0


def show_parts(data: dict[str, Any]) -> None:
    """Print the metadata and the data of a version 2 answer under their titles."""
    metadata, inner = data.get("metadata"), data.get("data")
    if isinstance(metadata, dict):
        terminal.say(f"{output.data_title('Metadata', metadata)}\n{output.data_table(metadata)}\n")
    if isinstance(inner, dict):
        terminal.say(f"{output.data_title('Data', inner)}\n{output.data_table(inner)}")


def _show_plain(answer: Answer) -> int:
    """Print a version 1 answer under its title."""
    body = answer.body or {}
    terminal.warn(answer.warnings)
    if body.get("wrap_info"):
        terminal.say(output.secret_table(body))
    else:
        terminal.say(f"{output.data_title('Data', answer.data)}\n{output.data_table(answer.data)}")
    return 0


@command("put", CAS, MOUNT, argument("key"), argument("data", "K=V", count=-1, required=False), field=True)
def put(session: Session, key: str, data: tuple[str, ...], mount: str | None, cas: int | None) -> int:
    """Write K=V, K=@FILE, K=-, @FILE or - to KEY, in place of what is there."""
    fields = _fields(session, data)
    place = find(session, key, mount)
    path = place.path("data")
    body = {"data": fields, "options": {} if cas is None else {"cas": cas}} if place.versioned else fields
    return show_write(session, session.call(calls.write(path, body)), path)


@command(
    "patch",
    CAS,
    value("method", "patch (the server merges) or rw (read, then write)."),
    value("remove-data", "Name of a field to take out; may be repeated.", many=True),
    MOUNT,
    argument("key"),
    argument("data", "K=V", count=-1, required=False),
    field=True,
)
def patch(session: Session, key: str, data: tuple[str, ...], mount: str | None, cas: int | None, **flags: Any) -> int:
    """Merge K=V words into the value at KEY; the other fields stay."""
    method, removed = flags["method"], flags["remove_data"]
    if method not in (None, "patch", "rw"):
        raise Misused("-method must be patch or rw")
    fields = {} if removed and not data else _fields(session, data)
    fields.update(dict.fromkeys(removed))
    place = find(session, key, mount)
    if not place.versioned:
        raise Failed("this mount has no versions; use kv put", "kv enable-versioning turns them on")
    path = place.path("data")
    if method != "rw":
        body = {"data": fields, "options": {} if cas is None else {"cas": cas}}
        try:
            return show_write(session, session.call(calls.patch(path, body)), path)
        except Refused as refusal:
            if refusal.code == 404:
                raise NothingThere(f"no value found at {path}") from refusal
            if method == "patch" or refusal.code not in (403, 405):
                raise
    return show_write(session, _read_and_write(session, place, fields, cas), path)


def _read_and_write(session: Session, place: Place, fields: dict[str, Any], cas: int | None) -> Answer:
    """Merge on this side; the write holds only if the version read is still the current one."""
    path = place.path("data")
    found = session.read(calls.read(path), aside=True)
    old = found.data.get("data") if found else None
    if not found or not isinstance(old, dict):
        raise NothingThere(f"no value found at {path}")
    current = cas if cas is not None else (found.data.get("metadata") or {}).get("version")
    merged = {name: item for name, item in {**old, **fields}.items() if item is not None or name not in fields}
    return session.call(calls.write(path, {"data": merged, "options": {"cas": current}}))


@command(
    "delete",
    value("versions", "Versions to delete, as 1,2; may be repeated.", many=True),
    MOUNT,
    argument("key"),
    field=True,
)
def delete(session: Session, key: str, mount: str | None, versions: tuple[str, ...]) -> int:
    """Delete the value at KEY: its newest version, or those named. kv undelete brings them back."""
    place = find(session, key, mount)
    if versions and not place.versioned:
        raise Failed("this mount has no versions", "leave -versions out", code=1)
    path = place.path("data")
    call = calls.delete(path)
    if versions:
        call = calls.kv_versions(place.path("delete"), parse_versions(versions))
    return session.show_written(session.call(call), f"Success! Data deleted (if it existed) at: {path}")


@command("list", MOUNT, argument("key", required=False))
def list_keys(session: Session, key: str | None, mount: str | None) -> int:
    """List the keys below KEY."""
    if not key and not mount:
        raise Misused("a path is missing", "strongroom kv list secret/, or kv list -mount=secret")
    return show_list(session, find(session, key or "", mount).path("metadata") + "/")


def show_write(session: Session, answer: Answer, path: str) -> int:
    """Show what a write answered: the metadata of the new version, or that it is done."""
    body = answer.body or {}
    if session.field or session.form != "table" or not answer.data or body.get("wrap_info"):
        return session.show_written(answer, f"Success! Data written to: {path}")
    terminal.warn(answer.warnings)
    terminal.say(output.path_block("Secret Path", path))
    terminal.say(f"{output.data_title('Metadata', answer.data)}\n{output.data_table(answer.data)}")
    return 0


def parse_versions(words: tuple[str, ...]) -> list[int]:
    """Version numbers from ``1,2`` words. Raises ``BadRequest``."""
    numbers = [number.strip() for word in words for number in word.split(",") if number.strip()]
    if not numbers or not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        raise BadRequest("-versions must be numbers, as 1,2")
    return [int(number) for number in numbers]


def _fields(session: Session, data: tuple[str, ...]) -> dict[str, Any]:
    if not data:
        raise Misused("no data is given", "give K=V words, @file or -")
    return parse_data(data, session.stdin)
