"""Runs of training: from a config or a model, and resumed from a run folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from vertebra.build import build, canvas_size, default_resize
from vertebra.config import Config, override
from vertebra.data.canvas import measured_canvas
from vertebra.data.check.before_training import check_before_training
from vertebra.data.open_datasets import Opened, branch_tasks, open_split
from vertebra.errors import ConfigError
from vertebra.messages import emit, is_first_process
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.object_parts import resolve_parts
from vertebra.optimize.model_state import count_fused_steps
from vertebra.preprocess.number_range import parse_scale
from vertebra.recipe.choices import Choice
from vertebra.tasks import get_task
from vertebra.training.budget import budget_seconds
from vertebra.training.budget_choices import BudgetRun, fit_into_budget
from vertebra.training.choosing import make_choices
from vertebra.training.data_paths import with_absolute_paths
from vertebra.training.execution import FOLDER_VARIABLE, Finished, run_training
from vertebra.training.folder import check_new_folder, free_folder
from vertebra.training.hardware import check_hardware, check_memory
from vertebra.training.label_scope import check_scope
from vertebra.training.loggers import check_loggers
from vertebra.training.optimizers import check_optimizer
from vertebra.training.resuming import plan_resumption
from vertebra.training.selection import check_monitor
from vertebra.training.teacher import with_teacher_canvas
from vertebra.training.user_transform import Transform, take_transform
from vertebra.weights.finetune import init_from
from vertebra.weights.model_file import describe, load_problem
from vertebra.weights.stored_calibration import calibration_header, take_calibration


def train_raw(
    raw: Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    where: str = "config",
    callbacks: Sequence[pl.Callback] = (),
) -> Finished:
    """Trains the model of a config.

    Args:
        raw: the config as plain values.
        overrides: ``key=value`` assignments over it.
        out: the new run folder; by default ``runs/<first branch>``, with a number if that exists.
        where: file name for messages.
        callbacks: Lightning's, called after those that save the run.

    Raises:
        VertebraError: something is wrong with the config, the data or the folder; the message names it.
    """
    raw, transform = take_transform(raw)
    config = with_absolute_paths(Config.from_raw(override(raw, overrides), where))
    return _train(config, None, out, transform, callbacks)


def train_model(model: VisionModel, raw: Mapping[str, Any], *, out: Path | None = None) -> Finished:
    """Trains an existing model in place; see `train_raw`.

    Args:
        model: with its canvas, classes and weights. If training fails, it has the weights of the last step, which is printed.
        raw: ``data`` and ``train`` of a config.
        out: as for `train_raw`.

    Raises:
        VertebraError: as of `train_raw`, or the model cannot be trained.
    """
    if any(value.is_inference() for value in (*model.parameters(), *model.buffers())):
        raise ConfigError("this model was made in torch.inference_mode, where nothing can be trained; make it outside")
    problem = load_problem(model)
    if problem is not None:
        raise ConfigError(f"this model cannot be trained: {problem}")
    raw, transform = take_transform(raw)
    train = _with_canvas(model, raw.get("train", {}))
    config = Config.from_raw({**raw, "model": describe(model)["model"], "train": train}, "config")
    with _report_partial_training(model):
        return _train(with_absolute_paths(config), model, out, transform)


@contextmanager
def _report_partial_training(model: VisionModel) -> Iterator[None]:
    """If its body fails, prints which weights the model has; without any training step, also restores the origin of its weights and
    their calibration."""
    count_fused_steps()
    provenance_before, versions, calibration = model.provenance, _versions(model), calibration_header(model)
    try:
        yield
    except BaseException:
        if _versions(model) == versions:
            model.provenance = provenance_before
            take_calibration(model, calibration)
        else:
            emit("training did not end: the model has the weights of its last training step")
        raise


def _versions(model: VisionModel) -> list[int]:
    """How often each parameter was changed in place."""
    return [value._version for value in model.parameters()]


def _with_canvas(model: VisionModel, train: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training with the canvas of an existing model.

    Raises:
        ConfigError: the options have another canvas.
    """
    size, mode = model.resize_spec.size, model.resize_spec.mode
    if mode == "shortest_edge":
        raise ConfigError(
            "this model gives each image a canvas of its own shape (resize 'shortest_edge'), and training needs one canvas for "
            "a batch; save the model and train from its file: vertebra.load(FILE).fit(...), or vertebra train --from FILE"
        )
    image_size = train.get("image_size")
    if image_size is not None and canvas_size(image_size, ()) != size:
        raise ConfigError(
            f"image_size: the model has a canvas of {size[0]}x{size[1]}; build it for another one: create_model(image_size=...)"
        )
    if train.get("resize") not in (None, mode):
        raise ConfigError(f"resize: the model has '{mode}'; build it for another one: create_model(resize=...)")
    scale = model.resize_spec.scale
    if train.get("scale") is not None and parse_scale(train["scale"]) != scale:
        raise ConfigError(f"scale: the model has {scale}; build it for another range: create_model(scale=...)")
    return {**train, "image_size": list(size), "resize": mode, "scale": scale if scale == "auto" else list(scale)}


