"""``vertebra train``: trains a model on a data set, and writes a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def train(
    arguments: list[str] | None = typer.Argument(
        None, metavar="[CONFIG] [KEY=VALUE]...", help="A YAML config, and overrides such as train.lr=0.001."
    ),
    data: str | None = typer.Option(None, help="A data set: folder or annotation file."),
    task: str | None = typer.Option(
        None,
        help="a task's name (classify, detect, rotated_boxes, segment, instances, keypoints, or an installed one); by default "
        "that of the labels.",
    ),
    attribute: list[str] = typer.Option(
        [], help="With --task detect: an attribute of the objects to learn, such as color; may be repeated."
    ),
    backbone: str | None = typer.Option(None, help="A timm model's name."),
    neck: str | None = typer.Option(None, help="A neck's name."),
    encoder: str | None = typer.Option(None, help="An encoder's name."),
    decoder: str | None = typer.Option(None, help="A decoder's name; by default the task's."),
    pretrained: str | None = typer.Option(None, help="true (timm's weights), false, or a weights file."),
    recipe: str | None = typer.Option(None, help="fast, default or best: how long, and how large the images are."),
    epochs: int | None = typer.Option(
        None, help="Number of passes over the data; by default as many as the images need."
    ),
    budget: str | None = typer.Option(
        None, help="The time that the run may take, such as 20m or 1h30m; it trains as well as possible in it."
    ),
    batch_size: int | None = typer.Option(None, help="Batch size; by default by the number of images and the memory."),
    image_size: str | None = typer.Option(None, help="Canvas: 480x640 (height x width) or one number."),
    lr: float | None = typer.Option(None, help="Peak learning rate."),
    lists: str | None = typer.Option(
        None, help="A folder with train.txt and val.txt, as `vertebra data split` writes them."
    ),
    ignore_index: int | None = typer.Option(None, help="Mask value of ignored pixels."),
    seed: int | None = typer.Option(None, help="Seed of all random numbers."),
    log: list[str] = typer.Option(
        [], help="tensorboard, wandb or mlflow: where the metrics are logged, too; may be repeated."
    ),
    start: str | None = typer.Option(
        None,
        "--from",
        help="A model file or run folder to start from; new classes get new last layers, a narrower --backbone cut ones.",
    ),
    teacher: str | None = typer.Option(
        None, help="A model file or run folder of a larger model, from whose outputs this one learns too."
    ),
    out: str | None = typer.Option(
        None, help="The run folder to create; by default runs/TASK, with a number if that exists."
    ),
    resume: str | None = typer.Option(
        None,
        help="A run folder to resume, exactly where it stopped. --epochs, --budget, --data (the same data elsewhere), "
        "train.workers, train.devices and the like may change.",
    ),
) -> None:
    """Train a model: with a config, or with one line of options."""
    from vertebra.data.early_check import check_sources
    from vertebra.errors import ConfigError
    from vertebra.yaml_files import assign, override

    config, overrides = config_and_overrides(arguments or [])
    options = _without_none(
        recipe=recipe,
        epochs=epochs,
        budget=budget,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        image_size=_size(image_size),
        log=log or None,
        teacher=teacher,
    )
    if resume is not None:
        _check_alone(resume, config, out)
        overrides += [] if ignore_index is None else [f"data.ignore_index={ignore_index}"]
        overrides += [] if lists is None else [f"data.lists={lists}"]
        parts = {
            name: {"name": value} for name, value in _without_none(neck=neck, encoder=encoder, decoder=decoder).items()
        }
        model = _without_none(task=task, init_from=start, backbone=_without_none(name=backbone, pretrained=pretrained))
        from vertebra.training.run import resume_run

        resume_run(resume, data=data, overrides=overrides, train=options, model={**parts, **model})
        return
    if start is not None and (config or task or neck or encoder or decoder or pretrained):
        raise ConfigError(
            "--from loads the whole model; give it with --data, and no config or parts but --backbone, for a narrower one"
        )
    raw = _raw(
        config, data=data, task=task, backbone=backbone, start=start, neck=neck, encoder=encoder, decoder=decoder
    )
    if attribute:
        if config is not None or start is not None:
            raise ConfigError(
                "--attribute is for a model of options; in a config add a branch: {task: classify, boxes_from: ...}"
            )
        raw["model"] = with_attributes(raw["model"], attribute)
    for name, value in options.items():
        assign(raw, f"train.{name}", value)
    _add_data_options(raw, {"--ignore-index": ("ignore_index", ignore_index), "--lists": ("lists", lists)})
    if pretrained is not None:
        assign(raw, "model.backbone.pretrained", pretrained)
    where = config or "options"
    check_sources(override(raw, overrides), where)
    from vertebra.training.run import train_raw

    train_raw(raw, overrides=overrides, out=None if out is None else Path(out), where=where)


def with_attributes(model: dict[str, Any], attributes: list[str]) -> dict[str, Any]:
    """A model of one branch with boxes, and a branch for each attribute of them; all read the branch's neck and encoder.

    Args:
        model: backbone and parts as options of the command line name them.
        attributes: their names.

    Raises:
        ConfigError: the task has no boxes, or an attribute is named twice.
    """
    from vertebra.build import branch_name
    from vertebra.config_short_forms import task_of_decoder
    from vertebra.errors import ConfigError
    from vertebra.tasks import all_tasks, get_task

    values = dict(model)
    parts = {name: values.pop(name) for name in ("neck", "encoder") if name in values}
    decoder = values.pop("decoder")
    task = values.pop("task", None) or task_of_decoder(decoder)
    if not get_task(task).has_boxes:
        raise ConfigError(f"--attribute is for a task with boxes, such as detect; '{task}' has none")
    of_boxes = next(name for name, each in all_tasks().items() if each.of_boxes)
    branches: dict[str, Any] = {task: {"task": task, "decoder": decoder}}
    for attribute in attributes:
        name = branch_name(attribute)
        if name in branches:
            raise ConfigError(f"--attribute {attribute}: there is a branch '{name}' already; name each attribute once")
        branches[name] = {"task": of_boxes, "boxes_from": task, "attribute": attribute}
    return {**values, "shared": parts, "branches": branches}


def config_and_overrides(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The path of the config, or None, and the overrides ``key=value``.

    Raises:
        ConfigError: an argument is neither.
    """
    from vertebra.errors import ConfigError

    config = arguments[0] if arguments and "=" not in arguments[0] else None
    overrides = arguments if config is None else arguments[1:]
    for argument in overrides:
        if "=" not in argument:
            raise ConfigError(f"'{argument}' is neither an option nor an override key=value")
    return config, list(overrides)


