"""Errors keep their message, and what they know, on the way from one process to another."""

from __future__ import annotations

import pickle

import pytest

from vertebra.errors import DataError, IncompatiblePartsError, UnknownName, VertebraError


@pytest.mark.parametrize(
    "error",
    [
        DataError("a.jpg: not an image"),
        UnknownName("neck", "fpm", ["fpn", "bifpn"]),
        IncompatiblePartsError("a level at stride 4", "Add a neck.").between(
            "decoder 'x'", "backbone 'y'", "stride 16"
        ),
    ],
)
def test_errors_travel(error: VertebraError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error) and str(there) == str(error) and vars(there) == vars(error)


def test_an_unknown_name_that_is_no_text() -> None:
    error = UnknownName("precision", 32, ["fp32", "bf16"])
    assert error.name == "32" and str(error).startswith("unknown precision '32'. ")


def test_a_message_is_one_line_whatever_a_file_is_called() -> None:
    assert str(DataError("a\nb\x1b[0m\u2028é.jpg: not an image")) == "a\\nb\\x1b[0m\\u2028é.jpg: not an image"
