"""Recorded CUDA graphs give what the model gives; those tests need a GPU, the others none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

import vertebra
from tests.export_matrix import MULTI_BRANCH, multi_branch
from vertebra.geometry import nms
from vertebra.inference.predictor import Predictor
from vertebra.optimize.cuda_graphs import CudaGraphRunner, _Constants
from vertebra.optimize.half_precision import autocast_context
from vertebra.parts import find, names
from vertebra.testing.synthetic import fake_fields

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and VERTEBRA_TEST_GPU=1")
CANVAS = (64, 96)


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *CANVAS, 3), dtype=torch.uint8, generator=draw).permute(0, 3, 1, 2)
    sizes = torch.tensor([CANVAS] * count)
    sizes[1:] -= torch.tensor([16, 32])
    return images, sizes


def single(decoder: str) -> Any:
    torch.manual_seed(0)
    return vertebra.create_model(
        "resnet10t",
        decoder=decoder,
        classes=["a", "b", "c"],
        image_size=CANVAS,
        labels=fake_fields(find("decoder", decoder).task),
    ).eval()


def assert_recorded(model: Any) -> None:
    """Three batches of one shape, the second of which is recorded, and one of another shape: as without a graph."""
    predictor = Predictor(model, device="cuda")
    recorded = predictor.engine._run
    assert isinstance(recorded, CudaGraphRunner)
    for count, seed in ((2, 0), (2, 1), (2, 2), (3, 3), (3, 4), (2, 5)):
        images, sizes = batch(count, seed)
        found = predictor.compute(images, sizes)
        with torch.inference_mode(), autocast_context("fp32", predictor.device):
            expected = predictor.model(images.cuda(), sizes.cuda())
        for own, other in zip(tree.tree_leaves(found), tree.tree_leaves(expected), strict=True):
            assert own.device.type == "cpu"
            torch.testing.assert_close(own, other.cpu(), rtol=1e-4, atol=1e-5)
    assert recorded.reason is None and all(graph is not None for graph in recorded._graphs.values())
    assert len(recorded._graphs) == 2


@gpu
@pytest.mark.parametrize("decoder", names("decoder"))
def test_every_decoder_is_recorded(decoder: str) -> None:
    assert_recorded(single(decoder))


@gpu
@pytest.mark.parametrize("name", MULTI_BRANCH)
def test_several_branches_are_one_graph(name: str) -> None:
    assert_recorded(multi_branch(name).eval())


class Reads(nn.Module):
    """Its length depends on values, so that it cannot be recorded."""

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Any]:
        return {"a": (images.float().flatten()[: int(sizes[0, 0])],)}


@gpu
def test_what_cannot_be_recorded_runs_as_ever() -> None:
    recorded = CudaGraphRunner(Reads().cuda(), torch.device("cuda"))
    for seed in range(3):
        images, sizes = batch(2, seed)
        assert torch.equal(recorded(images, sizes)["a"][0], images.float().flatten()[: CANVAS[0]])
    assert recorded.reason is not None and "captur" in recorded.reason
    assert float(torch.ones(3, device="cuda").sum()) == 3  # the GPU works on


class Suppresses(nn.Module):
    """Boxes, of which each one overlaps the next: the chain is longer than the rounds that a graph has."""

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Any]:
        count = 3 * nms.ROUNDS
        left = 4.0 * torch.arange(count, device=images.device)
        corners = torch.stack([left, torch.zeros_like(left)], dim=-1)
        boxes = torch.cat([corners, corners + 10], dim=-1)[None]
        scores = 1 - torch.arange(count, device=images.device)[None] / (2 * count) + 0 * images.float().mean()
        return {
            "a": (nms.nms_mask(boxes, scores, torch.zeros(1, count, dtype=torch.int64, device=images.device), 0.3),)
        }


@gpu
def test_a_suppression_that_the_graph_did_not_settle_is_done_again() -> None:
    recorded = CudaGraphRunner(Suppresses().cuda(), torch.device("cuda"))
    expected = [index % 2 == 0 for index in range(3 * nms.ROUNDS)]
    for _ in range(3):
        assert recorded(*batch(1))["a"][0][0].tolist() == expected
    graph = next(iter(recorded._graphs.values()))
    assert graph is not None and graph.unsettled is not None and bool(graph.unsettled)


@gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_recorded_and_near(precision: Any) -> None:
    model = single("linear")
    images, _ = batch(2)
    pictures = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]
    exact = Predictor(model, device="cuda").predict(pictures)
    predictor = Predictor(model, device="cuda", precision=precision)
    for _ in range(3):
        for own, other in zip(predictor.predict(pictures), exact, strict=True):
            ours, theirs = (result["classify"].probabilities for result in (own, other))
            assert np.abs(ours - theirs).max() < 0.02


def test_constants_are_given_again_in_their_order() -> None:
    constants = _Constants()
    known = torch.ones(2)

    def work(scale: float) -> list[Tensor]:
        return [torch.tensor([scale, 2.0]), known.new_tensor([3.0 * scale]), torch.as_tensor(known * scale)]

    with constants:
        first = work(1.0)
    constants.replay = iter(range(len(constants.tensors)))
    known *= 2
    with constants:
        second = work(1.0)
    constants.require_all()
    assert [value.tolist() for value in first] == [[1, 2], [3], [1, 1]]
    assert [value.tolist() for value in second] == [[1, 2], [3], [2, 2]]  # what is made of a tensor is made anew
    assert second[0] is not first[0]


def test_other_constants_in_a_second_run_are_refused() -> None:
    constants = _Constants()
    with constants:
        torch.tensor([1.0])
        torch.tensor([2.0])
    constants.replay = iter(range(2))
    with constants, pytest.raises(RuntimeError, match="other tensors of plain values"):
        torch.tensor([3.0])
    constants.replay = iter(range(2))
    with constants:
        torch.tensor([1.0])
    with pytest.raises(RuntimeError, match="other tensors of plain values"):
        constants.require_all()


def test_suppression_is_not_recorded_where_nobody_asks() -> None:
    with pytest.raises(RuntimeError, match="only inside captured_nms"):
        nms._nms_mask_recorded(*fake_boxes(9), 0.4, 0)


def fake_boxes(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two images' boxes, many of them on each other; some are padding."""
    torch.manual_seed(0)
    corners = 100 * torch.rand(2, count, 2)
    boxes = torch.cat([corners, corners + 10 + 40 * torch.rand(2, count, 2)], dim=-1)
    return boxes, torch.rand(2, count), torch.randint(-1, 3, (2, count))


