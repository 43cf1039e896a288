"""Evaluates a model on labeled images: the losses, and each task's metrics in image pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.cpus import limit_torch
from vertebra.data.batches import Batch
from vertebra.data.workers import convert_worker_exits
from vertebra.evaluation.loss_meter import LossMeter
from vertebra.evaluation.observers import Observer
from vertebra.features import Frame
from vertebra.inference.results import Result
from vertebra.model import VisionModel, decode_float32
from vertebra.model_info import ModelInfo, model_info
from vertebra.optimize.inference_copy import inference_copy
from vertebra.optimize.model_itself import device_of, evaluation_mode
from vertebra.tasks import get_task

Run = Callable[[np.ndarray, np.ndarray], Mapping[str, Sequence[np.ndarray]]]
Predict = Callable[[Sequence[Any]], Sequence[Result]]
Measure = Callable[[Iterable[Batch], Observer | None], dict[str, float]]
"""Evaluates labeled batches and returns their metrics; an observer gets each prediction."""


class Evaluation:
    """Accumulates a model's metrics and losses over labeled batches.

    Args:
        info: of the model.
        observer: gets each prediction with its annotation; None for no observer.
        metrics: False to accumulate none, only for the observer.
    """

    def __init__(self, info: ModelInfo, observer: Observer | None = None, metrics: bool = True) -> None:
        self.tasks = {name: get_task(task) for name, (task, _) in info.branches.items()}
        self.labels = {name: labels for name, (_, labels) in info.branches.items()}
        measured = self.tasks if metrics else {}
        self.metrics: dict[str, Any] = {name: task.metric(self.labels[name]) for name, task in measured.items()}
        self.observer = observer
        self.device = torch.device("cpu")
        self.reset()

    def reset(self) -> None:
        """Resets all metrics and losses."""
        for metric in self.metrics.values():
            metric.reset()
        self.losses: LossMeter | None = None

    @torch.no_grad()
    def update(self, batch: Batch, model: VisionModel) -> None:
        """Adds one labeled batch (with its ground truth)."""
        targets = {name: (labeled.rows, labeled.targets) for name, labeled in batch.targets.items()}
        terms, outputs = model.loss(batch.images, batch.sizes, targets)
        self.device = batch.images.device
        self.losses = self.losses or LossMeter(model)
        self.losses.add(terms)
        whole = self._whole(batch, model, [name for name in targets if model.branch(name).boxes_from is not None])
        canvas = (batch.images.shape[-2], batch.images.shape[-1])
        for name, (rows, branch_targets) in targets.items():
            decoded = decode_float32(model.branch(name).decoder, outputs[name], Frame(canvas, batch.sizes[rows]))
            if name in whole:
                if name in self.metrics:
                    self.metrics[name].update_true_boxes(decoded, branch_targets)
                decoded = tree.tree_map(lambda value, rows=rows: value[rows], whole[name])
            self._add(name, batch, [value.cpu().numpy() for value in decoded])

    def update_decoded(self, batch: Batch, decoded: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Adds one labeled batch and its decoded outputs, by branch and for all of its images, without losses."""
        for name, labeled in batch.targets.items():
            self._add(name, batch, [value[labeled.rows.numpy()] for value in decoded[name]])

    def update_predicted(self, batch: Batch, results: Sequence[Result]) -> None:
        """Adds one labeled batch and the predictions of all of its images, by branch."""
        for name, labeled in batch.targets.items():
            rows = labeled.rows.tolist()
            self._update(name, [results[row][name] for row in rows], batch.ground_truths[name])
            for row, ground_truth in zip(rows, batch.ground_truths[name], strict=True):
                self._observe(name, batch, row, results[row][name], ground_truth)

    def _add(self, name: str, batch: Batch, decoded: Sequence[np.ndarray]) -> None:
        """Adds the predictions of a branch's labeled images, in their order, to its metric."""
        rows, task = batch.targets[name].rows.tolist(), self.tasks[name]
        waiting: list[tuple[Any, Any]] = []
        for position, (row, ground_truth) in enumerate(zip(rows, batch.ground_truths[name], strict=True)):
            origin = batch.origins[row]
            large = self.observer is not None and self.observer.needs_probabilities(name, origin.transform.original)
            values = [value[position] for value in decoded]
            prediction = task.predict_from(large)(values, origin.transform, self.labels[name], origin.path)
            self._observe(name, batch, row, prediction, ground_truth)
            if large:  # the probabilities of one image at a time are in memory
                self._update(name, [prediction], [ground_truth])
            else:
                waiting.append((prediction, ground_truth))
        self._update(name, [prediction for prediction, _ in waiting], [ground_truth for _, ground_truth in waiting])

    def _update(self, name: str, predictions: Sequence[Any], ground_truths: Sequence[Any]) -> None:
        if name in self.metrics and predictions:
            self.metrics[name].update(predictions, ground_truths)

    def _observe(self, name: str, batch: Batch, row: int, prediction: Any, ground_truth: Any) -> None:
        if self.observer is not None:
            self.observer.add(name, prediction, ground_truth, batch.origins[row].path)

    def _whole(self, batch: Batch, model: VisionModel, names: list[str]) -> dict[str, Any]:
        """Decoded outputs of branches that read boxes, with the predicted boxes and not the ground truth as their input."""
        if not names:
            return {}
        decoded = model(batch.images, batch.sizes)
        return {name: decoded[name] for name in names}

    def compute(self) -> dict[str, float]:
        """All metrics as ``branch/metric``; a branch without a labeled image has none.

        Every process must call it: metrics and losses are over all processes.
        """
        losses = {} if self.losses is None else self.losses.compute(self.device)
        scores: dict[str, float] = {}
        for name, metric in self.metrics.items():
            scores |= {f"{name}/{key}": float(value) for key, value in metric.compute().items()}
            if name in losses:
                scores[f"{name}/loss"] = losses[name]
        return scores


