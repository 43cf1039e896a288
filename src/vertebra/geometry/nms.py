"""Non-maximum suppression of a whole batch as one operator, `vertebra::nms_mask`.

In eager mode it runs torchvision's kernel, in ONNX it becomes one batched ``NonMaxSuppression``, and
`nms_mask_unrolled` gives the same answer with ordinary tensor operations where a target has no such operator.
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

CANDIDATE_FACTOR = 4  # times as many candidates as are wanted are looked at first
ROUNDS = 32  # of suppression, where a target has no loops
MOST_PAIRS = 1 << 26  # of boxes that are compared in a recorded graph
MIN_CANDIDATES = 1024  # candidates that a recorded graph looks at, if there are so many
_unsettled: ContextVar[list[Tensor]] = ContextVar("unsettled suppression of the graph that is being recorded")


@torch.library.custom_op(
    "vertebra::nms_mask",
    mutates_args=(),
    tags=(torch.Tag.cudagraph_unsafe,),  # graphs that torch.compile records go around it
    schema="(Tensor boxes, Tensor scores, Tensor labels, float iou, int most=0) -> Tensor",
)
def nms_mask(
    boxes: Float[Tensor, "n k 4"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"], iou: float, most: int = 0
) -> Bool[Tensor, "n k"]:
    """Which boxes survive greedy non-maximum suppression, image by image and class by class.

    The kernel sees one image at a time, and sets the classes apart by shifting them in float64. Boxes of float32 have
    24 significant bits and float64 has 53, so the shift leaves a box where it was to within a billionth of a pixel;
    the usual shift in float32 moves IoUs by some percent at hundreds of classes.

    Args:
        boxes: (N, K, 4) xyxy.
        scores: (N, K); a box with a score of 0 or less is padding and never kept.
        labels: (N, K) int64 class ids; a box with a negative label is padding and never kept.
        iou: a box is dropped if a better one of its class, itself kept, overlaps it by more than this.
        most: how many of the boxes that are kept the caller wants, the best ones; 0 for all. Whether a box is kept depends on
            better ones alone, so that many candidates need not be looked at. Of boxes beyond these, some may be kept.

    Returns:
        (N, K) bool, True for the boxes to keep.
    """
    if boxes.is_cuda and torch.cuda.is_current_stream_capturing():
        return _nms_mask_recorded(boxes, scores, labels, iou, most)
    # Apple's GPUs know no float64; so few boxes are quickly moved.
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
        kept = _best_kept(exact[image, rows], best, iou, most)
        keep[image, rows[kept]] = True
    return keep.to(boxes.device)


def _best_kept(boxes: Float[Tensor, "k 4"], scores: Float[Tensor, " k"], iou: float, most: int) -> Int[Tensor, " kept"]:
    """Places of the boxes that are kept, of boxes (K, 4) in the order of their scores: all of them, or at least ``most``."""
    seen = len(boxes) if most == 0 else CANDIDATE_FACTOR * most
    kept: Tensor = torchvision.ops.nms(boxes[:seen], scores[:seen], iou)
    while len(kept) < most and seen < len(boxes):
        seen *= CANDIDATE_FACTOR
        kept = torchvision.ops.nms(boxes[:seen], scores[:seen], iou)
    return kept


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, most: int = 0) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def nms_mask_unrolled(
    boxes: Float[Tensor, "n k 4"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"], iou: float, most: int = 0
) -> Bool[Tensor, "n k"]:
    """The same as `nms_mask` by matrix operations, for targets that lack a suppression operator and have no loops.

    "Kept" is the one mask that agrees with the rule *a box is kept if no better box of its class, itself kept, overlaps
    it too much*. Starting from all boxes, each round of applying the rule settles at least the best unsettled box of
    each image. There are `ROUNDS` of them: it is the greedy answer wherever no chain of boxes, each dropped by the one before it,
    is longer than that. Memory is (N, K, K).

    Args, Returns: as `nms_mask`; ``most`` changes nothing.
    """
    drops, valid = _drops(boxes, scores, labels, iou)
    keep = valid
    for _ in range(ROUNDS):
        keep = valid & ~(keep[:, :, None] & drops).any(dim=1)
    return keep


def _nms_mask_recorded(
    boxes: Float[Tensor, "n k 4"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"], iou: float, most: int
) -> Bool[Tensor, "n k"]:
    """`nms_mask` while a CUDA graph is recorded: in matrix form, with as many rounds and candidates as nearly always are enough. It
    tells `captured_nms` whether they were.

    Raises:
        RuntimeError: so many pairs of boxes do not belong in a GPU's memory, or nobody asks whether the rounds were enough.
    """
    told = _unsettled.get(None)
    if told is None:
        raise RuntimeError("suppression is recorded inside of captured_nms only")
    count = scores.shape[1]
    seen = count if most == 0 else min(count, max(MIN_CANDIDATES, CANDIDATE_FACTOR * most))
    if len(scores) * seen**2 > MOST_PAIRS:
        raise RuntimeError(f"suppression of {tuple(scores.shape)} boxes is not recorded")
    valid = (labels >= 0) & (scores > 0)
    order = torch.where(valid, scores, 0.0).sort(dim=1, descending=True, stable=True).indices[:, :seen]
    real, own = valid.gather(1, order), labels.gather(1, order)
    places = boxes.double().gather(1, order[..., None].expand(-1, -1, 4))
    overlap = (pairwise_iou(places, places) > iou) & (own[:, :, None] == own[:, None, :]) & real[:, :, None]
    drops = overlap.triu(diagonal=1).half()
    keep = before = real
    for _ in range(ROUNDS):
        keep, before = real & (torch.matmul(keep.half()[:, None, :], drops)[:, 0] == 0), keep
    short = (keep.sum(dim=1) < most) & (valid.sum(dim=1) > seen)
    told.append((keep != before).any() | short.any())
    return torch.zeros_like(valid).scatter(1, order, keep)


@contextmanager
def captured_nms() -> Iterator[list[Tensor]]:
    """While a CUDA graph is recorded: a flag () bool of each suppression in it, true after a run of the graph in which the answer
    is not sure to be the greedy one, and must be computed without the graph."""
    flags: list[Tensor] = []
    token = _unsettled.set(flags)
    try:
        yield flags
    finally:
        _unsettled.reset(token)


def _drops(
    boxes: Float[Tensor, "n k 4"], scores: Float[Tensor, "n k"], labels: Int[Tensor, "n k"], iou: float
) -> tuple[Bool[Tensor, "n k k"], Bool[Tensor, "n k"]]:
    """(N, K, K) bool, whether one box drops another if it is kept; and (N, K) bool, which are no padding."""
    valid = (labels >= 0) & (scores > 0)
    order = torch.arange(scores.shape[1], device=scores.device)
    better = (scores[:, :, None] > scores[:, None, :]) | (
        (scores[:, :, None] == scores[:, None, :]) & (order[:, None] < order[None, :])
    )
    overlap = (pairwise_iou(boxes, boxes) > iou) & (labels[:, :, None] == labels[:, None, :])
    return better & overlap & valid[:, :, None], valid


def onnx_translation_table() -> dict[Any, Callable[..., Any]]:
    """What `torch.onnx.export(..., dynamo=True)` needs as ``custom_translation_table`` to write `nms_mask`.

    The batch becomes one ``NonMaxSuppression``; ONNX asks for a score of each box in each class, so the scores are laid
    out by class. How many classes there are is read from the labels when the graph runs. Padding, and each box in the
    classes that are not its own, has the score -1 and stands below the threshold of 0.

    Raises:
        ModuleNotFoundError: ``onnxscript`` is not installed (the extra ``export``).
    """
    from onnxscript import INT64
    from onnxscript import opset18 as op

    def translate(boxes: Any, scores: Any, labels: Any, iou: float, most: int = 0) -> Any:
        zero = op.Constant(value_int=0)
        one = op.Constant(value_int=1)
        labels = op.Cast(labels, to=INT64.dtype)
        scores = op.Cast(scores, to=1)
        positive = op.Greater(scores, op.Constant(value_float=0.0))
        marked = op.Where(positive, labels, op.Constant(value_int=-1))
        classes = op.Add(op.Max(op.ReduceMax(labels, keepdims=0), zero), one)
        class_ids = op.Unsqueeze(op.Range(zero, classes, one), op.Constant(value_ints=[0, 2]))
        own = op.Equal(op.Unsqueeze(marked, op.Constant(value_ints=[1])), class_ids)
        by_class = op.Where(own, op.Unsqueeze(scores, op.Constant(value_ints=[1])), op.Constant(value_float=-1.0))
        shape = op.Shape(scores)
        chosen = op.NonMaxSuppression(
            op.Cast(boxes, to=1),
            by_class,
            op.Constant(value_ints=[most]) if most else op.Gather(shape, op.Constant(value_ints=[1])),
            op.Constant(value_floats=[float(iou)]),
            op.Constant(value_floats=[0.0]),
        )
        places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        nothing = op.Expand(op.Constant(value_int=0), shape)
        ones = op.Expand(op.Constant(value_int=1), op.Shape(places, start=0, end=1))
        return op.Cast(op.ScatterND(nothing, places, ones), to=9)

    return {torch.ops.vertebra.nms_mask.default: translate}
