"""One versioned secret as it is stored, and the arithmetic of its versions. Nothing here waits or touches a store.

Layout: docs/formats/kv.md. Times are nanoseconds since the Unix epoch, UTC; 0 means "not set".
"""

import os
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from strongroom.errors import IntegrityError

LAYOUT = 2  # of secrets written now; 1 is one without ``near``
CONFIG_LAYOUT = 1
NEAR = 1024  # bytes of older versions' data that may stay with the secret, so that a write touches one entry
DEFAULT_VERSIONS = 10  # kept when neither the key nor the mount says how many
NO_DATA = msgspec.Raw(b"null")
NO_VERSIONS = msgspec.Raw(b"[]")
NONE_NEAR = msgspec.Raw(b"{}")


class Version(msgspec.Struct, array_like=True):
    """What is known of one version besides its data."""

    created: int
    deleted: int = 0  # deleted from this moment on, which may lie ahead
    destroyed: bool = False

    def readable(self, now: int) -> bool:
        return not self.destroyed and (not self.deleted or self.deleted > now)


class Config(msgspec.Struct, array_like=True):
    """What holds for every key of a mount."""

    layout: int = CONFIG_LAYOUT
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: int = 0  # seconds; negative: never, whatever a key says
    metadata_cas_required: bool = False


