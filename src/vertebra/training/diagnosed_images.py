"""An evaluation for a report: metrics and diagnoses in one pass over the images, then pictures of some of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.data.loaders import Loader
from vertebra.data.sources import Source
from vertebra.evaluation.measure import Measure
from vertebra.evaluation.observers import Diagnoses, Drawings
from vertebra.model_info import ModelInfo
from vertebra.report.example_pictures import choose_examples, spread
from vertebra.report.measured import Box, Measured, MeasuredBranch
from vertebra.tasks.thresholds import ClassThresholds
from vertebra.training.loaders import evaluation_loader

Examples = dict[str, dict[str, list[int]]]
"""For each branch, the positions of images that are shown, by what they are."""

MAX_WRONG = 24  # labels that may be wrong, with their pictures
MAX_EXAMPLES = 6  # pictures of each kind; fewer for a model of several branches


class DiagnosedImages:
    """Evaluates a model on labeled images, and diagnoses its branches.

    Args:
        info: of the model.
        measure: runs the model.
        loader: of the images.
        what: the name of the images, such as "test".
        available: number of images that there are, if the loader has only some; None for all.
        probabilities: whether predictions can keep probabilities.

    Attributes:
        scores: all metrics, as of ``measure``.
        paths: the files of each branch, in the order of its diagnosis.
        diagnoses: by branch.
    """

    def __init__(
        self,
        info: ModelInfo,
        measure: Measure,
        loader: Loader,
        what: str,
        *,
        available: int | None = None,
        probabilities: bool = True,
    ) -> None:
        self.info, self.measure, self.loader, self.what = info, measure, loader, what
        self.available = len(loader.dataset) if available is None else available
        observer = Diagnoses(info, probabilities=probabilities)
        self.scores = measure(loader, observer)
        self.paths = observer.paths
        self.diagnoses = observer.compute()

    @property
    def thresholds(self) -> dict[str, ClassThresholds]:
        """By branch, the scores with the best F1 on these images; a branch without a diagnosis is left out."""
        return {name: diagnosis.thresholds for name, diagnosis in self.diagnoses.items() if diagnosis is not None}

    def examples(self) -> Examples:
        """The images that a report of one model shows: those of the largest, the middle and the smallest loss."""
        count = max(2, MAX_EXAMPLES // len(self.info.branches))
        chosen: Examples = {}
        for name, paths in self.paths.items():
            diagnosis = self.diagnoses[name]
            if diagnosis is None:
                chosen[name] = {"Examples": spread(len(paths), 2 * count)}
            else:
                chosen[name] = choose_examples(np.asarray(diagnosis.image_losses, dtype=float), count)
        return chosen

    def measured(self, examples: Examples, thresholds: Mapping[str, ClassThresholds] | None = None) -> Measured:
        """The results, with pictures of the examples and of the labels that may be wrong.

        Args:
            examples: the images that are shown.
            thresholds: by branch, the scores from which the pictures show predictions; None for those of the model.
        """
        info = self.info if thresholds is None else self.info._replace(thresholds=thresholds)
        positions = {name: [each for chosen in kinds.values() for each in chosen] for name, kinds in examples.items()}
        to_draw = {name: [self.paths[name][position] for position in chosen] for name, chosen in positions.items()}
        drawings = Drawings(info, to_draw, self._wrong_objects())
        files = {path for paths in to_draw.values() for path in paths}
        files |= {path for objects in drawings.objects.values() for path in objects}
        sources = only_files(self.loader.dataset.sources, files)
        if sources:
            batch_size = min(self.loader.sampler.batch_size, 8)
            self.measure(evaluation_loader(self.info, sources, batch_size, 0), drawings)
        branches = {
            name: self._branch(name, examples.get(name, {}), drawings) for name, paths in self.paths.items() if paths
        }
        images = len({path for paths in self.paths.values() for path in paths})
        notes = [*self.loader.dataset.range_notes(), *self.loader.dataset.notes()]
        return Measured(self.what, images, self.available, self.scores, branches, notes)

    def _wrong_objects(self) -> dict[str, dict[Path, list[Box | None]]]:
        """The boxes of the labels that may be wrong, by branch and file."""
        objects: dict[str, dict[Path, list[Box | None]]] = {}
        for name, diagnosis in self.diagnoses.items():
            boxes: defaultdict[Path, list[Box | None]] = defaultdict(list)
            for label in diagnosis.likely_wrong[:MAX_WRONG] if diagnosis is not None else ():
                boxes[self.paths[name][label.image]].append(label.box)
            objects[name] = boxes
        return objects

    def _branch(self, name: str, examples: Mapping[str, Sequence[int]], drawings: Drawings) -> MeasuredBranch:
        paths, diagnosis = self.paths[name], self.diagnoses[name]
        pictures = {
            position: drawings.sides[name, paths[position]]
            for chosen in examples.values()
            for position in chosen
            if (name, paths[position]) in drawings.sides
        }
        wrong = diagnosis.likely_wrong[:MAX_WRONG] if diagnosis is not None else ()
        wrong_pictures = {
            number: drawings.objects_drawn[key]
            for number, label in enumerate(wrong)
            if (key := (name, paths[label.image], label.box)) in drawings.objects_drawn
        }
        return MeasuredBranch(self.info.branches[name][0], paths, diagnosis, examples, pictures, wrong_pictures)


def only_files(sources: Sequence[Source], files: set[Path]) -> list[Source]:
    """The images of some files only."""
    rows = [[row for row in range(len(source.index)) if source.index.path(row) in files] for source in sources]
    return [
        replace(source, index=source.index.take(chosen)) for source, chosen in zip(sources, rows, strict=True) if chosen
    ]


def spread_images(sources: Sequence[Source], count: int) -> list[Source]:
    """About ``count`` images, spread evenly over data sets and over the images of each; all if there are not more."""
    whole = sum(len(source.index) for source in sources)
    if whole <= count:
        return list(sources)
    return [
        replace(source, index=source.index.take(spread(len(source.index), max(1, count * len(source.index) // whole))))
        for source in sources
        if len(source.index)
    ]
