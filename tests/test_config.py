import re
from pathlib import Path
from typing import Any

import pytest

from vertebra.config import Config, model_config, override, read_raw
from vertebra.errors import ConfigError, UnknownName

FLAT = {"data": "d", "model": {"backbone": "resnet18", "neck": "fpn", "decoder": "retinanet"}}


def changed(**train: Any) -> dict[str, Any]:
    return {**FLAT, "train": train}


def test_short_forms_are_written_out() -> None:
    config = Config.from_raw(FLAT)
    assert list(config.model.branches) == ["detect"]
    branch = config.model.branches["detect"]
    assert branch.task == "detect"
    assert branch.neck is not None and branch.neck.name == "fpn"
    assert [source.path for source in config.data.val] == ["d"]
    assert Config.from_raw(__import__("yaml").safe_load(config.to_yaml())) == config


def test_the_design_example_is_understood() -> None:
    config = Config.from_raw(
        {
            "data": {
                "train": [{"path": "a", "branches": ["boxes"]}, {"path": "b", "branches": ["regions"], "ratio": 0.5}],
                "val": "a",
            },
            "model": {
                "backbone": {"name": "resnet50", "pretrained": True, "freeze": 2},
                "shared": {"neck": {"name": "fpn", "channels": 128}},
                "branches": {
                    "boxes": {"task": "detect", "decoder": {"name": "retinanet"}},
                    "regions": {"task": "segment", "encoder": {"name": "aspp"}, "decoder": {"name": "deeplabv3plus"}},
                },
            },
            "train": {"epochs": 50, "batch_size": 16, "image_size": [480, 640], "precision": "auto", "devices": "auto"},
        }
    )
    assert config.model.backbone.options == {"pretrained": True, "freeze": 2}
    assert config.data.train[1].ratio == 0.5
    assert [source.path for source in config.data.test] == ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(epochs=True), r"'train.epochs' must be a whole number, got true"),
        (changed(epochs="3"), r"'train.epochs' must be a whole number, got \"3\""),
        (changed(epochs=0), r"'train.epochs' must be .*greater than or equal to 1"),
        (changed(precision="fast"), r"'train.precision' must be 'auto', '32', 'bf16-mixed' or '16-mixed'"),
        (changed(precision=64), r"'train.precision' must be .* got \"64\""),
        (changed(lr=True), r"'train.lr' must be a number"),
        ({"model": FLAT["model"]}, r"'data' is missing"),
        ({"data": {"val": "x"}, "model": FLAT["model"]}, r"'train' is missing"),
        ({"data": "d", "model": {"backbone": "r", "branches": {}, "neck": "fpn"}}, r"'neck' is set beside 'branches'"),
        ({"data": "d", "model": {"backbone": "r", "neck": "fpn"}}, r"'decoder' is missing"),
        (
            {"data": {"train": [{"path": "a", "branches": ["boxen"]}]}, "model": FLAT["model"]},
            r"branch 'boxen', which the model does not have",
        ),
    ],
)
def test_a_wrong_config_is_one_clear_line(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Config.from_raw(raw)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_has_its_path_and_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"option 'train.epoch': 'epoch'. Did you mean 'epochs'"):
        Config.from_raw(changed(epoch=3))
    with pytest.raises(UnknownName, match=r"'model.branches.detect.nek'.*Did you mean 'neck'"):
        Config.from_raw(
            {"data": "d", "model": {"backbone": "r", "branches": {"detect": {"decoder": "fcos", "nek": "fpn"}}}}
        )
    with pytest.raises(UnknownName, match=r"'data.train.0.ration'.*'ratio'"):
        Config.from_raw({**FLAT, "data": {"train": [{"path": "a", "ration": 1.0}]}})


