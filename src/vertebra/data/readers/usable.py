"""When too little of a data set is left to go on with it."""

from __future__ import annotations

from pathlib import Path

from vertebra.data.index import Note
from vertebra.errors import DataError

FEW = 10  # so many dropped annotations are no more than a note, if any is left
DROPPED = 0.5
UNUSED = 0.9


def check_usable(total: int, dropped: int, crowd: int, where: Path, notes: list[Note]) -> None:
    """Ends the reading where nearly nothing of it can be learned: not by a note, which one may miss.

    Args:
        total: number of annotations.
        dropped: how many of them were wrong and left out.
        crowd: how many of the rest mark a crowd or something to ignore, and are never learned.
        notes: what was wrong, for the message.

    Raises:
        DataError: no annotation is left that is no crowd; or more than half were dropped, or nine of ten were dropped or are
            crowd, and more than a few.
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
