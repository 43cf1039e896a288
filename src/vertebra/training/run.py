"""A run from its config to its folder: train, resume, evaluate."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from vertebra.build import build, canvas_size, default_resize
from vertebra.config import Config, TrainConfig, override, read_raw
from vertebra.cpus import limit_torch
from vertebra.data.loaders import Loader
from vertebra.data.open_datasets import Opened, branch_tasks, fitting_size, open_split
from vertebra.data.workers import ends_told
from vertebra.errors import ConfigError, DataError, RunError, RunStopped, StoppedBySignal, shortened
from vertebra.evaluation.measured_data import DataChoice, open_measured
from vertebra.files import os_errors_told, replacing
from vertebra.inference.predictor import model_info
from vertebra.messages import is_first_process as _is_first_process
from vertebra.messages import say
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.tasks import get_task
from vertebra.training.data_paths import check_found, locate, with_absolute_paths
from vertebra.training.failures import check_single_images, explained
from vertebra.training.fingerprint import fingerprint
from vertebra.training.folder import BEST, CONFIG, LAST, METRICS, Interrupted, RunFolder, free_folder, refuse_taken
from vertebra.training.hardware import check_hardware, check_memory
from vertebra.training.loaders import RunData, choose_workers, evaluation_loader
from vertebra.training.optimizers import check_optimizer
from vertebra.training.precision import choose_precision
from vertebra.training.progress import ProgressDisplay
from vertebra.training.record import (
    RECORD,
    next_record,
    opening_lines,
    provenance,
    recorded_folder,
    resolved,
    start_entry,
    step_shape,
)
from vertebra.training.report import write_report
from vertebra.training.resuming import ResumableState, Resumption, check_data, consequences, plan_resumption
from vertebra.training.saved_state import check_state
from vertebra.training.selection import check_monitor, nothing_to_find, unmeasurable
from vertebra.training.step import TrainingModule
from vertebra.weights.finetune import init_from
from vertebra.weights.model_file import load

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
    config = with_absolute_paths(Config.from_raw(override(raw, overrides), where))
    hardware = check_hardware(config.train)
    check_optimizer(config.train)
    folder = _choose_folder(out, next(iter(config.model.branches)))
    opened = open_split(config, "train")
    config = complete(config, opened)
    check_memory(
        config.train, canvas_size(config.train.image_size, set(branch_tasks(config).values())), hardware.device
    )
    val = open_split(config, "val")
    torch.manual_seed(config.train.seed)
    model = build(config.model, image_size=config.train.image_size, resize=config.train.resize)
    check_monitor(model_info(model), config.train.monitor)
    if config.model.init_from is not None:
        say(*init_from(model, config.model))
    _run(config, model, opened, val, folder, None)
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


def resume_run(
    folder: str | Path, *, data: str | Path | None = None, overrides: Sequence[str] = (), **sections: Any
) -> Path:
    """Goes on with a run where it stopped; unless something changes, it ends with the same weights as one that never stopped.

    What may change is taken and told: ``train.epochs``, ``patience``, ``evaluate_every``, ``save_every_minutes``,
    ``workers``, ``accelerator``, ``devices``, ``num_nodes``, ``strategy``, ``precision``, and where the data are.

    Args:
        folder: the run folder.
        data: where the same data are now; None if they are where they were, or moved along with the run folder.
        overrides: ``key=value`` assignments over the run's config.
        sections: values over the run's config, such as ``train={"epochs": 40}``.

    Raises:
        VertebraError: the run cannot go on, something is to change that cannot, or the data are not found or others.
    """
    folder = Path(folder)
    resumption = plan_resumption(folder, data=data, overrides=overrides, sections=sections)
    config = resumption.config
    model = build(config.model, image_size=config.train.image_size, resize=config.train.resize, pretrained=False)
    _run(config, model, open_split(config, "train"), open_split(config, "val"), folder, resumption)
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
) -> None:
    recipe = config.train
    origin = model.backbone.origin if config.model.init_from is None else f"weights of {config.model.init_from}"
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
        _silence()
        try:
            with ends_told():
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
    if trainer.is_global_zero:
        images = [source.index.path(row) for source in val.sources for row in range(len(source.index))]
        write_report(folder, load(folder / BEST), images, keeper.kept)
        say(f"{keeper.kept.summary()}; run folder {folder}")


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


def make_trainer(recipe: TrainConfig, callbacks: list[pl.Callback], model: VisionModel) -> pl.Trainer:
    """Lightning's trainer for a recipe and a model."""
    hardware = check_hardware(recipe)
    strategy: str = recipe.strategy
    if strategy == "auto" and (hardware.processes > 1 or recipe.num_nodes > 1):
        # without gradients: branches that a batch has no labels for, and what another model on this backbone needs
        unread = any(model.get_parameter(name).requires_grad for name in model.unused_parameters())
        strategy = "ddp_find_unused_parameters_true" if len(model.branches) > 1 or unread else "ddp"
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    precision: Any = choose_precision(recipe, model)
    try:
        return _trainer(recipe, callbacks, strategy, precision)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        # what is left to Lightning: combinations of strategy, accelerator and precision, and the variables of clusters
        raise ConfigError(
            f"train.strategy '{recipe.strategy}', accelerator '{recipe.accelerator}', devices {recipe.devices} and precision "
            f"'{recipe.precision}' do not go together: {shortened(str(error), 200)}"
        ) from error


