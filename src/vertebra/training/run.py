"""A run from its config to its folder: train, resume, evaluate."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from vertebra.build import build, canvas_size, default_resize
from vertebra.config import Config, TrainConfig, override, read_raw
from vertebra.cpus import limit_torch
from vertebra.data.loaders import Loader
from vertebra.data.workers import ends_told
from vertebra.errors import ConfigError, DataError, RunError, RunStopped, StoppedBySignal
from vertebra.files import os_errors_told, replacing
from vertebra.inference.face import Face
from vertebra.inference.predictor import face_of
from vertebra.model import VisionModel
from vertebra.tasks import get_task
from vertebra.training.folder import BEST, CONFIG, LAST, Interrupted, RunFolder, free_folder, refuse_taken
from vertebra.training.loaders import RunData, choose_workers, evaluation_loader
from vertebra.training.measured_data import DataChoice, open_measured
from vertebra.training.messages import is_first_process as _is_first_process
from vertebra.training.messages import say
from vertebra.training.precision import choose_precision
from vertebra.training.progress import ProgressDisplay
from vertebra.training.report import write_report
from vertebra.training.saved_state import check_state
from vertebra.training.selection import check_best, unmeasurable
from vertebra.training.sources import Opened, branch_tasks, fitting_size, open_split
from vertebra.training.step import TrainingModule
from vertebra.weights.model_file import load
from vertebra.weights.starting import start_from

FOLDER_VARIABLE = "VERTEBRA_RUN_FOLDER"


def train(
    config: str | Path | Mapping[str, Any] | None = None, *, out: str | Path | None = None, **options: Any
) -> Path:
    """Trains a model.

    Args:
        config: a YAML file, or the same as a mapping; or nothing, with ``data``, ``model`` and ``train`` as keywords.
        out: the run folder to make; by default ``runs/<first branch>``, with a number if that is taken.
        options: sections of the config, over those of ``config``.

    Returns:
        The run folder, with ``config.yaml``, ``model.safetensors`` (the best weights), ``last.ckpt``, ``metrics.csv``
        and ``report.html``.

    Raises:
        VertebraError: something is wrong with the config, the data or the folder; the message says what.
    """
    if config is None or isinstance(config, Mapping):
        raw, where = dict(config or {}), "config"
    else:
        raw, where = read_raw(Path(config)), str(config)
    for section, values in options.items():
        old = raw.get(section)
        raw[section] = {**old, **values} if isinstance(old, dict) and isinstance(values, Mapping) else values
    return train_raw(raw, out=None if out is None else Path(out), where=where)


def train_raw(
    raw: dict[str, Any], *, overrides: Sequence[str] = (), out: Path | None = None, where: str = "config"
) -> Path:
    """Like `train`, from plain values with ``key=value`` overrides."""
    config = Config.from_raw(override(raw, overrides), where)
    folder = _choose_folder(out, next(iter(config.model.branches)))
    opened = open_split(config, "train")
    config = complete(config, opened)
    val = open_split(config, "val")
    torch.manual_seed(config.train.seed)
    model = build(config.model, image_size=config.train.image_size, resize=config.train.resize)
    check_best(face_of(model), config.train.best)
    if config.model.start_from is not None:
        say(*start_from(model, config.model))
    if _is_first_process():
        with os_errors_told(folder):
            folder.mkdir(parents=True, exist_ok=True)  # only now, so that what cannot begin leaves nothing behind
        with replacing(folder / CONFIG) as part:
            part.write_text(config.to_yaml(), encoding="utf-8")
        os.environ[FOLDER_VARIABLE] = str(folder)
    _run(config, model, opened, val, folder, resume=False)
    return folder


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


def resume_run(folder: Path) -> Path:
    """Goes on with a run where it stopped; it ends with the same weights as one that never stopped."""
    if not (folder / CONFIG).exists():
        raise RunError(f"{folder} is no run folder (it has no {CONFIG})")
    if not (folder / LAST).exists():
        raise RunError(
            f"{folder} has no {LAST}: the run stopped before its first save; start it again with another --out"
        )
    config = Config.from_raw(read_raw(folder / CONFIG), str(folder / CONFIG))
    model = build(config.model, image_size=config.train.image_size, resize=config.train.resize, pretrained=False)
    _run(config, model, open_split(config, "train"), open_split(config, "val"), folder, resume=True)
    return folder


def complete(config: Config, opened: Opened) -> Config:
    """The config with everything written out that the data decides: classes, canvas and the way onto it."""
    whole = config.model_copy(deep=True)
    for name, branch in whole.model.branches.items():
        branch.task = branch_tasks(config)[name]
        found = opened.labels.get(name)
        if found is None:
            if branch.classes is None:
                raise ConfigError(
                    f"branch '{name}': no training data is labelled for it; name it in a source's 'branches'"
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


def _run(config: Config, model: VisionModel, opened: Opened, val: Opened, folder: Path, *, resume: bool) -> None:
    recipe = config.train
    origin = model.backbone.origin if config.model.start_from is None else f"weights of {config.model.start_from}"
    say(*opened.notes, *val.notes, f"backbone: {origin}")
    data = RunData(model, recipe, opened.sources, val.sources)
    say(*unmeasurable(face_of(model), data.val_set, recipe.best), *data.unmirrored())
    pretrained = bool(model.backbone.pretrained) or _was_pretrained(config)
    module = TrainingModule(model.to(memory_format=torch.channels_last), recipe, pretrained)  # type: ignore[call-overload]
    if resume:
        check_best(face_of(model), recipe.best)
        check_state(folder / LAST, module, RunFolder.STATE)
    keeper = RunFolder(folder, recipe.best, recipe.patience, recipe.save_every_minutes)
    trainer = make_trainer(recipe, [keeper, ProgressDisplay()], model)
    limit_torch(sharing=trainer.num_devices)
    with warnings.catch_warnings():
        _silence()
        try:
            with ends_told():
                trainer.fit(
                    module, datamodule=data, ckpt_path=str(folder / LAST) if resume else None, weights_only=True
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
        say(f"nothing left to train: all {recipe.epochs} epochs are done")
    say(*module.notes(), *data.notes())
    if keeper.kept.epoch is None:
        raise RunError(f"{folder}: no evaluation had weights that can be kept; lower train.lr, and train anew")
    if trainer.is_global_zero:
        images = [source.index.path(row) for source in val.sources for row in range(len(source.index))]
        write_report(folder, load(folder / BEST), images, keeper.kept)
        say(f"{keeper.kept.summary()}; run folder {folder}")


def _saved(folder: Path) -> str:
    """What is left of a run that did not save when it stopped."""
    if (folder / LAST).exists():
        return f"go on from the last save with: vertebra train --resume {folder}"
    return "nothing was saved yet"


def _was_pretrained(config: Config) -> bool:
    """Whether the run began from pretrained weights, also when it is resumed and builds without them."""
    started = config.model.start_from is not None
    return started or config.model.backbone.options.get("pretrained", False) is not False


def make_trainer(recipe: TrainConfig, callbacks: list[pl.Callback], model: VisionModel) -> pl.Trainer:
    """Lightning's trainer for a recipe and a model."""
    strategy: str = recipe.strategy
    if strategy == "auto" and (_device_count(recipe) > 1 or recipe.num_nodes > 1):
        strategy = "ddp_find_unused_parameters_true" if len(model.branches) > 1 else "ddp"
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return pl.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        num_nodes=recipe.num_nodes,
        strategy=strategy,
        precision=choose_precision(recipe, model),  # type: ignore[arg-type]
        max_epochs=recipe.epochs,
        check_val_every_n_epoch=recipe.evaluate_every,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _device_count(recipe: TrainConfig) -> int:
    """How many devices of one machine a run uses, as far as it matters whether it is more than one."""
    if isinstance(recipe.devices, list):
        return len(recipe.devices)
    text = str(recipe.devices)
    if text.isdigit():
        return int(text)
    if "," in text:
        return len([part for part in text.split(",") if part.strip()])
    return torch.cuda.device_count() if recipe.accelerator in ("auto", "gpu", "cuda") else 1