def test_the_recorded_suppression_is_the_greedy_one() -> None:
    boxes, scores, labels = fake_boxes(60)
    with nms.captured_nms() as flags:
        kept = nms._nms_mask_recorded(boxes, scores, labels, 0.4, 0)
    assert torch.equal(kept, nms.nms_mask(boxes, scores, labels, 0.4))
    assert [bool(flag) for flag in flags] == [False]


@pytest.mark.parametrize(("max_boxes", "enough"), [(10, True), (40, False)])
def test_the_recorded_suppression_tells_when_it_did_not_look_far_enough(
    max_boxes: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, scores, labels = fake_boxes(200)
    monkeypatch.setattr(nms, "MIN_CANDIDATES", 0)
    monkeypatch.setattr(nms, "CANDIDATE_FACTOR", 2)
    with nms.captured_nms() as flags:
        kept = nms._nms_mask_recorded(boxes, scores, labels, 0.1, max_boxes)
    assert [bool(flag) for flag in flags] == [not enough]
    if enough:
        best = [
            torch.where(mask, scores, 0.0).topk(max_boxes) for mask in (kept, nms.nms_mask(boxes, scores, labels, 0.1))
        ]
        assert torch.equal(best[0].values, best[1].values) and torch.equal(best[0].indices, best[1].indices)


def test_so_many_pairs_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "MAX_PAIRS", 2 * 60**2 - 1)
    with nms.captured_nms(), pytest.raises(RuntimeError, match="cannot be captured"):
        nms._nms_mask_recorded(*fake_boxes(60), 0.4, 0)
