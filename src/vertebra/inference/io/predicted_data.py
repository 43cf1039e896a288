"""Saves the predictions of one branch as a data set, to be corrected with a labeling tool and trained on; without torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.data.convert import check_target, write_data
from vertebra.data.writers import all_writers
from vertebra.data.writers.base import Target
from vertebra.errors import ConfigError, UnknownName
from vertebra.inference.pipeline import score_thresholds
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.tasks import get_task
from vertebra.tasks.thresholds import OBJECT_THRESHOLD


def saved_branch(info: ModelInfo, branch: str | None, to: str) -> str:
    """The branch whose predictions are saved.

    Args:
        info: of the model.
        branch: its name; None if the model has only one whose predictions the format holds.
        to: the format.

    Raises:
        ConfigError: there is no such branch, or there are several and none is named.
    """
    if to not in all_writers():
        raise UnknownName("format to write", to, all_writers())
    holds = all_writers()[to].holds
    kinds = {name: get_task(task).prediction.annotation_kinds for name, (task, _) in info.branches.items()}
    suitable = [name for name, each in kinds.items() if each & holds]
    if not suitable:
        branches = ", ".join(f"{name}: {' and '.join(sorted(each)) or 'none'}" for name, each in kinds.items())
        raise ConfigError(
            f"{to} holds {' and '.join(sorted(holds))}; the branches of this model predict others ({branches})"
        )
    if branch is not None and branch not in suitable:
        raise UnknownName(f"branch whose predictions {to} holds", branch, suitable)
    if branch is None and len(suitable) > 1:
        raise ConfigError(f"several branches can be saved; choose --branch {' or --branch '.join(suitable)}")
    return branch or suitable[0]


def saved_score(info: ModelInfo, min_score: float | None, threshold: float | None) -> float:
    """The minimum score of the objects that are saved.

    Args:
        info: of the model.
        min_score: the user's; None for that of the predictions.
        threshold: the user's minimum score of all predictions; None for those of the model.

    Raises:
        ConfigError: predictions leave out objects that should be saved.
    """
    chosen = [float(np.min(each)) for each in score_thresholds(info, threshold).values() if each is not None]
    predicted = min(chosen, default=OBJECT_THRESHOLD)
    if min_score is None:
        return predicted
    if min_score < predicted:
        raise ConfigError(
            f"--min-score {min_score:g} is below the minimum score of all predictions ({predicted:g}), which all outputs need; "
            f"lower that too: --threshold {min_score:g}"
        )
    return min_score


class PredictedData:
    """Collects predictions, and writes them as a data set.

    Args:
        to: the format.
        folder: of the data set; must not exist or be empty.
        info: of the model.
        branch: its name; None if the model has only one whose predictions the format holds.
        min_score: minimum score of an object, 0 to 1, where objects have scores.
        root: folder of the images, of which their names are relative; None for the folder of each.

    Attributes:
        notes: what the format cannot hold, after `write`.
        written: whether the data set is written.

    Raises:
        ConfigError: the format or the branch does not exist, or the folder is not empty.
    """

    def __init__(
        self, to: str, folder: Path, info: ModelInfo, *, branch: str | None, min_score: float, root: Path | None
    ) -> None:
        self.to, self.folder, self.min_score = to, folder, min_score
        self.branch = saved_branch(info, branch, to)
        check_target(folder)
        task, labels = info.branches[self.branch]
        self.builder = AnnotationBuilder(root or Path("/"), folder)
        for category in get_task(task).prediction.categories(labels):
            self.builder.category(category)
        self.notes: list[Note] = []
        self.written = False

    def __len__(self) -> int:
        """Number of images so far."""
        return len(self.builder)

    def add(self, result: Result) -> None:
        """Adds the predictions of an image."""
        assert result.path is not None
        image = Path(os.path.abspath(result.path))  # noqa: PTH100  # links are not resolved
        row = self.builder.image(image.relative_to(self.builder.root).as_posix(), size=result.size)
        prediction: Any = result[self.branch]
        prediction.annotate(self.builder, row, self.min_score)

    def write(self) -> None:
        """Writes the data set, with copies of the images.

        Raises:
            DataError: an image does not exist any more.
            RunError: the folder cannot be written.
        """
        self.notes = write_data(self.builder.build(), self.to, Target(self.folder))
        self.written = True
