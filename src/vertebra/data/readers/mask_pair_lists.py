"""Lists of pairs: an image and its mask on each line."""

from __future__ import annotations

from pathlib import Path

from vertebra.annotations.mask_arrays import ARRAY_SUFFIXES
from vertebra.annotations.notes import Note
from vertebra.data.readers.files import exist, files_below, is_image, lines_of, without_copies
from vertebra.errors import DataError

MOST_WORDS = 40  # of a line of a list

Pairs = list[tuple[str, str]]


def is_mask(name: str) -> bool:
    """Whether a file name is that of an image or an array."""
    return is_image(name) or (Path(name).suffix.lower() in ARRAY_SUFFIXES and not name.startswith("."))


def masks_below(path: Path) -> list[Path]:
    """All mask files in a folder and the folders below, by path."""
    return files_below(path, is_mask)


def is_pair_list(file: Path) -> bool:
    """Whether the first line of a file is an image and its mask."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            line = next((line.strip() for line in (opened.readline(4096) for _ in range(100)) if line.strip()), "")
    except OSError:
        return False
    return bool(_splittings(line))


def _splittings(line: str) -> list[tuple[str, str]]:
    """The pairs of names that a line may be, split at one of its spaces, tabs, commas or semicolons."""
    pairs = []
    for mark in ("\t", ";", ",", " "):
        parts = line.split(mark)
        for count in range(1, len(parts)) if len(parts) <= MOST_WORDS else ():
            image, mask = mark.join(parts[:count]).strip(), mark.join(parts[count:]).strip()
            if is_image(image.rpartition("/")[2]) and is_mask(mask.rpartition("/")[2]):
                pairs.append((image, mask))
    return list(dict.fromkeys(pairs))


def read_pairs(file: Path, root: Path, notes: list[Note]) -> Pairs:
    """The pairs of a list; a line with several spaces is split where both files exist."""
    lines = [(number, line.strip()) for number, line in enumerate(lines_of(file), start=1) if line.strip()]
    candidates = []
    for number, line in lines:
        splittings = _splittings(line.replace("\\", "/"))
        if not splittings:
            raise DataError(f"{file}: line {number} must be 'image mask', got '{line[:80]}'")
        candidates.append(splittings)
    names = list(dict.fromkeys(name for splittings in candidates for pair in splittings for name in pair))
    existing = dict(zip(names, exist(root, names).tolist(), strict=True))
    pairs: Pairs = [
        next((pair for pair in splittings if existing[pair[0]] and existing[pair[1]]), splittings[-1])
        for splittings in candidates
    ]
    pairs = without_copies(pairs, file.name, notes)
    _check_masks(pairs, file)
    for column, what in enumerate(("image", "mask")):
        missing = [pair[column] for pair in pairs if not existing[pair[column]]]
        if missing:
            raise DataError(
                f"{file}: {len(missing)} of its {len(pairs)} {what}s do not exist, the first is {root / missing[0]}; "
                f"paths are relative to {root}"
            )
    return pairs


def _check_masks(pairs: Pairs, file: Path) -> None:
    masks = dict(pairs)
    if len(masks) < len(pairs):
        image, mask = next(pair for pair in pairs if masks[pair[0]] != pair[1])
        raise DataError(f"{file}: image {image} has two masks, {mask} and {masks[image]}; keep one of the lines")
