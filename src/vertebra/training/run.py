"""Runs of training: start, resume, and finish with the run folder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vertebra.build import build, canvas_size, default_resize
from vertebra.config import Config, override
from vertebra.cpus import limit_torch
from vertebra.data.open_datasets import Opened, branch_tasks, fitting_size, open_split
from vertebra.data.workers import convert_worker_exits
from vertebra.errors import ConfigError, RunError, RunStopped, StoppedBySignal
from vertebra.files import os_errors_told, replacing
from vertebra.messages import is_first_process as _is_first_process
from vertebra.messages import say
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.object_parts import resolve_parts
from vertebra.preprocess.number_range import parse_scale
from vertebra.tasks import get_task
from vertebra.training.data_paths import with_absolute_paths
from vertebra.training.failures import as_user_error, check_single_images
from vertebra.training.fingerprint import fingerprint
from vertebra.training.folder import BEST, CONFIG, LAST, METRICS, Interrupted, RunFolder, check_new_folder, free_folder
from vertebra.training.hardware import check_hardware, check_memory
from vertebra.training.loaders import RunData
from vertebra.training.optimizers import check_optimizer
from vertebra.training.progress import ProgressDisplay
from vertebra.training.record import (
    RECORD,
    next_record,
    provenance,
    resolved,
    start_entry,
    start_lines,
    step_shape,
)
from vertebra.training.report import write_report
from vertebra.training.resuming import ResumableState, Resumption, check_data, consequences, plan_resumption
from vertebra.training.saved_state import check_state
from vertebra.training.selection import check_monitor, unmeasurable_notes
from vertebra.training.step import TrainingModule
from vertebra.training.trainer import make_trainer, silence_lightning
from vertebra.training.user_transform import Transform, take_transform, transform_note
from vertebra.weights.finetune import init_from
from vertebra.weights.model_file import describe, load_problem, load_weights

FOLDER_VARIABLE = "VERTEBRA_RUN_FOLDER"


class Finished(NamedTuple):
    """A run that has ended.

    Attributes:
        folder: of the run, with ``config.yaml``, ``model.safetensors`` (the best weights), ``last.ckpt``, ``metrics.csv``,
            ``run.json`` and ``report.html``.
        model: with the best weights, in evaluation mode.
    """

    folder: Path
    model: VisionModel


def train_raw(
    raw: Mapping[str, Any], *, overrides: Sequence[str] = (), out: Path | None = None, where: str = "config"
) -> Finished:
    """Trains the model of a config.

    Args:
        raw: the config as plain values.
        overrides: ``key=value`` assignments over it.
        out: the new run folder; by default ``runs/<first branch>``, with a number if that exists.
        where: file name for messages.

    Raises:
        VertebraError: something is wrong with the config, the data or the folder; the message names it.
    """
    raw, transform = take_transform(raw)
    return _train(with_absolute_paths(Config.from_raw(override(raw, overrides), where)), None, out, transform)


def train_model(model: VisionModel, raw: Mapping[str, Any], *, out: Path | None = None) -> Finished:
    """Trains an existing model in place; see `train_raw`.

    Args:
        model: with its canvas, classes and weights.
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
    return _train(with_absolute_paths(config), model, out, transform)


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


def _train(config: Config, model: VisionModel | None, out: Path | None, transform: Transform | None) -> Finished:
    """Trains a model; None: the model of the config."""
    hardware = check_hardware(config.train)
    check_optimizer(config.train)
    folder = _choose_folder(out, next(iter(config.model.branches)))
    opened = open_split(config, "train")
    if model is None:
        config = complete(config, opened)
    check_memory(
        config.train, canvas_size(config.train.image_size, set(branch_tasks(config).values())), hardware.device
    )
    val = open_split(config, "val")
    torch.manual_seed(config.train.seed)
    if model is None:
        model = _build(config)
    check_monitor(model_info(model), config.train.monitor)
    if config.model.init_from is not None:
        say(*init_from(model, config.model))
    return _run(config, model, opened, val, folder, None, transform)


def _choose_folder(out: Path | None, branch: str) -> Path:
    """A run's folder. The first process chooses it; processes that Lightning starts use the same.

    Raises:
        RunError: the folder is not empty.
        ConfigError: this is a further process of a run that was started by a launcher, without a folder.
    """
    if _is_first_process():
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

    These options may change, which is logged: ``train.epochs``, ``patience``, ``evaluate_every``, ``save_every_minutes``,
    ``workers``, ``accelerator``, ``devices``, ``num_nodes``, ``strategy``, ``precision``, and the paths of the data.

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
    objects = resolve_parts(parts, config.model)
    model = _build(config, pretrained=False, objects=objects)
    return _run(config, model, open_split(config, "train"), open_split(config, "val"), folder, resumption, transform)


def complete(config: Config, opened: Opened) -> Config:
    """The config with defaults from the data filled in: classes, canvas and resize mode."""
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
    if whole.train.image_size is None:
        whole.train.image_size = list(fitting_size([source.index for source in opened.sources], tasks))
    whole.train.image_size = list(canvas_size(whole.train.image_size, tasks))
    whole.train.resize = whole.train.resize or default_resize(tasks)  # type: ignore[assignment]
    return whole


def model_of_config(raw: dict[str, Any], where: str) -> VisionModel:
    """The untrained model of a config, without reading pretrained weights; data are opened only if the labels need them."""
    config = Config.from_raw(raw, where)
    tasks = branch_tasks(config)
    for name, branch in config.model.branches.items():
        if branch.classes is None or set(get_task(tasks[name]).labels.needed) - set(branch.label_fields):
            config = complete(config, open_split(config, "train"))
            break
    return _build(config, pretrained=False)


