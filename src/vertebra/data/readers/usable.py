"""Refuses a data set with too few usable annotations."""

from __future__ import annotations

from pathlib import Path

from vertebra.data.index import Note
from vertebra.errors import DataError

FEW = 10  # fewer unused annotations only cause a note, if any annotation is left
DROPPED = 0.5
UNUSED = 0.9


def check_usable(total: int, dropped: int, crowd: int, where: Path, notes: list[Note]) -> None:
    """Raises if too few annotations can be used; a note could be overlooked.

    Args:
        total: number of annotations.
        dropped: number of invalid annotations, which were left out.
        crowd: number of the others that mark a crowd or a region to ignore, which are not used for training.
        notes: the problems, for the message.

    Raises:
        DataError: no annotation other than crowds is left; or at least `FEW` are unused and more than half were dropped, or more
            than nine of ten are dropped or crowds.
    """
    unused = dropped + crowd
    few = unused < FEW and unused < total
    if not total or few or (unused < total and dropped <= DROPPED * total and unused <= UNUSED * total):
        return
    reasons = [str(note) for note in notes if note.done.startswith(("dropped", "taken as 0"))]
    if crowd:
        reasons.append(f"{crowd} mark a crowd or something to ignore ('iscrowd', 'difficult'), which is not learned")
    listed = "; ".join(reasons) or f"{dropped} were dropped"
    raise DataError(f"{where}: {unused} of its {total} annotations cannot be used; put them right first: {listed}")