def _add_data_options(raw: dict[str, Any], options: dict[str, tuple[str, Any]]) -> None:
    """Adds options of the data set of --data: by the option's name on the command line, its name in a config and its value."""
    from vertebra.errors import ConfigError

    chosen = {option: value for option, value in options.items() if value[1] is not None}
    if chosen and not isinstance(raw.get("data"), str):
        option, (name, _) = next(iter(chosen.items()))
        raise ConfigError(f"{option} needs --data; in a config, set {name} beside a source's path")
    if chosen:
        raw["data"] = {"path": raw["data"], **dict(chosen.values())}


def _without_none(**values: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _check_alone(resume: str, config: str | None, out: str | None) -> None:
    """Checks that no other option conflicts with --resume."""
    from vertebra.errors import ConfigError

    if config is not None:
        raise ConfigError(f"--resume uses the config in the run folder; leave '{config}' out, or --resume")
    if out is not None and Path(out).absolute() != Path(resume).absolute():
        raise ConfigError(f"--out {out}: --resume continues in the run folder {resume}; leave --out out, or --resume")


def _raw(
    config: str | None,
    *,
    data: str | None,
    task: str | None,
    backbone: str | None,
    start: str | None,
    **parts: str | None,
) -> dict[str, Any]:
    from vertebra.config import read_raw
    from vertebra.data.find_task import find_task
    from vertebra.errors import ConfigError
    from vertebra.messages import emit
    from vertebra.tasks import get_task
    from vertebra.yaml_files import assign

    chosen = {name: value for name, value in parts.items() if value is not None}
    if config is not None:
        raw = read_raw(Path(config))
        if task or chosen:
            raise ConfigError("a config names the parts already; change them with overrides such as model.neck=fpn")
        if backbone is not None:
            assign(raw, "model.backbone", backbone)
    elif start is not None:
        from vertebra.weights.finetune import finetune_config

        if data is None:
            raise ConfigError("--from needs --data: what to train on")
        raw = {"model": finetune_config(start, backbone)}
    else:
        if data is None:
            raise ConfigError("give a config, or --data (and --task, --backbone, --neck, --decoder as you like)")
        if task is None and "decoder" not in chosen:
            suggestion = find_task(data)
            task = suggestion.name
            emit(str(suggestion))
        defaults = {} if task is None or "decoder" in chosen else get_task(task).default_parts
        model: dict[str, Any] = {
            "backbone": {"name": backbone or "mobilenetv2_100", "pretrained": True},
            **defaults,
            **chosen,
        }
        if task is not None:
            model["task"] = task
        raw = {"model": model}
    if data is not None:
        raw["data"] = data
    return raw


def _size(text: str | None) -> int | list[int] | None:
    from vertebra.errors import ConfigError

    if text is None:
        return None
    sides = text.lower().split("x")
    if not all(side.isdigit() for side in sides) or len(sides) > 2:
        raise ConfigError(f"--image-size '{text}' must be HEIGHTxWIDTH, such as 480x640, or one number")
    return int(sides[0]) if len(sides) == 1 else [int(side) for side in sides]
