"""A wrapped module that returns something else than its spec promises is refused at its first run, with both shapes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vertebra
from vertebra import ConfigError, FeatureSpec, Level
from vertebra.testing import check_backbone

SPEC = FeatureSpec((Level(8, 4), Level(16, 8)))
WITH_EMBEDDING = FeatureSpec((Level(8, 4),), embedding=16)
IMAGES = torch.zeros(2, 3, 64, 48, dtype=torch.uint8)


class Body(nn.Module):
    """Maps at strides 4 and 8, in the container that a function makes of them."""

    def __init__(self, container: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.fine, self.deep = nn.Conv2d(3, 8, 7, 4, 3), nn.Conv2d(8, 16, 3, 2, 1)
        self.container = container

    def forward(self, images: Tensor) -> Any:
        fine = self.fine(images)
        return self.container(fine, self.deep(fine))


def as_list(fine: Tensor, deep: Tensor) -> list[Tensor]:
    return [fine, deep]


def with_embedding(fine: Tensor, deep: Tensor) -> Any:
    return [fine], deep.mean((2, 3))


def test_right_specs_run() -> None:
    check_backbone(vertebra.as_backbone(Body(as_list), SPEC))
    check_backbone(vertebra.as_backbone(Body(with_embedding), WITH_EMBEDDING))
    check_backbone(vertebra.as_backbone(Body(lambda fine, deep: ([], deep.mean((2, 3)))), FeatureSpec((), 16)))


@pytest.mark.parametrize(
    ("container", "spec", "message"),
    [
        (
            as_list,
            FeatureSpec((Level(8, 4), Level(32, 8))),
            r"\(2, 32, 8, 6\), and the module returned .*\(2, 16, 8, 6\)",
        ),
        (
            as_list,
            FeatureSpec((Level(8, 4), Level(16, 16))),
            r"\(2, 16, 4, 3\), and the module returned .*\(2, 16, 8, 6\)",
        ),
        (
            as_list,
            FeatureSpec((Level(8, 4),)),
            r"a list of maps \(2, 8, 16, 12\), and .* a list of a tensor .*, a tensor",
        ),
        (lambda fine, deep: deep, FeatureSpec((Level(16, 8),)), r"returned a tensor \(2, 16, 8, 6\)"),
        (lambda fine, deep: OrderedDict(a=fine, b=deep), SPEC, "returned OrderedDict"),
        (lambda fine, deep: [], SPEC, "returned a list of nothing"),
        (lambda fine, deep: None, SPEC, "returned NoneType"),
        (as_list, WITH_EMBEDDING, r"\(a list of maps .*; an embedding \(2, 16\)\), and the module returned a list of"),
        (with_embedding, FeatureSpec((Level(8, 4),), embedding=8), r"an embedding \(2, 8\)\)"),
        (with_embedding, FeatureSpec((Level(8, 4),)), r"returned a tuple of a list of a tensor"),
    ],
)
def test_wrong_specs_are_refused_with_both_shapes(container: Any, spec: FeatureSpec, message: str) -> None:
    backbone = vertebra.as_backbone(Body(container), spec)
    with pytest.raises(
        ConfigError, match=rf"backbone 'Body': for images \(2, 3, 64, 48\) its spec promises .*{message}"
    ):
        backbone(IMAGES)


def test_sizes_that_need_a_multiple_are_refused() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 4, 4))
    spec = FeatureSpec((Level(8, 4),))

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, images: Tensor) -> list[Tensor]:
            return [self.body(images)]

    with pytest.raises(
        ConfigError, match=r"\(2, 8, 17, 12\), and the module returned a list of a tensor \(2, 8, 16, 12\).*size_mul"
    ):
        vertebra.as_backbone(Listed(), spec)(torch.zeros(2, 3, 66, 48))
    check_backbone(vertebra.as_backbone(Listed(), spec, size_multiple=4))


def test_a_model_says_so_too() -> None:
    backbone = vertebra.as_backbone(Body(as_list), FeatureSpec((Level(8, 4), Level(32, 8))))
    model = vertebra.create_model(backbone, decoder="linear", classes=["a", "b"], image_size=64)
    with pytest.raises(ConfigError, match="backbone 'Body': for images"):
        model.predict(np.zeros((20, 20, 3), np.uint8), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": 3}, "takes a torch.nn.Module, got int"),
        ({"module": Body}, "takes a torch.nn.Module, got type"),
        ({"spec": [8, 16]}, "'spec' must be a vertebra.FeatureSpec.*got list"),
        ({"size_multiple": 0}, "'size_multiple' must be a whole number"),
        ({"mean": 0.5}, "'mean' must be numbers, one for each channel, got 0.5"),
        ({"std": (1.0, 0.0, 1.0)}, "'std' must be numbers above 0"),
        ({"std": (1.0,)}, r"'std' must be numbers above 0, one for each channel, got \(1.0,\)"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        vertebra.as_backbone(**{"module": Body(as_list), "spec": SPEC, **arguments})


def test_levels_that_are_none_are_refused() -> None:
    spec = object.__new__(FeatureSpec)  # the checks of shapes in the tests refuse the constructor's argument before
    object.__setattr__(spec, "levels", (8, 4))
    with pytest.raises(ConfigError, match=r"levels must be a tuple of Level\(channels, stride\), got \(8, 4\)"):
        spec.__post_init__()
