"""The script that tries the notebooks with other seeds, threads and kernels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "benchmarks"))

import edges

from plan import COURSE, PLAN


def test_every_seed_that_stands_as_a_number_is_moved() -> None:
    source = 'course_utils.setup("01_background")\nset_random_seed(3); default_rng(0); f(x, seed=7)'
    moved = 'course_utils.setup("01_background", seed=10)\n'
    moved += "set_random_seed(13); default_rng(10); f(x, seed=17)"
    assert edges.with_seeds(source, 10) == moved
    kept = "default_rng(seed); f(seed=seed, reseed=1)\nk.set_random_seed(i)"
    assert edges.with_seeds(kept, 10) == kept


@pytest.mark.parametrize(
    ("value", "wanted"), [(5, 0.5), (1, 0.1), (9.5, 0.05), (-1, -0.1), (11, -0.1)]
)
def test_nearness_is_a_share_of_the_width(value: float, wanted: float) -> None:
    assert edges.nearness(value, 0, 10) == pytest.approx(wanted)


def test_an_edge_where_a_value_ends_by_nature_counts_only_when_crossed() -> None:
    assert edges.nearness(1e-9, 0, 10, {0}) == pytest.approx(1)
    assert edges.nearness(-1, 0, 10, {0}) == pytest.approx(-0.1)
    assert edges.nearness(9.5, 0, 10, {0}) == pytest.approx(0.05)
    assert edges.nearness(1, 0, 1, {0, 1}) == float("inf")
    assert edges.natural_ends("accuracy_gain", "") == set()
    assert edges.natural_ends("loss", "nats") == {0} and edges.natural_ends("purity", "") == {0, 1}


def test_edges_a_factor_of_ten_apart_are_compared_by_logarithms() -> None:
    assert edges.nearness(1, 0.1, 10) == pytest.approx(0.5)
    assert edges.nearness(1.2, 1, 9) == pytest.approx(0.025)


def test_an_exact_value_is_met_or_missed() -> None:
    assert edges.nearness(6, 6, 6) > 0 > edges.nearness(6.01, 6, 6)


def test_values_near_an_edge_outside_or_missing_are_named() -> None:
    name = "00_start_here"
    checks = COURSE.results(name)["checks"]
    middle = {key: (entry["low"] + entry["high"]) / 2 for key, entry in checks.items()}
    assert edges.lines(name, {"as it is": middle}) == []
    low, high = (checks["chords_of_bach"][edge] for edge in ("low", "high"))
    for value, word in (
        (high + 1, "OUTSIDE"),
        (low + 0.05 * (high - low), "near the edge"),
        (float("nan"), "OUTSIDE"),
    ):
        (line,) = edges.lines(name, {"other": middle | {"chords_of_bach": value}})
        assert f"chords_of_bach: {word}" in line and "other" in line
    del middle["chords_of_bach"]
    assert edges.lines(name, {"other": middle}) == [f"{name} chords_of_bach: not reached in other"]


def test_every_notebook_has_seeds_to_move() -> None:
    sources = {lesson.name: COURSE.source(lesson.name).read_text("utf-8") for lesson in PLAN}
    assert all(edges.with_seeds(source, 1) != source for source in sources.values())


def test_checks_that_no_breakage_moves_are_named() -> None:
    name = "00_start_here"
    checks = COURSE.results(name)["checks"]
    middle = {key: (entry["low"] + entry["high"]) / 2 for key, entry in checks.items()}
    moved = middle | {"chords_of_bach": 0.0}
    assert edges.unmoved(name, {"a": middle, "b": middle}) == list(checks)
    assert edges.unmoved(name, {"a": middle, "b": moved}) == [*checks][:2] + [*checks][3:]
    del moved["copied_characters"]  # not reached: noticed
    assert edges.unmoved(name, {"a": moved}) == ["digits_read_as_wanted", "distinct_characters"]
