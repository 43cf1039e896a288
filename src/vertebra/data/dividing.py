"""Draws new splits of a data set, or folds, and writes them as list files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.analysis.connected import join
from vertebra.data.analysis.groups import group_by as groups_by_rule
from vertebra.data.analysis.groups import guess_groups, merge_groups
from vertebra.data.analysis.hamming_pairs import near_components, near_pairs
from vertebra.data.analysis.perceptual_hash import MIN_CORRELATION, NEAR_DISTANCE, correlations
from vertebra.data.analysis.stratify import Division, divide_folds, divide_stratified
from vertebra.data.check.open_splits import OpenedSplit, SplitOpener, column_of_images, find_for_tasks
from vertebra.data.check.run import Progress
from vertebra.data.check.scanning import Scan, ScannedSplit, scan
from vertebra.data.drawing_groups import divisible_groups, group_columns
from vertebra.data.index import Index
from vertebra.data.lists import write_list
from vertebra.data.open import DataSet
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader, index_of
from vertebra.errors import ConfigError, DataError
from vertebra.files import os_errors_as_run_errors
from vertebra.tasks.column import FileColumn


@dataclass(frozen=True)
class DividedData:
    """What `divide_data` wrote.

    Attributes:
        files: the list files.
        counts: by split or fold, its images, and how many of each class.
        notes: what was kept together, and what could not be met.
    """

    files: tuple[Path, ...]
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


def divide_data(
    path: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    format: str | None = None,
    val: float = 0.1,
    test: float = 0.0,
    folds: int | None = None,
    group_by: str | None = None,
    seed: int = 0,
    ignore_index: int | None = None,
    progress: Progress | None = None,
) -> DividedData:
    """Draws splits with each class in proportion, and writes ``train.txt``, ``val.txt`` and ``test.txt``, or those of each fold.

    Groups of images stay together: those of the data set, those of ``group_by``, or else those that names and content show, and
    near-duplicates. All images are decoded for this, at reduced size. A test split of the data set stays what it is where no
    share of test is asked for; its other splits are drawn anew.

    Args:
        path: a data set.
        out: the folder of the lists; it is created, and lists in it are not overwritten.
        task: whose classes are divided in proportion; None for the first that the data set has labels for.
        format: the format's name; None to detect it.
        val, test: shares of the images.
        folds: number of folds for cross-validation instead; each is the val split once, in ``fold_0`` and so on.
        group_by: see `vertebra.data.analysis.groups.group_by`; columns are those of tables of images, and attributes of objects.
        seed: of the draw.
        ignore_index: mask value of ignored pixels.
        progress: is called with the number of images read, and of all.

    Raises:
        ConfigError: an option is out of range, or the folder has lists already.
        DataError: the data set cannot be read.
    """
    folder = Path(out)
    _check_options(val, test, folds)
    _check_free(folder)
    options = ReadOptions(None, ignore_index, seed)
    data_set, annotations, index, used_task = _whole(Path(path), task, format, options)
    notes: list[str] = []
    names = [os.fsdecode(name) for name in annotations.images]
    kept = _kept_test(annotations, test, folds, notes)
    rows = np.setdiff1d(np.arange(len(annotations)), kept)
    scanned = _scanned(annotations, index, used_task, rows, progress)
    of_images = None if group_by is None else column_of_images(data_set.path, data_set.format, group_by, options)
    groups = _groups(scanned, rows, group_by, of_images, notes)
    strata, classes = _strata(index, used_task, scanned), index.labels[used_task].classes
    labels = strata[rows]
    keys = annotations.images[rows]
    if folds is not None:
        division = divide_folds(len(rows), folds, seed, labels=labels, groups=groups, keys=keys, classes=classes)
        parts = _fold_parts(division, folds)
    else:
        shares = {"train": 1 - val - test, "val": val, **({"test": test} if test else {})}
        division = divide_stratified(len(rows), shares, seed, labels=labels, groups=groups, keys=keys, classes=classes)
        parts = {name: division.codes == code for code, name in enumerate(division.names)}
    chosen = {name: rows[mask] for name, mask in parts.items()}
    if len(kept):
        chosen |= {f"{fold}test": kept for fold in (_fold_prefixes(folds) if folds else ("",))}
    files = _write(folder, {name: [names[row] for row in numbers.tolist()] for name, numbers in chosen.items()}, groups)
    counts = {name: _counts(strata[numbers], classes) for name, numbers in chosen.items()}
    return DividedData(files, counts, (*notes, *_sensible(division, classes)))


def _check_options(val: float, test: float, folds: int | None) -> None:
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise ConfigError(f"{name}: {share:g} is not a share of the images; give 0.2 for a fifth")
    if not val and folds is None:
        raise ConfigError("val: 0 leaves nothing to measure by; give a share such as 0.2")
    if val + test >= 1:
        raise ConfigError(f"val {val:g} and test {test:g} leave nothing for train; their sum must be below 1")


def _check_free(folder: Path) -> None:
    taken = sorted([*folder.glob("*.txt"), *folder.glob("fold_*")]) if folder.is_dir() else []
    if folder.is_file() or taken:
        raise ConfigError(
            f"{folder}: there is {taken[0].name if taken else 'a file of this name'} already; name a new folder"
        )


def _whole(
    path: Path, task: str | None, format: str | None, options: ReadOptions
) -> tuple[DataSet, Annotations, Index, str]:
    """All images of the data set, of all its splits, and their annotations for one task."""
    data_set, tasks = find_for_tasks(path, task, format)
    reader = all_readers()[data_set.format]
    if not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: data sets of format '{reader.name}' cannot be divided; its reader reads one split at a time"
        )
    opener = SplitOpener(data_set.path, data_set.format, tasks, options)
    opener.keep_annotated_tasks()
    annotations = reader.load_for(data_set.path, None, options, opener.kinds)
    return data_set, annotations, index_of(annotations, opener.tasks[0], options), opener.tasks[0]


def _kept_test(annotations: Annotations, test: float, folds: int | None, notes: list[str]) -> np.ndarray:
    """Rows of the data set's own test split where no other one is asked for."""
    if annotations.splits is None:
        return np.zeros(0, dtype=np.int64)
    codes = annotations.splits
    given = [name for code, name in enumerate(SPLITS) if (codes == code).any()]
    rows = np.flatnonzero(codes == SPLITS.index("test"))
    drawn = [name for name in given if name != "test" or test]
    if drawn:
        notes.append(f"the data set's splits are drawn anew: {', '.join(drawn)}")
    if test or not len(rows) or len(rows) == len(codes):
        return np.zeros(0, dtype=np.int64)
    notes.append(f"the data set's test split of {len(rows)} images stays what it is")
    return rows


