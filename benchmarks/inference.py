"""Prediction beside the peers, with the same architecture and the same weights, in PyTorch, ONNX Runtime and OpenVINO.

python -m benchmarks.inference [--only NAME ...] [--runtimes torch onnx openvino compiled] [--device cuda]
    [--threads N] [--repeats N] [--out FILE]

From a canvas to decoded outputs: the peer's eager use, its preprocessing on the tensor and its post-processing, and ours. Masks of
objects are drawn into the image by both. The
smallest YOLO models take part where ultralytics (AGPL-3.0) is installed, beside a small detector of ours, as a yardstick: the
architectures differ, so their parameters and multiply-adds are printed.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as tree
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import in_turns, milliseconds, waiting
from benchmarks.pairs import Answers, Pair, classify, detect, instances, require_equal, rt_detr, segment, small_detector
from benchmarks.report import NO_BF16, Columns, Row, beside, finish, has_bf16, ms, options, set_threads, times
from benchmarks.runtimes import COMPILED, RUNTIMES, Run, sizes_of, ways
from benchmarks.synthetic import canvases
from vertebra.export.parity import agreements
from vertebra.export.parity_inputs import ParityCase as Canvases
from vertebra.model_info import model_info

ON_GPU = (
    "On a GPU all convolutions in fp32 take TF32 where the time is measured, as PyTorch has it by default, and none where answers "
    "are compared. Ours are recorded CUDA graphs, those that are compiled too.",
)
SMALL, WIDE, ROAD = (224, 224), (480, 640), (384, 512)
NOTES = (
    "Times: how many times as fast as the peer. Differences are relative to the largest value; agreement (bf16, int8) is a task's "
    "own measure, 0 to 1, of the outputs of PyTorch in fp32 and of this runtime. Weights are random and int8 is calibrated on "
    "eight synthetic images, so agreement here shows that the file works, not how accurate it is.",
)


class ParityCase(NamedTuple):
    """A model of a peer and ours.

    Attributes:
        build: makes both.
        size: (height, width) of the canvas.
        batches: how many images at a time, each a row.
    """

    build: Callable[[], Pair]
    size: tuple[int, int]
    batches: tuple[int, ...] = (1,)


CASES: dict[str, ParityCase] = {
    "timm mobilenetv2_100": ParityCase(lambda: classify("timm", "mobilenetv2_100", SMALL), SMALL, (1, 8)),
    "torchvision resnet50": ParityCase(lambda: classify("torchvision", "resnet50", SMALL), SMALL, (1, 8)),
    "torchvision retinanet_resnet50_fpn": ParityCase(lambda: detect("retinanet_resnet50_fpn", WIDE), WIDE),
    "torchvision fcos_resnet50_fpn": ParityCase(lambda: detect("fcos_resnet50_fpn", WIDE), WIDE),
    "torchvision fasterrcnn_resnet50_fpn": ParityCase(lambda: detect("fasterrcnn_resnet50_fpn", WIDE), WIDE),
    "torchvision maskrcnn_resnet50_fpn": ParityCase(lambda: instances("maskrcnn_resnet50_fpn", WIDE), WIDE),
    "torchvision maskrcnn_resnet50_fpn, small": ParityCase(lambda: instances("maskrcnn_resnet50_fpn", SMALL), SMALL),
    "torchvision ssdlite320": ParityCase(lambda: detect("ssdlite320_mobilenet_v3_large", (320, 320)), (320, 320)),
    "transformers rt_detr_r18": ParityCase(lambda: rt_detr(WIDE), WIDE),
    "smp Unet": ParityCase(lambda: segment("smp", "Unet", ROAD), ROAD),
    "smp FPN": ParityCase(lambda: segment("smp", "FPN", ROAD), ROAD),
    "smp DeepLabV3Plus": ParityCase(lambda: segment("smp", "DeepLabV3Plus", ROAD), ROAD),
    "torchvision deeplabv3_resnet50": ParityCase(lambda: segment("torchvision", "deeplabv3_resnet50", ROAD), ROAD),
    "torchvision lraspp": ParityCase(lambda: segment("torchvision", "lraspp_mobilenet_v3_large", ROAD), ROAD),
    "ultralytics yolo11n": ParityCase(lambda: small_detector("yolo11n", WIDE), WIDE),
    "ultralytics yolo26n": ParityCase(lambda: small_detector("yolo26n", WIDE), WIDE),
}


def peak(dtype: torch.dtype, device: str = "cpu") -> float:
    """Multiply-adds a second, in units of 1e9, of a large 3x3 convolution: what this machine can do at best."""
    count = 4 if device == "cpu" else 256
    layer = nn.Conv2d(256, 256, 3, padding=1).to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps = torch.randn(count, 256, 56, 56, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = in_turns({"peak": lambda: layer(maps)}, repeats=9, warm=2, finish=waiting(device))["peak"].median
    return count * 256 * 256 * 9 * 56 * 56 / seconds / 1e9


def compare(
    name: str,
    case: ParityCase,
    repeats: int,
    runtimes: Sequence[str] = RUNTIMES,
    threads: int | None = None,
    device: str = "cpu",
) -> Iterator[Row]:
    """Compares the answers, then times the peer's ordinary use and each of our ways in turns.

    Args:
        name: of the case.
        case: both models.
        repeats: turns that count.
        runtimes: some of `RUNTIMES`.
        threads: of the CPU.
        device: where PyTorch runs, the peer and ours.

    Yields:
        A row for each batch size.

    Raises:
        AssertionError: the answers differ.
    """
    pair = case.build()
    with tempfile.TemporaryDirectory() as folder:
        own = ways(pair.ours, runtimes, Path(folder), threads, device)
        with torch.inference_mode():
            exact = {batch: pair.ours(canvases(batch, case.size)) for batch in case.batches}
        pair.peer.to(device)
        for batch in case.batches:
            images = canvases(batch, case.size)
            yield {
                "work": name if batch == 1 else f"{name} x{batch}",
                "size": list(case.size),
                "batch": batch,
                "same_architecture": pair.differ is not None,
                **answers(name, pair, own, images, exact[batch], device),
                **speeds(pair, own, images, repeats, device),
                "peer_size": cost(pair.peer, lambda: pair.call(images.to(device))),  # noqa: B023 - called at once
                "our_size": cost(pair.ours, lambda: pair.ours(images)),  # noqa: B023
            }


@torch.inference_mode()
def answers(name: str, pair: Pair, own: dict[str, Run], images: torch.Tensor, exact: Answers, device: str) -> Row:
    """How far our answers differ from the peer's in fp32, and from ours in fp32 on the CPU, ``exact``, otherwise."""
    with full_fp32():
        theirs = pair.call(images.to(device))
    case = Canvases(name, images.numpy(), sizes_of(images.numpy()))
    differences, agreement = {}, {}
    for way, run in own.items():
        with full_fp32():
            found = run(images)
        if "fp32" not in way:
            shares = agreements(model_info(pair.ours), case, by_fields(exact), by_fields(found))
            agreement[way] = min(shares.values())
        elif pair.differ is not None:
            differences[way] = require_equal(f"{name}, {way}", pair.differ(found, theirs), pair.limit)
    return {"difference": differences, "agreement": agreement}