def test_the_labels_of_points_stand_in_a_branch() -> None:
    pose = {
        "points": ["nose", "left_ear", "right_ear"],
        "skeleton": [[0, 1]],
        "flip_pairs": [[1, 2]],
        "sigmas": [0.1, 0.1, 0.1],
    }
    config = Config.from_raw(
        {
            "data": "d",
            "model": {"backbone": "r", "branches": {"pose": {"task": "keypoints", "decoder": "heatmap", **pose}}},
        }
    )
    assert config.model.branches["pose"].label_fields == pose
    flat = Config.from_raw({"data": "d", "model": {"backbone": "r", "decoder": "heatmap", **pose}})
    assert flat.model.branches["keypoints"].label_fields == pose
    assert Config.from_raw(__import__("yaml").safe_load(flat.to_yaml())) == flat


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"decoder": "heatmap", "skelton": [[0, 1]]}, r"option 'model.branches.pose.skelton'.*Did you mean 'skeleton'"),
        ({"decoder": "heatmap", "skeleton": [0, 1]}, r"'model.branches.pose.skeleton"),
        ({"decoder": "heatmap", "points": "nose"}, r"'model.branches.pose.points' must be a list, got \"nose\""),
        ({"decoder": "heatmap", "sigmas": ["a"]}, r"'model.branches.pose.sigmas.0' must be a number, got \"a\""),
        ({"decoder": "retinanet", "points": ["nose"]}, r"option 'model.branches.pose.points'"),
    ],
)
def test_wrong_labels_of_points_are_told(branch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_raw({"data": "d", "model": {"backbone": "r", "branches": {"pose": branch}}})


def test_overrides_reach_into_parts() -> None:
    raw = override(FLAT, ["train.epochs=3", "model.neck.channels=32", "model.backbone=vgg11"])
    assert raw["train"] == {"epochs": 3}
    assert raw["model"]["neck"] == {"name": "fpn", "channels": 32}
    assert raw["model"]["backbone"] == "vgg11"
    assert FLAT["model"]["neck"] == "fpn"  # type: ignore[index]
    with pytest.raises(ConfigError, match="write key=value"):
        override(FLAT, ["epochs"])


def test_an_unknown_decoder_is_told() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'retinanet'"):
        model_config({"backbone": "resnet18", "decoder": "retinanett"})


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        read_raw(tmp_path / "a.yaml")
    broken = tmp_path / "b.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ConfigError, match="not a YAML file"):
        read_raw(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="a config is a mapping"):
        read_raw(broken)


def test_numbers_are_written_as_people_write_them(tmp_path: Path) -> None:
    assert override({}, ["train.lr=1e-4", "train.weight_decay=5E-2", "a=1e", "b=e5"]) == {
        "train": {"lr": 1e-4, "weight_decay": 0.05}, "a": "1e", "b": "e5",
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text("data: x\nmodel: {backbone: resnet10t, decoder: linear}\ntrain: {lr: 1e-4}\n")
    assert Config.from_raw(read_raw(tmp_path / "c.yaml")).train.lr == 1e-4


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for wrong, message in (
        (lambda: override({}, ["train.lr=[1,"]), "is no YAML value"),
        (lambda: read_raw(tmp_path), "cannot be read"),
        (lambda: Config.from_raw({"data": {"train": 5}, "model": {}}), "a path, or a mapping with 'path'; got 5"),
        (
            lambda: Config.from_raw(
                {"data": "x", "model": {"backbone": "r", "decoder": "linear"}, "train": {"lr": float("inf")}}
            ),
            "train.lr",
        ),
        (
            lambda: Config.from_raw(
                {"data": "x", "model": {"backbone": "r", "branches": {"Animals": {"decoder": "linear", "wieght": 2}}}}
            ),
            "model.branches.Animals.wieght'.*Did you mean 'weight'",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            wrong()


def test_on_is_a_word_and_true_is_not(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: {on: person, off: yes, sure: true, no: False}")
    assert read_raw(file) == {"a": {"on": "person", "off": "yes", "sure": True, "no": False}}


def test_a_key_that_looks_like_a_type_is_told_too() -> None:
    for key in ("Data", "int", "list[str]"):
        with pytest.raises(UnknownName, match=rf"option '{re.escape(key)}'"):
            Config.from_raw({**FLAT, key: 1})
    with pytest.raises(ConfigError, match="config: invalid JSON"):
        Config.from_raw({**FLAT, "data": "\ud800"})


def test_a_precision_may_be_given_as_a_number() -> None:
    assert Config.from_raw(changed(precision=32)).train.precision == "32"
