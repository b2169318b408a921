"""The benchmarks run: a smoke of those that need neither a load generator nor a server, and their table."""

import importlib

import pytest
from benchmarks.figures import Figure, Options, skipped, table, turns

SMALL = Options(small=True, rounds=2)


@pytest.mark.parametrize("name", ["embedded_read", "audit_cost", "floor", "where_time_goes", "kubevault"])
def test_a_benchmark_gives_figures(name: str):
    figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run(SMALL)
    assert figures
    assert all(figure.ours and not figure.ours.startswith("skipped") for figure in figures)


@pytest.mark.parametrize("name", ["http_read", "http_write", "memory"])
def test_without_the_load_generator_the_line_says_how_to_install_it(name: str):
    (figure,) = importlib.import_module(f"benchmarks.{name}").run(SMALL)
    assert figure.ours == "skipped"
    assert "apt-get install wrk" in figure.note


def test_the_sides_take_turns_and_the_median_counts():
    order: list[str] = []

    def side(name: str, values: list[float]):
        return lambda: order.append(name) or values.pop()

    assert turns(3, side("a", [1.0, 9.0, 2.0]), side("b", [5.0, 5.0, 7.0])) == [2.0, 5.0]
    assert order == ["a", "b"] * 3


def test_the_table_tells_a_missed_goal_and_its_reason():
    text = table(
        [
            Figure(what="x", ours="1", beside="2", ratio=0.5, goal="at least 1", met=False, note="because"),
            skipped("y", "not there"),
        ]
    )
    assert "| x | 1 | 2 | 0.50 | at least 1 | **missed** |" in text
    assert "* x: because" in text
    assert "| y | skipped |" in text