def _trainer(recipe: TrainConfig, callbacks: list[pl.Callback], strategy: str, precision: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        num_nodes=recipe.num_nodes,
        strategy=strategy,
        precision=precision,
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


def labeled(
    source: str | Path,
    info: ModelInfo,
    config: Mapping[str, Any] | None,
    *,
    split: str,
    data: str | Path | None,
    batch_size: int,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Loader:
    """The labeled images on which a model is measured, in order.

    Args:
        source: the run folder or file that the user named; the data of its run are taken where there is none.
        info: of the model.
        config: what the model was built from.
        split: "train", "val" or "test".
        data: another data set than the run's own, for all branches.
        batch_size: images at a time.
        branches, ignore_index, class_map: see `vertebra.evaluation.measured_data.DataChoice`.

    Raises:
        ConfigError: the user must say which data, or an unknown branch or class.
        DataError: there is no such split, or the data cannot be used.
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"split '{split}' does not exist; choose train, val or test")
    choice = DataChoice(data, branches, ignore_index, class_map)
    run, opened = open_chosen(source, info, config, split, choice)
    say(*opened.notes)
    loader = evaluation_loader(info, opened.sources, batch_size, choose_workers(run.train.workers))
    measured = dict.fromkeys(name for source in opened.sources for name in source.branches)
    say(*(nothing_to_find(name) for name in measured if not loader.dataset.measurable(name)))
    return loader


def open_chosen(
    source: str | Path, info: ModelInfo, config: Mapping[str, Any] | None, split: str, choice: DataChoice
) -> tuple[Config, Opened]:
    """The run's config, or one made for the data, and the data of a split; see `labeled`."""
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    path = folder / CONFIG
    recorded = None
    if path.exists():
        raw = read_raw(path)
        recorded = recorded_folder(folder)
    elif choice.path is None:
        raise ConfigError(f"{source} is a model file without its run's {CONFIG}; say which data set with --data")
    elif config is None:
        raise ConfigError(f"{source}: a model that was built from objects cannot be measured from its file")
    else:
        raw = {"data": str(choice.path), "model": config}
    run = Config.from_raw(raw, str(path))
    for name, branch in run.model.branches.items():
        branch.classes = list(info.branches[name][1].classes)
    if path.exists():
        run = locate(run, folder, recorded)
        if choice.path is None:
            check_found(getattr(run.data, split), folder, recorded)
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
