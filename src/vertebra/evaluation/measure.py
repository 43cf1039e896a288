"""Measures a model on labeled images: the losses, and each task's metrics in the images' own pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.cpus import limit_torch
from vertebra.data.batches import Batch
from vertebra.data.workers import convert_worker_exits
from vertebra.evaluation.loss_meter import LossMeter
from vertebra.features import Frame
from vertebra.inference.predictor import model_info
from vertebra.inference.results import Result
from vertebra.model import VisionModel, decode_float32
from vertebra.model_info import ModelInfo
from vertebra.optimize.inference_copy import inference_copy
from vertebra.tasks import get_task

Run = Callable[[np.ndarray, np.ndarray], Mapping[str, Sequence[np.ndarray]]]
Predict = Callable[[Sequence[Any]], Sequence[Result]]


class Evaluation:
    """Collects what a model gives for labeled batches.

    Args:
        info: of the models that `update` is given.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.tasks = {name: get_task(task) for name, (task, _) in info.branches.items()}
        self.labels = {name: labels for name, (_, labels) in info.branches.items()}
        self.metrics: dict[str, Any] = {name: task.metric(self.labels[name]) for name, task in self.tasks.items()}
        self.device = torch.device("cpu")
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        for metric in self.metrics.values():
            metric.reset()
        self.losses: LossMeter | None = None

    @torch.no_grad()
    def update(self, batch: Batch, model: VisionModel) -> None:
        """Adds one labeled batch (with its truths)."""
        targets = {name: (own.rows, own.targets) for name, own in batch.targets.items()}
        terms, outputs = model.loss(batch.images, batch.sizes, targets)
        self.device = batch.images.device
        self.losses = self.losses or LossMeter(model)
        self.losses.add(terms)
        whole = self._whole(batch, model, [name for name in targets if model.branch(name).boxes_from is not None])
        canvas = (batch.images.shape[-2], batch.images.shape[-1])
        for name, (rows, _) in targets.items():
            decoder = model.branch(name).decoder
            if name in whole:
                decoded = tree.tree_map(lambda value, rows=rows: value[rows], whole[name])
            else:
                decoded = decode_float32(decoder, outputs[name], Frame(canvas, batch.sizes[rows]))
            self._add(name, batch, [value.cpu().numpy() for value in decoded])

    def update_decoded(self, batch: Batch, decoded: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Adds one labeled batch and what was decoded of it elsewhere, by branch and for all of its images; no loss is known."""
        for name, own in batch.targets.items():
            self._add(name, batch, [value[own.rows.numpy()] for value in decoded[name]])

    def update_predicted(self, batch: Batch, results: Sequence[Result]) -> None:
        """Adds one labeled batch and the predictions of all of its images, by branch."""
        for name, own in batch.targets.items():
            self.metrics[name].update([results[row][name] for row in own.rows.tolist()], batch.ground_truths[name])

    def _add(self, name: str, batch: Batch, decoded: Sequence[np.ndarray]) -> None:
        """Predictions of a branch's labeled images, in their order, into its metric."""
        predictions = [
            self.tasks[name].from_decoded(
                [value[place] for value in decoded],
                batch.origins[row].transform,
                self.labels[name],
                batch.origins[row].path,
            )
            for place, row in enumerate(batch.targets[name].rows.tolist())
        ]
        self.metrics[name].update(predictions, batch.ground_truths[name])

    def _whole(self, batch: Batch, model: VisionModel, names: list[str]) -> dict[str, Any]:
        """Decoded outputs of branches that read another branch's boxes: those boxes, not the truth, count here."""
        if not names:
            return {}
        decoded = model(batch.images, batch.sizes)
        return {name: decoded[name] for name in names}

    def compute(self) -> dict[str, float]:
        """All metrics as ``branch/metric``; a branch without a labeled image has none.

        Every process must call it: metrics and losses are of what all of them saw.
        """
        losses = {} if self.losses is None else self.losses.compute(self.device)
        scores: dict[str, float] = {}
        for name, metric in self.metrics.items():
            scores |= {f"{name}/{key}": float(value) for key, value in metric.compute().items()}
            if name in losses:
                scores[f"{name}/loss"] = losses[name]
        return scores


@convert_worker_exits()
def measure(info: ModelInfo, batches: Iterable[Batch], run: Run) -> dict[str, float]:
    """All metrics of what runs elsewhere, over labeled batches.

    Args:
        info: of what runs.
        batches: labeled, on the canvas of the face.
        run: from canvases (N, C, H, W) uint8 and sizes (N, 2) to decoded outputs by branch.
    """
    evaluation = Evaluation(info)
    for batch in batches:
        evaluation.update_decoded(batch, run(batch.images.numpy(), batch.sizes.numpy()))
    return evaluation.compute()


@convert_worker_exits()
def measure_predictions(info: ModelInfo, batches: Iterable[Batch], predict: Predict) -> dict[str, float]:
    """All metrics of what takes images as they are, over labeled batches of files.

    Args:
        info: of what predicts.
        batches: labeled, of which only the files and truths count.
        predict: from files to predictions by branch, of all objects however doubtful.
    """
    evaluation = Evaluation(info)
    for batch in batches:
        evaluation.update_predicted(batch, predict([origin.path for origin in batch.origins]))
    return evaluation.compute()


@convert_worker_exits()
def evaluate_loader(
    model: VisionModel, batches: Iterable[Batch], device: torch.device, threads: int | None = None
) -> dict[str, float]:
    """All metrics of a model over labeled batches, the losses too.

    Args:
        threads: of the CPU that torch may use, for the whole process; None for as many as the process may use.
    """
    if threads is None:
        limit_torch()
    else:
        torch.set_num_threads(threads)
    model = inference_copy(model, device)
    evaluation = Evaluation(model_info(model))
    for batch in batches:
        evaluation.update(batch.to(device), model)
    return evaluation.compute()
