"""The public model: `Model` adds the methods fit, evaluate, predict, export, save and summary to `VisionModel`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import torch
from torch import nn

from vertebra import build
from vertebra.config import Config, TrainConfig, model_config, read_raw
from vertebra.errors import ConfigError, RunError
from vertebra.inference.devices import pick_device
from vertebra.inference.model_engines import ModelEngines
from vertebra.keywords import check_keywords, check_path, keyword_names, strict_keywords
from vertebra.model import Branch, VisionModel
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights import importing, model_file

if TYPE_CHECKING:
    from vertebra.backbones.base import Backbone
    from vertebra.inference.results import Result

Parameters = ParamSpec("Parameters")
Source = str | os.PathLike[str]
Data = Source | Mapping[str, Any]
"""A data set (a folder or an annotation file), or the section ``data`` of a config."""


class Model(VisionModel):
    """A model that trains, evaluates, predicts, exports and saves; from `create_model`, `import_model` or `vertebra.load`.

    Attributes:
        source: the run folder or file that it was loaded from; None for a new model.
    """

    def __init__(
        self,
        backbone: Backbone,
        branches: Mapping[str, Branch],
        resize_spec: ResizeSpec,
        *,
        shared: list[nn.Module] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, branches, resize_spec, shared=shared, config=config)
        self.source: Path | None = None
        self._engines = ModelEngines()

    @classmethod
    def of(cls, model: VisionModel, source: Path | None = None) -> Model:
        """A `Model` with the parts of another model.

        Args:
            model: its parts are reused; do not use it afterwards.
            source: the run folder or file that it was loaded from.
        """
        if not isinstance(model, cls):
            branches = {name: model.branch(name) for name in model.branches}
            adopted = cls(model.backbone, branches, model.resize_spec, shared=list(model.shared), config=model.config)
            adopted.origin, adopted.provenance = model.origin, model.provenance
            adopted.thresholds, adopted.promises = model.thresholds, model.promises
            model = adopted.train(model.training)
        if source is not None:
            model.source = source
        return model

    def fit(self, data: Data, *, out: Source | None = None, **options: Any) -> Run:
        """Trains the model in place. Afterwards it has the best weights of the run and is in evaluation mode, on the same device.

        If training fails or is stopped, the model has the weights of its last step, which is printed; its modules are in the modes
        of before, on the same device. The best weights until then are in the run folder, if an epoch had ended:
        ``vertebra.load(folder)``.

        Args:
            data: a data set, or the section ``data`` of a config.
            out: the new run folder; by default ``runs/<first branch>``, with a number if that exists.
            options: options of training: ``epochs``, ``batch_size``, ``lr`` …; all fields of `vertebra.config.TrainConfig`.

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
            VertebraError: something is wrong with the data, an option or the folder; the message names it.
        """
        check_keywords("fit", options, ["data", "out", *TrainConfig.model_fields])
        return train(model=self, data=data, out=out, **options)

    @strict_keywords
    def evaluate(
        self,
        data: Source | None = None,
        *,
        split: str = "val",
        batch_size: int = 8,
        branches: Sequence[str] | None = None,
        ignore_index: int | None = None,
        rename_classes: Mapping[str, str] | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> dict[str, float]:
        """Metrics on labeled images, with keys ``branch/metric``; in fp32 also the losses.

        Args:
            data: a data set; by default that of the model's run.
            split: "train", "val" or "test". By default "val", but "test" in `vertebra.evaluate` and ``vertebra eval``.
            batch_size: images at a time.
            branches: the branches to evaluate; None for all.
            ignore_index: mask value of pixels that do not count.
            rename_classes: class names of ``data`` mapped to those of the model, where they differ.
            device: "cpu", "cuda" …; by default the best one available.
            precision: "fp32", or "bf16" or "fp16" (GPU).
            threads: of the CPU; None for all cores.

        Raises:
            ConfigError: the model has no run and there is no ``data``; an unknown branch or class; a wrong option.
            DataError: there is no such split, or the data cannot be used.
        """
        from vertebra.export.evaluate import evaluate_model
        from vertebra.runtimes.runtime_config import RuntimeConfig

        return evaluate_model(
            self,
            self.source,
            runtime_config=RuntimeConfig("torch", precision, threads=threads),
            device=device,
            data=data,
            split=split,
            batch_size=batch_size,
            branches=branches,
            ignore_index=ignore_index,
            rename_classes=rename_classes,
        )

    def write_report(self, data: Source | None = None, *, out: Source | None = None, **options: Any) -> Path:
        """Evaluates the model on labeled images, and writes an HTML page about it.

        Args:
            data: a data set; by default that of the model's run.
            out: the page; by default in the folder of the model's run, or beside its file.
            options: of `vertebra.write_report`: ``split``, ``batch_size`` …

        Returns:
            The page.

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
            ConfigError: the model has no run and there is no ``data``, or no file and there is no ``out``.
            DataError: there is no such split, or the data cannot be used.
        """
        from vertebra.export.report import write_report

        return write_report(self, data=data, out=out, **options)

    @torch.no_grad()
    def predict(self, images: Any, **options: Any) -> list[Result]:
        """Predictions for images of any size, in the pixels of each image.

        The optimized copy for each device, precision and ``compile`` is made once, and cached until the model changes. Several
        threads may predict at the same time, with any options, while no thread changes the model.

        Args:
            images: see `vertebra.Predictor.predict`.
            options: of `vertebra.Predictor`: ``threshold``, ``batch_size``, ``device``, ``tile`` …

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
            DataError: a file is missing or unreadable; the message names it.
        """
        return self._engines.predictor(self, **options).predict(images)

    def export(self, path: Source, *, images: Any = None, data: Source | None = None, **options: Any) -> dict[str, Any]:
        """Writes the model as one file for another runtime, after a comparison with the model.

        Args:
            path: the file: ``.onnx``, ``.xml`` (OpenVINO), ``.pt2`` (torch) or ``.pte`` (ExecuTorch).
            images: real images for the comparison and for int8 calibration: a folder or a data set, or images in
                memory or a list as `predict` takes them; by default the training images of the model's run, if there is one.
            data: a labeled data set: the file must have the model's metrics on its split "val".
            options: of `vertebra.export_model`: ``precision``, ``input``, ``canvas`` …

        Returns:
            The report of the comparison; see `vertebra.export_model`.

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
            ExportError: the architecture cannot be exported, or the file differs from the model.
            RunError: the file exists, or the operating system refuses.
        """
        from vertebra.export.calibration_images import calibration_images
        from vertebra.export.export_model import export_model
        from vertebra.model_info import model_info
        from vertebra.training.labeled_data import labeled

        known = [name for name in keyword_names(export_model) if name != "labeled"]
        check_keywords("export", options, [*known, "data"])
        if images is None:
            images = () if self.source is None else calibration_images(self.source, self)
        elif isinstance(images, str | os.PathLike):
            images = calibration_images(self.source, self, Path(images))
        if data is not None:
            options["labeled"] = labeled(
                self.source, model_info(self), self.config, split="val", data=check_path("data", data), batch_size=8
            )
        return export_model(self, path, images=images, **options)

    @strict_keywords
    def save(self, path: Source) -> Path:
        """Writes the model file (``.safetensors``) atomically; see `vertebra.save`."""
        return model_file.save(self, check_path("path", path))

    def summary(self) -> str:
        """The parts, their feature maps and their sizes, as text."""
        from vertebra.report.model_summary import model_summary_text, summarize_model

        return model_summary_text(summarize_model(self))


class Run(os.PathLike[str]):
    """A finished training run. It can be used as the path of its folder: ``run / "metrics.csv"``, ``vertebra.load(run)``.

    Args:
        folder: the run folder, with ``config.yaml``, ``model.safetensors`` (the best weights), ``last.ckpt`` and
            ``previous.ckpt`` (to resume from), ``metrics.csv``, ``run.json`` and ``report.html``.
    """

    def __init__(self, folder: Source) -> None:
        self.folder = check_path("folder", folder)

    @cached_property
    def model(self) -> Model:
        """The model with the best weights; loaded from the folder at the first use, unless the run trained a model object."""
        return load_model(self.folder)

    @cached_property
    def config(self) -> Config:
        """The config with everything written out.

        Raises:
            RunError: it is no run folder.
        """
        path = self._config_file()
        return Config.from_raw(read_raw(path), str(path))

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the best weights on the validation data, with keys ``branch/metric``.

        Raises:
            RunError: the run has not ended, or it is no run folder.
        """
        scores: dict[str, float | None] = self._kept()["scores"]
        return {name: float("nan") if value is None else value for name, value in scores.items()}

    @property
    def epoch(self) -> int:
        """The epoch of the best weights, counted from 1.

        Raises:
            RunError: as of `metrics`.
        """
        return int(self._kept()["epoch"])

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per epoch: ``epoch``, ``step``, ``lr``, ``seconds``, losses, metrics and what the epoch cost, as in
        ``metrics.csv`` and ``metrics_by_class.csv``."""
        from vertebra.training.metrics_table import read_history

        return read_history(self.folder)

    def write_report(self, **options: Any) -> Path:
        """Evaluates the best weights, and writes an HTML page about the run.

        Args:
            options: of `vertebra.write_report`: ``split``, ``data``, ``out`` …

        Returns:
            The page; by default ``report.html`` in the folder, ``report_test.html`` for the split "test".

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
            VertebraError: the folder is no run, or the data cannot be used.
        """
        from vertebra.export.report import write_report

        self._config_file()
        return write_report(self.folder, **options)

    def _kept(self) -> dict[str, Any]:
        from vertebra.training.record import read_record

        self._config_file()
        kept: dict[str, Any] | None = (read_record(self.folder) or {}).get("kept")
        if kept is None:
            raise RunError(f"{self.folder}: this run has not ended; continue with vertebra.resume('{self.folder}')")
        return kept

    def _config_file(self) -> Path:
        path = self / "config.yaml"
        if not path.is_file():
            raise RunError(f"{self.folder} is no run folder (it has no config.yaml)")
        return path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def _returning_model(make: Callable[Parameters, VisionModel]) -> Callable[Parameters, Model]:
    """The same function with a `Model` as its result."""

    @wraps(make)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Model:
        return Model.of(make(*args, **kwargs))

    return wrapped


create_model = _returning_model(build.create_model)
import_model = _returning_model(strict_keywords(importing.import_model))


def load_model(
    source: Source,
    device: str | torch.device = "cpu",
    *,
    verify: bool = True,
    parts: Mapping[str, Any] | None = None,
) -> Model:
    """A model from a model file or a run folder; see `vertebra.load`."""
    path = check_path("source", source)
    return Model.of(model_file.load(path, pick_device(device), verify=verify, parts=parts), path)


def train(
    config: Source | Mapping[str, Any] | None = None,
    *,
    model: VisionModel | Mapping[str, Any] | None = None,
    data: Data | None = None,
    train: Mapping[str, Any] | None = None,
    out: Source | None = None,
    **options: Any,
) -> Run:
    """Trains a model, and returns the run.

    Args:
        config: a YAML file or a mapping; None with ``model`` and ``data`` as keywords.
        model: a model, which is trained in place and has the best weights afterwards; or the section ``model`` of a config.
        data: a data set, or the section ``data`` of a config.
        train: the section ``train`` of a config.
        out: the new run folder; by default ``runs/<first branch>``, with a number if that exists.
        options: single options of ``train``, such as ``epochs=20``; all fields of `vertebra.config.TrainConfig`. ``augment`` may
            also be a transform of your own, such as a ``Compose`` of ``torchvision.transforms.v2``.

    Raises:
        UnknownName: there is no such option; the message has the nearest right name.
        VertebraError: something is wrong with the config, the data or the folder; the message names it.
    """
    from vertebra.training.run import train_model, train_raw

    check_keywords("train", options, ["config", "model", "data", "train", "out", *TrainConfig.model_fields])
    raw, where = _raw_config(config)
    if not isinstance(train, Mapping | None):
        raise ConfigError(f"'train' must be a mapping from options to values, got {type(train).__name__}")
    sections = {"data": data, "train": {**(train or {}), **options} or None}
    if not isinstance(model, VisionModel):
        sections["model"] = model
    for section, values in sections.items():
        if values is not None:
            old = raw.get(section)
            raw[section] = {**old, **values} if isinstance(old, dict) and isinstance(values, Mapping) else values
    folder = None if out is None else check_path("out", out)
    if not isinstance(model, VisionModel):
        return Run(train_raw(raw, out=folder, where=where).folder)
    if "model" in raw:
        raise ConfigError(f"{where}: it has a section 'model', and there is the argument 'model', too; leave one out")
    return _run_of(train_model, model, raw, folder)


def _raw_config(config: Source | Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """A config as plain values, and its name for messages."""
    if config is None or isinstance(config, Mapping):
        return dict(config or {}), "config"
    return read_raw(check_path("config", config)), str(config)


def _run_of(train_model: Callable[..., Any], model: VisionModel, raw: dict[str, Any], out: Path | None) -> Run:
    """Trains a model in place, and moves it back to its device; if that fails, its modules are in their modes of before, too."""
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    try:
        finished = train_model(model, raw, out=out)
    except BaseException:
        model.to(device)
        for module, mode in modes:
            module.training = mode
        raise
    run = Run(finished.folder)
    run.model = Model.of(model.to(device), finished.folder)
    return run


def resume(
    folder: Source, *, data: Source | None = None, parts: Mapping[str, Any] | None = None, **options: Any
) -> Run:
    """Resumes a stopped run; without changed options, it ends with the same weights as a run that was not stopped.

    Args:
        folder: the run folder.
        data: the new path of the same data; None if they did not move, or moved together with the run folder.
        parts: the objects that the model was built from; see `vertebra.load`.
        options: single options of ``train`` that may change, such as ``epochs``, ``patience``, ``workers`` and ``devices``;
            ``augment`` if the run had a transform of your own.

    Raises:
        UnknownName: there is no such option; the message has the nearest right name.
        VertebraError: the run cannot be resumed, an option must not change, or the data are missing or differ.
    """
    from vertebra.training.run import resume_run

    check_keywords("resume", options, ["data", "parts", *TrainConfig.model_fields])
    data_path = None if data is None else check_path("data", data)
    finished = resume_run(check_path("folder", folder), data=data_path, parts=parts, train=options)
    run = Run(finished.folder)
    if model_config(finished.model.config or {}).object_parts:
        run.model = Model.of(finished.model, finished.folder)
    return run
