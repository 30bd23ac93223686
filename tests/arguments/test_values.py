"""Values: what a type accepts, from Python and from text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arguments.values import convert, convert_dict, from_text

PLANES = {"channels": 32, "resolution": [64, 64, 64, 25], "inner": {"rate": 0.5}}


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, float, 3.0),
        (30_000.0, int, 30_000),
        (np.int64(3), int, 3),
        (np.float64(0.5), float, 0.5),
        (True, bool, True),
        ("a", str, "a"),
        ((1, 2.0), list[int], [1, 2]),
        ([], list[int], []),
    ],
)
def test_what_fits_is_converted(value, kind, expected):
    result = convert(value, kind, "x")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (True, float),
        (1, bool),
        (0.5, int),
        (math.nan, float),
        (math.inf, float),
        (math.inf, int),
        ("3", int),
        (3, str),
        (None, str),
        (3, list[int]),
        ("12", list[int]),
        ({}, list[int]),
    ],
)
def test_what_does_not_fit_is_refused(value, kind):
    with pytest.raises(ValueError, match=r"^x is .* \(.*\), expected "):
        convert(value, kind, "x")


def test_the_item_of_a_list_is_named():
    with pytest.raises(ValueError, match=r"^x\[1\] is 'a' \(str\), expected int$"):
        convert([1, "a"], list[int], "x")


def test_a_dict_goes_over_its_default_key_by_key():
    merged = convert_dict({"resolution": (8, 8, 8, 4), "inner": {"rate": 1}}, PLANES, "planes")
    assert merged == {"channels": 32, "resolution": [8, 8, 8, 4], "inner": {"rate": 1.0}}
    assert PLANES["resolution"] == [64, 64, 64, 25]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"chanels": 3}, "planes has no key 'chanels'; did you mean 'channels'?"),
        ({"zzz": 3}, "planes has no key 'zzz'; channels, resolution, inner"),
        ({"channels": "3"}, "planes.channels is '3' (str), expected int"),
        ({"resolution": [1, 0.5]}, "planes.resolution[1] is 0.5 (float), expected int"),
        ({"inner": 3}, "planes.inner is 3 (int), expected a dict"),
        ([], "planes is [] (list), expected a dict"),
    ],
)
def test_a_wrong_dict_is_refused_by_key(value, message):
    with pytest.raises(ValueError) as caught:
        convert_dict(value, PLANES, "planes")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("3e4", int, 30_000),
        ("30_000", int, 30_000),
        ("-1", int, -1),
        ("1e-3", float, 0.001),
        ("False", bool, False),
        ("on", bool, True),
        ("", str, ""),
        (["1", "2"], list[int], [1, 2]),
        ('{"a": [1]}', dict, {"a": [1]}),
    ],
)
def test_text_becomes_the_value_it_spells(text, kind, expected):
    assert from_text(text, kind, "--x") == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a", int), ("1.5", int), ("inf", int), ("x", float), ("maybe", bool), ("{a}", dict)],
)
def test_text_that_spells_nothing_is_refused(text, kind):
    with pytest.raises(ValueError, match=r"^--x is '.*', expected "):
        from_text(text, kind, "--x")
