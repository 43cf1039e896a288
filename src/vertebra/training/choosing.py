"""Chooses the options of a run that the user left open, from its data and the machine; the rules are in `vertebra.recipe`."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as pl
import torch

from vertebra.config import AUTO, Config, PartConfig, TrainConfig
from vertebra.data.open_datasets import Opened
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.decoders.base import AnyDecoder
from vertebra.errors import RunError
from vertebra.evaluation.process_sums import sum_over_processes
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.recipe.choices import (
    Choice,
    DataFacts,
    choose_backbone_lr,
    choose_epochs,
    choose_evaluations,
    choose_frozen_share,
    step_images,
)
from vertebra.recipe.defaults import MANY_IMAGES, RECIPES
from vertebra.tasks import all_image_level, get_task
from vertebra.training.frozen_start import can_freeze
from vertebra.training.hardware import Hardware, local_device
from vertebra.training.loaders import mixed
from vertebra.training.memory import memory_budget
from vertebra.training.micro_batch import fitting_images
from vertebra.training.resolved_config import ResolvedConfig, ResolvedTrain, resolved_config


def make_choices(
    config: Config, model: VisionModel, opened: Opened, val: Opened, hardware: Hardware
) -> tuple[ResolvedConfig, list[Choice]]:
    """A config with all options, and the options that were chosen here; what the user has set is kept.

    Args:
        config: with classes and canvas.
        model: the model, which is not changed.
        opened: training data.
        val: evaluation data.
        hardware: of the run.

    Raises:
        DataError: there is no labeled image.
    """
    whole = config.model_copy(deep=True)
    train, choices = whole.train, []
    data = mixed(model_info(model), opened.sources, train.seed, None)
    facts = data_facts(model, data, len(mixed(model_info(model), val.sources, train.seed, None)), hardware, train)
    if train.augment.name == AUTO:
        train.augment = PartConfig(name=RECIPES[train.recipe].augment, **train.augment.options)
        choices.append(Choice("augment", train.augment.name, f"of recipe '{train.recipe}'"))
    choices += _choose_batch(train, model, data, facts, hardware)
    assert train.batch_size is not None and train.accumulate is not None
    if train.epochs is None:
        steps = MixSampler(data, train.batch_size * train.accumulate, world_size=facts.processes).steps
        train.epochs, reason = choose_epochs(facts.images, steps, train.recipe, facts.steps_factor)
        choices.append(Choice("epochs", train.epochs, reason))
    if train.evaluate_every is None:
        train.evaluate_every, reason = choose_evaluations(train.epochs, facts.images, facts.val_images)
        choices.append(Choice("evaluate_every", train.evaluate_every, reason))
    if train.backbone_lr is None:
        train.backbone_lr = choose_backbone_lr(facts.image_level)
    if train.freeze_backbone is None:
        freezes = can_freeze(train.strategy) and _begins_with_backbone(config, model)
        train.freeze_backbone, reason = choose_frozen_share(facts.image_level) if freezes else (0.0, "")
        choices += [Choice("freeze_backbone", train.freeze_backbone, reason)] if freezes else []
    return resolved_config(whole), choices


def _begins_with_backbone(config: Config, model: VisionModel) -> bool:
    """Whether a model begins with a pretrained backbone, which is trained on, and with random branches."""
    trains_backbone = any(parameter.requires_grad for parameter in model.backbone.parameters())
    return bool(model.backbone.pretrained) and trains_backbone and not (config.model.init_from or _is_trained(model))


def _is_trained(model: VisionModel) -> bool:
    """Whether not only the backbone, but all of a model was trained, here or in another library."""
    return bool(model.provenance) or model.origin not in ({}, dict(model.backbone.weights_from))


def data_facts(
    model: VisionModel, data: MixedData, val_images: int, hardware: Hardware, train: TrainConfig
) -> DataFacts:
    """What the choices depend on."""
    branches = set(model.branches)
    return DataFacts(
        images=MixSampler(data, 1).total,
        val_images=val_images,
        branches=len(branches),
        image_level=all_image_level(model.branch(name).task for name in branches),
        steps_factor=max(get_task(model.branch(name).task).data.steps_factor for name in branches),
        partly_labeled=any(set(group.branches) != branches for group in data.groups),
        processes=hardware.processes * train.num_nodes,
    )


def _choose_batch(
    train: TrainConfig, model: VisionModel, data: MixedData, facts: DataFacts, hardware: Hardware
) -> list[Choice]:
    """Sets the micro batch and the number of micro batches in a step."""
    if train.batch_size is not None:
        train.accumulate = train.accumulate or 1
        return []
    size, reason = step_images(facts)
    if train.accumulate is not None:
        train.batch_size = max(1, size // train.accumulate)
        return [
            Choice("batch_size", train.batch_size, f"{reason}, in the {train.accumulate} parts of train.accumulate")
        ]
    device = local_device(train, hardware)
    budget = memory_budget(device, hardware.processes, alone=facts.processes == 1)
    images, limit = fitting_images(model, data, train, size, device, budget)
    train.batch_size, train.accumulate = images, size // images
    batch = Choice("batch_size", images, "; ".join(filter(None, [reason, limit])))
    if images == size:
        return [batch]
    return [batch, Choice("accumulate", train.accumulate, f"a step still has {size} images")]


def few_images_notes(model: VisionModel, data: MixedData, initialized: bool) -> list[str]:
    """A line for each branch whose decoder learns slowly and has few images, with what to take instead.

    Args:
        model: before the run.
        data: training images.
        initialized: whether all of its weights come from a trained model, not only the backbone's.
    """
    if initialized or _is_trained(model):
        return []
    images = {name: sum(len(group.rows) for group in data.groups if name in group.branches) for name in model.branches}
    return [
        _few_images_note(name, model.branch(name).decoder, count)
        for name, count in images.items()
        if model.branch(name).decoder.needs_many_images and count < MANY_IMAGES
    ]


def _few_images_note(branch: str, decoder: AnyDecoder, count: int) -> str:
    instead = " and ".join(f"{kind} {name}" for kind, name in get_task(decoder.task).default_parts.items())
    return (
        f"branch '{branch}': {type(decoder).__name__} learns slowly, and {count} training images are few for it without trained "
        f"weights; take {instead}, or start from a trained model (model.init_from, --from)"
    )


class SameChoices(pl.Callback):
    """Checks that all processes of a run have chosen the same.

    Args:
        recipe: of this process.
    """

    def __init__(self, recipe: ResolvedTrain) -> None:
        self.numbers: Sequence[int] = (recipe.batch_size, recipe.accumulate, recipe.epochs, recipe.evaluate_every)

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compares the numbers of all processes.

        Raises:
            RunError: they differ.
        """
        if trainer.world_size == 1:
            return
        numbers = torch.tensor(self.numbers, dtype=torch.float64, device=module.device)
        sums = sum_over_processes(torch.stack([numbers, numbers**2]))
        if not torch.equal(sums[0] ** 2, trainer.world_size * sums[1]):
            raise RunError(
                "the processes of this run have chosen different batch sizes, since their memory differs; set train.batch_size and "
                "train.accumulate"
            )
