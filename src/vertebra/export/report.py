"""Reports of trained models, as HTML pages: of one, or of several side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.annotations.table import SPLITS
from vertebra.config import Config
from vertebra.data.open_datasets import Opened
from vertebra.data.splits import NoSplit
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.evaluation.measured_data import DataChoice
from vertebra.export.report_sources import ReportedModel, RuntimeOptions, of_file, of_model, open_reported
from vertebra.inference.exported_model import ExportedModel
from vertebra.keywords import check_path, strict_keywords
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.recipe.augment import Augment
from vertebra.report.comparison_page import changed_examples, write_comparison_page
from vertebra.report.html_page import Picture
from vertebra.report.run_page import ReportContent, write_run_page
from vertebra.report.split_facts import SplitFacts, split_facts
from vertebra.training.diagnosed_images import DiagnosedImages, Examples
from vertebra.training.labeled_data import LabeledOptions, open_chosen, opened_loader
from vertebra.training.loaders import mixed
from vertebra.training.report import REPORT, first_images
from vertebra.training.run_facts import metric_facts, run_facts

Source = str | Path | os.PathLike[str] | VisionModel | ExportedModel


@strict_keywords
def write_report(
    source: Source | Sequence[Source],
    *,
    out: str | Path | os.PathLike[str] | None = None,
    split: str = "val",
    data: str | Path | os.PathLike[str] | None = None,
    batch_size: int = 8,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    rename_classes: Mapping[str, str] | None = None,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    parts: Mapping[str, Any] | None = None,
) -> Path:
    """Evaluates a trained model, and writes an HTML page of what decides whether it is good, and what to do next. Of several
    models, it writes a page that compares them.

    Args:
        source: a run folder, a model file or an exported file; a model; or a list of several.
        out: the page, which is replaced if it exists. By default ``report.html`` in the run folder (``report_test.html`` for the
            split "test"), ``<name>_report.html`` beside a file, and ``comparison.html`` in the working directory for several.
        split: "train", "val" or "test".
        data: a data set to use instead of the run's, for all branches.
        batch_size: images at a time.
        branches: the branches to evaluate; None for all.
        ignore_index: mask value of ignored pixels; None for the value in the run's config.
        rename_classes: from class names of ``data`` to class names of the model, where they differ.
        device, runtime, precision, threads: as of `vertebra.evaluate`.
        parts: the objects that the model was built from; see `vertebra.load`.

    Returns:
        The page.

    Raises:
        ConfigError: ``data`` is needed, or an option is wrong.
        DataError: the split does not exist, or the data cannot be used. A run whose data are gone has a page all the same.
    """
    options = RuntimeOptions(device, runtime, precision, threads, batch_size, parts)
    sources = [source] if isinstance(source, str | os.PathLike | VisionModel | ExportedModel) else list(source)
    if not sources:
        raise ConfigError("a report needs a run folder, a model file or an exported file")
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    chosen: LabeledOptions = {
        "split": split,
        "data": data,
        "batch_size": batch_size,
        "branches": branches,
        "ignore_index": ignore_index,
        "rename_classes": rename_classes,
    }
    models = [_open(each, options) for each in sources]
    path = _page_path(models, split, data) if out is None else check_path("out", out)
    reported = [_Reported(model, chosen) for model in models]
    if len(reported) == 1:
        (only,) = reported
        return write_run_page(path, only.content())
    return _compare(path, reported)


def _open(source: Source, options: RuntimeOptions) -> ReportedModel:
    if isinstance(source, ExportedModel):
        return of_file(source, source.path, options)
    if isinstance(source, VisionModel):
        return of_model(source, getattr(source, "source", None), options)
    return open_reported(check_path("source", source), options)


def _page_path(models: Sequence[ReportedModel], split: str, data: Any) -> Path:
    """The page where no path is given."""
    if len(models) > 1:
        return Path("comparison.html")
    model = models[0]
    folder = model.run_folder
    if model.path is None:
        raise ConfigError("this model is from no file; name the page: out=...")
    if folder is not None and (model.path.is_dir() or model.path.parent == folder) and model.summary is not None:
        return folder / (
            REPORT if split == "val" and data is None else f"report_{split if data is None else 'data'}.html"
        )
    return model.path.with_name(f"{model.path.stem}_report.html")


class _Reported:
    """A model with its evaluation.

    Args:
        model: the model.
        chosen: the data.

    Attributes:
        images: the evaluation; None if the run's data are gone.
        notes: what is missing, and why.
    """

    def __init__(self, model: ReportedModel, chosen: LabeledOptions) -> None:
        self.model, self.chosen = model, chosen
        self.notes: list[str] = []
        self.images: DiagnosedImages | None = None
        self._opened: dict[str, tuple[Config, Opened]] = {}
        split, data = chosen["split"], chosen["data"]
        try:
            run, opened = self._open(split)
            loader = opened_loader(model.info, run, opened, chosen["batch_size"])
            what = split if data is None else f"{data} ({split})"
            self.images = DiagnosedImages(model.info, model.measure, loader, what, probabilities=model.probabilities)
        except (NoSplit, UnknownName):
            raise
        except (ConfigError, DataError) as error:
            if model.run_folder is None or data is not None:
                raise
            self.notes.append(f"Without an evaluation and pictures, since the data of this run cannot be used: {error}")
            emit(f"the report has no evaluation: {error}")

    def _open(self, split: str) -> tuple[Config, Opened]:
        """The config and the data of a split, opened once."""
        if split not in self._opened:
            data = self.chosen["data"]
            choice = DataChoice(
                None if data is None else check_path("data", data),
                self.chosen.get("branches"),
                self.chosen.get("ignore_index"),
                self.chosen.get("rename_classes"),
            )
            model = self.model
            self._opened[split] = open_chosen(model.path, model.info, model.config, split, choice)
        return self._opened[split]

    def content(self, examples: Examples | None = None, *, title: str = "") -> ReportContent:
        """All that its page shows.

        Args:
            examples: the images to show; by default the worst, the typical and the best ones.
            title: by default its name.
        """
        model, images = self.model, self.images
        folder = model.run_folder
        facts = None if folder is None else run_facts(folder, model.info)
        measured = None if images is None else images.measured(images.examples() if examples is None else examples)
        if measured is not None:
            emit(*measured.notes)
        seen, notes = self._seen() if examples is None else ([], [])
        return ReportContent(
            title=title or f"Report of {model.name}",
            source=Path("model") if model.path is None else model.path.absolute(),
            facts=facts,
            measured=measured,
            splits=self._splits(),
            model=model.summary,
            seen=seen,
            metrics=metric_facts(model.info),
            tasks={name: task for name, (task, _) in model.info.branches.items()},
            notes=[*self.notes, *notes],
            description=model.description,
        )

    def _splits(self) -> list[SplitFacts]:
        """The splits of the run's data, or the one of other data."""
        of_run = self.chosen["data"] is None and self.model.run_folder is not None
        splits = []
        for name in SPLITS if of_run else (self.chosen["split"],):
            try:
                splits.append(split_facts(name, self._open(name)[1]))
            except NoSplit:
                continue
            except (ConfigError, DataError) as error:
                splits.append(SplitFacts(name, problem=str(error)))
        return splits

    def _seen(self) -> tuple[list[Picture], list[str]]:
        """Training images as the network saw them, and a note if they cannot be shown."""
        folder, info = self.model.run_folder, self.model.info
        if folder is None or self.chosen["data"] is not None or self.images is None:
            return [], []
        try:
            run, opened = self._open("train")
            recipe = run.train
            if recipe.augment.is_object:
                return [], [
                    f"The augmentation {recipe.augment.name} was given as an object, so that it cannot be shown here."
                ]
            augment = Augment.from_options(recipe.augment.name, recipe.augment.options)
            train_set = mixed(info, opened.sources, recipe.seed, augment, recipe.reduced_decoding)
            return first_images(train_set, recipe), []
        except (ConfigError, DataError) as error:
            return [], [f"The training images cannot be shown: {error}"]


def _compare(path: Path, reported: Sequence[_Reported]) -> Path:
    """Writes the page of several models."""
    names = _names([each.model for each in reported])
    diagnosed = [each.images for each in reported]
    examples = changed_examples(
        [None if images is None else images.paths for images in diagnosed],
        [None if images is None else images.diagnoses for images in diagnosed],
    )
    contents = [each.content(shown, title=name) for each, shown, name in zip(reported, examples, names, strict=True)]
    return write_comparison_page(path, contents)


def _names(models: Sequence[ReportedModel]) -> list[str]:
    """A different name for each model: the last parts of their paths, as many as are needed."""
    paths = [Path(model.name) if model.path is None else model.path.resolve() for model in models]
    for length in (1, 2, 3):
        names = [str(Path(*path.parts[-length:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, start=1)]
