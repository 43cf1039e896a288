"""The typed config of a run, from YAML, the command line and keyword arguments.

A file may use short forms; `Config.from_raw` writes them out:

- ``data: PATH`` or ``data: {path: PATH}``: the same data set for train, val and test, each with its own split;
- a part by its name alone: ``neck: fpn`` for ``neck: {name: fpn}``;
- ``task``, ``neck``, ``encoder``, ``decoder`` and ``classes`` right under ``model``: one branch named after its task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator, model_validator

from vertebra.config_short_forms import SPLITS as SPLITS
from vertebra.config_short_forms import expand_data, expand_model, task_of_decoder
from vertebra.errors import ConfigError, UnknownName, shortened
from vertebra.validation import validate
from vertebra.yaml_files import override as override  # part of this module's interface
from vertebra.yaml_files import read_raw as read_raw

AUTO = "auto"  # the augmentation of the recipe
MANY = 1_000_000
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), allow_inf_nan=False)


class PartConfig(BaseModel):
    """A part by name, with its options next to the name; they are checked against the part's signature when it is built.

    The name of a part that was given as an object is its class in angle brackets: ``<mypackage.necks.MyNeck>``.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All values except the name."""
        return dict(self.model_extra or {})

    @property
    def is_object(self) -> bool:
        """Whether it was given as an object, which must be given again when the model is built."""
        return self.name.startswith("<") and self.name.endswith(">")

    @property
    def short_name(self) -> str:
        """The name; of an object the name of its class or callable, without the module."""
        return self.name[1:-1].rpartition(".")[2] if self.is_object else self.name


class BranchConfig(_Strict):
    """One branch.

    Attributes:
        task: a name of `vertebra.tasks.all_tasks`; default: the decoder's task.
        classes: class names; default: those of the data.
        multilabel: a sigmoid for each class (True) or softmax over classes (False).
        weight: factor of this branch's loss in the sum over branches.
        boxes_from: the branch whose boxes this one reads, if its decoder can.

    Further fields are those of the task's labels (for keypoints ``points``, ``skeleton``, ``flip_pairs``, ``sigmas``), by
    default from the data.
    """

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=(), allow_inf_nan=False)

    decoder: PartConfig
    task: str | None = Field(default=None, min_length=1)
    neck: PartConfig | None = None
    encoder: PartConfig | None = None
    classes: list[str] | None = None
    multilabel: bool = False
    weight: float = Field(default=1.0, gt=0)
    boxes_from: str | None = Field(default=None, min_length=1)

    @property
    def label_fields(self) -> dict[str, Any]:
        """The fields of the task's labels other than the classes."""
        return dict(self.model_extra or {})


class SharedConfig(_Strict):
    """Parts before the fork, used by all branches."""

    neck: PartConfig | None = None
    encoder: PartConfig | None = None


class ModelConfig(_Strict):
    """A backbone and its branches.

    Attributes:
        init_from: a model file or run folder with the initial weights; weights that do not fit are skipped.
    """

    backbone: PartConfig
    shared: SharedConfig = SharedConfig()
    branches: dict[str, BranchConfig]
    init_from: str | None = Field(default=None, min_length=1)

    @property
    def parts(self) -> dict[str, PartConfig]:
        """All parts by path: "backbone", "shared.neck", "branches.boxes.decoder"."""
        parts: dict[str, PartConfig | None] = {"backbone": self.backbone}
        parts |= {f"shared.{kind}": getattr(self.shared, kind) for kind in ("neck", "encoder")}
        for name, branch in self.branches.items():
            parts |= {f"branches.{name}.{kind}": getattr(branch, kind) for kind in ("neck", "encoder", "decoder")}
        return {path: part for path, part in parts.items() if part is not None}

    @property
    def object_parts(self) -> dict[str, str]:
        """The classes of those parts that were given as objects, by path."""
        return {path: part.name[1:-1] for path, part in self.parts.items() if part.is_object}

    @field_validator("branches")
    @classmethod
    def _have_one(cls, branches: dict[str, BranchConfig]) -> dict[str, BranchConfig]:
        if not branches:
            raise ValueError("a model needs at least one branch")
        return branches

    @field_validator("backbone")
    @classmethod
    def _read_pretrained(cls, backbone: PartConfig) -> PartConfig:
        """Reads words for yes and no as booleans, not as names of weight files."""
        pretrained = backbone.options.get("pretrained")
        word = _TRUTHS.get(pretrained.strip().lower()) if isinstance(pretrained, str) else None
        return backbone if word is None else PartConfig(name=backbone.name, **{**backbone.options, "pretrained": word})


