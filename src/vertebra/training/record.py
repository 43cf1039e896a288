"""Records of a run: ``run.json`` in its folder, the provenance in its model file, and its first messages."""

from __future__ import annotations

import datetime
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vertebra import __version__
from vertebra.annotations.notes import plural
from vertebra.config import Config, PartConfig
from vertebra.data.sampler import MixSampler
from vertebra.model import VisionModel
from vertebra.recipe.choices import Choice
from vertebra.training.fingerprint import Fingerprint
from vertebra.training.loaders import RunData, choose_workers
from vertebra.training.optimizers import peak_lr, weight_decay
from vertebra.training.process_id import this_process
from vertebra.training.record_file import RECORD as RECORD
from vertebra.training.record_file import read_record as read_record
from vertebra.training.resolved_config import ResolvedConfig, ResolvedTrain

FOLDERS = re.compile(
    r"""(?:\b[A-Za-z]:(?=[/\\]))?[^\s=,:\[\]{}'"]*[/\\]"""
)  # everything before the last name of a path
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy")


def versions() -> dict[str, str]:
    """Versions of Vertebra, of Python and of the packages that a model's weights depend on."""
    return {"vertebra": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def resolved(config: ResolvedConfig, model: VisionModel, data: RunData, trainer: pl.Trainer) -> dict[str, Any]:
    """The options of a run, with defaults and automatic choices filled in."""
    recipe = config.train
    steps, sizes = step_shape(data, recipe, trainer.world_size)
    rate = peak_lr(recipe)
    pretrained = bool(model.backbone.pretrained) or was_pretrained(config)
    return {
        "recipe": recipe.recipe,
        "epochs": recipe.epochs,
        "steps_per_epoch": steps,
        "images_per_step": max(sizes) * trainer.world_size,
        "batch_size": recipe.batch_size,
        "accumulate": recipe.accumulate,
        "image_size": list(model.resize_spec.size),
        "resize": model.resize_spec.mode,
        "augment": _in_words(recipe.augment),
        "optimizer": _in_words(recipe.optimizer),
        "lr": rate,
        "backbone_lr": rate * recipe.backbone_lr if pretrained else rate,
        "weight_decay": weight_decay(recipe),
        "lr_schedule": _in_words(recipe.lr_schedule),
        "ema": recipe.ema,
        "seed": recipe.seed,
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
        "processes": trainer.world_size,
        "workers": choose_workers(recipe.workers, trainer.num_devices),
        "pretrained": pretrained,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _in_words(part: PartConfig) -> str:
    """A name with its options: "sgd (momentum 0.8)"."""
    options = ", ".join(f"{name} {value}" for name, value in part.options.items())
    return f"{part.name} ({options})" if options else part.name


def step_shape(data: RunData, recipe: ResolvedTrain, processes: int) -> tuple[int, list[int]]:
    """Steps in an epoch, and the images of each of its batches."""
    sampler = MixSampler(data.train_set, recipe.batch_size * recipe.accumulate, world_size=processes)
    sampler.divide(recipe.accumulate)
    return sampler.steps, sampler.sizes


def was_pretrained(config: Config) -> bool:
    """Whether a run began with pretrained weights, also if it is resumed and the model is built without them."""
    initialized = config.model.init_from is not None
    return initialized or config.model.backbone.options.get("pretrained", False) is not False


def start_entry(values: Mapping[str, Any], changes: list[str]) -> dict[str, Any]:
    """The record of one start or resumption of a run.

    Args:
        values: as returned by `resolved`.
        changes: changes since the last start, in words.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "date": now.isoformat(timespec="seconds"),
        "command": command,
        "working_directory": str(Path.cwd()),
        "process": this_process(),
        "versions": versions(),
        "resolved": dict(values),
        "changes": changes,
    }


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's record in its model file: nothing about the machine, and only the last names of paths."""
    first, last = record["starts"][0], record["starts"][-1]
    return {
        "date": first["date"],
        "command": without_folders(last["command"]),
        "versions": last["versions"],
        "data": record["data"],
        "training": last["resolved"],
    }


def without_folders(command: str) -> str:
    """A command with the last names of its paths only: ``--data /home/me/cells`` is ``--data cells``."""
    return shlex.join(FOLDERS.sub("", word.rstrip("/\\")) for word in shlex.split(command))


def next_record(
    folder: Path, data: Mapping[str, Fingerprint], entry: dict[str, Any], choices: Sequence[Choice] = ()
) -> dict[str, Any]:
    """The record of a run that starts or resumes.

    Args:
        folder: of the run; entries of an existing record are kept.
        data: fingerprints by split.
        entry: of this start.
        choices: the options that were chosen for a new run; those of an existing record are kept.
    """
    older = read_record(folder) or {}
    chosen = older.get("choices") or [asdict(choice) for choice in choices]
    log = {"log": older["log"]} if isinstance(older.get("log"), dict) else {}  # the run at the services of its loggers
    starts = [*older.get("starts", ()), entry]
    return {"folder": str(folder.absolute()), "data": dict(data), "choices": chosen, "starts": starts, **log}


def recorded_folder(folder: Path) -> str | None:
    """The path of a run folder when the paths in its config were written; None if unknown."""
    record = read_record(folder)
    return None if record is None else str(record["folder"])


def start_lines(config: Config, model: VisionModel, values: Mapping[str, Any], images: Mapping[str, int]) -> list[str]:
    """The choices of a run in four lines, printed before it begins, after the line on the backbone's weights."""
    branches = ", ".join(
        f"{name} ({model.branch(name).task}, {_count(len(model.branch(name).labels.classes), 'class')})"
        for name in model.branches
    )
    paths = dict.fromkeys(source.path for split in ("train", "val") for source in getattr(config.data, split))
    counts = ", ".join(f"{_count(count, 'image')} in {split}" for split, count in images.items())
    height, width = values["image_size"]
    total = values["epochs"] * values["steps_per_epoch"]
    devices = f"{values['device']}, {_count(values['processes'], 'process')}"
    average = "no moving average" if values["ema"] is None else f"moving average {values['ema']}"
    backbone_lr = "" if values["backbone_lr"] == values["lr"] else f" (backbone {values['backbone_lr']:g})"
    accumulated = f", in {values['accumulate']} parts" if values["accumulate"] > 1 else ""
    return [
        f"model: {config.model.backbone.name}, {values['parameters'] / 1e6:.1f} M parameters; {branches}",
        f"data: {counts}, from {', '.join(paths)}; canvas {height}x{width} by {values['resize']}, augmentation "
        f"{values['augment']}",
        f"steps: {_count(values['images_per_step'], 'image')}{accumulated}; {values['steps_per_epoch']} an epoch, {total} in "
        f"{_count(values['epochs'], 'epoch')}; seed {values['seed']}",
        f"training: {values['optimizer']}, learning rate {values['lr']:g}{backbone_lr}, weight decay "
        f"{values['weight_decay']:g}, {average}; {values['precision']} on {devices}, {_count(values['workers'], 'loader process')}",
    ]


def choice_lines(choices: Sequence[Choice]) -> list[str]:
    """What was chosen for a run, and why; a line for each option."""
    return [f"chosen: {choice}" for choice in choices]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else plural(noun)}"
