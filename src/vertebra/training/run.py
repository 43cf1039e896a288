"""A run from its config to its folder: train, resume, evaluate."""

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
from vertebra.inference.predictor import model_info
from vertebra.messages import is_first_process as _is_first_process
from vertebra.messages import say
from vertebra.model import VisionModel
from vertebra.object_parts import resolve_parts
from vertebra.tasks import get_task
from vertebra.training.data_paths import with_absolute_paths
from vertebra.training.failures import check_single_images, explained
from vertebra.training.fingerprint import fingerprint
from vertebra.training.folder import BEST, CONFIG, LAST, METRICS, Interrupted, RunFolder, free_folder, refuse_taken
from vertebra.training.hardware import check_hardware, check_memory
from vertebra.training.loaders import RunData
from vertebra.training.optimizers import check_optimizer
from vertebra.training.progress import ProgressDisplay
from vertebra.training.record import (
    RECORD,
    next_record,
    opening_lines,
    provenance,
    resolved,
    start_entry,
    step_shape,
)
from vertebra.training.report import write_report
from vertebra.training.resuming import ResumableState, Resumption, check_data, consequences, plan_resumption
from vertebra.training.saved_state import check_state
from vertebra.training.selection import check_monitor, unmeasurable
from vertebra.training.step import TrainingModule
from vertebra.training.trainer import make_trainer, silence_lightning
from vertebra.weights.finetune import init_from
from vertebra.weights.model_file import describe, load_weights

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
        out: the run folder to make; by default ``runs/<first branch>``, with a number if that is taken.
        where: file name for messages.

    Raises:
        VertebraError: something is wrong with the config, the data or the folder; the message says what.
    """
    return _train(with_absolute_paths(Config.from_raw(override(dict(raw), overrides), where)), None, out)


def train_model(model: VisionModel, raw: Mapping[str, Any], *, out: Path | None = None) -> Finished:
    """Trains a model that is built already, in place; see `train_raw`.

    Args:
        model: has its canvas, classes and weights.
        raw: ``data`` and ``train`` of a config.
        out: as for `train_raw`.

    Raises:
        VertebraError: as of `train_raw`, or the model cannot be trained.
    """
    if any(value.is_inference() for value in (*model.parameters(), *model.buffers())):
        raise ConfigError("this model was made in torch.inference_mode, where nothing can be trained; make it outside")
    train = _with_canvas(model, raw.get("train", {}))
    config = Config.from_raw({**raw, "model": describe(model)["model"], "train": train}, "config")
    return _train(with_absolute_paths(config), model, out)


def _with_canvas(model: VisionModel, train: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training with the canvas of a model that is built already.

    Raises:
        ConfigError: the options ask for another canvas.
    """
    size, mode = model.resize_spec.size, model.resize_spec.mode
    if mode == "shortest_edge":
        raise ConfigError(
            "this model gives each image a canvas of its own shape (resize 'shortest_edge'), and training needs one canvas for "
            "a batch; save the model and train from its file: vertebra train --from FILE"
        )
    wanted = train.get("image_size")
    if wanted is not None and canvas_size(wanted, ()) != size:
        raise ConfigError(
            f"image_size: the model has a canvas of {size[0]}x{size[1]}; build it for another one: create_model(image_size=...)"
        )
    if train.get("resize") not in (None, mode):
        raise ConfigError(f"resize: the model has '{mode}'; build it for another one: create_model(resize=...)")
    return {**train, "image_size": list(size), "resize": mode}


def _train(config: Config, model: VisionModel | None, out: Path | None) -> Finished:
    """Trains a model, or where there is none, that of the config."""
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
        model = build(config.model, image_size=config.train.image_size, resize=config.train.resize)
    check_monitor(model_info(model), config.train.monitor)
    if config.model.init_from is not None:
        say(*init_from(model, config.model))
    return _run(config, model, opened, val, folder, None)


def _choose_folder(out: Path | None, branch: str) -> Path:
    """A run's folder. The first process chooses it; those that Lightning starts for it take the same.

    Raises:
        RunError: there is something in the folder already.
        ConfigError: this is a further process of a run that was started from outside, without a folder.
    """
    if _is_first_process():
        folder = free_folder(Path("runs") / branch) if out is None else out
        refuse_taken(folder)
        return folder
    started = os.environ.get(FOLDER_VARIABLE)
    if out is None and started is None:
        raise ConfigError("name the run folder (--out) where several processes are started from outside")
    return Path(started) if out is None and started is not None else Path(str(out))