def _scanned(
    annotations: Annotations, index: Index, task: str, rows: np.ndarray, progress: Progress | None
) -> ScannedSplit:
    """The images that are divided; with mask files all images, and their masks, which no column has the classes of."""
    done = 0
    masks = isinstance(index.columns[task], FileColumn)
    needed = len(annotations) if masks else len(rows)

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, needed)

    opened = OpenedSplit("all", annotations, {task: index} if masks else {})
    return scan(opened, None if masks else rows, step)


def _strata(index: Index, task: str, scanned: ScannedSplit) -> np.ndarray:
    """What each split is to have in proportion, of all images: see `Index.strata`; for mask files the classes in each."""
    if not isinstance(index.columns[task], FileColumn):
        return index.strata(task)
    strata = np.zeros((len(index), len(index.labels[task].classes) + 1), dtype=np.int64)
    for row, facts in zip(scanned.rows.tolist(), scanned.facts, strict=True):
        read = facts.annotations.get(task)
        if read is not None and read.occurrences is not None:
            strata[row, :-1] = read.occurrences > 0
    strata[:, -1] = ~strata.any(axis=1)
    return strata


def _groups(
    scanned: ScannedSplit,
    rows: np.ndarray,
    rule: str | None,
    of_images: Mapping[str, object] | None,
    notes: list[str],
) -> np.ndarray:
    """(n,) int64, which of the images of some rows must stay together; ``of_images`` is the column that the rule names."""
    assert scanned.opened.annotations is not None
    annotations = scanned.opened.annotations.take(rows)
    names = [os.fsdecode(name) for name in annotations.images]
    facts = dict(zip(scanned.rows.tolist(), scanned.facts, strict=True))
    seen = Scan.of([ScannedSplit(scanned.opened, rows, [facts[row] for row in rows.tolist()])])
    if rule is not None:
        grouping = groups_by_rule(names, rule, group_columns([annotations], rule, of_images))
    else:
        grouping = guess_groups(names, seen.hashes, seen.comparable)
    notes += grouping.rules
    parts = [grouping.codes]
    cut = grouping.cut
    if annotations.groups is not None and rule is None:
        count, groups = len(np.unique(annotations.groups)), divisible_groups(annotations.groups)
        parts.append(groups)
        if groups is annotations.groups:
            notes.append(f"{count} groups of the data set are kept together")
        else:
            cut = np.ones(len(names), dtype=bool)
            notes.append(f"large groups are cut into runs of consecutive images, since the data set has {count} only")
    near = _near_groups(seen, cut)
    together = int(np.count_nonzero(np.bincount(near)[near] > 1))
    if together:
        parts.append(near)
        notes.append(f"{together} images that are nearly the same as another one are kept with it")
    return merge_groups(len(names), *parts)


