"""Windows that all workers share."""

from strongroom.core.rate_windows import Limit, Taken
from strongroom.server.board import Board
from strongroom.server.windows import SHARED, SLOT, WAYS, SharedWindows, _worth
from unit.storage import processes


def test_shared_windows_follow_the_rule() -> None:
    board = Board.make(1, SHARED)
    one, other = SharedWindows(board, b"s" * 16), SharedWindows(board, b"s" * 16)
    limit = Limit.of(2, 10, 30)
    assert one.take("a", 100.0, limit) == Taken(True, 1, 10.0)
    assert other.take("a", 101.0, limit) == Taken(True, 0, 9.0)
    assert one.take("a", 102.0, limit) == other.take("a", 102.0, limit) == Taken(False, 0, 30.0)
    assert one.take("b", 102.0, limit).allowed and one.take("a", 132.0, limit).allowed


def test_a_full_bucket_gives_up_what_is_over_first_and_who_is_blocked_last() -> None:
    board = Board.make(1, SHARED)
    windows = SharedWindows(board, b"s" * 16)
    names = iter(f"{n:016d}".encode() for n in range(1000))
    windows._take(next(names), 0, 0.0, Limit(1, 5.0))  # over when the others come
    blocked = next(names)
    for _ in range(2):
        windows._take(blocked, 0, 10.0, Limit(1, 100.0, 100.0))
    busy = next(names)
    for _ in range(3):
        windows._take(busy, 0, 10.0, Limit(9, 100.0))
    for _ in range(10 * WAYS):
        windows._take(next(names), 0, 10.0, Limit(9, 100.0))
    kept = {bytes(windows._memory[at : at + 16]) for at in range(0, WAYS * SLOT, SLOT)}
    assert blocked in kept and busy in kept and len(kept) == WAYS and b"0" * 16 not in kept
    assert not any(windows._memory[WAYS * SLOT : 4 * WAYS * SLOT]), "and no other bucket was touched"


def test_what_a_slot_is_worth() -> None:
    key = b"k" * 16
    assert _worth(bytes(16), 0.0, 0.0, 0, 1.0) == _worth(key, 1.0, 0.0, 9, 1.0) == (0.0, 0.0)
    assert _worth(key, 2.0, 0.0, 3, 1.0) < _worth(key, 2.0, 0.0, 4, 1.0) < _worth(key, 0.0, 2.0, 1, 1.0)


_TAKE = """
import sys
from strongroom.core.rate_windows import Limit
from strongroom.server.board import Board
from strongroom.server.windows import SHARED, SharedWindows
windows = SharedWindows(Board(int(sys.argv[1]), 1, SHARED), b"s" * 16)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3000):
    windows.take("x", 1.0, Limit(10**6, 60.0))
"""


def test_processes_count_together() -> None:
    board = Board.make(1, SHARED)
    processes.together([processes.start(_TAKE, str(board.fd), held=[board.fd]) for _ in range(3)])
    taken = SharedWindows(board, b"s" * 16).take("x", 1.0, Limit(10**6, 60.0))
    assert taken.remaining == 10**6 - 9001