@contextmanager
def full_fp32() -> Iterator[None]:
    """Without TF32, which PyTorch's convolutions take on a GPU by default, so that answers can be compared."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def by_fields(found: Answers) -> dict[str, list[np.ndarray]]:
    """By branch, the decoded outputs' fields in their order."""
    return {
        branch: [
            value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            for value in (own if isinstance(own, tuple) else vars(own).values())
        ]
        for branch, own in found.items()
    }


@torch.inference_mode()
def speeds(pair: Pair, own: dict[str, Run], images: torch.Tensor, repeats: int, device: str) -> Row:
    """Milliseconds of each, and how many times as fast as the peer ours are; images and answers are in the CPU's memory."""
    runs: dict[str, Callable[[], Any]] = {"peer": lambda: on_cpu(pair.call(images.to(device)))}
    runs |= {way: lambda run=run: done(pair, run(images)) for way, run in own.items()}  # type: ignore[misc]
    seconds = in_turns(runs, repeats, turn=0.1, pause=0.05, finish=waiting(device))
    faster = {way: seconds["peer"].median / seconds[way].median for way in own}
    return {"milliseconds": milliseconds(seconds), "times": faster}


def done(pair: Pair, answers: Answers) -> object:
    """Our answers as far as the peer's use goes."""
    return answers if pair.finish is None else pair.finish(answers)


def on_cpu(values: Any) -> Any:
    """A peer's answers in the CPU's memory."""
    return tree.tree_map_only(torch.Tensor, lambda value: value.cpu(), values)


