"""Non-maximum suppression: eager, as a matrix, compiled, and in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vertebra.geometry.nms import ROUNDS, nms_mask, nms_mask_unrolled, onnx_translation_table

coordinate = st.integers(0, 12)
candidate = st.tuples(coordinate, coordinate, coordinate, coordinate, st.integers(-1, 2), st.integers(0, 5))


def as_batch(rows: list[tuple[int, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """One image of whole-numbered boxes (many equal overlaps and scores)."""
    found = torch.tensor([rows], dtype=torch.float32)
    boxes = torch.cat(
        [torch.minimum(found[..., :2], found[..., 2:4]), torch.maximum(found[..., :2], found[..., 2:4])], -1
    )
    return boxes, found[..., 5] / 5, found[..., 4].long()


def random_batch(images: int, boxes: int, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    corner = torch.rand(images, boxes, 2) * 60
    found = torch.cat([corner, corner + torch.rand(images, boxes, 2) * 40 + 1], dim=-1)
    return found, torch.rand(images, boxes), torch.randint(-1, classes, (images, boxes))


def greedy(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """The definition, box by box."""
    keep = torch.zeros_like(labels, dtype=torch.bool)
    for image in range(len(boxes)):
        for place in scores[image].argsort(descending=True, stable=True).tolist():
            if labels[image, place] < 0 or scores[image, place] <= 0:
                continue
            rivals = keep[image] & (labels[image] == labels[image, place])
            overlap = torchvision.ops.box_iou(boxes[image, place][None], boxes[image, rivals]).nan_to_num()
            keep[image, place] = not (overlap > iou).any()
    return keep


class Suppress(nn.Module):
    """The operator as a model."""

    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        return nms_mask(boxes, scores, labels, 0.5)


class SuppressByMatrix(nn.Module):
    """The matrix form as a model."""

    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        return nms_mask_unrolled(boxes, scores, labels, 0.5)


def test_by_hand() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 10]]])
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.0]])
    labels = torch.tensor([[0, 0, 1, -1, 0]])
    expected = [[True, False, True, False, False]]
    assert nms_mask(boxes, scores, labels, 0.5).tolist() == expected
    assert nms_mask_unrolled(boxes, scores, labels, 0.5).tolist() == expected


def test_a_dropped_box_drops_nobody() -> None:
    """A chain: the first drops the second, so the third, which only the second overlaps, stays."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10], [9, 0, 19, 10]]])
    scores, labels = torch.tensor([[0.9, 0.8, 0.7, 0.6]]), torch.zeros(1, 4, dtype=torch.int64)
    assert nms_mask(boxes, scores, labels, 0.5).tolist() == [[True, False, True, False]]
    assert nms_mask_unrolled(boxes, scores, labels, 0.5).tolist() == [[True, False, True, False]]


@settings(max_examples=150, deadline=None)
@given(st.lists(candidate, min_size=1, max_size=25), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_the_best_are_the_best_of_all(rows: list[tuple[int, ...]], iou: float) -> None:
    """However few are wanted, and however many candidates it takes to find them."""
    boxes, scores, labels = as_batch(rows)
    every = torch.where(nms_mask(boxes, scores, labels, iou), scores, 0)
    for max_boxes in (1, 2, 5):
        few = torch.where(nms_mask(boxes, scores, labels, iou, max_boxes), scores, 0)
        count = min(max_boxes, len(rows))
        assert torch.equal(few.topk(count).values, every.topk(count).values)
        assert torch.equal(few > 0, (few > 0) & (every > 0))


def test_a_pile_of_boxes_hides_others() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]] * 40 + [[20.0, 0, 30, 10], [40.0, 0, 50, 10]]])
    scores = torch.linspace(1, 0.5, 42)[None]
    kept = nms_mask(boxes, scores, torch.zeros(1, 42, dtype=torch.int64), 0.5, 2)
    assert kept.nonzero()[:2, 1].tolist() == [0, 40]