def _train(
    config: Config,
    model: VisionModel | None,
    out: Path | None,
    transform: Transform | None,
    callbacks: Sequence[pl.Callback] = (),
) -> Finished:
    """Trains a model; None: the model of the config."""
    began = time.monotonic()
    hardware = check_hardware(config.train)
    check_optimizer(config.train)
    check_loggers(config.train.log)
    folder = _choose_folder(out, next(iter(config.model.branches)))
    opened = open_split(config, "train")
    choices: list[Choice] = []
    if model is None:
        config, choices = complete(with_teacher_canvas(config), opened)
    check_memory(
        config.train, canvas_size(config.train.image_size, set(branch_tasks(config).values())), hardware.device
    )
    val = open_split(config, "val")
    if config.data.check and is_first_process():
        emit(*check_before_training(opened.sources, val.sources))
    torch.manual_seed(config.train.seed)
    if model is None:
        model = _build(config)
    check_monitor(model_info(model), config.train.monitor)
    check_scope(model, opened.sources)
    if config.model.init_from is not None:
        emit(*init_from(model, config.model))
    seconds = budget_seconds(config)
    if seconds is None:
        resolved, further = make_choices(config, model, opened, val, hardware)
        return run_training(resolved, model, opened, val, folder, [*choices, *further], None, transform, callbacks)
    run = BudgetRun(opened, val, hardware, transform, _rebuild, seconds, began)
    resolved, model, choices, first = fit_into_budget(config, model, choices, run)
    return run_training(resolved, model, opened, val, folder, choices, None, transform, callbacks, first)


def _rebuild(config: Config) -> VisionModel:
    """The model of a config that differs in the canvas only, as a run begins with it."""
    torch.manual_seed(config.train.seed)
    model = _build(config)
    if config.model.init_from is not None:
        init_from(model, config.model)
    return model


def _choose_folder(out: Path | None, branch: str) -> Path:
    """A run's folder. The first process chooses it; processes that Lightning starts use the same.

    Raises:
        RunError: the folder is not empty.
        ConfigError: this is a further process of a run that was started by a launcher, without a folder.
    """
    if is_first_process():
        folder = free_folder(Path("runs") / branch) if out is None else out
        check_new_folder(folder)
        return folder
    started = os.environ.get(FOLDER_VARIABLE)
    if out is None and started is None:
        raise ConfigError("name the run folder (out=..., or --out) where several processes are started from outside")
    return Path(started) if out is None and started is not None else Path(str(out))


def resume_run(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    parts: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Finished:
    """Resumes a run where it stopped; without changes, it ends with the same weights as a run that was not stopped.

    These options may change, which is logged: ``train.epochs``, ``budget``, ``patience``, ``evaluate_every``,
    ``save_every_minutes``, ``workers``, ``log``, ``cache``, ``accelerator``, ``devices``, ``num_nodes``, ``strategy``,
    ``precision``, ``compile``, the paths of the data and of ``teacher``, and ``batch_size`` and ``accumulate`` if a step keeps its
    images.

    Args:
        folder: the run folder.
        data: the new path of the same data; None if they did not move, or moved together with the run folder.
        overrides: ``key=value`` assignments over the run's config.
        parts: the objects that the model was built from; see `vertebra.object_parts.resolve_parts`.
        sections: values over the run's config, such as ``train={"epochs": 40}``.

    Raises:
        VertebraError: the run cannot be resumed, an option must not change, or the data are missing or differ.
    """
    folder = Path(folder)
    sections, transform = take_transform(sections)
    resumption = plan_resumption(folder, data=data, overrides=overrides, sections=sections)
    config = resumption.config
    check_loggers(config.train.log)
    objects = resolve_parts(parts, config.model)
    model = _build(config, pretrained=False, objects=objects)
    return run_training(
        config, model, open_split(config, "train"), open_split(config, "val"), folder, (), resumption, transform
    )


def complete(config: Config, opened: Opened) -> tuple[Config, list[Choice]]:
    """The config with defaults from the data filled in: classes, canvas and resize mode; and what was chosen."""
    whole = config.model_copy(deep=True)
    for name, branch in whole.model.branches.items():
        branch.task = branch_tasks(config)[name]
        labels = opened.labels.get(name)
        if labels is None:
            if branch.classes is None:
                raise ConfigError(
                    f"branch '{name}': no training data is labeled for it; name it in a source's 'branches'"
                )
            continue
        branch.classes = list(labels.classes) if branch.classes is None else branch.classes
        for key, value in labels.fields_for(branch.label_fields).items():
            setattr(branch, key, json.loads(json.dumps(value)))
    tasks = set(branch_tasks(config).values())
    choices = []
    if whole.train.image_size is None:
        indices = [source.index for source in opened.sources]
        size, reason = measured_canvas(indices, tasks, whole.train.recipe)
        whole.train.image_size = list(size)
        choices.append(Choice("image_size", list(size), reason))
    whole.train.image_size = list(canvas_size(whole.train.image_size, tasks))
    whole.train.resize = whole.train.resize or default_resize(tasks)  # type: ignore[assignment]
    return whole, choices


def model_of_config(raw: dict[str, Any], where: str) -> VisionModel:
    """The untrained model of a config, without reading pretrained weights; data are opened only if the labels need them."""
    config = Config.from_raw(raw, where)
    tasks = branch_tasks(config)
    for name, branch in config.model.branches.items():
        if branch.classes is None or set(get_task(tasks[name]).labels.needed) - set(branch.label_fields):
            config, _ = complete(config, open_split(config, "train"))
            break
    return _build(config, pretrained=False)


def _build(config: Config, **options: Any) -> VisionModel:
    """The model of a config, with the preprocessing of its training options; see `vertebra.build.build` for others."""
    train = config.train
    return build(config.model, image_size=train.image_size, resize=train.resize, scale=train.scale, **options)
