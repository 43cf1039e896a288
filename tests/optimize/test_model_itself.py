"""A model with hooks of its user, or that cannot be copied, predicts itself."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vertebra
from tests.optimize.user_modules import Body
from tests.weights.peers.randomize import randomize
from vertebra import ConfigError, ExportError, Model
from vertebra.demo.animals import ANIMALS
from vertebra.features import FeatureSpec, Level
from vertebra.optimize.checked_copy import NotCopyable, private_copy
from vertebra.optimize.conv_prepack import PackedConv
from vertebra.optimize.inference_copy import inference_copy
from vertebra.optimize.model_itself import device_of, evaluation_mode, user_hooks
from vertebra.training.ema import MovingAverage

PICTURES = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(3)]
CPU = {"device": "cpu", "batch_size": 2}


class WithLock(Body):
    """Holds something that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class CopyIsItself(Body):
    """Defines a copy that is none."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CopyIsItself:
        return self


class CopiesOnce(Body):
    """Can be copied, but its copies cannot."""

    copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesOnce:
        if self.copied:
            raise RuntimeError("no copy of a copy")
        other = CopiesOnce()
        other.load_state_dict(self.state_dict())
        other.copied = True
        return other


class Recorder:
    """Keeps what a hook sees."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.outputs: list[Tensor] = []

    def record(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.modules.append(module)
        self.outputs.append(output.clone())

    def record_input(self, module: nn.Module, inputs: Any) -> None:
        self.modules.append(module)
        self.outputs += [value.clone() for value in inputs if isinstance(value, Tensor)]


def model_of(body: nn.Module) -> Model:
    torch.manual_seed(0)
    backbone = vertebra.as_backbone(body, FeatureSpec((Level(8, 2),)))
    model = vertebra.create_model(backbone, decoder="fcn", classes=["a", "b"], image_size=64, resize="resize")
    randomize(model)
    return model.eval()


def masks(results: list[Any]) -> list[np.ndarray]:
    return [result.mask for result in results]


def expected_masks(model: Model) -> list[np.ndarray]:
    """The masks of `PICTURES` by a call of the model; the canvas is an image's own size."""
    images = torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2)
    with torch.no_grad():
        (probabilities,) = model(images)["segment"]
    return list(probabilities.argmax(1).numpy())


