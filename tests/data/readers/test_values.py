"""Numbers and flags of annotation files, and when too little is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vertebra.annotations.notes import Note
from vertebra.annotations.values import check_usable, flag, whole_number
from vertebra.errors import DataError


@pytest.mark.parametrize("value", [1, 1.0, True, "1", " true ", "YES", "1.0"])
def test_set_flags(value: Any) -> None:
    assert flag(value) is True


@pytest.mark.parametrize("value", [0, 0.0, False, None, "0", "false", "No", "", "null"])
def test_flags_that_are_not_set(value: Any) -> None:
    assert flag(value) is False


@pytest.mark.parametrize("value", [2, -1, float("nan"), "maybe", [], {}, [1], 10**400])
def test_what_is_neither(value: Any) -> None:
    assert flag(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), ("7", 7), (7.0, 7), (" 7.0 ", 7), ("-3", -3)]
    + [
        (value, None)
        for value in (7.5, "x", "", None, True, [], float("inf"), float("nan"), 10**30, "9" * 5000, "\u00b2")
    ],
)
def test_whole_numbers(value: Any, expected: int | None) -> None:
    assert whole_number(value) == expected


@pytest.mark.parametrize(
    ("total", "dropped", "crowd", "refused"),
    [
        (0, 0, 0, False),
        (1, 1, 0, True),
        (3, 0, 3, True),
        (6, 5, 0, False),
        (100, 50, 0, False),
        (100, 51, 0, True),
        (100, 0, 90, False),
        (100, 0, 91, True),
        (100, 45, 46, True),
    ],
)
def test_when_too_little_is_left(total: int, dropped: int, crowd: int, refused: bool) -> None:
    notes = [Note.of("box", "of zero area", "dropped", ["a.xml"], dropped)] if dropped else []
    if not refused:
        return check_usable(total, dropped, crowd, Path("a.json"), notes)
    with pytest.raises(
        DataError, match=f"a.json: {dropped + crowd} of its {total} annotations cannot be used"
    ) as caught:
        check_usable(total, dropped, crowd, Path("a.json"), notes)
    assert ("of zero area" in str(caught.value)) == bool(dropped)
    return None
