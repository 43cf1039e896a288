"""The labeled images on which a model is calibrated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.table import SPLITS
from vertebra.config import Config
from vertebra.data.loaders import Loader
from vertebra.data.splits import EmptySplit, NoSplit
from vertebra.errors import DataError, UnknownName
from vertebra.evaluation.measure import measure_in_torch
from vertebra.evaluation.measured_data import DataChoice
from vertebra.evaluation.observers import Observer
from vertebra.keywords import check_path
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training.labeled_data import open_chosen, opened_loader, run_folder_of


class LabeledImages:
    """The images of one or of all splits of a data set.

    Args:
        path: of the run folder or model file.
        model: its model, on the device it will run on.
        branches: those to calibrate.
        data: a data set; None for that of the run.
        split: "train", "val" or "test"; None for all of ``data``, or for "test" of the run's data.
        batch_size: images at a time.
        rename_classes: from class names of the data to those of the model.

    Attributes:
        branches: those to calibrate.
        counts: number of labeled images by branch.

    Raises:
        DataError: the data cannot be used, or the model was trained on them.
    """

    def __init__(
        self,
        path: Path,
        model: VisionModel,
        branches: Sequence[str],
        data: str | os.PathLike[str] | None,
        split: str | None,
        batch_size: int,
        rename_classes: Mapping[str, str] | None = None,
    ) -> None:
        if split is not None and split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        self.branches = list(branches)
        self.loaders: list[Loader] = []
        choice = DataChoice(None if data is None else check_path("data", data), self.branches, None, rename_classes)
        splits = [split] if split is not None else ["test"] if data is None else list(SPLITS)
        info, missing = model_info(model), None
        for name in splits:
            try:
                run, opened = open_chosen(path, info, model.config, name, choice)
            except (NoSplit, EmptySplit) as error:
                missing = error
                continue
            if run_folder_of(path) is not None:
                _check_unseen(run, choice, name)
            self.loaders.append(opened_loader(info, run, opened, batch_size))
        if not self.loaders:
            assert missing is not None
            raise missing
        self.counts = {name: sum(_labeled(loader, name) for loader in self.loaders) for name in self.branches}

    def measure(self, model: VisionModel, observer: Observer) -> None:
        """Predicts on all images, and gives predictions and annotations to an observer."""
        measure = measure_in_torch(model, next(model.parameters()).device, metrics=False)
        for loader in self.loaders:
            measure(loader, observer)
            emit(*loader.dataset.range_notes(), *loader.dataset.notes())


def _labeled(loader: Loader, branch: str) -> int:
    """The number of images of the data sets that are labeled for a branch."""
    return sum(len(source.index) for source in loader.dataset.sources if branch in source.branches)


def _check_unseen(run: Config, choice: DataChoice, split: str) -> None:
    """Checks that images for calibration are not those of training.

    Raises:
        DataError: they are.
    """
    used = {name: {os.path.realpath(source.path) for source in getattr(run.data, name)} for name in ("train", "val")}
    same = choice.path is None or os.path.realpath(choice.path) in used["train"]
    if same and split == "train":
        raise DataError(
            "the model was trained on these images, so nothing about later images follows from them; give others: --data, or "
            "--split test"
        )
    if split == "val" and (choice.path is None or os.path.realpath(choice.path) in used["val"]):
        emit(
            "the run chose its weights by these images (val), on which the model may be better than on later ones; images that "
            "it never used are safer: --split test, or --data"
        )
