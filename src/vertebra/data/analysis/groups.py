"""Groups of images that must come into one split: by folder, by a pattern in the path, by a column, or guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.data.analysis.connected import join, numbered
from vertebra.data.analysis.frame_names import FrameSequences, frame_sequences
from vertebra.data.analysis.source_names import source_names, stem_of
from vertebra.errors import ConfigError, DataError

FOLDER = "FOLDER"
SHOWN = 3  # names in a sentence
RUNS = 20  # into which the frames of one video are cut, where it is most of a set
MAX_GROUP = 0.5  # of a set; larger videos are cut


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of images.

    Attributes:
        codes: (n,) int64, the group of each image, numbered in the order of their first images.
        rules: how the groups were formed, in sentences; empty where each image is a group.
        cut: (n,) bool, frames of a video that was cut into runs since it is most of the set. Do not merge these with groups of
            near-duplicates, which may make one group of the whole video again.
    """

    codes: np.ndarray
    rules: tuple[str, ...]
    cut: np.ndarray


def group_by(
    paths: Sequence[str], rule: str, columns: Mapping[str, Sequence[object] | np.ndarray] | None = None
) -> Grouping:
    r"""Groups images by the user's rule.

    Args:
        paths: of the images, with ``/``, relative to the data set.
        rule: ``FOLDER`` (images of one folder are a group), the name of a column, or a regular expression whose first group is the
            name of the group, such as ``(\w+)_\d+``; it may match anywhere in the path. Images without a match or value are
            groups of their own.
        columns: columns of the data set's table by name, with a value for each image.

    Raises:
        ConfigError: the rule is none of these.
        DataError: no path matches the expression.
    """
    if columns and rule in columns:
        values = ["" if value is None or value != value else str(value) for value in columns[rule]]
        return _named(values, f"by column '{rule}'", "value")
    if rule == FOLDER:
        return _named([path.rpartition("/")[0] or "." for path in paths], "by folder", "folder")
    known = f"a column ({', '.join(columns)})" if columns else "a column of a table"
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigError(
            f"group-by: '{rule}' is no valid regular expression ({error}); give {FOLDER}, {known} or an expression"
        ) from error
    if not pattern.groups:
        raise ConfigError(
            f"group-by: '{rule}' is none of {FOLDER}, {known}, or a regular expression with a group in parentheses, "
            r"such as '(\w+)_\d+'"
        )
    matches = [pattern.search(path) for path in paths]
    if paths and not any(matches):
        raise DataError(f"group-by: no path matches '{rule}'; the first is {paths[0]}")
    return _named([(match[1] or "") if match else "" for match in matches], f"by '{rule}'", "match")


def guess_groups(paths: Sequence[str], hashes: np.ndarray | None = None, valid: np.ndarray | None = None) -> Grouping:
    """Groups images that belong together by their names and their content.

    - Copies and crops of one image, by names such as ``img_0012_crop3`` or ``name_aug2`` of ``name``, and Roboflow's
      ``name_jpg.rf.<hash>.jpg``.
    - Frames of one video: numbered names of which neighbors are more alike than others. Numbers alone, such as
      ``IMG_0001.jpg``, are no reason. Without hashes, only names with a word such as "frame" or "video" count. A
      video that is most of the set is cut into runs of consecutive frames, since it could not be divided otherwise.

    Folders named after splits make no difference: a video may be spread over them.

    Args:
        paths: of the images, with ``/``, relative to the data set.
        hashes: (n,) uint64 of `perceptual_hash.perceptual_hashes`; None where they are not known.
        valid: (n,) bool, of the same.
    """
    sources = source_names(paths)
    frames = frame_sequences(paths, hashes, valid)
    rules: list[str] = []
    codes = [] if len(set(sources)) == len(sources) else _of_sources(paths, sources, rules)
    cut = np.zeros(len(paths), dtype=bool)
    if frames.names:
        codes.append(_with_runs(frames, rules, cut))
    return Grouping(merge_groups(len(paths), *codes), tuple(rules), cut)


def _of_sources(paths: Sequence[str], sources: Sequence[str], rules: list[str]) -> list[np.ndarray]:
    """The groups of images of one source, if there are any; appends the rule."""
    copies = numbered(np.array(sources))
    derived = [source.rpartition("/")[2] != stem_of(path) for source, path in zip(sources, paths, strict=True)]
    several = np.bincount(copies) > 1
    several &= np.bincount(copies, derived) > 0  # equal names in several folders are no reason
    if not several.any():
        return []
    names = [sources[row].rpartition("/")[2] for row in _firsts(copies)[several].tolist()]
    images = int(several[copies].sum())
    rules.append(f"copies and crops of one image, by their names: {_counted(images, names)}")
    return [np.where(several[copies], copies, len(copies) + np.arange(len(copies)))]


def merge_groups(count: int, *groupings: np.ndarray) -> np.ndarray:
    """Groups in which images are together that are together in any of several groupings.

    Args:
        count: number of images, n.
        groupings: (n,) codes each, such as those of names, and of near-duplicates.

    Returns:
        (n,) int64, numbered in the order of the first images.
    """
    parents = np.arange(count)
    for codes in groupings:
        order = np.argsort(codes, kind="stable")
        same = codes[order[1:]] == codes[order[:-1]]
        join(parents, order[:-1][same], order[1:][same])
    return numbered(parents)


def _named(names: Sequence[str], rule: str, what: str) -> Grouping:
    """Groups of equal names; images with an empty name are groups of their own."""
    unnamed = sum(not name for name in names)
    keys = [f"={name}" if name else f"#{row}" for row, name in enumerate(names)]
    codes = numbered(np.array(keys)) if keys else np.zeros(0, dtype=np.int64)
    named = len({name for name in names if name})
    without = f"; {unnamed} images without a {what} are groups of their own" if unnamed else ""
    sizes = f"{_plural(named, 'group')} of {_plural(len(names) - unnamed, 'image')}"
    return Grouping(codes, (f"{rule}: {sizes}{without}",), np.zeros(len(names), dtype=bool))


def _with_runs(frames: FrameSequences, rules: list[str], cut: np.ndarray) -> np.ndarray:
    """The groups of frames, -1 replaced by numbers of their own; appends the rules, and sets what is cut."""
    count = len(frames.codes)
    codes = np.where(frames.codes >= 0, frames.codes, np.arange(count) + len(frames.names))
    rules.append(f"frames of a video, {frames.evidence}: {_counted(int((frames.codes >= 0).sum()), frames.names)}")
    sizes = np.bincount(frames.codes[frames.codes >= 0], minlength=len(frames.names))
    for code in np.flatnonzero(sizes > max(MAX_GROUP * count, RUNS)).tolist():
        rows = np.flatnonzero(frames.codes == code)
        rows = rows[np.argsort(frames.numbers[rows], kind="stable")]
        codes[rows] = 2 * count + code * RUNS + np.arange(len(rows)) * RUNS // len(rows)
        cut[rows] = True
        share = sizes[code] / count
        rules.append(f"'{frames.names[code]}' is {share:.0%} of the images: cut into {RUNS} runs of consecutive frames")
    return codes


def _firsts(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_index=True)[1]


def _counted(images: int, names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return f"{_plural(len(names), 'group')} of {_plural(images, 'image')} ({shown})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
