"""A trained model whose outputs a smaller one learns to give, in addition to the labels (knowledge distillation).

Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531. The teacher gets the same augmented canvases
as the student: Beyer et al., Knowledge distillation: A good teacher is patient and consistent, CVPR 2022, arXiv 2106.05237.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vertebra.config import Config, TrainConfig
from vertebra.data.batches import Batch
from vertebra.decoders.base import Outputs
from vertebra.errors import ConfigError, RunError, VertebraError
from vertebra.losses.loss_term import LossTerm
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.header import read_header
from vertebra.weights.model_file import identity, load, model_path

DISTILLATION = "distillation"  # the loss term's name
OPTION = "train.teacher (--teacher)"


class Teacher:
    """A frozen model in evaluation mode, and the branches that learn from it.

    It is no ``nn.Module``, so that it becomes no part of what is trained and saved.

    Args:
        model: the teacher.
        source: its model file or run folder.
        weight: factor of the loss term beside a branch's other terms.
        branches: names of the branches that learn from it.

    Attributes:
        identity: SHA-256 of the teacher's content.
    """

    def __init__(self, model: VisionModel, source: str, weight: float, branches: list[str]) -> None:
        self.identity = identity(model)
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.source, self.weight, self.branches = source, weight, branches

    def to(self, device: torch.device) -> None:
        """Moves the teacher to a device."""
        self.model.to(device)

    def terms(
        self,
        student: VisionModel,
        images: Tensor,
        sizes: Tensor,
        rows: Mapping[str, Tensor | None],
        outputs: Mapping[str, Outputs],
    ) -> dict[str, LossTerm]:
        """The loss term of each branch that learns from the teacher.

        Args:
            student: the model that is trained.
            images: (N, C, H, W) canvases.
            sizes: (N, 2) valid pixels of each image.
            rows: by branch, the indices of the images that ``outputs`` are for; None for all.
            outputs: the student's raw outputs by branch.

        Raises:
            ConfigError: outputs cannot be compared.
        """
        names = [name for name in self.branches if name in outputs]
        if not names:
            return {}
        with torch.no_grad():
            features = self.model.features(images, sizes)
        terms = {}
        for name in names:
            chosen, branch = rows[name], self.model.branch(name)
            with torch.no_grad():
                prepared = branch.prepare(features if chosen is None else features.rows(chosen))
            try:
                terms[name] = student.branch(name).decoder.distillation(outputs[name], branch.decoder, prepared)
            except ConfigError as error:
                raise ConfigError(f"{OPTION} {self.source}: branch '{name}': {error}") from None
        return terms

    def add_terms(
        self,
        terms: Mapping[str, dict[str, LossTerm]],
        student: VisionModel,
        micro: Batch,
        outputs: Mapping[str, Outputs],
    ) -> dict[str, dict[str, LossTerm]]:
        """The loss terms of a micro batch by branch, with those of the teacher.

        Args:
            terms: without them.
            student: the model that is trained.
            micro: the images, with their labels.
            outputs: the student's raw outputs by branch, of the images that are labeled for it.
        """
        rows = {name: None if len(branch.rows) == len(micro) else branch.rows for name, branch in micro.targets.items()}
        taught = self.terms(student, micro.images, micro.sizes, rows, outputs)
        return {**terms, **{name: {**terms[name], DISTILLATION: term} for name, term in taught.items()}}

    def record(self) -> dict[str, Any]:
        """What the record of a run has of its teacher, without the folders of its path."""
        backbone: dict[str, Any] = (self.model.config or {}).get("backbone", {})
        return {
            "name": Path(self.source).name,
            "identity": self.identity,
            "backbone": backbone.get("name"),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "weight": self.weight,
        }

    def lines(self, student: VisionModel) -> list[str]:
        """What the student learns from the teacher, as lines for the log."""
        record = self.record()
        alone = [name for name in student.branches if name not in self.branches]
        missing = (
            [f"teacher: none of its branches is named {', '.join(alone)}: trained from labels alone"] if alone else []
        )
        return [
            f"teacher: {record['backbone']}, {record['parameters'] / 1e6:.1f} M parameters, of {self.source}; "
            f"its outputs are targets of {', '.join(self.branches)} too, with weight {self.weight:g}",
            *missing,
        ]


def open_teacher(recipe: TrainConfig, student: VisionModel) -> Teacher | None:
    """The teacher of a run, which is checked by comparing its outputs with the student's for a blank image; None without one.

    Args:
        recipe: the options of training.
        student: the built model.

    Raises:
        RunError: there is no such file or run.
        ConfigError: it does not fit the student.
        WeightsError: its file cannot be read.
    """
    if recipe.teacher is None:
        return None
    with_option = f"{OPTION} {recipe.teacher}"
    model = load(_path(recipe.teacher))
    shared = [name for name in student.branches if name in model.branches]
    if not shared:
        raise ConfigError(
            f"{with_option}: it has the branches {', '.join(model.branches)}, and this model {', '.join(student.branches)}; at "
            "least one must have the same name"
        )
    problem = _canvas_problem(model, student) or next(
        filter(None, (_labels_problem(model, student, n) for n in shared)), None
    )
    if problem is not None:
        raise ConfigError(f"{with_option}: {problem}")
    teacher = Teacher(model, recipe.teacher, 1.0 if recipe.teacher_weight is None else recipe.teacher_weight, shared)
    was_training = student.training
    height, width = student.resize_spec.size
    blank = torch.zeros(1, student.backbone.in_channels, height, width, dtype=torch.uint8)
    sizes = torch.tensor([[height, width]])
    student.eval()
    with torch.no_grad():
        outputs, _ = student.run(blank, sizes)
        teacher.terms(student, blank, sizes, dict.fromkeys(shared), outputs)
    student.train(was_training)
    return teacher


def check_same_teacher(before: str | None, teacher: Teacher | None) -> None:
    """Checks that a resumed run has the teacher that it began with.

    Args:
        before: the identity of the teacher that the run began with; None for none.
        teacher: of the resumed run.

    Raises:
        RunError: it is another one.
    """
    if before == (None if teacher is None else teacher.identity):
        return
    if teacher is None:
        raise RunError(f"{OPTION}: the run has a teacher, which cannot be left out when it is resumed")
    was = "no teacher" if before is None else "another teacher, or its file has changed since"
    raise RunError(f"{OPTION} {teacher.source}: the run began with {was}; give the same one, or start a new run")


def with_teacher_canvas(config: Config) -> Config:
    """The config with the teacher's canvas where it has none.

    Raises:
        RunError, WeightsError: the teacher cannot be read.
        ConfigError: the teacher has no canvas of one size.
    """
    if config.train.teacher is None:
        return config
    resize = ResizeSpec.from_dict(read_header(_path(config.train.teacher))[0]["preprocess"])
    if resize.mode == "shortest_edge":
        raise ConfigError(
            f"{OPTION} {config.train.teacher}: it gives each image a canvas of its own shape (resize 'shortest_edge'), and "
            "training needs one canvas for a batch; take another teacher"
        )
    filled = config.model_copy(deep=True)
    filled.train.image_size = list(resize.size) if config.train.image_size is None else config.train.image_size
    filled.train.resize = config.train.resize or resize.mode
    return filled


def _path(source: str) -> Path:
    """The model file of a teacher.

    Raises:
        RunError: there is none.
    """
    try:
        return model_path(source)
    except VertebraError as error:
        raise RunError(f"{OPTION}: {error}; a run with a teacher needs its file, also to be resumed") from None


def _canvas_problem(teacher: VisionModel, student: VisionModel) -> str | None:
    """Why canvases of the student are none for the teacher, in words; None if they are."""
    theirs, ours = model_info(teacher), model_info(student)
    pairs: dict[str, list[str]] = {
        "image_size": ["x".join(map(str, info.resize_spec.size)) for info in (theirs, ours)],
        "resize": [info.resize_spec.mode for info in (theirs, ours)],
        "scale": [str(info.resize_spec.scale) for info in (theirs, ours)],
    }
    for option, (expected, got) in pairs.items():
        if expected != got:
            return f"it has {option} {expected}, and this model {got}; set train.{option} as the teacher has it"
    if theirs.channels != ours.channels:
        return f"it takes images of {theirs.channels} channels, and this model of {ours.channels}"
    return None


def _labels_problem(teacher: VisionModel, student: VisionModel, name: str) -> str | None:
    """Why a branch's labels are not the teacher's, in words; None if they are."""
    theirs, ours = teacher.branch(name), student.branch(name)
    if theirs.task != ours.task:
        return f"its branch '{name}' has the task {theirs.task}, and this model's {ours.task}"
    named: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "classes": (theirs.labels.classes, ours.labels.classes),
        "points": (theirs.labels.object_parts, ours.labels.object_parts),
    }
    for kind, (expected, got) in named.items():
        if expected != got:
            return (
                f"its branch '{name}' has the {kind} {_listed(expected)}, and this model's {_listed(got)}; they must be the same "
                "in the same order"
            )
    modes = [getattr(branch.labels, "multilabel", False) for branch in (theirs, ours)]
    if modes[0] != modes[1]:
        return f"its branch '{name}' has multilabel {modes[0]}, and this model's {modes[1]}; they must be the same"
    return None


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:6])}{' …' if len(names) > 6 else ''} ({len(names)})"
