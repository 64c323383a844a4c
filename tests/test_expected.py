"""Intervals: what passes, what stops the notebook, and what the message says."""

from __future__ import annotations

import pytest

from course_utils import expected, runtime

TABLE = {
    "04x_lesson": {
        "checks": {
            "bits": {"low": 1.5, "high": 2.0, "unit": "bits", "miss": "the state is not carried"},
            "share": {"low": 0, "high": 1, "miss": "samples repeat"},
        }
    },
    "05x_other": {"checks": {"share": {"low": 5, "high": 6, "miss": "-"}}},
}


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setattr(expected, "intervals", lambda: TABLE)
    monkeypatch.setattr(runtime, "current_notebook", "04x_lesson")


@pytest.mark.parametrize("value", [1.5, 1.75, 2.0])  # both ends belong to it
def test_inside(value, capsys):
    expected.check("bits", value)
    assert capsys.readouterr().out == f"bits = {value:g} bits, expected 1.5 to 2: ok\n"


@pytest.mark.parametrize("value", [1.49, 2.01, float("inf"), float("-inf"), float("nan")])
def test_outside_says_the_interval_and_the_usual_cause(value, capsys):
    with pytest.raises(expected.OutsideInterval) as miss:
        expected.check("bits", value)
    message = str(miss.value)
    assert message == (
        f"bits = {value:.4g} bits, expected 1.5 to 2: OUTSIDE. "
        "Usual cause: the state is not carried (FAQ 8)"
    )
    assert capsys.readouterr().out == "", "no verdict is printed beside the error"


def test_a_miss_is_a_failed_assertion():
    assert issubclass(expected.OutsideInterval, AssertionError)


def test_no_unit(capsys):
    expected.check("share", 0.25)
    assert capsys.readouterr().out == "share = 0.25, expected 0 to 1: ok\n"


def test_the_notebook_of_setup_is_looked_up(monkeypatch):
    with pytest.raises(expected.OutsideInterval):
        expected.check("share", 5.5)
    monkeypatch.setattr(runtime, "current_notebook", "05x_other")
    expected.check("share", 5.5)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="no interval 'bit' for notebook '04x_lesson'.*bits, share"):
        expected.check("bit", 1.0)


def test_before_setup(monkeypatch):
    monkeypatch.setattr(runtime, "current_notebook", None)
    with pytest.raises(KeyError, match=r"was course_utils.setup\(name\) run first"):
        expected.check("bits", 1.75)
