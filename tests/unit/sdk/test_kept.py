"""A memo that does not make room for everything."""

from strongroom.sdk.kept import PATIENCE, Kept


def test_what_is_in_it_stays_while_others_pass_by() -> None:
    kept: Kept[int, str] = Kept(3)
    for number in range(3):
        kept.put(number, "hot")
    for number in range(100, 100 + PATIENCE * 3 - 1):
        kept.put(number, "cold")
    assert set(kept) == {0, 1, 2}
    kept.put(1, "changed")
    assert kept[1] == "changed" and len(kept) == 3


def test_after_a_while_it_makes_room() -> None:
    kept: Kept[int, int] = Kept(3)
    for number in range(3 + PATIENCE * 3):
        kept.put(number, number)
    assert set(kept) == {3 + PATIENCE * 3 - 1}
    kept.put(7, 7)
    assert 7 in kept and len(kept) == 2


def test_it_never_holds_more_than_it_may() -> None:
    kept: Kept[int, int] = Kept(5)
    for number in range(1000):
        kept.put(number % 37, number)
        assert len(kept) <= 5


def test_room_tells_what_put_would_do() -> None:
    kept: Kept[int, int] = Kept(2)
    assert kept.room()
    kept.put(0, 0)
    kept.put(0, 1)
    assert kept.room(), "one that was replaced takes no more room"
    kept.put(1, 1)
    assert [kept.room() for _ in range(2 * PATIENCE)] == [False] * (2 * PATIENCE - 1) + [True]
    kept.put(7, 7)
    assert set(kept) == {7}
    kept.clear()
    for number in range(5):
        kept.put(number, number)
    assert set(kept) == {0, 1}, "an emptied memo has all its room again"
