"""What exports: a sample of what ``docs/export_matrix.md`` says, tried again every day; ``make matrix`` tries it all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.daily_sample import SEED, daily_sample
from tests.export_matrix import EXPORTED, MULTI_BRANCH, multi_branch, outcome, pairs, usual
from vertebra.errors import IncompatiblePartsError
from vertebra.parts import names

PAGE = Path(__file__).parents[1] / "docs" / "export_matrix.md"
EACH_DAY = 2
MARKS = {"free": "free", "fixed": "fixed", "none": "-", "refused": "x"}


def published() -> dict[tuple[str, str], str]:
    """The marks of the page, by backbone and decoder; a decoder that is newer than the page has none yet."""
    found: dict[tuple[str, str], str] = {}
    backbones: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").partition("## Why not free")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "decoder":
            backbones = cells[1:]
        elif cells[0].startswith("`") and len(cells) == len(backbones) + 1:
            found |= {
                (backbone, cells[0].strip("`")): mark
                for backbone, mark in zip(backbones, cells[1:], strict=True)
                if mark
            }
    return found


def test_the_page_marks_decoders_on_eight_backbones() -> None:
    assert set(published()) <= set(pairs()) and len({backbone for backbone, _ in published()}) >= len(EXPORTED) >= 8
    assert {decoder for _, decoder in pairs()} == set(names("decoder"))
    marks = list(published().values())
    assert set(marks) <= set(MARKS.values()) and marks.count("free") > len(marks) / 2


SMALL = sorted(pair for pair in published() if pair[0] in EXPORTED)


@pytest.mark.parametrize(("backbone", "decoder"), daily_sample(SMALL, EACH_DAY))
def test_exports_as_the_page_says(backbone: str, decoder: str, tmp_path: Path) -> None:
    try:
        found, why = outcome(partial(usual, backbone, decoder), tmp_path)
    except IncompatiblePartsError as error:
        found, why = "refused", str(error)
    assert MARKS[found] == published()[backbone, decoder], why


@pytest.mark.daily_sample
def test_several_branches_export(tmp_path: Path) -> None:
    """One of the models a day; that a file was made says that it was compared, branch by branch."""
    name = list(MULTI_BRANCH)[SEED % len(MULTI_BRANCH)]
    found, why = outcome(partial(multi_branch, name), tmp_path)
    assert found == "free", f"{name}: {why}"
