"""The HTML report that a run writes at its end."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import torch

from vertebra.config import TrainConfig
from vertebra.data.open_datasets import Opened
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.errors import DataError
from vertebra.evaluation.measure import measure_in_torch
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.report.html_page import Picture
from vertebra.report.measured import Measured
from vertebra.report.model_summary import summarize_model
from vertebra.report.run_page import ReportContent, write_run_page
from vertebra.report.seen_images import seen_images
from vertebra.report.split_facts import split_facts
from vertebra.tasks.thresholds import ClassThresholds
from vertebra.training.diagnosed_images import DiagnosedImages, spread_images
from vertebra.training.loaders import RunData, choose_workers, evaluation_loader
from vertebra.training.run_facts import run_facts
from vertebra.training.selection import BestWeights

REPORT = "report.html"
SHOWN_IMAGES = 12  # images of the first steps that are shown
MAX_IMAGES = 2000  # validation images that the report of a run evaluates once more


def write_run_report(
    folder: Path,
    model: VisionModel,
    opened: Opened,
    val: Opened,
    data: RunData,
    kept: BestWeights,
    device: torch.device,
) -> dict[str, ClassThresholds]:
    """Writes the report of a run that has ended, with one more pass over at most `MAX_IMAGES` of its validation images.

    Args:
        folder: the run folder, with its table of metrics.
        model: has the best weights.
        opened, val: the data of training and evaluation.
        data: their loaders' data, as the network sees them.
        kept: the best weights' epoch and scores.
        device: where the model runs.

    Returns:
        By branch, the thresholds with the best F1 on these images; empty where they could not be evaluated.
    """
    info = model_info(model)
    facts = run_facts(folder, info, kept)
    measured, thresholds, notes = _measured(model, val, data, device)
    content = ReportContent(
        title=f"Run {folder.name}",
        source=folder,
        facts=facts,
        measured=measured,
        splits=[split_facts("train", opened), split_facts("val", val)],
        model=summarize_model(model),
        seen=first_images(data.train_set, data.recipe),
        metrics=facts.metrics,
        tasks=facts.tasks,
        notes=notes,
    )
    write_run_page(folder / REPORT, content)
    return thresholds


def _measured(
    model: VisionModel, val: Opened, data: RunData, device: torch.device
) -> tuple[Measured | None, dict[str, ClassThresholds], list[str]]:
    """The evaluation of the kept weights, its best thresholds, by which its pictures are drawn, and notes about what is missing.
    Its metrics are those of training, over all images; it computes none, since other processes of the run do not take part.
    """
    sources = spread_images(val.sources, MAX_IMAGES)
    info = model_info(model)
    try:
        loader = evaluation_loader(info, sources, data.recipe.batch_size, choose_workers(data.recipe.workers))
        measure = measure_in_torch(model, device, torch.get_num_threads(), metrics=False)
        images = DiagnosedImages(info, measure, loader, "val", available=len(data.val_set))
        measured = images.measured(images.examples(), images.thresholds)
    except DataError as error:
        return None, {}, [f"The validation images could not be evaluated once more: {error}"]
    return replace(measured, scores={}), images.thresholds, []


def first_images(data: MixedData, recipe: TrainConfig) -> list[Picture]:
    """The images of the first steps, as the network saw them: at least `SHOWN_IMAGES`, unless an epoch has fewer."""
    size = (recipe.batch_size or 1) * (recipe.accumulate or 1)
    sampler = MixSampler(data, size, seed=recipe.seed)
    sampler.divide(recipe.accumulate or 1)
    return seen_images(data, list(islice(chain.from_iterable(sampler), max(SHOWN_IMAGES, size))))
