"""Non-maximum suppression of a whole batch as one operator, `vertebra::nms_mask`.

In eager mode it runs torchvision's kernel, in ONNX it becomes one batched ``NonMaxSuppression``, and
`nms_mask_unrolled` computes the same result with ordinary tensor operations for targets without such an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torchvision
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.boxes import pairwise_iou

CANDIDATE_FACTOR = 4  # number of candidates that are tried first, as a multiple of the requested boxes
ROUNDS = 32  # rounds of suppression, for targets without loops
MAX_PAIRS = 1 << 26  # pairs of boxes that are compared in a CUDA graph
MIN_CANDIDATES = 1024  # minimum number of candidates in a CUDA graph, if there are as many
_unsettled: ContextVar[list[Tensor]] = ContextVar("flags of incomplete suppression in the CUDA graph being captured")


@torch.library.custom_op(
    "vertebra::nms_mask",
    mutates_args=(),
    tags=(torch.Tag.cudagraph_unsafe,),  # torch.compile leaves it out of CUDA graphs
    schema="(Tensor boxes, Tensor scores, Tensor labels, float iou, int max_boxes=0) -> Tensor",
)
def nms_mask(
    boxes: Float[Tensor, "n k 4"],
    scores: Float[Tensor, "n k"],
    labels: Int[Tensor, "n k"],
    iou: float,
    max_boxes: int = 0,
) -> Bool[Tensor, "n k"]:
    """The boxes that greedy non-maximum suppression keeps, for each image and class.

    The kernel processes one image at a time, and separates the classes by shifting their boxes in float64. Boxes of float32
    have 24 significant bits and float64 has 53, so the shift changes a box by less than a billionth of a pixel; the usual
    shift in float32 changes IoUs by some percent at hundreds of classes.

    Args:
        boxes: (N, K, 4) xyxy.
        scores: (N, K); a box with a score of 0 or less is padding and never kept.
        labels: (N, K) int64 class ids; a box with a negative label is padding and never kept.
        iou: a box is dropped if a better one of its class, itself kept, overlaps it by more than this.
        max_boxes: number of best kept boxes that the caller needs; 0 for all. Whether a box is kept depends only on better boxes,
            so candidates beyond these can be skipped; some boxes beyond these may still be marked as kept.

    Returns:
        (N, K) bool, True for the boxes to keep.
    """
    if boxes.is_cuda and torch.cuda.is_current_stream_capturing():
        return _nms_mask_recorded(boxes, scores, labels, iou, max_boxes)
    # Apple's GPUs have no float64; moving the boxes to the CPU is cheap.
    device = torch.device("cpu") if boxes.device.type == "mps" else boxes.device
    valid = ((labels >= 0) & (scores > 0)).to(device)
    exact = boxes.to(device).double()
    keep = torch.zeros_like(valid)
    if exact.numel():
        spread = exact.amax(dim=(1, 2), keepdim=True) - exact.amin(dim=(1, 2), keepdim=True) + 1
        exact = exact + (labels.to(device)[..., None] * spread)
    for image in range(len(valid)):
        rows = valid[image].nonzero()[:, 0]
        best, order = scores[image].to(device)[rows].double().sort(descending=True, stable=True)
        rows = rows[order]
        kept = _best_kept(exact[image, rows], best, iou, max_boxes)
        keep[image, rows[kept]] = True
    return keep.to(boxes.device)


def _best_kept(
    boxes: Float[Tensor, "k 4"], scores: Float[Tensor, " k"], iou: float, max_boxes: int
) -> Int[Tensor, " kept"]:
    """Indices of the kept boxes, for boxes (K, 4) in the order of their scores: all of them, or at least ``max_boxes``."""
    candidates = len(boxes) if max_boxes == 0 else CANDIDATE_FACTOR * max_boxes
    kept: Tensor = torchvision.ops.nms(boxes[:candidates], scores[:candidates], iou)
    while len(kept) < max_boxes and candidates < len(boxes):
        candidates *= CANDIDATE_FACTOR
        kept = torchvision.ops.nms(boxes[:candidates], scores[:candidates], iou)
    return kept


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, max_boxes: int = 0) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def nms_mask_unrolled(
    boxes: Float[Tensor, "n k 4"],
    scores: Float[Tensor, "n k"],
    labels: Int[Tensor, "n k"],
    iou: float,
    max_boxes: int = 0,
) -> Bool[Tensor, "n k"]:
    """The same as `nms_mask` by matrix operations, for targets that lack a suppression operator and have no loops.

    The result is the only mask that satisfies the rule *a box is kept if no better box of its class, itself kept, overlaps it
    too much*. Starting from all boxes, each round applies the rule and decides at least the best undecided box of each image.
    After `ROUNDS` rounds the result is the greedy one if no chain of boxes, each dropped by the one before it, is longer than
    that. Memory is (N, K, K).

    Args, Returns: as `nms_mask`; ``max_boxes`` changes nothing.
    """
    return greedy_mask(pairwise_iou(boxes, boxes) > iou, scores, labels)


def greedy_mask(
    overlapping: Bool[Tensor, "n k k"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"]
) -> Bool[Tensor, "n k"]:
    """The boxes that greedy suppression keeps, by which pairs overlap too much; see `nms_mask_unrolled`.

    Args:
        overlapping: (N, K, K) bool, symmetric.
        scores, labels: as in `nms_mask`.
    """
    drops, valid = _drops(overlapping, scores, labels)
    keep = valid
    for _ in range(ROUNDS):
        keep = valid & ~(keep[:, :, None] & drops).any(dim=1)
    return keep


def _nms_mask_recorded(
    boxes: Float[Tensor, "n k 4"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"], iou: float, max_boxes: int
) -> Bool[Tensor, "n k"]:
    """`nms_mask` during CUDA-graph capture: in matrix form, with a number of rounds and candidates that is nearly always enough. A
    flag for `captured_nms` is whether it was.

    Raises:
        RuntimeError: there are too many pairs of boxes for a GPU's memory, or the capture is not inside `captured_nms`.
    """
    flags = _unsettled.get(None)
    if flags is None:
        raise RuntimeError("suppression can be captured only inside captured_nms")
    count = scores.shape[1]
    candidates = count if max_boxes == 0 else min(count, max(MIN_CANDIDATES, CANDIDATE_FACTOR * max_boxes))
    if len(scores) * candidates**2 > MAX_PAIRS:
        raise RuntimeError(f"suppression of {tuple(scores.shape)} boxes cannot be captured")
    valid = (labels >= 0) & (scores > 0)
    order = torch.where(valid, scores, 0.0).sort(dim=1, descending=True, stable=True).indices[:, :candidates]
    real, sorted_labels = valid.gather(1, order), labels.gather(1, order)
    sorted_boxes = boxes.double().gather(1, order[..., None].expand(-1, -1, 4))
    overlap = (pairwise_iou(sorted_boxes, sorted_boxes) > iou) & real[:, :, None]
    overlap &= sorted_labels[:, :, None] == sorted_labels[:, None, :]
    drops = overlap.triu(diagonal=1).half()
    keep = before = real
    for _ in range(ROUNDS):
        keep, before = real & (torch.matmul(keep.half()[:, None, :], drops)[:, 0] == 0), keep
    short = (keep.sum(dim=1) < max_boxes) & (valid.sum(dim=1) > candidates)
    flags.append((keep != before).any() | short.any())
    return torch.zeros_like(valid).scatter(1, order, keep)


@contextmanager
def captured_nms() -> Iterator[list[Tensor]]:
    """During CUDA-graph capture: collects a flag () bool of each suppression in the graph. After a run of the graph, a true flag
    means that the result may differ from greedy suppression and must be computed without the graph."""
    flags: list[Tensor] = []
    token = _unsettled.set(flags)
    try:
        yield flags
    finally:
        _unsettled.reset(token)


def _drops(
    overlapping: Bool[Tensor, "n k k"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"]
) -> tuple[Bool[Tensor, "n k k"], Bool[Tensor, "n k"]]:
    """(N, K, K) bool, whether one box drops another if it is kept; and (N, K) bool, which are not padding."""
    valid = (labels >= 0) & (scores > 0)
    order = torch.arange(scores.shape[1], device=scores.device)
    better = (scores[:, :, None] > scores[:, None, :]) | (
        (scores[:, :, None] == scores[:, None, :]) & (order[:, None] < order[None, :])
    )
    same_class = labels[:, :, None] == labels[:, None, :]
    return better & overlapping & same_class & valid[:, :, None], valid


def onnx_translation_table() -> dict[Any, Callable[..., Any]]:
    """The ``custom_translation_table`` of `torch.onnx.export(..., dynamo=True)` for `nms_mask`.

    The batch becomes one ``NonMaxSuppression``; ONNX needs a score of each box in each class, so the scores are laid out by
    class. The number of classes is read from the labels when the graph runs. Padding, and each box in other classes than its
    label, has the score -1, below the threshold of 0.

    Raises:
        ModuleNotFoundError: ``onnxscript`` is not installed (the extra ``export``).
    """
    from onnxscript import INT64
    from onnxscript import opset18 as op

    def translate(boxes: Any, scores: Any, labels: Any, iou: float, max_boxes: int = 0) -> Any:
        zero = op.Constant(value_int=0)
        one = op.Constant(value_int=1)
        labels = op.Cast(labels, to=INT64.dtype)
        scores = op.Cast(scores, to=1)
        positive = op.Greater(scores, op.Constant(value_float=0.0))
        marked = op.Where(positive, labels, op.Constant(value_int=-1))
        classes = op.Add(op.Max(op.ReduceMax(labels, keepdims=0), zero), one)
        class_ids = op.Unsqueeze(op.Range(zero, classes, one), op.Constant(value_ints=[0, 2]))
        in_class = op.Equal(op.Unsqueeze(marked, op.Constant(value_ints=[1])), class_ids)
        by_class = op.Where(in_class, op.Unsqueeze(scores, op.Constant(value_ints=[1])), op.Constant(value_float=-1.0))
        shape = op.Shape(scores)
        chosen = op.NonMaxSuppression(
            op.Cast(boxes, to=1),
            by_class,
            op.Constant(value_ints=[max_boxes]) if max_boxes else op.Gather(shape, op.Constant(value_ints=[1])),
            op.Constant(value_floats=[float(iou)]),
            op.Constant(value_floats=[0.0]),
        )
        indices = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        nothing = op.Expand(op.Constant(value_int=0), shape)
        ones = op.Expand(op.Constant(value_int=1), op.Shape(indices, start=0, end=1))
        return op.Cast(op.ScatterND(nothing, indices, ones), to=9)

    return {torch.ops.vertebra.nms_mask.default: translate}
