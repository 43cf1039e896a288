"""What is printed about the data before a run."""

from __future__ import annotations

from vertebra.data.open_datasets import Opened
from vertebra.training.execution import opening_notes


def test_a_note_of_both_splits_is_printed_once_and_others_name_their_split() -> None:
    train = Opened(notes=["cells: 1 folder was left aside", "cells: 2 boxes of zero area dropped"])
    val = Opened(notes=["cells: 1 folder was left aside", "cells: 1 box of zero area dropped"])
    assert opening_notes(train, val) == [
        "cells: 1 folder was left aside",
        "train: cells: 2 boxes of zero area dropped",
        "val: cells: 1 box of zero area dropped",
    ]
