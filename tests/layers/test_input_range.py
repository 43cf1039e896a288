"""A model takes 0..255, and says so where floats are of another range."""

from __future__ import annotations

import pytest
import torch

from vertebra import create_model
from vertebra.errors import DataError
from vertebra.layers.input_range import check_pixel_range


@pytest.mark.parametrize("images", [torch.rand(2, 3, 32, 32), torch.ones(1, 3, 32, 32), torch.randn(2, 3, 32, 32) * 3])
def test_a_model_refuses_floats_of_another_range(images: torch.Tensor) -> None:
    model = create_model("mobilenetv2_035", decoder="linear", classes=["a", "b"]).eval()
    with pytest.raises(
        DataError, match="the model takes 0 to 255, not normalized, in uint8 or floats: multiply values"
    ):
        model(images)
    with torch.inference_mode():
        whole = (images.clamp(0, 1) * 255).round()
        expected = model(whole.to(torch.uint8))["classify"].probabilities
        torch.testing.assert_close(model(whole + 0.0)["classify"].probabilities, expected)


def test_what_is_let_through() -> None:
    for images in (
        torch.zeros(1, 3, 8, 8),
        torch.rand(1, 3, 8, 8) * 255,
        torch.ones(1, 3, 8, 8, dtype=torch.uint8),
        torch.rand(1, 3, 8, 8, device="meta"),
        torch.rand(0, 3, 8, 8),
    ):
        check_pixel_range(images)


def test_nothing_is_checked_in_a_graph() -> None:
    def double(images: torch.Tensor) -> torch.Tensor:
        check_pixel_range(images)
        return images * 2

    compiled = torch.compile(double, fullgraph=True, backend="eager")
    images = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(compiled(images), images * 2)
