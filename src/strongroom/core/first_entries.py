"""The store that init's first entries are written to, before there is a barrier.

They stay in memory, in clear, until ``SealKeeper.initialize`` seals them all into its one commit.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from strongroom.core.keyring import Term
from strongroom.core.layout import CLEAR, RESERVED
from strongroom.crypto import aead
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.storage import MAX_COMMIT_WRITES, Entry, Pairs, Write

MAX_ENTRIES = MAX_COMMIT_WRITES - 5  # the seal writes five of its own


class FirstEntries:
    """Looks like a Barrier over an empty store."""

    kind = "memory"

    __slots__ = ("_clear", "_entries", "_revision")

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._clear: dict[str, bytes | None] = {}
        self._revision = 0

    def __repr__(self) -> str:
        return f"FirstEntries({len(self._entries)})"

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def get_sealed(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def open(self, key: str, entry: Entry) -> bytes:
        return entry.value

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        return [self._entries.get(key) for key in keys]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        names = set()
        for key in self._entries:
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names.add(name + slash)
        return sorted((name for name in names if name > after), key=str.encode)[:limit]

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        found = [(key[len(prefix) :], entry) for key, entry in self._entries.items() if key.startswith(prefix)]
        found.sort(key=lambda pair: pair[0].encode())
        return [pair for pair in found if pair[0] > after and (not until or pair[0] < until)][:limit]

    async def commit(
        self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}, clear: Sequence[Write] = ()
    ) -> None:
        """As ``Barrier.commit``."""
        for key, revision in expect.items():
            held = self._entries.get(key)
            if (held.revision if held else 0) != revision:
                raise Conflict("a first entry was written twice")
        if any(write.key in RESERVED or write.key in CLEAR for write in writes):
            raise BadRequest("this key belongs to the seal")
        if any(write.key not in CLEAR for write in clear):
            raise BadRequest("this key cannot be written in clear")
        self._revision += 1
        for write in writes:
            if write.value is None:
                self._entries.pop(write.key, None)
            else:
                self._entries[write.key] = Entry(write.value, self._revision)
        self._clear.update((write.key, write.value) for write in clear)

    async def watch(self, prefix: str) -> AsyncIterator[str]:
        for key in [key for key in self._entries if key.startswith(prefix)]:
            yield key

    def stamp(self) -> int | None:
        return self._revision

    async def close(self) -> None:
        """Nothing is held open."""

    def sealed(self, term: Term, rng: aead.Rng, max_entry: int) -> Sequence[Write]:
        """All entries sealed under ``term``, for the one commit. Raises BadRequest if they do not fit."""
        if len(self._entries) + len(self._clear) > MAX_ENTRIES:
            raise BadRequest(f"more than {MAX_ENTRIES} first entries do not fit one commit")
        if any(len(entry.value) > max_entry for entry in self._entries.values()):
            raise BadRequest(f"a first entry is over the limit of {max_entry} bytes")
        cipher, head = aead.cipher_of(term.key), aead.header(term.number)
        out = [Write(key, aead.seal(cipher, head, key, entry.value, rng=rng)) for key, entry in self._entries.items()]
        return out + [Write(key, value) for key, value in self._clear.items()]