def _build(config: Config, **options: Any) -> VisionModel:
    """The model of a config, with the preprocessing of its training options; see `vertebra.build.build` for others."""
    train = config.train
    return build(config.model, image_size=train.image_size, resize=train.resize, scale=train.scale, **options)


def _run(
    config: Config,
    model: VisionModel,
    opened: Opened,
    val: Opened,
    folder: Path,
    resumption: Resumption | None,
    transform: Transform | None,
) -> Finished:
    recipe = config.train
    backbone: Any = model.backbone
    origin = getattr(backbone, "origin", "") or f"the weights that {type(backbone).__name__} came with"
    if config.model.init_from is not None:
        origin = f"weights of {config.model.init_from}"
    say(*opened.notes, *val.notes, *([] if resumption else [f"backbone: {origin}"]))
    data = RunData(model, recipe, opened.sources, val.sources, transform)
    data.check_augment()
    say(
        *transform_note(recipe),
        *unmeasurable_notes(model_info(model), data.val_set, recipe.monitor),
        *data.unmirrored(),
        *data.train_set.range_notes(),
    )
    run_folder = RunFolder(folder, recipe.monitor, recipe.patience, recipe.save_every_minutes)
    fingerprints = {"train": fingerprint(opened.sources), "val": fingerprint(val.sources)}
    if resumption is not None:
        check_data(resumption, fingerprints, folder)
    schedule_changed = resumption is not None and resumption.saved.config.train.epochs != recipe.epochs
    trainer = make_trainer(
        recipe, [run_folder, ResumableState(config, fingerprints, schedule_changed), ProgressDisplay()], model
    )
    limit_torch(sharing=trainer.num_devices)
    steps, size = step_shape(data, recipe, trainer.world_size)
    check_single_images(model, size // recipe.accumulate)
    values = resolved(config, model, data, trainer)
    changes = [] if resumption is None else [*resumption.changes, *consequences(resumption, steps, values["precision"])]
    record = next_record(folder, fingerprints, start_entry(values, changes))
    model.provenance = provenance(record)
    module = TrainingModule(model.to(memory_format=torch.channels_last), recipe, values["pretrained"])  # type: ignore[call-overload]
    if resumption is not None:
        check_state(folder / LAST, module, RunFolder.STATE)
    say(*start_lines(config, model, values, {"train": len(data.train_set), "val": len(data.val_set)}), *changes)
    with run_folder_for(folder, config, record), warnings.catch_warnings():
        silence_lightning()
        try:
            with convert_worker_exits():
                trainer.fit(
                    module, datamodule=data, ckpt_path=str(folder / LAST) if resumption else None, weights_only=True
                )
        except Interrupted:
            if not _is_first_process():
                raise SystemExit(128 + run_folder.stop.signal) from None  # the first process reports it
            raise RunStopped(
                f"stopped; everything is saved. Go on with: vertebra train --resume {folder}", run_folder.stop.signal
            ) from None
        except StoppedBySignal as stop:
            raise RunStopped(f"stopped at once; {_saved(folder)}", stop.number) from None
    if not module.losses:
        reason = (
            f"train.patience ({recipe.patience}) is used up"
            if run_folder.out_of_patience
            else f"all {recipe.epochs} epochs are done"
        )
        say(f"nothing left to train: {reason}")
        if run_folder.kept.epoch is None:
            run_folder.keep_newest(trainer, module)
    say(*module.notes(), *data.notes())
    if run_folder.kept.epoch is None:
        raise RunError(f"{folder}: no evaluation had weights that can be kept; lower train.lr, and train anew")
    _take_best_weights(model, folder)
    if trainer.is_global_zero:
        _write(folder / RECORD, json.dumps({**record, "kept": run_folder.kept.to_dict()}, indent=2) + "\n")
        images = [source.index.path(row) for source in val.sources for row in range(len(source.index))]
        write_report(folder, model, images, run_folder.kept)
        say(f"{run_folder.kept.summary()}; run folder {folder}")
    return Finished(folder, model)


def _take_best_weights(model: VisionModel, folder: Path) -> None:
    """Loads the best weights of a run into the trained model, and sets it to evaluation mode."""
    path = folder / BEST
    if path.is_file():
        load_weights(model, path)
    else:  # this process runs on another machine
        say(f"{path} is not on this machine, so the model here keeps its newest weights")
    model.eval()


def _saved(folder: Path) -> str:
    """How to continue a run that did not save when it stopped."""
    if (folder / LAST).exists():
        return f"go on from the last save with: vertebra train --resume {folder}"
    return "nothing was saved yet"


@contextmanager
def run_folder_for(folder: Path, config: Config, record: Mapping[str, Any]) -> Iterator[None]:
    """Makes the run folder with its config and record just before training; removes it if training ends before anything was
    saved.

    Raises:
        VertebraError: instead of an error of the engine that a user can fix.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        if _is_first_process():
            with os_errors_told(folder):
                folder.mkdir(parents=True, exist_ok=True)
            _write(folder / CONFIG, config.to_yaml())
            _write(folder / RECORD, json.dumps(record, indent=2) + "\n")
            os.environ[FOLDER_VARIABLE] = str(folder)
        yield
    except BaseException as error:
        if _is_first_process() and not any((folder / name).exists() for name in (LAST, BEST)):
            _remove_empty_run(folder, created)
        user_error = as_user_error(error) if isinstance(error, Exception) else None
        if user_error is None:
            raise
        raise user_error from error


def _write(path: Path, text: str) -> None:
    """Writes a small file atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _remove_empty_run(folder: Path, created: Sequence[Path]) -> None:
    """Removes the files of a run that has saved nothing, and the folders that were made for it."""
    for name in (CONFIG, RECORD, METRICS, f"{LAST}.partial"):
        (folder / name).unlink(missing_ok=True)
    for parent in created:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
