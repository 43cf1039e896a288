"""A copy whose outputs are not the model's is not used: the optimization at fault is left out, and the log names it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vertebra
from tests.optimize.test_user_modules import made, model_of
from tests.optimize.user_modules import Body, Draws
from tests.weights.peers.randomize import randomize
from vertebra.model import VisionModel
from vertebra.optimize import checked_copy
from vertebra.optimize.checked_copy import CheckedCopy, Optimization
from vertebra.optimize.comparison import TOLERANCE, add_rounding_noise, difference, differences, raw_outputs
from vertebra.optimize.conv_prepack import PackedConv
from vertebra.optimize.inference_copy import ON_ANY_DEVICE, inference_copy, optimized_copy
from vertebra.optimize.probe_batches import natural_image, probe_batches

CPU = torch.device("cpu")
LIBRARY = {"backbone": "resnet10t", "decoder": "linear", "classes": ["a", "b"], "image_size": 64}


def library_model(**parts: Any) -> VisionModel:
    torch.manual_seed(0)
    return randomize(vertebra.create_model(**{**LIBRARY, **parts})).eval()  # type: ignore[return-value]


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("name", "optimization", "problem"),
    [
        ("AsksForTheNorm", "BatchNorm folding", "raw outputs differ by"),
        ("ReadsAnOption", "BatchNorm folding", "AttributeError"),
        ("ViewsTheWeight", "channels-last weights", "RuntimeError"),
    ],
)
def test_the_log_names_the_optimization_and_the_module(
    name: str, optimization: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    fast = inference_copy(made(name), CPU)
    (message,) = warnings(caplog)
    assert f"without {optimization} in {name}: with it" in message and problem in message
    kept = 2 if optimization == "BatchNorm folding" else name == "ViewsTheWeight"
    assert norms(fast) == kept, "those of the decoder are folded"
    assert any(isinstance(module, PackedConv) for module in fast.modules())


def scale_weights(model: nn.Module, factor: float) -> int:
    conv: Any = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    conv.weight = nn.Parameter(conv.weight * factor)
    return 1


def test_a_wrong_optimization_is_left_out_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(model: VisionModel, runs: Sequence[Any], skip: Collection[nn.Module]) -> int:
        return scale_weights(model, 1.01)

    model = library_model()
    fold, last = ON_ANY_DEVICE
    checked = CheckedCopy(model, CPU, [fold, Optimization("scaling", wrong), last], lambda own: None)
    fast = checked.make()
    assert checked.scopes == {fold.name: "all", "scaling": "none", last.name: "all"}
    (message,) = warnings(caplog)
    assert "without scaling: with it, raw outputs differ by 0.0" in message
    assert norms(fast) == 0
    images, sizes = probe_batches(model, CPU)[0]
    torch.testing.assert_close(fast(images, sizes)["classify"], model(images, sizes)["classify"], rtol=1e-4, atol=1e-5)
    assert norms(checked.build([fold, Optimization("scaling", wrong)])) == 0


@pytest.mark.parametrize("decoder", ["linear", "rt_detr", "faster_rcnn", "detr"])
def test_a_model_of_known_parts_has_all_optimizations(decoder: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also those whose decoders choose among queries by scores, which rounding may order in another way."""
    with caplog.at_level(logging.INFO):
        fast = inference_copy(library_model(decoder=decoder), CPU)
    (message,) = [record.getMessage() for record in caplog.records if record.name == checked_copy.__name__]
    assert (
        message.startswith("the copy for prediction has: BatchNorm folding (") and "prepacked convolutions (" in message
    )
    assert norms(fast) == 0 and not warnings(caplog)


def test_rounding_behind_a_choice_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that rounding noise in the weights causes as well is accepted; a larger one is not."""

    class Chooses(Body):
        def middle(self, maps: Tensor) -> Tensor:
            return super().middle(maps) * 1e4 % 1.0

    body = Chooses()
    model = model_of(body)
    monkeypatch.setattr(checked_copy, "NOISE_MARGIN", 1e9)
    assert norms(optimized_copy(model)) == 0
    monkeypatch.setattr(checked_copy, "NOISE_MARGIN", 0.0)
    assert norms(optimized_copy(model)) == 2 < norms(model), "the decoder's is folded: it is no foreign code"


def test_a_model_whose_outputs_do_not_repeat(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(Draws())
    fast = inference_copy(model, CPU)
    (message,) = warnings(caplog)
    assert "two runs on the same images differ" in message
    assert norms(fast) == norms(model) and not any(isinstance(module, PackedConv) for module in fast.modules())


class Wrapped:
    """A container whose tensors are not listed."""

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclasses.dataclass
class WrappedInDataclass:
    value: Any


def wrap_outputs(model: VisionModel, outputs: type, decoded: type) -> VisionModel:
    decoder: Any = model.branch("segment").decoder
    forward, decode = type(decoder).forward, type(decoder).decode

    class Wraps(type(decoder)):  # type: ignore[misc]
        def forward(self, *args: Any) -> Any:
            return outputs(forward(self, *args))

        def decode(self, raw: Any, frame: Any) -> Any:
            return decoded(decode(self, raw.value, frame))

    decoder.__class__ = Wraps
    return model


@pytest.mark.parametrize(("outputs", "decoded"), [(WrappedInDataclass, Wrapped), (Wrapped, WrappedInDataclass)])
def test_outputs_in_other_containers_are_compared(
    outputs: type, decoded: type, caplog: pytest.LogCaptureFixture
) -> None:
    model = wrap_outputs(made("AsksForTheNorm"), outputs, decoded)
    assert norms(inference_copy(model, CPU)) == norms(model)
    (message,) = warnings(caplog)
    assert "without BatchNorm folding" in message and "outputs differ" in message


def test_a_model_without_tensors_to_compare_is_not_optimized(caplog: pytest.LogCaptureFixture) -> None:
    model = wrap_outputs(made("AsksForTheNorm"), Wrapped, Wrapped)
    assert norms(inference_copy(model, CPU)) == norms(model)
    (message,) = warnings(caplog)
    assert "without optimizations: the outputs of branch 'segment' contain no tensors of floats" in message


class Refuses(Body):
    """It takes no small images, or none at all."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least

    def middle(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] < self.least or maps.shape[-1] % 2:
            raise ValueError("too small")
        return super().middle(maps)