def resume_run(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    parts: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Finished:
    """Goes on with a run where it stopped; unless something changes, it ends with the same weights as one that never stopped.

    What may change is taken and told: ``train.epochs``, ``patience``, ``evaluate_every``, ``save_every_minutes``,
    ``workers``, ``accelerator``, ``devices``, ``num_nodes``, ``strategy``, ``precision``, and where the data are.

    Args:
        folder: the run folder.
        data: where the same data are now; None if they are where they were, or moved along with the run folder.
        overrides: ``key=value`` assignments over the run's config.
        parts: the objects that the model was built from; see `vertebra.object_parts.resolve_parts`.
        sections: values over the run's config, such as ``train={"epochs": 40}``.

    Raises:
        VertebraError: the run cannot go on, something is to change that cannot, or the data are not found or others.
    """
    folder = Path(folder)
    resumption = plan_resumption(folder, data=data, overrides=overrides, sections=sections)
    config = resumption.config
    objects = resolve_parts(parts, config.model)
    size, resize = config.train.image_size, config.train.resize
    model = build(config.model, image_size=size, resize=resize, pretrained=False, objects=objects)
    return _run(config, model, open_split(config, "train"), open_split(config, "val"), folder, resumption)


def complete(config: Config, opened: Opened) -> Config:
    """The config with everything written out that the data decides: classes, canvas and the way onto it."""
    whole = config.model_copy(deep=True)
    for name, branch in whole.model.branches.items():
        branch.task = branch_tasks(config)[name]
        found = opened.labels.get(name)
        if found is None:
            if branch.classes is None:
                raise ConfigError(
                    f"branch '{name}': no training data is labeled for it; name it in a source's 'branches'"
                )
            continue
        branch.classes = list(found.classes) if branch.classes is None else branch.classes
        for key, value in found.fields_for(branch.label_fields).items():
            setattr(branch, key, json.loads(json.dumps(value)))
    tasks = set(branch_tasks(config).values())
    if whole.train.image_size is None:
        whole.train.image_size = list(fitting_size([source.index for source in opened.sources], tasks))
    whole.train.image_size = list(canvas_size(whole.train.image_size, tasks))
    whole.train.resize = whole.train.resize or default_resize(tasks)  # type: ignore[assignment]
    return whole


def model_of_config(raw: dict[str, Any], where: str) -> VisionModel:
    """The untrained model of a config, without reading pretrained weights; data are opened only for what labels need."""
    config = Config.from_raw(raw, where)
    tasks = branch_tasks(config)
    for name, branch in config.model.branches.items():
        if branch.classes is None or set(get_task(tasks[name]).labels.needed) - set(branch.label_fields):
            config = complete(config, open_split(config, "train"))
            break
    return build(config.model, image_size=config.train.image_size, resize=config.train.resize, pretrained=False)


def _run(
    config: Config, model: VisionModel, opened: Opened, val: Opened, folder: Path, resumption: Resumption | None
) -> Finished:
    recipe = config.train
    backbone: Any = model.backbone
    origin = getattr(backbone, "origin", "") or f"the weights that {type(backbone).__name__} came with"
    if config.model.init_from is not None:
        origin = f"weights of {config.model.init_from}"
    say(*opened.notes, *val.notes, *([] if resumption else [f"backbone: {origin}"]))
    data = RunData(model, recipe, opened.sources, val.sources)
    data.check_augment()
    say(*unmeasurable(model_info(model), data.val_set, recipe.monitor), *data.unmirrored())
    keeper = RunFolder(folder, recipe.monitor, recipe.patience, recipe.save_every_minutes)
    fingerprints = {"train": fingerprint(opened.sources), "val": fingerprint(val.sources)}
    if resumption is not None:
        check_data(resumption, fingerprints, folder)
    new_course = resumption is not None and resumption.saved.config.train.epochs != recipe.epochs
    trainer = make_trainer(recipe, [keeper, ResumableState(config, fingerprints, new_course), ProgressDisplay()], model)
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
    say(*opening_lines(config, model, values, {"train": len(data.train_set), "val": len(data.val_set)}), *changes)
    with started_folder(folder, config, record), warnings.catch_warnings():
        silence_lightning()
        try:
            with convert_worker_exits():
                trainer.fit(
                    module, datamodule=data, ckpt_path=str(folder / LAST) if resumption else None, weights_only=True
                )
        except Interrupted:
            if not _is_first_process():
                raise SystemExit(128 + keeper.stop.signal) from None  # the first process says it for all
            raise RunStopped(
                f"stopped; everything is saved. Go on with: vertebra train --resume {folder}", keeper.stop.signal
            ) from None
        except StoppedBySignal as stop:
            raise RunStopped(f"stopped at once; {_saved(folder)}", stop.number) from None
    if not module.losses:
        why = (
            f"train.patience ({recipe.patience}) is used up"
            if keeper.out_of_patience
            else f"all {recipe.epochs} epochs are done"
        )
        say(f"nothing left to train: {why}")
        if keeper.kept.epoch is None:
            keeper.keep_newest(trainer, module)
    say(*module.notes(), *data.notes())
    if keeper.kept.epoch is None:
        raise RunError(f"{folder}: no evaluation had weights that can be kept; lower train.lr, and train anew")
    _take_best_weights(model, folder)
    if trainer.is_global_zero:
        _write(folder / RECORD, json.dumps({**record, "kept": keeper.kept.to_dict()}, indent=2) + "\n")
        images = [source.index.path(row) for source in val.sources for row in range(len(source.index))]
        write_report(folder, model, images, keeper.kept)
        say(f"{keeper.kept.summary()}; run folder {folder}")
    return Finished(folder, model)


def _take_best_weights(model: VisionModel, folder: Path) -> None:
    """Puts the kept weights of a run into the model that was trained, and the model into evaluation mode."""
    path = folder / BEST
    if path.is_file():
        load_weights(model, path)
    else:  # of a process on another machine
        say(f"{path} is not on this machine, so the model here keeps its newest weights")
    model.eval()


def _saved(folder: Path) -> str:
    """What is left of a run that did not save when it stopped."""
    if (folder / LAST).exists():
        return f"go on from the last save with: vertebra train --resume {folder}"
    return "nothing was saved yet"


@contextmanager
def started_folder(folder: Path, config: Config, record: Mapping[str, Any]) -> Iterator[None]:
    """A run folder with its config and record, made only now that training can begin; it is gone again if training ends
    before anything was saved.

    Raises:
        VertebraError: in the place of an error of the engine that a user can put right.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
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
            _remove_empty_run(folder, made)
        said = explained(error) if isinstance(error, Exception) else None
        if said is None:
            raise
        raise said from error


def _write(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _remove_empty_run(folder: Path, made: Sequence[Path]) -> None:
    """Takes away what a run wrote before it had anything to keep, and the folders that were made for it."""
    for name in (CONFIG, RECORD, METRICS, f"{LAST}.partial"):
        (folder / name).unlink(missing_ok=True)
    for place in made:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
