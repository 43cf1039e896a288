"""Calibrates a model file or a run on labeled images, and writes a new model file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.calibration.labeled_images import LabeledImages
from vertebra.calibration.measured_images import ConfidenceCollector, ScoreCollector
from vertebra.calibration.operating_points import OperatingPoint, operating_point, rounded_down, scores_by_class
from vertebra.calibration.temperature import FittedTemperature, fit_temperature, tempered_score
from vertebra.errors import ConfigError, UnknownName
from vertebra.inference.devices import pick_device
from vertebra.keywords import check_path, strict_keywords
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.runtimes import is_exported
from vertebra.tasks import get_task
from vertebra.tasks.object_scores import concatenate_confidences
from vertebra.weights.model_file import check_new_file, load, model_path, save
from vertebra.weights.stored_calibration import set_temperature, store_thresholds

PROMISED = {
    True: "the share of the images of a class whose score is below its threshold",
    False: "the mean, over images with objects of a class, of the share of these that is missed",
}
"""What a promise bounds, for tasks of whole images and of objects."""


@dataclass
class Calibration:
    """The results of a calibration.

    Attributes:
        images: number of labeled images by branch.
        points: by branch, the operating point of each class.
        binary: by branch of these, whether a promise is about images of a class; else about their objects.
        temperatures: by branch.
        path: of the new model file; None if there was nothing to store.
    """

    images: dict[str, int] = field(default_factory=dict)
    points: dict[str, list[OperatingPoint]] = field(default_factory=dict)
    binary: dict[str, bool] = field(default_factory=dict)
    temperatures: dict[str, FittedTemperature] = field(default_factory=dict)
    path: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether each class has a threshold that keeps the promise."""
        return all(point.threshold is not None for points in self.points.values() for point in points)


@strict_keywords
def calibrate(
    source: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    split: str | None = None,
    miss: float | None = None,
    confidence: float = 0.95,
    temperature: bool = False,
    out: str | os.PathLike[str] | None = None,
    batch_size: int = 8,
    branches: Sequence[str] | None = None,
    rename_classes: Mapping[str, str] | None = None,
    device: str | None = None,
    parts: Mapping[str, Any] | None = None,
) -> Calibration:
    """Finds thresholds with a promise, or temperatures, on labeled images, and writes them with the model's weights to a new file.

    The images must not have been used for training, nor to choose weights. A promise about missed objects is for later images that
    are drawn as these were; see `vertebra.calibration.operating_points`.

    Args:
        source: a run folder or a model file; it is not changed.
        data: a data set; by default that of the run.
        split: "train", "val" or "test"; by default all of ``data``, or "test" of the run's data.
        miss: the share of missed objects that each threshold promises, between 0 and 1; None for no thresholds.
        confidence: the probability with which a promise is kept, between 0 and 1.
        temperature: fit the temperature of each branch. Thresholds are chosen after it, on other images: in a second call.
        out: the new file; by default ``calibrated.safetensors`` in the run folder, or ``<name>-calibrated.safetensors``.
        batch_size: images at a time.
        branches: the branches to calibrate; None for all that can be.
        rename_classes: from class names of ``data`` to those of the model, where they differ.
        device: "cpu", "cuda" …; by default the best available.
        parts: the objects that the model was built from; see `vertebra.load`.

    Raises:
        ConfigError: an option is wrong, or no branch can be calibrated.
        DataError: the data cannot be used, or were used for training.
        RunError: the file exists, or there is no such run.
    """
    _check(miss, confidence, temperature)
    path = check_path("source", source)
    if is_exported(path):
        raise ConfigError(
            f"{path}: calibrate the run folder or the .safetensors file it was made from, and export that again"
        )
    target = _new_path(path) if out is None else check_path("out", out)
    check_new_file(target)
    model = load(path, pick_device(device), parts=parts)
    chosen = _able_branches(model_info(model), branches, temperature)
    images = LabeledImages(path, model, chosen, data, split, batch_size, rename_classes)
    result = _calibrated(model, images, miss, confidence)
    if result.temperatures or any(point.threshold is not None for points in result.points.values() for point in points):
        result.path = save(model, target)
    return result