def _near_groups(seen: Scan, cut: np.ndarray) -> np.ndarray:
    """(n,) int64, groups of near-duplicates; frames of a video that was cut stay on their own."""
    count = len(seen.names)
    codes = np.arange(count)
    rows = np.flatnonzero(seen.comparable & ~cut)
    pairs = near_pairs(seen.hashes[rows], NEAR_DISTANCE)
    if not pairs.complete:
        codes[rows] = count + near_components(seen.hashes[rows], NEAR_DISTANCE)
        return merge_groups(count, codes)
    first, second = rows[pairs.first], rows[pairs.second]
    alike = correlations(seen.thumbnails, first, second) >= MIN_CORRELATION
    parents = np.arange(count)
    join(parents, first[alike], second[alike])
    return parents


def _fold_prefixes(folds: int) -> list[str]:
    return [f"fold_{number}/" for number in range(folds)]


def _fold_parts(division: Division, folds: int) -> dict[str, np.ndarray]:
    """(n,) bool for train and val of each fold."""
    parts = {}
    for number, prefix in enumerate(_fold_prefixes(folds)):
        parts[f"{prefix}train"] = division.codes != number
        parts[f"{prefix}val"] = division.codes == number
    return parts


def _sensible(division: Division, classes: Sequence[str]) -> list[str]:
    """The notes about the division, without those about the count of images without objects."""
    return [note for note in division.notes if f"lacks class {len(classes)} (" not in note]


def _write(folder: Path, lists: Mapping[str, Sequence[str]], groups: np.ndarray) -> tuple[Path, ...]:
    empty = [name for name, names in lists.items() if not names]
    if empty:
        count = len(np.unique(groups))
        units = f"{len(groups)} image{'s'[: len(groups) != 1]}"
        if count < len(groups):
            units += f" in {count} group{'s'[: count != 1]}, each of which stays in one split; other groups: --group-by"
        raise DataError(
            f"split '{empty[0]}' would have no image; there {'is' if units.startswith('1 ') else 'are'} {units}"
        )
    files = []
    with os_errors_as_run_errors(folder):
        for name, names in lists.items():
            file = folder / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_list(file, names)
            files.append(file)
    return tuple(files)


def _counts(strata: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """The number of images, under "images", and of each class."""
    if strata.ndim == 2:
        sums = strata[:, : len(classes)].sum(axis=0)
    else:
        sums = np.bincount(strata[(strata >= 0) & (strata < len(classes))], minlength=len(classes))
    return {"images": len(strata), **dict(zip(classes, sums.tolist(), strict=True))}
