"""Training steps beside the peers': forward, loss, backward and the move of the weights, on the same weights and images.

python -m benchmarks.training_step [--only NAME ...] [--batch N] [--device cuda] [--threads N] [--repeats N] [--out FILE]

The peer trains in a plain loop in float32 with AdamW. Ours is Vertebra's own training module in its own trainer, once with the same
work (float32, and bfloat16 where the processor has it), once with the default recipe, which also cuts gradients, keeps a moving
average of the weights, and chooses the precision.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import _mobilenet_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import vertebra
from benchmarks import peers
from benchmarks.measure import Spent, milliseconds, spent, waiting
from benchmarks.ours import batch_of, default_recipe, recipe, train
from benchmarks.pairs import CLOSE, in_our_terms
from benchmarks.report import NO_BF16, Columns, Row, beside, finish, has_bf16, ms, options, set_threads, times
from benchmarks.synthetic import canvases, ground_truth
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.weights.importing import assemble

WARM = 2
NEAR_ON_GPU = 5e-3  # of losses, where PyTorch's convolutions take TF32
NOTES = (
    "Times: how many times as fast as the peer's step, which runs in turns with each of ours. Losses of the first step are equal "
    "within 1e-4 where the table shows it; elsewhere the two losses or the architectures are not the same function.",
    "fp32 and bf16: AdamW, no moving average, no cut of gradients. Default recipe: what `vertebra train` does when nothing is set.",
)


class Work(NamedTuple):
    """A training step of a peer's model and of ours.

    Attributes:
        task: "classify", "segment" or "detect".
        peer: in the library's own form.
        ours: the same model.
        classes: how many there are.
        same: whether architecture and loss are the same function, so that losses must be equal.
    """

    task: str
    peer: nn.Module
    ours: VisionModel
    classes: int
    same: bool


class ParityCase(NamedTuple):
    """How a work is made, and what it sees.

    Attributes:
        build: from the canvas to the work.
        size: (height, width) of the canvas.
        batch: images a step.
    """

    build: Callable[[tuple[int, int]], Work]
    size: tuple[int, int]
    batch: int


def classify(library: str, name: str, size: tuple[int, int]) -> Work:
    """A classifier, with the dropout and the label smoothing that the peer has: none."""
    peer = peers.classifier(library, name)
    terms = in_our_terms("classify", library, name, peer, size)
    terms.model["branches"]["classify"]["decoder"] |= {"dropout": 0.0, "label_smoothing": 0.0}
    ours, _ = assemble(terms)
    return Work("classify", peer, ours, len(ours.branch("classify").labels.classes), True)


def segment(name: str, size: tuple[int, int]) -> Work:
    """A segmenter of smp, with cross entropy alone."""
    peer = peers.segmenter("smp", name)
    terms = in_our_terms("segment", "smp", name, peer, size)
    terms.model["branches"]["segment"]["decoder"]["loss"] = {"dice": 0.0}
    return Work("segment", peer, assemble(terms)[0], peers.CLASSES, True)


def retinanet(size: tuple[int, int]) -> Work:
    """torchvision's RetinaNet with frozen norms. The terms of the loss are the same, but of anchors that fit an object equally well
    torchvision takes all where ours takes one, so that there are other positive ones."""
    peer = peers.frozen_retinanet(size)
    ours, _ = assemble(in_our_terms("detect", "torchvision", "retinanet_resnet50_fpn", peer, size))
    return Work("detect", peer, ours, 90, False)


def light_retinanet(size: tuple[int, int]) -> Work:
    """Our default RetinaNet on MobileNetV2 beside torchvision's on the same backbone, which has 256 channels and four convolutions
    in each tower."""
    ours = vertebra.create_model(
        {"name": "mobilenetv2_100", "pretrained": False},
        neck="fpn",
        decoder="retinanet",
        classes=["a", "b"],
        image_size=size,
    )
    body = torchvision.models.mobilenet_v2(weights=None)
    backbone = _mobilenet_extractor(body, True, 6, [2, 3, 4], LastLevelP6P7(256, 256))
    peer = torchvision.models.detection.RetinaNet(backbone, 3, min_size=min(size), max_size=max(size))
    return Work("detect", peer, ours, 2, False)


CASES: dict[str, ParityCase] = {
    "torchvision resnet50": ParityCase(lambda size: classify("torchvision", "resnet50", size), (224, 224), 8),
    "timm mobilenetv2_100": ParityCase(lambda size: classify("timm", "mobilenetv2_100", size), (224, 224), 16),
    "torchvision retinanet_resnet50_fpn": ParityCase(retinanet, (480, 640), 2),
    "smp Unet": ParityCase(lambda size: segment("Unet", size), (384, 512), 2),
    "RetinaNet on MobileNetV2, torchvision's and our default": ParityCase(light_retinanet, (320, 416), 2),
}


def compare(name: str, case: ParityCase, repeats: int, device: str = "cpu", batch: int | None = None) -> Row:
    """Steps in turns; the losses of the first are compared.

    Args:
        name: of the case.
        case: both models.
        repeats: turns that count.
        device: "cpu" or "cuda".
        batch: images a step; None: as the case has it.

    Raises:
        AssertionError: they differ where they must not.
    """
    work, count = case.build(case.size), batch or case.batch
    images, true = canvases(count, case.size), ground_truth(work.task, count, case.size, work.classes)
    row: Row = {"work": name, "size": list(case.size), "batch": count, "same": work.same}
    row |= {"milliseconds": {}, "peer_milliseconds": {}, "times": {}, "first_loss": {}, "optimizer": {}}
    for way, how in recipes(device).items():
        try:
            measured = one_way(work, how, images, true, repeats, device)
        except ConfigError as error:  # bfloat16 where its gradients would be wrong
            row.setdefault("left_out", {})[way] = str(error)
            continue
        losses, peer, own, row["optimizer"][way] = measured
        row["first_loss"][way] = {"peer": losses[0], "ours": losses[1]}
        row["milliseconds"][way], row["peer_milliseconds"][way] = (
            milliseconds({"": own})[""],
            milliseconds({"": peer})[""],
        )
        row["times"][way] = peer.median / own.median
        if work.same and way == "fp32":
            near = CLOSE if device == "cpu" else NEAR_ON_GPU
            assert abs(losses[1] - losses[0]) <= near * abs(losses[0]), f"{name}: losses {losses}"
    return row


def recipes(device: str = "cpu") -> dict[str, ResolvedTrain]:
    """The ways in which ours are trained, by name."""
    found = {"fp32": recipe(device)}
    if has_bf16(device):
        found["bf16"] = recipe(device, precision="bf16-mixed")
    return {**found, "default recipe": default_recipe(device)}


def one_way(
    work: Work, how: ResolvedTrain, images: Tensor, true: Any, repeats: int, device: str
) -> tuple[tuple[float, float], Spent, Spent, str]:
    """Steps of the peer and of ours by a recipe, in turns, from the weights that they have.

    Returns:
        The first losses of both, the time of the peer's steps and of ours, and our optimizer.
    """
    step = peers.plain_step(work.task, copy.deepcopy(work.peer).to(device), images, true, device)
    losses: list[float] = []
    seconds: list[float] = []
    finish = waiting(device)

    def theirs() -> None:
        started = time.perf_counter()
        losses.append(step())
        finish()
        seconds.append(time.perf_counter() - started)

    trained = train(copy.deepcopy(work.ours), batch_of(work.task, images, true), how, WARM + repeats, between=theirs)
    first = (losses[0], trained.losses[0])
    return first, spent(seconds[WARM:]), spent(trained.seconds[WARM:]), trained.optimizer


COLUMNS: dict[str, Callable[[Row], str]] = {
    "work": lambda row: row["work"],
    "canvas, batch": lambda row: "{}x{}, {}".format(*row["size"], row["batch"]),
    "peer": ms("peer_milliseconds", "fp32"),
    "ours, fp32 (times)": beside(ms("milliseconds", "fp32"), times("times", "fp32")),
    "ours, bf16 (times)": beside(ms("milliseconds", "bf16"), times("times", "bf16")),
    "ours, default recipe (times)": beside(ms("milliseconds", "default recipe"), times("times", "default recipe")),
    "first losses, peer / ours": lambda row: "{peer:.5f} / {ours:.5f}".format(**row["first_loss"]["fp32"]),
    "must be equal": lambda row: "yes" if row["same"] else "no",
}


def columns(device: str) -> Columns:
    """Of the table, without those in bf16 where it is left out."""
    return {name: text for name, text in COLUMNS.items() if "bf16" not in name or has_bf16(device)}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=5, gpu=True)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--batch", type=int, help="images a step; by default as each model has it")
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    torch.manual_seed(0)
    rows = []
    for name in given.only:
        rows.append(compare(name, CASES[name], given.repeats, given.device, given.batch))
        gc.collect()
        print(name, {way: round(value, 2) for way, value in rows[-1]["times"].items()}, flush=True)
    optimizers = sorted({own for row in rows for own in row["optimizer"].values()})
    notes = [*NOTES, f"Our optimizer: {', '.join(optimizers)}.", *([] if has_bf16(given.device) else [NO_BF16])]
    finish("training_step", rows, columns(given.device), given, notes)


if __name__ == "__main__":
    main()
