"""Windows of rate limits, with a clock that is set by hand."""

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.core.rate_windows import Limit, ProcessWindows, Taken, Window, after_request


def test_a_window_lets_its_number_through_and_then_another_begins() -> None:
    windows = ProcessWindows()
    limit = Limit.of(2, 10)
    assert windows.take("a", 100.0, limit) == Taken(True, 1, 10.0)
    assert windows.take("a", 104.0, limit) == Taken(True, 0, 6.0)
    assert windows.take("a", 109.5, limit) == Taken(False, 0, 0.5)
    assert windows.take("b", 109.5, limit).allowed
    assert windows.take("a", 110.0, limit) == Taken(True, 1, 10.0)


def test_who_goes_over_the_limit_is_blocked_and_trying_does_not_prolong_it() -> None:
    windows = ProcessWindows()
    limit = Limit.of(1, 1, 60)
    assert windows.take("a", 0.0, limit).allowed
    assert windows.take("a", 0.5, limit) == Taken(False, 0, 60.0)
    assert windows.take("a", 30.5, limit) == Taken(False, 0, 30.0)
    assert windows.take("a", 60.5, limit).allowed


def test_a_fraction_of_a_request_changes_the_length_of_the_window() -> None:
    assert Limit.of(0.5, 1) == Limit(1, 2.0)
    assert Limit.of(2.5, 1) == Limit(2, 0.8)
    assert Limit.of(3, 7) == Limit(3, 7.0)


def test_a_clock_that_is_put_back_locks_nobody_out() -> None:
    windows = ProcessWindows()
    limit = Limit.of(1, 10, 20)
    assert windows.take("a", 1000.0, limit).allowed and not windows.take("a", 1001.0, limit).allowed
    assert windows.take("a", 10.0, limit).allowed


def test_memory_is_bounded_whatever_the_number_of_groups() -> None:
    windows = ProcessWindows(100)
    limit = Limit.of(1, 3600)
    for n in range(1000):
        windows.take(f"address-{n}", 1.0, limit)
        windows.take("often", 1.0, limit)
    assert len(windows) == 100
    assert not windows.take("often", 1.0, limit).allowed, "who asks all the time is not forgotten"
    assert windows.take("address-0", 1.0, limit).allowed


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
    st.integers(1, 5),
    st.floats(0.1, 10),
    st.sampled_from([0.0, 3.0]),
)
@example([1.0, 5.0, 5.0, 4.085720029173592, 4.787388307585982, 0.0], 1, 4.954838297294053, 0.0)  # end - seconds > begin
def test_no_window_lets_more_than_its_number_through(
    steps: list[float], number: int, seconds: float, block: float
) -> None:
    limit, window, now = Limit(number, seconds, block), None, 1000.0
    passed: list[float] = []
    for step in steps:
        now += step
        window, taken = after_request(window, now, limit)
        assert (
            isinstance(window, Window)
            and 0 <= taken.remaining < number
            and 0 < taken.reset < max(seconds, block) + 1e-6
        )
        if taken.allowed:
            passed.append(now)
        begun = window.end - seconds
        assert sum(begun - 1e-6 < at for at in passed) <= number
        again = now + taken.reset + 1e-6
        assert after_request(window, again, limit)[1].allowed, "after what it is told to wait, it gets through"