class SourceConfig(_Strict):
    """One data set.

    Attributes:
        path: its folder or annotation file.
        branches: the branches that it is labeled for; default: all.
        ratio: part of it in an epoch: 1 all, 0.5 half of it, 2 everything twice.
        split: one of its splits; default: the split that lists the source.
        lists: a list file with its images, one path a line, or a folder with ``train.txt``, ``val.txt`` and ``test.txt``, as
            ``vertebra data split`` writes them; they replace the data set's splits.
        format: a name of `vertebra.data.readers.all_readers`; default: detected.
        ignore_index: mask value in the files of pixels that count neither in the loss nor in the metrics.
        classes: new names of classes, each with the names in the files that become it: ``{dog: [Dog, puppy]}``.
        drop_classes: classes of the files whose annotations are left out; their objects count as background.
        ignore_classes: classes of the files that count neither as objects nor as background.
        annotated: classes that are annotated here, by the names after ``classes``: what is not labeled of another class may still
            be there, so that it is neither learned nor measured on these images; default: all classes.
        fraction: part of the images that is used at all, the same ones in each epoch and run with a seed.
        balance: "classes": images with rare classes are drawn more often in training, at an unchanged length of the epoch.
        columns: columns of a table by what is read from them: ``{image: path, label: species}``.
    """

    path: str
    branches: list[str] | None = Field(default=None, min_length=1)
    ratio: float = Field(default=1.0, gt=0, le=1000)
    split: str | None = Field(default=None, min_length=1)
    lists: str | None = Field(default=None, min_length=1)
    format: str | None = Field(default=None, min_length=1)
    ignore_index: int | None = Field(default=None, ge=0, lt=2**32)
    classes: dict[str, list[str] | str] | None = Field(default=None, min_length=1)
    drop_classes: list[str] = []
    ignore_classes: list[str] = []
    annotated: list[str] | None = Field(default=None, min_length=1)
    fraction: float = Field(default=1.0, gt=0, le=1)
    balance: Literal["classes"] | None = None
    columns: dict[str, str | int] | None = Field(default=None, min_length=1)

    @field_validator("path")
    @classmethod
    def _name_something(cls, path: str) -> str:
        if not path.strip() or "\0" in path:
            raise ValueError(f"'{shortened(path)}' is no path; name a folder or an annotation file")
        return path


class DataConfig(_Strict):
    """The data sets of each split.

    Attributes:
        check: whether a training first checks the annotations and a sample of the images, and stops on errors.
    """

    train: list[SourceConfig] = Field(min_length=1)
    val: list[SourceConfig] = []
    test: list[SourceConfig] = []
    check: bool = True