class Secret(msgspec.Struct, array_like=True):
    """A secret, without large data of older versions. Fields are positions: add at the end, with a default."""

    layout: int
    id: str  # of this life of the path: a path deleted and written again gets another, and its data other keys
    current: int = 0  # number of the newest version
    oldest: int = 0  # as Vault counts: 0 until versions were dropped, then the lowest kept number
    created: int = 0
    updated: int = 0
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: int = 0  # seconds
    custom: dict[str, str] | None = None
    metadata_version: int = 0  # counts writes of the metadata
    metadata_cas_required: bool = False
    newest: Version | None = None
    older: msgspec.Raw = NO_VERSIONS  # list[Version], numbers rising, ending at current - 1; seldom looked at
    data: msgspec.Raw = NO_DATA  # of the newest version
    near: msgspec.Raw = NONE_NEAR  # dict[int, data]: the older versions whose data is not under a key of its own

    def __repr__(self) -> str:
        return f"Secret(current={self.current})"

    def older_versions(self) -> list[Version]:
        versions: list[Version] = _read(_versions, self.older)
        return versions

    def near_data(self) -> dict[int, msgspec.Raw]:
        """The data that is kept here, by the number of its version."""
        near: dict[int, msgspec.Raw] = _read(_near, self.near)
        return near

    def apart(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Those of ``numbers`` whose data is not kept here."""
        return _taken_out(self.near_data(), numbers)

    def version(self, number: int) -> Version | None:
        """The version of that number, or None if there never was one or it was dropped."""
        if number == self.current:
            return self.newest
        at = number - self.current
        if number < 1 or at > 0:
            return None
        older = self.older_versions()
        return older[at] if -at <= len(older) else None

    def versions(self) -> dict[int, Version]:
        """All versions by number, rising."""
        if self.newest is None:
            return {}
        older = self.older_versions()
        first = self.current - len(older)
        return dict(enumerate([*older, self.newest], first))

    def mark(self, numbers: Iterable[int], change: Callable[[Version], None]) -> list[int]:
        """``change`` every existing version of ``numbers``; returns those that exist, rising."""
        versions = self.versions()
        found = sorted({number for number in numbers if number in versions})
        for number in found:
            change(versions[number])
        if found and found[0] < self.current:
            del versions[self.current]
            self.older = msgspec.Raw(msgspec.json.encode(list(versions.values())))
        return found


class Edit(msgspec.Struct, frozen=True):
    """What one change of a secret writes."""

    secret: Secret | None  # None removes the key
    archive: tuple[int, bytes] | None = None  # number and data of an older version that gets a key of its own
    dead: tuple[int, ...] = ()  # numbers of versions whose keys must go
    grows: bool = False  # it brings what a caller sent, so it has to leave room for what comes after


def new_secret(now: int) -> Secret:
    return Secret(LAYOUT, os.urandom(12).hex(), created=now, updated=now)


def add_version(secret: Secret, data: bytes, *, now: int, config: Config) -> Edit:
    """Make ``data`` the newest version and drop what is over the number to keep.

    The number to keep is the greater of key's and mount's, 10 if neither is set, as Vault has it.
    """
    older, near, archive = secret.older_versions(), secret.near_data(), None
    if secret.newest is not None:
        older.append(secret.newest)
        if not secret.newest.destroyed:
            archive = (secret.current, bytes(secret.data))
    secret.layout = LAYOUT
    secret.current += 1
    secret.newest = Version(now, deletion_time(now, config, secret))
    secret.data = msgspec.Raw(data)
    secret.updated = now
    dead: tuple[int, ...] = ()
    keep = max(secret.max_versions, config.max_versions) or DEFAULT_VERSIONS
    if secret.current - secret.oldest >= keep:
        first, last = secret.current - len(older), secret.current - keep
        cut = max(0, last + 1 - first)
        gone = [number for number, version in enumerate(older[:cut], first) if not version.destroyed]
        dead = _taken_out(near, gone)
        older = older[cut:]
        secret.oldest = last + 1
        if archive and archive[0] <= last:
            archive = None
    if archive and sum(map(len, near.values())) + len(archive[1]) <= NEAR:
        near[archive[0]], archive = msgspec.Raw(archive[1]), None
    secret.near = msgspec.Raw(msgspec.json.encode(near))
    secret.older = msgspec.Raw(msgspec.json.encode(older))
    return Edit(secret, archive, dead, grows=True)


def destroy_versions(secret: Secret, numbers: Iterable[int]) -> Edit | None:
    """Mark versions as destroyed; their data is dead for ever. None if none of them exists."""

    def destroy(version: Version) -> None:
        version.destroyed = True

    found = secret.mark(numbers, destroy)
    if not found:
        return None
    if secret.current in found:
        secret.data = NO_DATA
    near = secret.near_data()
    dead = _taken_out(near, found)
    secret.near = msgspec.Raw(msgspec.json.encode(near))
    return Edit(secret, dead=dead)


def _taken_out(near: dict[int, msgspec.Raw], numbers: Iterable[int]) -> tuple[int, ...]:
    """Take the data of ``numbers`` out of ``near``; those that were not in it have keys of their own."""
    return tuple(number for number in numbers if near.pop(number, None) is None)


def deletion_time(now: int, config: Config, secret: Secret) -> int:
    """When a version made ``now`` counts as deleted: after the smaller of mount's and key's setting; 0 = never."""
    if config.delete_version_after < 0:
        return 0
    after = min(filter(None, (config.delete_version_after, secret.delete_version_after)), default=0)
    return now + after * 1_000_000_000 if after else 0


_versions = msgspec.json.Decoder(list[Version])
_near = msgspec.json.Decoder(dict[int, msgspec.Raw])
_secret = msgspec.json.Decoder(Secret)
_config = msgspec.json.Decoder(Config)


def decode_secret(text: bytes) -> Secret:
    """Raises IntegrityError: not a secret of this layout."""
    secret: Secret = _read(_secret, text)
    if not 1 <= secret.layout <= LAYOUT:
        raise IntegrityError("a stored secret has an unknown layout")
    return secret


def decode_config(text: bytes) -> Config:
    """Raises IntegrityError: not a configuration of this layout."""
    config: Config = _read(_config, text)
    if config.layout != CONFIG_LAYOUT:
        raise IntegrityError("a stored kv configuration has an unknown layout")
    return config


def _read(decoder: Any, text: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise IntegrityError("a stored secret cannot be read") from error


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339(nanoseconds: int) -> str:
    """As Go prints a time (RFC3339Nano): UTC with ``Z``, no trailing zeros in the fraction; "" for 0."""
    if not nanoseconds:
        return ""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    if fraction % 10:  # as nearly always
        return f"{_to_the_second(seconds)}.{fraction:09d}Z"
    return f"{_to_the_second(seconds)}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"
