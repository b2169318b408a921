"""An initialised vault with a known first entry, for the tests of seal, rekey and generate-root."""

from collections.abc import Sequence

from strongroom.core.barrier import Barrier
from strongroom.core.first_entries import FirstEntries
from strongroom.core.seal import InitResult, SealConfig, SealKeeper
from strongroom.errors import VaultError
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore

FIRST = "ns/root/policy/default"
VALUE = b"value-canary"
WRONG = (
    "unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: "
    "cipher: message authentication failed"
)


def now() -> float:
    return 1_000_000.0


async def seed(first: FirstEntries) -> None:
    await first.commit([Write(FIRST, VALUE)])


async def initialised(store: MemoryStore, shares: int = 3, threshold: int = 2) -> InitResult:
    return await SealKeeper(store, now=now).initialize(SealConfig(shares, threshold), seed)


async def unseal(keeper: SealKeeper, shares: Sequence[str]) -> Barrier:
    for share in shares:
        status = await keeper.submit(share)
    assert not status.sealed
    return await keeper.open_barrier(keeper.take_keyring_key())


async def opens(store: MemoryStore, shares: Sequence[str]) -> bool:
    """Whether ``shares`` unseal ``store`` and the first entry is there."""
    keeper = SealKeeper(store, now=now)
    try:
        barrier = await unseal(keeper, shares)
    except (VaultError, AssertionError):
        return False
    entry = await barrier.get(FIRST)
    barrier.wipe()
    return entry is not None and entry.value == VALUE