def labelled(
    source: str | Path,
    face: Face,
    config: Mapping[str, Any] | None,
    *,
    split: str,
    data: str | Path | None,
    batch_size: int,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Loader:
    """The labelled images on which a model is measured, in order.

    Args:
        source: the run folder or file that the user named; the data of its run are taken where there is none.
        face: of the model.
        config: what the model was built from.
        split: "train", "val" or "test".
        data: another data set than the run's own, for all branches.
        batch_size: images at a time.
        branches, ignore_index, class_map: see `vertebra.training.measured_data.DataChoice`.

    Raises:
        ConfigError: the user must say which data, or an unknown branch or class.
        DataError: there is no such split, or the data cannot be used.
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"split '{split}' does not exist; choose train, val or test")
    choice = DataChoice(data, branches, ignore_index, class_map)
    run, opened = open_chosen(source, face, config, split, choice)
    say(*opened.notes)
    return evaluation_loader(face, opened.sources, batch_size, choose_workers(run.train.workers))


def open_labelled(
    source: str | Path, face: Face, config: Mapping[str, Any] | None, split: str, data: str | Path | None
) -> tuple[Config, Opened]:
    """The run's config, or one made up for the data, and the data of a split; see `labelled`."""
    return open_chosen(source, face, config, split, DataChoice(data))


def open_chosen(
    source: str | Path, face: Face, config: Mapping[str, Any] | None, split: str, choice: DataChoice
) -> tuple[Config, Opened]:
    """Like `open_labelled`, with more choices."""
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    path = folder / CONFIG
    if path.exists():
        raw = read_raw(path)
    elif choice.path is None:
        raise ConfigError(f"{source} is a model file without its run's {CONFIG}; say which data set with --data")
    elif config is None:
        raise ConfigError(f"{source}: a model that was built from objects cannot be measured from its file")
    else:
        raw = {"data": str(choice.path), "model": config}
    run = Config.from_raw(raw, str(path))
    for name, branch in run.model.branches.items():
        branch.classes = list(face.branches[name][1].classes)
    return run, open_measured(run, split, choice)


def _silence() -> None:
    """Lightning's advice on loaders and devices, which the recipe has already decided."""
    for message in (
        ".*does not have many workers.*",
        ".*available but not used.*",
        ".*in eval mode at the start.*",
        ".*treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
