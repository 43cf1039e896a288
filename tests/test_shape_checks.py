"""The shapes in annotations are checked while the tests run, and not while a graph is recorded."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from typing import get_type_hints

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from tests.shape_checks import PACKAGES
from vertebra.features import Features, Frame
from vertebra.geometry.boxes import box_area, pairwise_iou
from vertebra.losses.classification import cross_entropy

BOXES = torch.tensor([[0.0, 0.0, 2.0, 3.0]])


def test_a_wrong_shape_a_wrong_type_and_sizes_that_differ() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters of vertebra.geometry.boxes.box_area"):
        box_area(BOXES[:, :3])
    with pytest.raises(jaxtyping.TypeCheckError, match="'labels'"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(2))  # labels are to be integers
    with pytest.raises(jaxtyping.TypeCheckError, match="'labels'"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(jaxtyping.TypeCheckError, match="Features"):
        Features((torch.zeros(2, 3, 4),), None, Frame((4, 4), torch.full((2, 2), 4)))


def test_leading_dimensions_broadcast() -> None:
    assert pairwise_iou(BOXES, BOXES.expand(5, 1, 4)).shape == (5, 1, 1)


class Areas(nn.Module):
    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        features = Features((images,), None, Frame((2, 2), sizes))
        return box_area(features.maps[0].flatten(2).transpose(1, 2)) + features.frame.sizes.sum()


def test_graphs_are_recorded_without_checks() -> None:
    inputs = (torch.rand(2, 4, 3, 3), torch.full((2, 2), 2))
    expected = Areas()(*inputs)
    torch.compiler.reset()
    compiled = torch.compile(Areas(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs), expected)
    batch = torch.export.Dim("batch")
    for strict in (False, True):
        program = torch.export.export(Areas(), inputs, dynamic_shapes=({0: batch}, {0: batch}), strict=strict)
        again = (torch.rand(5, 4, 3, 3), torch.full((5, 2), 2))
        torch.testing.assert_close(program.module()(*again), Areas()(*again))


def _modules() -> list[str]:
    packages = [importlib.import_module(name) for name in PACKAGES]
    inner = [
        info.name
        for package in packages
        if hasattr(package, "__path__")
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    return [*PACKAGES, *inner]


@pytest.mark.parametrize("name", _modules())
def test_annotations_mean_something(name: str) -> None:
    """One that cannot be evaluated is checked by nobody."""
    for value in vars(importlib.import_module(name)).values():
        if getattr(value, "__module__", None) != name:
            continue
        functions = vars(value).values() if inspect.isclass(value) else [value]
        for function in functions:
            if inspect.isfunction(inspect.unwrap(function)) if callable(function) else False:
                get_type_hints(inspect.unwrap(function), vars(sys.modules[name]))


def test_the_library_checks_nothing() -> None:
    code = (
        "import torch; from vertebra.geometry.boxes import box_area; import sys\n"
        "assert not hasattr(box_area, '__wrapped__') and 'beartype' not in sys.modules\n"
        "print(tuple(box_area(torch.zeros(1, 5)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1,)"