@torch.inference_mode()
def cost(module: nn.Module, run: Callable[[], Any]) -> dict[str, float]:
    """Millions of parameters, and billions of multiply-adds of one run."""
    with FlopCounterMode(display=False) as counter:
        run()
    parameters = sum(value.numel() for value in module.parameters())
    return {"million_parameters": parameters / 1e6, "billion_multiply_adds": counter.get_total_flops() / 2e9}


def columns(rows: Sequence[Row]) -> Columns:
    """Of the table: what was measured in any row."""
    found: dict[str, Callable[[Row], str]] = {"work": lambda row: row["work"], "peer": ms("milliseconds", "peer")}
    for way in dict.fromkeys(way for row in rows for way in row["times"]):
        found[f"ours, {way} (times)"] = beside(ms("milliseconds", way), times("times", way))
    found["largest difference (fp32)"] = lambda row: (
        f"{max(row['difference'].values()):.0e}" if row["difference"] else "-"
    )
    found["least agreement (others)"] = lambda row: f"{min(row['agreement'].values()):.3f}" if row["agreement"] else "-"
    for way in ("torch fp32", "torch bf16"):
        if any(way in row["share_of_peak"] for row in rows):
            found[f"share of peak ({way})"] = partial(_share, way)
    found["parameters, peer / ours"] = lambda row: "{:.1f} / {:.1f} M".format(*sizes(row, "million_parameters"))
    found["multiply-adds, peer / ours"] = lambda row: "{:.1f} / {:.1f} G".format(*sizes(row, "billion_multiply_adds"))
    return found


def sizes(row: Row, what: str) -> list[float]:
    """Of the peer's model and of ours."""
    return [row["peer_size"][what], row["our_size"][what]]


def _share(way: str, row: Row) -> str:
    return f"{row['share_of_peak'][way]:.0%}"


def shares(row: Row, peaks: Mapping[str, float]) -> dict[str, float]:
    """By way, which part of its precision's peak it reaches; of a folded model the counted work is that of the unfolded.

    Args:
        row: of a model.
        peaks: billions of multiply-adds a second, by precision.
    """
    precisions = {way: way.rpartition(" ")[2] for way in row["times"]}
    work = 1e3 * row["our_size"]["billion_multiply_adds"]
    return {
        way: work / row["milliseconds"][way]["median"] / peaks[name]
        for way, name in precisions.items()
        if name in peaks
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the number of models whose answers differ, which are named instead of timed."""
    parser = options(__doc__, repeats=5, gpu=True)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument(
        "--runtimes", nargs="+", choices=(*RUNTIMES, COMPILED), help="all but 'compiled' by default; on a GPU torch"
    )
    given = parser.parse_args(arguments)
    runtimes = given.runtimes or (RUNTIMES if given.device == "cpu" else RUNTIMES[:1])
    set_threads(given.threads)
    notes = [*NOTES, *([] if has_bf16(given.device) else [NO_BF16]), *(ON_GPU if given.device == "cuda" else ())]
    types = {"fp32": torch.float32, **({"bf16": torch.bfloat16} if has_bf16(given.device) else {})}
    chosen = list(given.only)
    if importlib.util.find_spec("ultralytics") is None:
        chosen = [name for name in chosen if not name.startswith("ultralytics")]
        notes.append("ultralytics is not installed: its models are left out.")
    rows: list[Row] = []
    wrong: list[str] = []
    for name in chosen:
        peaks = {key: peak(dtype, given.device) for key, dtype in types.items()}
        try:
            for row in compare(name, CASES[name], given.repeats, runtimes, given.threads, given.device):
                rows.append({**row, "peak": peaks, "share_of_peak": shares(row, peaks)})
                print(row["work"], {way: round(value, 2) for way, value in row["times"].items()}, flush=True)
        except AssertionError as error:  # the other models' times are good all the same
            wrong.append(f"Not timed: {error}.")
            print(wrong[-1], flush=True)
    for name in types if rows else ():
        rates = [row["peak"][name] for row in rows]
        reached = f"{min(rates):.0f} to {max(rates):.0f} billion multiply-adds a second in {name}"
        notes.append(f"A 3x3 convolution does {reached} here, measured before each model.")
    finish("inference", rows, columns(rows), given, [*notes, *wrong])
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
