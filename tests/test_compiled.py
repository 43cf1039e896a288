"""``torch.compile(fullgraph=True)`` of whole models, decoding and training loss included, for every decoder.

Every decoder is captured as one graph, which is run as it was captured. Each day others go through ``aot_eager`` as well: all of
the compiler but the code that it would write, on a second size of canvas too. ``VERTEBRA_MATRIX_WHOLE`` does that with all.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as tree

import vertebra
from tests.daily_sample import daily_sample
from tests.export_matrix import MULTI_BRANCH, multi_branch
from vertebra.model import VisionModel
from vertebra.parts import find, names
from vertebra.testing.matrix import boxes_from
from vertebra.testing.synthetic import fake_fields, fake_targets

EACH_DAY, DEEPLY_EACH_DAY = 5, 1
DECODERS = daily_sample(names("decoder"), EACH_DAY)
DEEPLY = daily_sample(names("decoder"), DEEPLY_EACH_DAY)
BATCHES = (((64, 96), 2), ((96, 64), 3))  # canvas and images: as it was built, and turned, with one more


def single(decoder: str) -> VisionModel:
    return vertebra.create_model(
        "resnet10t",
        decoder=decoder,
        boxes_from=boxes_from(decoder),
        classes=["a", "b", "c"],
        image_size=BATCHES[0][0],
        labels=fake_fields(find("decoder", decoder).task),
    )


def made_batch(canvas: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """Noise; all images but the first fill a part of their canvas."""
    images = torch.randint(0, 256, (count, 3, *canvas), dtype=torch.uint8)
    sizes = torch.tensor([canvas] * count)
    sizes[1:] -= torch.tensor([canvas[0] // 4, canvas[1] // 3])
    return images, sizes


def compiled(function: Any, backend: str = "eager") -> Any:
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, backend=backend)


def assert_same(left: Any, right: Any) -> None:
    """Equal but for the last digits: the compiler writes BatchNorm and interpolation as other sums."""
    for expected, got in zip(tree.tree_leaves(left), tree.tree_leaves(right), strict=True):
        scale = max(float(expected.detach().abs().max()), 1e-3) if expected.numel() else 1.0
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_model_is_one_graph_from_canvases_to_decoded_outputs(decoder: str) -> None:
    model = single(decoder).eval()
    fast = compiled(model)
    images, sizes = made_batch(*BATCHES[0])
    with torch.no_grad():
        assert_same(model(images, sizes), fast(images, sizes))


@pytest.mark.parametrize("decoder", DEEPLY)
def test_the_compiler_takes_the_graph_at_every_size(decoder: str) -> None:
    model = single(decoder).eval()
    fast = compiled(model, "aot_eager")
    for canvas, count in BATCHES:
        images, sizes = made_batch(canvas, count)
        with torch.no_grad():
            assert_same(model(images, sizes), fast(images, sizes))


@pytest.mark.parametrize("name", MULTI_BRANCH)
def test_several_branches_are_one_graph(name: str) -> None:
    model = multi_branch(name).eval()
    fast = compiled(model)
    images, sizes = made_batch(*BATCHES[0])
    with torch.no_grad():
        assert_same(model(images, sizes), fast(images, sizes))


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_training_loss_is_one_graph(decoder: str) -> None:
    check_loss(decoder, "eager")


@pytest.mark.parametrize("decoder", DEEPLY)
def test_the_compiler_takes_the_graph_of_the_loss(decoder: str) -> None:
    check_loss(decoder, "aot_eager")


def check_loss(decoder: str, backend: str) -> None:
    model = single(decoder).train()
    canvas, count = BATCHES[0]
    images, sizes = made_batch(canvas, count)
    rows = torch.arange(count)
    targets = {name: (rows, fake_targets(model.branch(name).labels, canvas, count)) for name in model.branches}
    found = []
    for loss in (model.loss, compiled(model.loss, backend)):
        torch.manual_seed(0)  # dropout, and the draws of sampling
        model.zero_grad()
        terms, _ = loss(images, sizes, targets)
        torch.stack([term.mean() for own in terms.values() for term in own.values()]).sum().backward()
        found.append((terms, [value.grad.clone() for value in model.parameters() if value.grad is not None]))
    assert_same(*found)