def _check(miss: float | None, confidence: float, temperature: bool) -> None:
    if (miss is None) != temperature:
        raise ConfigError(
            "choose what to calibrate: thresholds that miss at most a share of objects (miss=0.1, --miss 0.1), or temperatures "
            "(temperature=True, --temperature); for both, fit temperatures first, then choose thresholds on other images"
        )
    for name, value in (("miss", miss), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise ConfigError(f"'{name}' must be between 0 and 1, such as 0.1 or 0.95, got {value}")


def _new_path(source: Path) -> Path:
    """The new file beside the model file."""
    file = model_path(source)
    return file.with_name("calibrated.safetensors" if source.is_dir() else f"{file.stem}-calibrated.safetensors")


def _able_branches(info: ModelInfo, branches: Sequence[str] | None, temperature: bool) -> list[str]:
    """The branches that are calibrated.

    Raises:
        ConfigError: there is none, or a named one cannot be.
    """
    tasks = {name: get_task(task) for name, (task, _) in info.branches.items()}
    able = [name for name, task in tasks.items() if (task.temper if temperature else task.object_scores) is not None]
    for name in branches or ():
        if name not in tasks:
            raise UnknownName("branch", name, tasks)
    refused = [name for name in branches or tasks if name not in able]
    if not able or (branches is not None and refused):
        what = "temperature" if temperature else "threshold of objects or classes"
        raise ConfigError(f"branch '{refused[0]}': there is no {what} in the task {tasks[refused[0]].name}")
    return able if branches is None else list(branches)


def _calibrated(model: VisionModel, images: LabeledImages, miss: float | None, confidence: float) -> Calibration:
    """Calibrates a model in place: its thresholds, or its temperatures if there is no share of missed objects to promise."""
    if miss is None:
        return Calibration(images.counts, temperatures=_fit(model, images))
    points = _choose(model, images, miss, confidence)
    binary = {name: get_task(model.branch(name).task).image_level for name in points}
    return Calibration(images.counts, points, binary)


def _choose(
    model: VisionModel, images: LabeledImages, miss: float, confidence: float
) -> dict[str, list[OperatingPoint]]:
    """Chooses thresholds, and stores those that keep the promise in the model; others of a branch stay as they were."""
    info = model_info(model)
    collector = ScoreCollector(info)
    images.measure(model, collector)
    points: dict[str, list[OperatingPoint]] = {}
    for name in images.branches:
        task, labels = info.branches[name]
        scores = collector.images[name]
        if not scores:
            continue
        binary = get_task(task).image_level
        points[name] = [
            operating_point(class_name, of_class, miss, confidence, binary=binary)
            for class_name, of_class in zip(labels.classes, scores_by_class(scores, labels.class_count), strict=True)
        ]
        chosen = {point.class_name: point.threshold for point in points[name] if point.threshold is not None}
        if chosen:
            promise = {
                "miss": miss,
                "confidence": confidence,
                "bounds": PROMISED[binary],
                "images": {point.class_name: point.images for point in points[name] if point.class_name in chosen},
            }
            store_thresholds(model, {name: {**model.thresholds.get(name, {}), **chosen}}, {name: promise})
    return points


def _fit(model: VisionModel, images: LabeledImages) -> dict[str, FittedTemperature]:
    """Fits temperatures, and stores them in the model; its thresholds are brought over to the new scores."""
    before = {name: model.branch(name).decoder.temperature for name in images.branches}
    for name in images.branches:
        set_temperature(model, name, 1.0)
    info = model_info(model)
    collector = ConfidenceCollector(info)
    images.measure(model, collector)
    if collector.too_large:
        emit(f"{collector.too_large} images are too large for the probabilities of their pixels, and were left out")
    fitted: dict[str, FittedTemperature] = {}
    for name in images.branches:
        rows = [part for part in collector.images[name] if len(part.right)]
        if not rows:
            emit(f"branch '{name}': nothing was predicted on these images, so it has no temperature")
            set_temperature(model, name, before[name])
            continue
        decisions = bool(getattr(info.branches[name][1], "multilabel", True))
        fitted[name] = fit_temperature(concatenate_confidences(rows), decisions=decisions)
        set_temperature(model, name, fitted[name].temperature)
        _bring_over(model, name, fitted[name].temperature / before[name], decisions)
    return fitted


def _bring_over(model: VisionModel, name: str, temperature: float, decisions: bool) -> None:
    """Changes the stored thresholds of a branch to those of its rescaled scores.

    The scores of decisions keep their order, so that the same objects are kept and promises hold. Exclusive classes are rescaled
    together; their thresholds are removed.
    """
    stored, promise = model.thresholds.get(name, {}), model.promises.get(name)
    if not stored or temperature == 1:
        return
    if not decisions:
        emit(
            f"branch '{name}': its thresholds were for scores without this temperature and are removed; choose new ones"
        )
        store_thresholds(model, {name: {}})
        return
    rescaled = {key: rounded_down(tempered_score(score, temperature)) for key, score in stored.items()}
    store_thresholds(model, {name: rescaled}, {} if promise is None else {name: promise})