@convert_worker_exits()
def measure(info: ModelInfo, batches: Iterable[Batch], run: Run, observer: Observer | None = None) -> dict[str, float]:
    """All metrics of a runtime's decoded outputs, over labeled batches.

    Args:
        info: of the model.
        batches: labeled, on the model's canvas.
        run: maps canvases (N, C, H, W) uint8 and sizes (N, 2) to decoded outputs by branch.
        observer: see `Evaluation`.
    """
    evaluation = Evaluation(info, observer)
    for batch in batches:
        evaluation.update_decoded(batch, run(batch.images.numpy(), batch.sizes.numpy()))
    return evaluation.compute()


@convert_worker_exits()
def measure_predictions(
    info: ModelInfo, batches: Iterable[Batch], predict: Predict, observer: Observer | None = None
) -> dict[str, float]:
    """All metrics of predictions for image files, over labeled batches.

    Args:
        info: of the model.
        batches: labeled; only their files and ground truth are used.
        predict: maps files to predictions by branch, with objects of any score.
        observer: see `Evaluation`.
    """
    evaluation = Evaluation(info, observer)
    for batch in batches:
        evaluation.update_predicted(batch, predict([origin.path for origin in batch.origins]))
    return evaluation.compute()


def measure_in_torch(
    model: VisionModel, device: torch.device, threads: int | None = None, *, metrics: bool = True
) -> Measure:
    """A function that evaluates a model in PyTorch on labeled batches, with one optimized copy for all of its calls.

    Args:
        threads: number of torch's CPU threads, for the whole process; None: all usable CPUs.
        metrics: False to return none, only for the observer; then nothing is exchanged between processes.
    """
    if threads is None:
        limit_torch()
    else:
        torch.set_num_threads(threads)
    runs = inference_copy(model, device)
    used_device = device_of(model, device) if runs is model else device

    @convert_worker_exits()
    def measured(batches: Iterable[Batch], observer: Observer | None = None) -> dict[str, float]:
        evaluation = Evaluation(model_info(runs), observer, metrics)
        mode: AbstractContextManager[None] = evaluation_mode(model) if runs is model else nullcontext()
        with mode:
            for batch in batches:
                evaluation.update(batch.to(used_device), runs)
        return evaluation.compute() if metrics else {}

    return measured


def evaluate_loader(
    model: VisionModel, batches: Iterable[Batch], device: torch.device, threads: int | None = None
) -> dict[str, float]:
    """All metrics and losses of a model over labeled batches.

    Args:
        threads: see `measure_in_torch`.
    """
    return measure_in_torch(model, device, threads)(batches, None)