def test_a_model_that_refuses_small_images(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(Refuses(48), image_size=(96, 96))
    assert norms(inference_copy(model, CPU)) == 0 and not warnings(caplog)
    model = model_of(Refuses(1000))
    assert norms(inference_copy(model, CPU)) == norms(model)
    (message,) = warnings(caplog)
    assert "fails on the test images: too small" in message


def test_half_precision_leaves_out_what_is_wrong_in_float32() -> None:
    fast = inference_copy(made("AsksForTheNorm"), CPU, "bf16")
    assert norms(fast) == 2
    assert {module.weight.dtype for module in fast.modules() if isinstance(module, PackedConv)} == {torch.bfloat16}


def test_a_model_that_is_not_kept_is_checked_too() -> None:
    model, twin = made("AsksForTheNorm"), made("AsksForTheNorm")
    assert inference_copy(model, CPU, inplace=True) is model and norms(model) == 2 < norms(twin)
    images, sizes = probe_batches(twin, CPU)[0]
    with torch.inference_mode():
        for ours, theirs in zip(model(images, sizes)["segment"], twin(images, sizes)["segment"], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_shape_that_comes_first_is_packed_and_not_one_of_the_comparison() -> None:
    fast = inference_copy(library_model(), CPU)
    convs = [module for module in fast.modules() if isinstance(module, PackedConv)]
    assert convs and all(conv._packed is None and not conv.held for conv in convs)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([100.0, 102.0], [100.0, 104.0], 1.0),  # 2 of 2 from the mean: an offset hides nothing
        ([0.0, 0.5], [0.0, 1.0], 1.0),
        ([5.0, 5.001], [5.0, 5.0], 0.02),  # a constant: of a hundredth of its size
        ([float("inf"), 1.0], [float("inf"), 1.0], 0.0),
        ([float("inf"), 1.0], [-float("inf"), 1.0], float("inf")),
        ([float("nan"), 1.0], [1.0, 1.0], float("inf")),
        ([1.0], [1.0, 1.0], float("inf")),
        ([1.0, 0.0], [0.0, 0.0], float("inf")),
    ],
)
def test_differences_are_relative_to_the_scale(ours: list[float], theirs: list[float], expected: float) -> None:
    assert difference(torch.tensor(ours), torch.tensor(theirs)) == pytest.approx(expected, rel=1e-3)


def test_rounding_noise_moves_outputs_little_and_shared_weights_alike() -> None:
    model = library_model()
    batch = probe_batches(model, CPU)[0]
    expected = raw_outputs(model, batch)
    conv, *_ = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    model.twin = conv  # type: ignore[assignment]
    before = conv.weight
    add_rounding_noise(model)
    assert conv.weight is not before and 0 < difference(conv.weight, before) < 1e-5
    ((moved,),) = differences([raw_outputs(model, batch)], [expected])
    assert 0 < moved < TOLERANCE


def test_batches_cover_counts_canvases_and_kinds() -> None:
    counts = [len(batch.images) for batch in probe_batches(library_model(), CPU)]
    assert counts == [2, 1]
    batches = probe_batches(made("BranchOnBatch"), CPU)
    found = {(len(batch.images), tuple(batch.images.shape[2:])) for batch in batches}
    assert found == {(2, (64, 64)), (1, (73, 69)), (1, (64, 64)), (2, (73, 69)), (8, (64, 64))}
    assert all(batch.images.dtype == torch.uint8 for batch in batches)


def test_a_natural_image_has_the_spectrum_of_photographs() -> None:
    draw = torch.Generator().manual_seed(0)
    image = torch.stack([natural_image((64, 64), 3, draw) for _ in range(8)]).float()
    spectrum = torch.fft.fft2(image - image.mean((2, 3), keepdim=True)).abs().mean((0, 1))
    low, high = spectrum[1:4, 1:4].mean(), spectrum[12:24, 12:24].mean()
    assert low > 10 * high, "amplitudes fall with frequency"
    gray = F.avg_pool2d(image, 4).flatten(2)
    assert float(torch.corrcoef(gray[0])[0, 1]) > 0.5, "channels resemble each other"
