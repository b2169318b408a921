"""Tallies of leases that all workers share."""

from strongroom.core.lease_tallies import Room, Tally
from strongroom.server.board import Board
from strongroom.server.tallies import EXTRA, WAYS, SharedTallies
from unit.storage import processes


def test_shared_tallies_follow_the_rule() -> None:
    board = Board.make(1, EXTRA)
    one, other = SharedTallies(board, b"s" * 16), SharedTallies(board, b"s" * 16)
    assert one.take("q", 2, 1.0) is Room.UNKNOWN and one.get("q").leases == -1
    begun = one.get("q")
    other.add("q", 1.5)
    one.settle("q", 0, begun, 2.0)
    assert other.get("q") == Tally(1, 1, 1, 1, 1.5) and other.take("q", 2, 2.5) is Room.FREE
    assert one.take("q", 2, 3.0) is Room.FULL and one.take("p", 2, 3.0) is Room.UNKNOWN
    other.end("q", made=False)
    assert one.take("q", 2, 4.0) is Room.FREE
    one.end("q", made=True)
    assert other.get("q") == Tally(2, 3, 1, 1, 4.0)
    other.settle("empty", 0, other.get("empty"), 1.0)
    assert one.get("empty").leases == 0, "none is not the same as not known"


def test_a_quota_that_finds_no_slot_takes_another_s_which_is_counted_anew() -> None:
    tallies = SharedTallies(Board.make(1, EXTRA), b"s" * 16)
    names = [f"{n:016d}".encode() for n in range(WAYS)]
    for n, name in enumerate(names):
        assert tallies._find(name, 0) == n
        tallies._memory[n * 56 : n * 56 + 16] = name
    assert tallies._find(names[3], 0) == 3 and tallies._find(b"x" * 16, 0) == ord("x") % WAYS


_TAKE = """
import sys
from strongroom.core.lease_tallies import Room
from strongroom.server.board import Board
from strongroom.server.tallies import EXTRA, SharedTallies
tallies = SharedTallies(Board(int(sys.argv[1]), 1, EXTRA), b"s" * 16)
print("ready", flush=True)
sys.stdin.readline()
taken = sum(tallies.take("q", 5000, 1.0) is Room.FREE for _ in range(3000))
assert taken > 0
for _ in range(taken):
    tallies.add("taken", 1.0)
"""


def test_processes_together_take_no_more_than_there_is() -> None:
    board = Board.make(1, EXTRA)
    tallies = SharedTallies(board, b"s" * 16)
    tallies.settle("q", 0, Tally(), 1.0)
    tallies.settle("taken", 0, Tally(), 1.0)
    processes.together([processes.start(_TAKE, str(board.fd), held=[board.fd]) for _ in range(3)])
    assert tallies.get("q").leases == tallies.get("taken").leases == 5000
