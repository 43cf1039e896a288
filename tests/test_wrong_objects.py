"""Objects of a wrong kind in the public functions: one clear error that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

import vertebra
from vertebra import ConfigError, Model

PICTURE = np.zeros((20, 30, 3), np.uint8)
ONE: dict[str, Any] = {"decoder": "linear", "classes": ["a", "b"], "image_size": 32}


@pytest.fixture(scope="module")
def model() -> Model:
    return vertebra.create_model("test_resnet", **ONE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 3}, "classes must be a list of names, got int"),
        ({"classes": {"a": 1}}, "classes must be a list of names, got dict"),
        (
            {"backbone": 3},
            "backbone must be a name, a mapping with a name and options, a module, or a callable .* got int",
        ),
        ({"decoder": 3}, "the decoder must be a name, .* got int"),
        ({"decoder": {"nam": "linear"}}, "the decoder has no 'name'"),
        ({"neck": []}, "branches.classify.neck must be a name, .* got list"),
        ({"encoder": True}, "branches.classify.encoder must be a name, .* got bool"),
        ({"shared": {"neck": 3}}, "shared.neck must be a name, .* got int"),
        ({"shared": "fpn"}, "'shared' must be a mapping from names to values, got str"),
        ({"labels": 3}, "'labels' must be a mapping from names to values, got int"),
        ({"branches": 3}, "'branches' must be a mapping from names to values, got int"),
        ({"branches": {"a": "linear"}}, r"'branches\['a'\]' must be a mapping from names to values, got str"),
        ({"task": [1]}, r"'task' must be the name of a task, got \[1\]"),
        ({"image_size": 3.5}, "image_size must be one number or .* got 3.5"),
        ({"image_size": "ab"}, "image_size must be one number or .* got ab"),
        ({"image_size": [32, "a"]}, "image_size must be one number or "),
    ],
)
def test_create_model_names_the_argument(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        vertebra.create_model(**{"backbone": "test_resnet", **ONE, **options})


def test_whole_numbers_of_numpy_are_numbers() -> None:
    assert vertebra.create_model("test_resnet", **{**ONE, "image_size": np.int64(32)}).resize_spec.size == (32, 32)
    assert vertebra.create_model("test_resnet", **{**ONE, "classes": np.array(["a", "b"])}).branch("classify").labels


@pytest.mark.parametrize("value", [None, 3, ["runs/x"], b"runs/x"])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (vertebra.load, "source"),
        (vertebra.evaluate, "source"),
        (vertebra.resume, "folder"),
        (vertebra.Run, "folder"),
    ],
)
def test_what_is_no_path_is_refused(call: Callable[[Any], Any], name: str, value: Any) -> None:
    shown = repr(value) if value is None or value == 3 else type(value).__name__
    with pytest.raises(ConfigError, match=f"^'{name}' must be a path, a str or a pathlib.Path, got {shown}$"):
        call(value)


def test_methods_refuse_what_is_no_path(model: Model) -> None:
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("path", lambda: model.save(None)),  # type: ignore[arg-type]
        ("path", lambda: model.export(3)),  # type: ignore[arg-type]
        ("data", lambda: model.evaluate(3)),  # type: ignore[arg-type]
        ("out", lambda: model.fit("data", out=3)),  # type: ignore[arg-type]
        ("config", lambda: vertebra.train(3)),  # type: ignore[arg-type]
        ("data", lambda: vertebra.resume("run", data=3)),  # type: ignore[arg-type]
        ("weights", lambda: vertebra.import_model("timm:resnet18", weights=3)),  # type: ignore[arg-type]
    ]
    for name, call in calls:
        with pytest.raises(ConfigError, match=f"'{name}' must be a path"):
            call()
    with pytest.raises(ConfigError, match="'train' must be a mapping from options to values, got int"):
        vertebra.train(model=model, data="data", train=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'3' is not a source; write LIBRARY:NAME"):
        vertebra.import_model(3)  # type: ignore[arg-type]


def test_what_is_no_model_is_refused(model: Model, tmp_path: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"Predictor takes a model of vertebra, got str; load it first: vertebra.load\('runs/x'\)"
    ):
        vertebra.Predictor("runs/x")  # type: ignore[arg-type]
    calls: list[Callable[[Any], Any]] = [
        vertebra.Predictor,
        lambda other: vertebra.save(other, tmp_path / "model.safetensors"),
        lambda other: vertebra.export_model(other, tmp_path / "model.onnx"),
        lambda other: vertebra.Cascade(other, model),
        lambda other: vertebra.Cascade(None, other),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="takes a model of vertebra, got Linear$"):
            call(nn.Linear(2, 2))
    assert not list(tmp_path.iterdir())


def test_a_device_and_a_pattern_of_a_wrong_kind(model: Model) -> None:
    for device in ([], {}, 1.5):
        with pytest.raises(ConfigError, match="'device' must be a name such as cpu or cuda, got"):
            model.predict(PICTURE, device=device)
    with pytest.raises(ConfigError, match="'pattern' must be a text such as 'resnet\\*', got int"):
        vertebra.list_backbones(3)  # type: ignore[arg-type]
