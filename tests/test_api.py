"""One object with all verbs: built, trained, evaluated, saved, loaded, exported."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vertebra
from vertebra import (
    ConfigError,
    DataError,
    FeatureSpec,
    Level,
    Model,
    ObjectPartWarning,
    Result,
    Run,
    RunError,
    UnknownName,
    WeightsError,
)
from vertebra.decoders.segment.upsample import Upsample
from vertebra.demo.animals import ANIMALS
from vertebra.export.parity_inputs import ParityCase, real_parity_inputs
from vertebra.features import Features
from vertebra.model_info import ModelInfo, model_info
from vertebra.training.folder import RunFolder
from vertebra.training.selection import Score

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 6, "workers": 0, "precision": "32", "ema": 0.9}
PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
MASKS = ["background", *ANIMALS]


class Mix(nn.Module):
    """A neck of a user's own: a 1x1 convolution on each level."""

    def __init__(self, in_spec: FeatureSpec, channels: int = 16) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(level.channels, channels, 1) for level in in_spec.levels)
        self.out_spec = in_spec.with_levels([Level(channels, level.stride) for level in in_spec.levels])

    def forward(self, features: Features) -> Features:
        return features.with_maps([conv(value) for conv, value in zip(self.convs, features.maps, strict=True)])


class Deepest(Mix):
    """An encoder of a user's own."""


class MyDecoder(Upsample):
    """A decoder of a user's own."""


class Body(nn.Module):
    """A backbone of a user's own, before it is wrapped: strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.deep = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        fine = self.stem(images)
        return [fine, self.deep(fine)]


SPEC = FeatureSpec((Level(8, 4), Level(16, 8)), None)


def objects() -> dict[str, Any]:
    backbone = vertebra.as_backbone(Body(), SPEC, size_multiple=8)
    neck = Mix(backbone.out_spec)
    return {"backbone": backbone, "neck": neck, "encoder": Deepest(neck.out_spec, channels=8), "decoder": MyDecoder}


def classifier() -> Model:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", decoder="linear", classes=list(ANIMALS), image_size=32, resize="resize")


def of_objects() -> Model:
    torch.manual_seed(0)
    return vertebra.create_model(**objects(), classes=MASKS, image_size=(48, 64))


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    values, expected = left.state_dict(), right.state_dict()
    return values.keys() == expected.keys() and all(
        torch.equal(value, expected[name]) for name, value in values.items()
    )


@pytest.fixture(scope="module")
def fitted(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Run]:
    """A trained model and its run; tests must change neither."""
    model = classifier()
    run = model.fit(scenes / "animals", out=tmp_path_factory.mktemp("fitted") / "run", **QUICK)
    return model, run


@pytest.fixture(scope="module")
def fitted_objects(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Run]:
    """The same, of a model whose parts are all objects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ObjectPartWarning)
        model = of_objects()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ObjectPartWarning)  # it was told when the model was built
        run = model.fit(scenes / "regions", out=tmp_path_factory.mktemp("objects") / "run", **QUICK)
    return model, run