@settings(max_examples=150, deadline=None)
@given(st.lists(candidate, min_size=1, max_size=25), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_all_forms_are_greedy(rows: list[tuple[int, ...]], iou: float) -> None:
    batch = as_batch(rows)
    expected = greedy(*batch, iou)
    assert torch.equal(nms_mask(*batch, iou), expected)
    assert torch.equal(nms_mask_unrolled(*batch, iou), expected)


def test_matrix_equals_operator_on_many_boxes() -> None:
    batch = random_batch(4, 400)
    assert torch.equal(nms_mask(*batch, 0.5), nms_mask_unrolled(*batch, 0.5))


def test_shifts_between_classes_lose_no_precision() -> None:
    """The IoU is 0.5 by a hair's breadth; offsets in float32 for class 900 would round the boxes by 0.06 pixels."""
    boxes = torch.tensor([[[0.0, 0, 1024, 1024], [0, 0, 1024, 512.01], [0, 600, 1, 601], [0, 600, 1, 600.501]]])
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    labels = torch.full((1, 4), 900)
    assert nms_mask(boxes, scores, labels, 0.5).tolist() == [[True, False, True, False]]
    assert nms_mask(boxes, scores, labels, 0.502).tolist() == [[True, True, True, True]]


def test_an_empty_batch_and_no_candidates() -> None:
    assert nms_mask(*random_batch(0, 5), 0.5).shape == (0, 5)
    assert nms_mask(*random_batch(2, 0), 0.5).shape == (2, 0)


def test_operator_is_sound() -> None:
    torch.library.opcheck(
        nms_mask, (*random_batch(2, 6), 0.5), test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    )


@pytest.mark.parametrize("model", [Suppress(), SuppressByMatrix()])
def test_compiles_to_one_graph(model: nn.Module) -> None:
    batch = random_batch(3, 30)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(*batch), greedy(*batch, 0.5))


@pytest.mark.parametrize("model", [Suppress(), SuppressByMatrix()])
def test_onnx_at_another_batch_size(model: nn.Module) -> None:
    runtime = pytest.importorskip("onnxruntime")
    batch, same = torch.export.Dim("batch"), torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        model.eval(),
        random_batch(2, 40),
        dynamo=True,
        dynamic_shapes=({0: batch}, {0: same}, {0: same}),
        custom_translation_table=onnx_translation_table(),
        verbose=False,
    )
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), options)
    assert all(not isinstance(value.shape[0], int) for value in [*session.get_inputs(), *session.get_outputs()])
    empty = random_batch(2, 40)
    empty[2].fill_(-1)
    for data in (random_batch(5, 40), random_batch(1, 40), random_batch(3, 40, classes=60), empty):
        feed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), data, strict=True)}
        np.testing.assert_array_equal(session.run(None, feed)[0], greedy(*data, 0.5).numpy())


def test_operator_can_be_decomposed_into_the_matrix() -> None:
    program = torch.export.export(Suppress(), random_batch(2, 20))
    plain = program.run_decompositions({torch.ops.vertebra.nms_mask.default: nms_mask_unrolled})
    assert "nms_mask" not in str(plain.graph)
    batch = random_batch(2, 20)
    assert torch.equal(plain.module()(*batch), greedy(*batch, 0.5))


def test_written_out_rounds_are_exact_for_chains_as_long_as_they_are() -> None:
    """Each box overlaps the next one only: the worst there is for rounds that settle one box of a chain each."""
    starts = 4.0 * torch.arange(ROUNDS)
    boxes = torch.stack([starts, torch.zeros(ROUNDS), starts + 10, torch.ones(ROUNDS)], dim=1)[None]
    scores, labels = torch.linspace(1, 0.5, ROUNDS)[None], torch.zeros(1, ROUNDS, dtype=torch.int64)
    expected = nms_mask(boxes, scores, labels, 0.3)
    assert expected[0].tolist() == [place % 2 == 0 for place in range(ROUNDS)]
    assert torch.equal(nms_mask_unrolled(boxes, scores, labels, 0.3), expected)