def packed(model: nn.Module) -> int:
    return sum(isinstance(module, PackedConv) for module in model.modules())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (WithLock, "cannot be copied (TypeError: cannot pickle '_thread.lock' object)"),
        (CopyIsItself, "cannot be copied (the copy of CopyIsItself is the module itself)"),
        (CopiesOnce, "no copy of a copy"),
    ],
)
def test_a_model_that_cannot_be_copied_predicts_itself(
    body: type[Body], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of(body())
    expected, before = expected_masks(model), {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    model.backbone.body.norm.eval()
    modes = [module.training for module in model.modules()]
    with caplog.at_level(logging.WARNING):
        found = masks(model.predict(PICTURES, **CPU)) + masks(model.predict(PICTURES, **CPU))
    assert all(np.array_equal(left, right) for left, right in zip(found, expected * 2, strict=True))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    told = [record.message for record in caplog.records if "the model itself" in record.message]
    assert len(told) == 1 and reason in told[0], "told once, and not at each call"


def test_what_needs_a_copy_refuses_such_a_model(tmp_path: Any) -> None:
    model = model_of(WithLock())
    with pytest.raises(NotCopyable, match="cannot pickle"):
        private_copy(model)
    with pytest.raises(ExportError, match=r"export needs a copy of the model, which cannot be copied \(TypeError"):
        model.export(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"train.ema needs a copy of the model.*set ema: null"):
        MovingAverage(model, 0.9)


def watch_after(module: nn.Module, recorder: Recorder) -> Any:
    return module.register_forward_hook(recorder.record)


def watch_before(module: nn.Module, recorder: Recorder) -> Any:
    return module.register_forward_pre_hook(recorder.record_input)


def watch_by_lambda(module: nn.Module, recorder: Recorder) -> Any:
    return module.register_forward_hook(lambda *args: recorder.record(*args))


def watch_by_partial(module: nn.Module, recorder: Recorder) -> Any:
    return module.register_forward_hook(functools.partial(recorder.record))


@pytest.mark.parametrize("watch", [watch_after, watch_before, watch_by_lambda, watch_by_partial])
def test_a_hook_sees_the_users_images_once_on_the_users_modules(
    watch: Callable[[nn.Module, Recorder], Any], caplog: pytest.LogCaptureFixture
) -> None:
    model, recorder = model_of(Body()), Recorder()
    expected = masks(model.predict(PICTURES, **CPU))
    direct = Recorder()
    handle = watch(model.backbone.body.norm, direct)
    images = torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2)
    with torch.no_grad():
        model(images[:2]), model(images[2:])
    handle.remove()
    handle = watch(model.backbone.body.norm, recorder)
    with caplog.at_level(logging.WARNING):
        found = masks(model.predict(PICTURES, **CPU)) + masks(model.predict(PICTURES[2], **CPU))
    assert all(np.array_equal(left, right) for left, right in zip(found, [*expected, expected[2]], strict=True))
    assert recorder.modules == [model.backbone.body.norm] * 3
    for seen, computed in zip(recorder.outputs, [*direct.outputs, direct.outputs[1]], strict=True):
        assert torch.allclose(seen, computed, atol=1e-5)
    assert "it has hooks (backbone.body.norm), which must run on its own modules only" in caplog.text
    handle.remove()
    model.predict(PICTURES, **CPU)
    assert len(recorder.modules) == 3 and packed(model._engines.engines[0].model), "without hooks a copy runs again"


@pytest.fixture
def everywhere() -> Iterator[Recorder]:
    recorder = Recorder()
    handle = nn.modules.module.register_module_forward_pre_hook(recorder.record_input)
    yield recorder
    handle.remove()


def test_a_hook_for_all_modules_sees_no_copy(everywhere: Recorder) -> None:
    model = model_of(Body())
    everywhere.modules.clear()
    model.predict(PICTURES[0], **CPU)
    assert set(everywhere.modules) <= set(model.modules()) and user_hooks(model) == ["all modules"]
    assert everywhere.modules.count(model) == 1


def test_evaluation_leaves_a_model_with_hooks_in_its_mode(scenes: Any) -> None:
    recorder = Recorder()
    model = vertebra.create_model("test_resnet", decoder="linear", classes=list(ANIMALS), image_size=32)
    expected = model.evaluate(scenes / "animals", device="cpu")
    watch_after(model.backbone, recorder).remove()
    model.backbone.register_forward_hook(lambda module, inputs, output: recorder.modules.append(module))
    assert model.train().evaluate(scenes / "animals", device="cpu") == pytest.approx(expected, abs=1e-5)
    assert model.training and set(recorder.modules) == {model.backbone}


def test_a_predictor_that_may_change_the_model_keeps_its_hooks() -> None:
    model, recorder = model_of(Body()), Recorder()
    watch_after(model.backbone.body.norm, recorder)
    predictor = vertebra.Predictor(model.train(), device="cpu", inplace=True)
    predictor.predict(PICTURES[0])
    assert predictor.model is model and not packed(model) and len(recorder.modules) == 1


def test_a_model_on_another_device_stays_there_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(Body())
    model.register_forward_hook(Recorder().record)
    with caplog.at_level(logging.WARNING):
        assert inference_copy(model, torch.device("meta")) is model
    assert device_of(model, torch.device("meta")).type == "cpu"
    assert "prediction runs on cpu, where the model is, instead of meta; model.to() moves it" in caplog.text
    assert device_of(inference_copy(model, torch.device("meta"), inplace=True), torch.device("cpu")).type == "meta"


def test_hooks_of_torch_are_not_the_users() -> None:
    body = Body()
    body.conv = nn.utils.weight_norm(body.conv)
    model = model_of(body)
    assert user_hooks(model) == []
    model.register_forward_hook(Recorder().record)
    assert user_hooks(model) == ["the model"]


def test_the_mode_is_the_same_after_an_error() -> None:
    model = model_of(Body()).train()
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert all(module.training for module in model.modules())
    assert device_of(nn.ReLU(), torch.device("meta")).type == "meta"
    assert device_of(nn.BatchNorm2d(2, affine=False), torch.device("meta")).type == "cpu"