def test_fit_leaves_the_best_weights_in_the_object(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter((0.9, 0.5))
    monkeypatch.setattr(
        "vertebra.training.folder.main_score", lambda *_: Score("classify/accuracy", next(falling), False)
    )
    model = classifier()
    run = model.fit(scenes / "animals", out=tmp_path / "run", **{**QUICK, "epochs": 2})
    assert run.epoch == 1 and [row["epoch"] for row in run.history] == [1, 2]
    assert same_weights(model, vertebra.load(run)) and not model.training
    last = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert any(not torch.equal(last[f"average.model.{name}"], value) for name, value in model.state_dict().items())


def test_a_run_has_its_folder_metrics_config_and_model(fitted: tuple[Model, Run]) -> None:
    model, run = fitted
    assert run.model is model and Path(run) == run.folder and run.folder.name == "run" and str(run) == str(run.folder)
    assert run.config.train.batch_size == 6 and run.config.train.image_size == [32, 32]
    assert run.metrics == {name: run.history[-1][name] for name in run.metrics} and "classify/accuracy" in run.metrics
    again = Run(str(run))
    assert again.metrics == run.metrics and same_weights(again.model, model) and isinstance(again.model, Model)
    for use in (lambda folder: folder.metrics, lambda folder: folder.config):
        with pytest.raises(RunError, match="is no run folder"):
            use(Run(run.folder.parent))


def test_a_model_trains_as_its_config_does(fitted: tuple[Model, Run], scenes: Path, tmp_path: Path) -> None:
    config = {
        "data": str(scenes / "animals"),
        "model": {"backbone": "test_resnet", "decoder": "linear", "classes": list(ANIMALS)},
        "train": {**QUICK, "image_size": 32, "resize": "resize"},
    }
    run = vertebra.train(config, out=tmp_path / "run")
    assert same_weights(run.model, fitted[0])
    assert run.metrics == fitted[1].metrics


def test_the_verbs_of_a_trained_model(fitted: tuple[Model, Run], scenes: Path, tmp_path: Path) -> None:
    model, run = fitted
    scores = model.evaluate()
    assert scores == pytest.approx(run.metrics, rel=1e-4), "the data of its run"
    assert model.evaluate(scenes / "animals", split="val") == scores
    assert model.evaluate(split="test") == vertebra.evaluate(run, split="test")
    assert "test_resnet" in model.summary() and "classify" in model.summary()
    (before,) = model.predict(PICTURE)
    again = vertebra.load(model.save(tmp_path / "model.safetensors"))
    assert isinstance(again, Model)
    assert np.array_equal(again.predict(PICTURE)[0]["classify"].probabilities, before["classify"].probabilities)
    with pytest.raises(ConfigError, match=r"name a data set"):
        again.evaluate()
    with pytest.raises(ConfigError, match="this model comes from no run; name a data set"):
        classifier().evaluate()
    with pytest.raises(ConfigError, match=r"for a model object call model.evaluate\(data\)"):
        vertebra.evaluate(model)
    with pytest.raises(DataError, match="split 'tset'"):
        model.evaluate(split="tset")
    assert len(copy.deepcopy(model)._engines) == 0 < len(model._engines)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_an_exported_file_has_the_verbs_of_its_kind(
    fitted: tuple[Model, Run], scenes: Path, tmp_path: Path, suffix: str
) -> None:
    model, _ = fitted
    path = tmp_path / f"model{suffix}"
    report = model.export(path, images=[PICTURE], data=scenes / "animals")
    assert report["metrics"]["classify/accuracy"][0] == pytest.approx(report["metrics"]["classify/accuracy"][1])
    file = vertebra.load(path)
    assert isinstance(file, vertebra.RuntimeModel)
    (wanted,), (found,) = model.predict(PICTURE), file.predict(PICTURE, batch_size=1)
    np.testing.assert_allclose(found["classify"].probabilities, wanted["classify"].probabilities, atol=1e-4)
    scores = file.evaluate(scenes / "animals")
    assert scores == {name: pytest.approx(model.evaluate()[name], abs=1e-6) for name in scores} and scores
    assert "test_resnet" in repr(file.config) and "classify" in repr(file) and path.name in file.summary()
    cure = "; load the run folder or the .safetensors file that it was made from"
    for use, what in (
        (lambda: file.fit("data", epochs=3), f"which cannot be trained{cure}"),
        (lambda: file.export("other.onnx"), f"which cannot be exported again{cure}"),
        (lambda: file.save("other.safetensors"), "which has no weights to save .* load the run folder"),
        (lambda: file.save("other.safetensors", overwrite=True), "which has no weights to save"),
    ):
        with pytest.raises(ConfigError, match=rf"^model\{suffix} is a file for \S+, {what}"):
            use()
    with pytest.raises(ConfigError, match="holds all of its parts"):
        vertebra.load(path, parts={"neck": nn.Identity()})


def test_objects_are_told_when_the_model_is_built() -> None:
    with pytest.warns(ObjectPartWarning) as caught:
        of_objects()
    (warning,) = caught
    text = str(warning.message)
    assert warning.filename == __file__
    assert f"backbone vertebra.as_backbone({__name__}.Body), neck {__name__}.Mix, encoder" in text
    assert 'vertebra.load(PATH, parts={"backbone": vertebra.as_backbone(Body(...), ...), "neck": Mix(...), ' in text
    assert "entry points (vertebra.necks, vertebra.encoders, vertebra.decoders)" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vertebra.create_model(
            "test_resnet", neck=vertebra.parts.find("neck", "fpn"), decoder="unet", classes=["a", "b"]
        )


def test_a_model_of_objects_loads_given_the_same_objects(fitted_objects: tuple[Model, Run], scenes: Path) -> None:
    model, run = fitted_objects
    with pytest.raises(
        ConfigError,
        match=r"branches.segment.neck \(.*Mix\).*give it again to vertebra.load, evaluate or resume: parts=",
    ):
        vertebra.load(run)
    torch.manual_seed(1)
    again = vertebra.load(run, parts=objects())
    assert same_weights(again, model)
    assert np.array_equal(again.predict(PICTURE)[0]["segment"].mask, model.predict(PICTURE)[0]["segment"].mask)
    assert again.evaluate() == pytest.approx(run.metrics, rel=1e-4)
    assert vertebra.evaluate(run, split="val", parts=objects()) == again.evaluate()
    with pytest.raises(UnknownName, match="'nek'. Did you mean 'neck'"):
        vertebra.load(run, parts={**objects(), "nek": nn.Identity()})
    with pytest.raises(ConfigError, match="'neck' must be a module, a class or a callable, got int"):
        vertebra.load(run, parts={**objects(), "neck": 3})
    with pytest.raises(WeightsError, match=r"neck.convs.0.weight' has the shape \(16, 8, 1, 1\), its model's is \(24,"):
        vertebra.load(run, parts={**objects(), "neck": Mix(SPEC, channels=24)})


def test_a_model_of_objects_is_saved_and_exported(fitted_objects: tuple[Model, Run], tmp_path: Path) -> None:
    model, _ = fitted_objects
    again = vertebra.load(model.save(tmp_path / "model.safetensors"), parts=objects())
    assert same_weights(again, model)
    model.export(tmp_path / "model.onnx", images=[PICTURE])
    file = vertebra.load(tmp_path / "model.onnx")
    left, right = file.predict(PICTURE)[0]["segment"].mask, model.predict(PICTURE)[0]["segment"].mask
    assert (left == right).mean() > 0.999


def test_a_stopped_run_of_objects_is_resumed_with_the_same_weights(
    fitted_objects: tuple[Model, Run], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = RunFolder.on_train_batch_end

    def stop(self: RunFolder, trainer: Any, *arguments: Any) -> None:
        self.stop.number = 2 if trainer.global_step == 1 else None
        original(self, trainer, *arguments)

    monkeypatch.setattr(RunFolder, "on_train_batch_end", stop)
    with pytest.raises(RunError, match="everything is saved"):
        of_objects().fit(scenes / "regions", out=tmp_path / "run", **QUICK)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="give it again"):
        vertebra.resume(tmp_path / "run")
    with pytest.raises(RunError, match="has not ended"):
        _ = Run(tmp_path / "run").metrics
    run = vertebra.resume(tmp_path / "run", parts=objects())
    assert same_weights(run.model, fitted_objects[0])
    assert run.metrics == fitted_objects[1].metrics


def test_parts_of_several_branches_have_the_names_of_their_branches(tmp_path: Path) -> None:
    branches = {
        "regions": {"neck": Mix, "decoder": "upsample", "classes": ["a", "b"]},
        "animal": {"decoder": "linear", "classes": ["a", "b"]},
    }
    with pytest.warns(ObjectPartWarning, match=r'parts=\{"regions.neck": Mix\(...\)\}'):
        model = vertebra.create_model("test_resnet", branches=branches, image_size=64)
    path = model.save(tmp_path / "model.safetensors")
    for key in ("regions.neck", "branches.regions.neck"):
        assert same_weights(vertebra.load(path, parts={key: Mix}), model)
    with pytest.raises(UnknownName, match="'neck'. Did you mean 'regions.neck'"):
        vertebra.load(path, parts={"neck": Mix})
    plain = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=64)
    with pytest.raises(ConfigError, match="all parts of this model are built by name; leave 'neck' out"):
        vertebra.load(plain.save(tmp_path / "plain.safetensors"), parts={"neck": Mix})