class TrainConfig(_Strict):
    """Options of training. The defaults suit most models; those that depend on the data are chosen when a run starts, and
    stored in its config, see `vertebra.recipe.choices`.

    Attributes:
        recipe: how long and how large: "fast", "default" or "best"; see `vertebra.recipe.defaults`.
        epochs: passes over the data; default: by the number of steps that so many images need.
        budget: the time that the run may take ("20m", "1h30m", "90s", or seconds), in which it trains as well as possible;
            ``epochs`` is then a maximum. See `vertebra.recipe.budget`. Default: none.
        batch_size: images per process in a micro batch; a step has ``accumulate`` of them. Default: by the number of images, or
            as many as fit into memory.
        image_size: (height, width) of the canvas in pixels; default: from the sizes of images and objects.
        resize: how images are resized to the canvas; default: center_crop if all branches classify, else letterbox.
        scale: the range of images of more than 8 bits: "auto", the number of white (255, 65535), or [low, high]; see
            `vertebra.preprocess.number_range`.
        reduced_decoding: decode JPEG files at 1/2, 1/4 or 1/8 of their size where augmentation shows them smaller than that.
        cache: keep decoded images for later epochs, in "memory" or on "disk"; null for no; see `vertebra.data.open_cache`.
        augment: a preset, "auto" (the recipe's), "none", "light", "default" or "strong", by name or with options:
            ``{name: strong, vertical_flip: 0.5}``; the options are those of `vertebra.recipe.augment.Augment`. From Python also
            a transform, such as a ``Compose`` of ``torchvision.transforms.v2``; see
            `vertebra.data.augmentation.user_transform`.
        optimizer: an optimizer of torch or timm, by name ("adamw", "sgd", "lion" …) or with options:
            ``{name: sgd, momentum: 0.8}``. "sgd" has Nesterov momentum 0.9.
        lr: peak learning rate; default: 1e-3 for AdamW, 2e-2 for SGD, else the optimizer's default.
        backbone_lr: factor of the learning rate for a pretrained backbone; a random one has the full rate; default: by the tasks.
        layer_decay: factor of the learning rate from each layer of a pretrained backbone to the one before it, so that early
            layers change less; 1 for none.
        freeze_backbone: share of the steps, at the beginning, in which a pretrained backbone is frozen, with its running
            statistics; its learning rate then rises anew over the warm-up; default: by the tasks.
        weight_decay: default: 0.05 for AdamW, 1e-4 for SGD, else the optimizer's default; not for norms, biases and other
            vectors.
        lr_schedule: of the learning rate after the warm-up: "cosine", "linear", "constant" or "step", by name or with
            options: ``{name: cosine, end: 0.1}``; see `vertebra.recipe.lr_schedule`.
        warmup: part of all steps in which the learning rate rises from 0.
        clip_norm: largest norm of the gradient; null for no clipping.
        accumulate: micro batches in a step; default: so many that a step has the images that the recipe chose, else 1.
        ema: decay of the moving average of the weights, which is evaluated and saved; null for none.
        precision: "auto" (mixed if the device is faster with it), "32", "bf16-mixed" or "16-mixed".
        compile: compile the model and its loss with ``torch.compile``: minutes at first, then faster steps on most GPUs.
        monitor: the metric that selects the best weights ("boxes/map"); default: the mean of the branches' main metrics.
        patience: evaluations without improvement after which training stops; null for never.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated. Default: so many that evaluations take
            little of the time.
        save_every_minutes: how often the state is saved within an epoch, in addition to each epoch's end.
        workers: loader processes; default: by the number of CPUs.
        seed: of all random numbers.
        teacher: a model file or run folder of a trained model, from whose outputs this one learns in addition to the labels; see
            `vertebra.training.teacher`. Its canvas is the default.
        teacher_weight: factor of the teacher's loss term beside the other terms of a branch; default: 1.
        log: loggers that get the metrics of each epoch, "tensorboard", "wandb" (Weights & Biases) or "mlflow"; see
            `vertebra.training.loggers`.
        devices, num_nodes, strategy, accelerator: options of Lightning; for the strategy "fsdp" see `vertebra.training.sharding`.
    """

    recipe: Literal["fast", "default", "best"] = "default"
    epochs: int | None = Field(default=None, ge=1, le=MANY)
    budget: str | float | None = None
    batch_size: int | None = Field(default=None, ge=1, le=MANY)
    image_size: int | list[int] | None = None
    resize: Literal["letterbox", "resize", "center_crop"] | None = None
    scale: str | float | list[float] = "auto"
    reduced_decoding: bool = True
    cache: Literal["memory", "disk"] | None = None
    augment: PartConfig = PartConfig(name=AUTO)
    optimizer: PartConfig = PartConfig(name="adamw")
    lr: float | None = Field(default=None, gt=0)
    backbone_lr: float | None = Field(default=None, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    freeze_backbone: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    lr_schedule: PartConfig = PartConfig(name="cosine")
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip_norm: float | None = Field(default=5.0, gt=0)
    accumulate: int | None = Field(default=None, ge=1, le=MANY)
    ema: float | None = Field(default=0.998, gt=0, lt=1)
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "auto"
    compile: bool = False
    monitor: str | None = Field(default=None, min_length=1)
    patience: int | None = Field(default=None, ge=1, le=MANY)
    evaluate_every: int | None = Field(default=None, ge=1, le=MANY)
    save_every_minutes: float = Field(default=10.0, gt=0)
    workers: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    teacher: str | None = Field(default=None, min_length=1)
    teacher_weight: float | None = Field(default=None, gt=0)
    log: list[Literal["tensorboard", "wandb", "mlflow"]] = []
    accelerator: str = "auto"
    devices: int | str | list[int] = "auto"
    num_nodes: int = Field(default=1, ge=1, le=MANY)
    strategy: str = "auto"

    @field_validator("augment", "optimizer", "lr_schedule", mode="before")
    @classmethod
    def _fill_name(cls, value: Any, info: ValidationInfo) -> Any:
        """Options without a name change the default."""
        if isinstance(value, Mapping) and "name" not in value:
            return {"name": cls.model_fields[str(info.field_name)].default.name, **value}
        return value

    @field_validator("log", mode="before")
    @classmethod
    def _read_one_logger(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, value: str | float | list[float]) -> str | float | list[float]:
        from vertebra.preprocess.number_range import parse_scale

        parse_scale(value)
        return value

    @field_validator("budget")
    @classmethod
    def _check_budget(cls, value: str | float | None) -> str | float | None:
        from vertebra.recipe.budget import parse_duration

        if value is not None:
            parse_duration(value)
        return value

    @field_validator("augment")
    @classmethod
    def _check_augment(cls, value: PartConfig) -> PartConfig:
        from vertebra.recipe.augment import Augment

        if not value.is_object:
            Augment.from_options("default" if value.name == AUTO else value.name, value.options)
        elif value.options:
            raise ValueError("a transform that was given as an object has no options")
        return value

    @field_validator("lr_schedule")
    @classmethod
    def _check_schedule(cls, value: PartConfig) -> PartConfig:
        from vertebra.recipe.lr_schedule import make_schedule

        make_schedule(value.name, value.options)
        return value

    @model_validator(mode="after")
    def _check_teacher_weight(self) -> TrainConfig:
        if self.teacher_weight is not None and self.teacher is None:
            raise ValueError("teacher_weight has no effect without a teacher; set teacher, or leave teacher_weight out")
        return self

    @field_validator("precision", mode="before")
    @classmethod
    def _read_bits(cls, value: Any) -> Any:
        """Accepts 32 as a number, as YAML and the command line read it."""
        return str(value) if type(value) is int else value


class Config(_Strict):
    """The config of a run."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any], where: str = "config") -> Config:
        """A config from plain values, short forms allowed.

        Args:
            raw: as read from YAML.
            where: file name for messages.

        Raises:
            ConfigError: a value is wrong; the message has its full path.
        """
        values = dict(raw)
        if "model" in values:
            values["model"] = expand_model(values["model"], f"{where}: model")
        if "data" in values:
            values["data"] = expand_data(values["data"], f"{where}: data")
        config = validate(cls, values, "")
        check_label_fields(config.model)
        for split in SPLITS:
            for source in getattr(config.data, split):
                for name in source.branches or []:
                    if name not in config.model.branches:
                        raise ConfigError(
                            f"data.{split}: source '{source.path}' is for branch '{shortened(name)}', which the model does not "
                            f"have; its branches: {', '.join(config.model.branches)}"
                        )
        return config

    def to_yaml(self) -> str:
        """The config as YAML, without short forms."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def model_config(raw: Mapping[str, Any], where: str = "model") -> ModelConfig:
    """A `ModelConfig` from plain values, short forms allowed."""
    config = validate(ModelConfig, expand_model(raw, where), "model")
    check_label_fields(config)
    return config


def check_label_fields(model: ModelConfig) -> None:
    """Checks the label fields of all branches whose task is known by name."""
    from vertebra.parts import names

    for name, branch in model.branches.items():
        if branch.task is not None or branch.decoder.name in names("decoder"):
            check_labels(name, branch, branch.task or task_of_decoder(branch.decoder.name))


def check_labels(name: str, branch: BranchConfig, task: str) -> None:
    """Checks the label fields of one branch.

    Raises:
        UnknownName: the task's labels have no such field, with the nearest right name.
        ConfigError: a value of a wrong type.
    """
    from vertebra.tasks import all_tasks

    branch_fields, tasks = branch.label_fields, all_tasks()
    known = tasks[task].labels.own_fields() if task in tasks else ()
    for key in branch_fields:
        if key not in known:
            raise UnknownName(f"option 'model.branches.{name}.{key}':", key, [*BranchConfig.model_fields, *known])
    if branch_fields:
        hints = tasks[task].labels.option_types()
        fields: dict[str, Any] = {key: (hints[key], ...) for key in branch_fields}
        schema = create_model("Labels", __config__=ConfigDict(strict=True, protected_namespaces=()), **fields)
        validate(schema, branch_fields, f"model.branches.{name}")
