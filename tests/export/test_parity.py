"""What the comparison of a file with its model allows, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vertebra import VisionModel, create_model
from vertebra.errors import ExportError
from vertebra.export.parity import Run, check, unstable_outputs
from vertebra.export.parity_inputs import ParityCase, mirrored, parity_inputs
from vertebra.export.passes.float_noise import float_noise
from vertebra.export.torch_export import output_names, raw_outputs

TOLERANCE = 1e-4


def exact(model: VisionModel) -> Run:
    """A file without a fault: the model itself."""

    def run(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            outputs, decoded = model.run(torch.from_numpy(images), torch.from_numpy(sizes))
        return [value.numpy() for own in decoded.values() for value in own] + [
            value.numpy() for value in raw_outputs(model, outputs)
        ]

    return run


def made(decoder: str) -> VisionModel:
    torch.manual_seed(0)
    return create_model("test_resnet", decoder=decoder, classes=["a", "b"], image_size=(64, 64)).eval()


@pytest.fixture(scope="module")
def untrained() -> VisionModel:
    """A detector whose scores are all one number: which boxes it keeps hangs on the last digits."""
    model = made("retinanet")
    for name, values in model.named_parameters():
        if "class_prediction.weight" in name:
            values.data.fill_(0)
    return model


def noise(model: VisionModel) -> ParityCase:
    return parity_inputs(model, 2, free_size=False)[1]


def test_an_output_that_is_off_on_one_case_is_found() -> None:
    model = made("linear")
    run = exact(model)
    tried = parity_inputs(model, 2, free_size=False)

    def wrong(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        return [value * (1.001 if np.array_equal(images, tried[1].images) else 1.0) for value in run(images, sizes)]

    assert set(check(model, run, output_names(model), tried, TOLERANCE)) == {case.name for case in tried}
    with pytest.raises(ExportError, match="batch 1"):
        check(model, wrong, output_names(model), tried, TOLERANCE)


def test_a_case_that_rounding_decides_is_tried_from_the_other_side(untrained: VisionModel) -> None:
    case, run, names = noise(untrained), exact(untrained), output_names(untrained)
    moved = unstable_outputs(untrained, names, case, TOLERANCE)
    assert names.index("detect/boxes") in moved
    assert all(place < len(names) for place in moved), "raw outputs are what they are"

    def rounds_otherwise(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        if not np.array_equal(images, case.images):
            return list(run(images, sizes))
        with float_noise(untrained, 99):
            return list(run(images, sizes))

    assert check(untrained, rounds_otherwise, names, [case], TOLERANCE) == {f"{case.name}, mirrored": 0.0}


@pytest.mark.parametrize("which", ["boxes", "scores", "raw", "all", "shape", "not a number"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_fault_is_not_taken_for_rounding(untrained: VisionModel, which: str, everywhere: bool) -> None:
    case, run, names = noise(untrained), exact(untrained), output_names(untrained)
    boxes, scores = names.index("detect/boxes"), names.index("detect/scores")

    def wrong(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        got = list(run(images, sizes))
        if not everywhere and not np.array_equal(images, case.images):
            return got
        if which == "shape":
            got[boxes] = got[boxes][:, :-1]
        elif which == "not a number":
            got[boxes] = np.full_like(got[boxes], np.nan)
        else:
            places = {"boxes": [boxes], "scores": [scores], "raw": [len(names)], "all": range(len(got))}[which]
            for place in places:
                got[place] = got[place] + 1
        return got

    # nothing follows from kept boxes that rounding decides, where the raw outputs that they come from are right
    if which in ("boxes", "scores") and not everywhere:
        assert list(check(untrained, wrong, names, [case], TOLERANCE)) == [f"{case.name}, mirrored"]
    else:
        with pytest.raises(ExportError):
            check(untrained, wrong, names, [case], TOLERANCE)


def test_a_model_that_rounding_decides_on_every_side_is_refused(untrained: VisionModel) -> None:
    case, run = noise(untrained), exact(untrained)

    def rounds_otherwise(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        with float_noise(untrained, 99):
            return list(run(images, sizes))

    with pytest.raises(ExportError, match=r"PyTorch's own outputs differ as much by rounding: .* Train it first"):
        check(untrained, rounds_otherwise, output_names(untrained), [case], TOLERANCE)


class Endless(nn.Module):
    """Gives zeros, infinities and numbers."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * 1


def test_zeros_and_infinities_are_not_moved() -> None:
    layer, values = Endless(), torch.tensor([0.0, -torch.inf, 1.0, -3.0])
    with float_noise(layer, 0):
        moved = layer(values)
    assert moved[0] == 0 and moved[1] == -torch.inf
    assert (moved[2:] != values[2:]).all() and torch.allclose(moved[2:], values[2:], rtol=1e-5)


def test_layers_are_moved_by_no_more_than_rounding() -> None:
    model = made("linear")
    case = noise(model)
    expected = exact(model)(case.images, case.sizes)
    with float_noise(model, 0):
        moved = exact(model)(case.images, case.sizes)
    apart = [float(np.abs(left - right).max()) for left, right in zip(expected, moved, strict=True)]
    assert 0 < max(apart) < 1e-5
    for left, right in zip(expected, exact(model)(case.images, case.sizes), strict=True):
        np.testing.assert_array_equal(left, right)


def test_only_the_valid_pixels_are_mirrored() -> None:
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    case = ParityCase("x", images.copy(), np.array([[4, 5], [2, 3]]))
    flipped, upside_down, both = mirrored(case)
    np.testing.assert_array_equal(case.images, images)
    np.testing.assert_array_equal(flipped.images[0], images[0][:, :, ::-1])
    np.testing.assert_array_equal(flipped.images[1][:, :2, :3], images[1][:, :2, 2::-1])
    np.testing.assert_array_equal(upside_down.images[1][:, :2, :3], images[1][:, 1::-1, :3])
    np.testing.assert_array_equal(both.images[0], images[0][:, ::-1, ::-1])
    for own in (flipped, upside_down, both):
        np.testing.assert_array_equal(own.images[1][:, 2:], images[1][:, 2:])
        np.testing.assert_array_equal(own.images[1][:, :, 3:], images[1][:, :, 3:])