def test_hints_of_callables_and_of_one_object_in_two_branches(tmp_path: Path) -> None:
    def build(neck: Any, branches: Sequence[str], shared: Any = None) -> Model:
        config = {name: {"neck": neck, "decoder": "upsample", "classes": ["a", "b"]} for name in branches}
        return vertebra.create_model("test_resnet", branches=config, shared=shared, image_size=64)

    with pytest.warns(ObjectPartWarning, match=r'parts=\{"neck": the callable that you gave\}'):
        build(lambda spec: Mix(spec), ["regions"])
    with pytest.warns(ObjectPartWarning, match="give the same object for each key"):
        build(
            Mix(vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"]).backbone.out_spec),
            ["x", "y"],
        )
    with pytest.warns(ObjectPartWarning, match=r'"shared.neck": Mix\(...\), "branches.shared.neck": Mix'):
        model = build(Mix, ["shared", "regions"], {"neck": partial(Mix, channels=16)})
    path = model.save(tmp_path / "model.safetensors")
    parts = {"shared.neck": partial(Mix, channels=16), "branches.shared.neck": Mix, "regions.neck": Mix}
    assert same_weights(vertebra.load(path, parts=parts), model)


def test_a_class_of_an_entry_point_is_stored_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mix", f"{__name__}:Mix", "vertebra.necks")
    for module in ("vertebra.parts", "vertebra.object_parts"):
        monkeypatch.setattr(f"{module}.entry_points", lambda group: [point] if group == point.group else [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = vertebra.create_model("test_resnet", neck=Mix, decoder="upsample", classes=["a", "b"], image_size=64)
    again = vertebra.load(model.save(tmp_path / "model.safetensors"))
    assert isinstance(again.branch("segment").neck, Mix) and same_weights(again, model)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"neck": lambda spec: nn.Identity(), "decoder": "upsample"}, "Identity has no out_spec; a neck sets it"),
        ({"decoder": lambda spec, labels: nn.Identity()}, r"has no attribute 'task'; name its task: task="),
        ({"decoder": lambda spec, labels: nn.Identity(), "task": "segment"}, "Identity is no vertebra.decoders.base"),
        (
            {"backbone": nn.Identity(), "decoder": "linear"},
            "Identity is no vertebra.backbones.Backbone, .*; wrap it: vertebra.as_backbone",
        ),
    ],
)
def test_objects_that_are_no_parts(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        vertebra.create_model(**{"backbone": "test_resnet", "classes": ["a", "b"], **parts})


def test_a_decoder_that_is_built_brings_its_classes() -> None:
    spec = vertebra.create_model("test_resnet", decoder="upsample", classes=["a", "b"]).backbone.out_spec
    labels = vertebra.parts.find("decoder", "upsample").__init__.__globals__["SegmentLabels"](("x", "y"))
    built = MyDecoder(spec, labels)
    model = vertebra.create_model("test_resnet", decoder=built, image_size=64)
    assert model.branch("segment").labels.classes == ("x", "y")
    with pytest.raises(ConfigError, match="the decoder was built for the classes x, y, and the branch has z; give"):
        vertebra.create_model("test_resnet", decoder=built, classes=["z"], image_size=64)


def test_wrong_names_of_options_get_the_nearest_right_ones(fitted: tuple[Model, Run], tmp_path: Path) -> None:
    model, run = fitted
    data = tmp_path / "none"
    for use, message in (
        (lambda: vertebra.create_model("test_resnet", necks="fpn"), r"create_model\(\): 'necks'. Did you mean 'neck'"),
        (lambda: model.fit(data, epoch=3), r"option of fit\(\): 'epoch'. Did you mean 'epochs'"),
        (lambda: vertebra.train(model=model, date=data), r"train\(\): 'date'. Did you mean 'data'"),
        (lambda: vertebra.resume(run, epoch=3), r"resume\(\): 'epoch'. Did you mean 'epochs'"),
        (lambda: model.predict(PICTURE, treshold=0.1), r"predict\(\): 'treshold'. Did you mean 'threshold'"),
        (lambda: model.predict(PICTURE, inplace=True), r"option of predict\(\): 'inplace'"),
        (lambda: model.evaluate(data, spilt="val"), r"evaluate\(\): 'spilt'. Did you mean 'split'"),
        (lambda: vertebra.evaluate(run, spilt="val"), r"evaluate\(\): 'spilt'. Did you mean 'split'"),
        (lambda: model.export("x.onnx", precison="fp16"), r"export\(\): 'precison'. Did you mean 'precision'"),
        (lambda: vertebra.export_model(model, "x.onnx", precison="fp16"), r"'precison'. Did you mean 'precision'"),
        (lambda: vertebra.load(run, verfy=False), r"load\(\): 'verfy'. Did you mean 'verify'"),
        (
            lambda: vertebra.Predictor(model, treshold=1),
            r"option of Predictor\(\): 'treshold'. Did you mean 'threshold'",
        ),
        (lambda: vertebra.Cascade(None, model, marign=2), r"option of Cascade\(\): 'marign'. Did you mean 'margin'"),
        (lambda: vertebra.list_backbones(pretrain=True), r"list_backbones\(\): 'pretrain'. Did you mean 'pretrained'"),
        (lambda: vertebra.list_parts(kin="neck"), r"list_parts\(\): 'kin'. Did you mean 'kind'"),
        (lambda: vertebra.save(model, pth=data), r"option of save\(\): 'pth'. Did you mean 'path'"),
        (lambda: model.save(pth=data), r"option of save\(\): 'pth'. Did you mean 'path'"),
        (lambda: vertebra.as_backbone(modul=model), r"as_backbone\(\): 'modul'. Did you mean 'module'"),
        (
            lambda: Result({}, None, (1, 1)).filter(min_scores=0.5),
            r"filter\(\): 'min_scores'. Did you mean 'min_score'",
        ),
        (lambda: vertebra.import_model("timm:x", weight="y"), r"import_model\(\): 'weight'. Did you mean 'weights'"),
    ):
        with pytest.raises(UnknownName, match=message):
            use()
    assert inspect.signature(vertebra.create_model).parameters["neck"].default is None, "editors show the options"


def test_what_a_given_model_cannot_be_trained_with(scenes: Path, tmp_path: Path) -> None:
    data, out = scenes / "animals", tmp_path / "run"
    with pytest.raises(ConfigError, match=r"image_size: the model has a canvas of 32x32; .*create_model\(image_size="):
        classifier().fit(data, image_size=64, out=out)
    with pytest.raises(ConfigError, match="resize: the model has 'resize'"):
        classifier().fit(data, resize="letterbox", out=out)
    with pytest.raises(
        ConfigError, match="has a section 'model', and there is the argument 'model', too; leave one out"
    ):
        vertebra.train({"model": {"backbone": "test_resnet"}}, model=classifier(), data=data, out=out)
    with torch.inference_mode():
        model = classifier()
    with pytest.raises(ConfigError, match="made in torch.inference_mode"):
        model.fit(data, out=out)
    assert not out.exists()


def test_train_takes_sections_and_single_options(scenes: Path, tmp_path: Path) -> None:
    run = vertebra.train(
        {"data": "elsewhere", "train": {"lr": 0.5, "epochs": 9}},
        data=str(scenes / "animals"),
        model={"backbone": "test_resnet", "decoder": "linear"},
        train={"workers": 0, "epochs": 3, "image_size": 32},
        epochs=1,
        out=tmp_path / "run",
    )
    assert (run.config.train.epochs, run.config.train.lr, run.config.train.workers) == (1, 0.5, 0)
    assert isinstance(run.model, Model) and run.model.source == run.folder


def test_backbones_are_listed_without_building_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "__init__", lambda self: pytest.fail("a module was built"))
    every, few = vertebra.list_backbones(), vertebra.list_backbones("resnet1*")
    assert {"resnet18", "ssd_vgg16", "test_resnet"} <= set(every) and every == sorted(every)
    assert "resnet18" in few and all(name.startswith("resnet1") for name in few)
    pretrained = set(vertebra.list_backbones(pretrained=True))
    assert "resnet18" in pretrained and set(every) - pretrained and pretrained <= set(every)
    assert vertebra.list_backbones("ssd_*") == ["ssd_vgg16"] and vertebra.list_backbones("nothing") == []


def test_parts_are_listed_by_kind_and_task() -> None:
    necks = vertebra.list_parts("neck")
    assert {part.kind for part in necks} == {"neck"} and "fpn" in [part.name for part in necks]
    fpn = next(part for part in necks if part.name == "fpn")
    assert "channels" in [option.name for option in fpn.options]
    detectors = vertebra.list_parts(task="detect")
    assert "retinanet" in [part.name for part in detectors] and {part.task for part in detectors} == {"detect"}
    assert {part.kind for part in vertebra.list_parts()} == {"neck", "encoder", "decoder"}
    with pytest.raises(UnknownName, match="'nek'. Did you mean 'neck'"):
        vertebra.list_parts("nek")
    with pytest.raises(UnknownName, match="'detct'. Did you mean 'detect'"):
        vertebra.list_parts(task="detct")
    with pytest.raises(ConfigError, match=r"vertebra.list_backbones\(pattern\)"):
        vertebra.list_parts("backbone")


def test_export_takes_images_as_predict_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[list[ParityCase]] = []

    def stop(info: ModelInfo, images: Any) -> None:
        compared.append(real_parity_inputs(info, images))
        raise RunError("far enough")

    monkeypatch.setattr("vertebra.export.export_model.real_parity_inputs", stop)
    model = classifier()
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1)
    for images in (PICTURE, tensor, Image.fromarray(PICTURE), [PICTURE], PICTURE[None], iter([PICTURE])):
        with pytest.raises(RunError, match="far enough"):
            model.export(tmp_path / "model.onnx", images=images)
        (case,) = compared.pop()
        np.testing.assert_array_equal(case.images, real_parity_inputs(model_info(model), [PICTURE])[0].images)


def test_a_model_file_has_its_suffix(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.pt", "model"):
        with pytest.raises(ConfigError, match=r"the suffix of a model file is \.safetensors; .* Model\.export"):
            classifier().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
