"""Prediction beside the peers, with the same architecture and the same weights: classification, detection, segmentation.

python -m benchmarks.inference [--only NAME ...] [--threads N] [--repeats N] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import in_turns
from benchmarks.peers import Pair, classify, detect, segment
from vertebra.inference.fast import fast_copy
from vertebra.inference.precision import Precision, computing, lower

Case = tuple[Callable[[], Pair], tuple[int, int], int]
CASES: dict[str, Case] = {
    "timm mobilenetv2_100": (lambda: classify("timm", "mobilenetv2_100"), (224, 224), 1),
    "timm mobilenetv2_100 x8": (lambda: classify("timm", "mobilenetv2_100"), (224, 224), 8),
    "torchvision resnet50": (lambda: classify("torchvision", "resnet50"), (224, 224), 1),
    "torchvision resnet50 x8": (lambda: classify("torchvision", "resnet50"), (224, 224), 8),
    "torchvision retinanet_resnet50_fpn": (lambda: detect("retinanet_resnet50_fpn", (480, 640)), (480, 640), 1),
    "torchvision fcos_resnet50_fpn": (lambda: detect("fcos_resnet50_fpn", (480, 640)), (480, 640), 1),
    "torchvision fasterrcnn_resnet50_fpn": (lambda: detect("fasterrcnn_resnet50_fpn", (480, 640)), (480, 640), 1),
    "torchvision ssdlite320": (lambda: detect("ssdlite320_mobilenet_v3_large", (320, 320)), (320, 320), 1),
    "smp Unet": (lambda: segment("smp", "Unet"), (384, 512), 1),
    "smp FPN": (lambda: segment("smp", "FPN"), (384, 512), 1),
    "smp DeepLabV3Plus": (lambda: segment("smp", "DeepLabV3Plus"), (384, 512), 1),
    "torchvision deeplabv3_resnet50": (lambda: segment("torchvision", "deeplabv3_resnet50"), (384, 512), 1),
    "torchvision lraspp": (lambda: segment("torchvision", "lraspp_mobilenet_v3_large"), (384, 512), 1),
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def peak(dtype: torch.dtype) -> float:
    """Multiply-adds a second, in units of 1e9, of a large 3x3 convolution: what this machine can do at best."""
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps = torch.randn(4, 256, 56, 56, dtype=dtype).contiguous(memory_format=torch.channels_last)
    seconds = in_turns({"peak": lambda: layer(maps)}, repeats=9, warm=2)["peak"]
    return 4 * 256 * 256 * 9 * 56 * 56 / seconds / 1e9


@torch.inference_mode()
def compare(name: str, repeats: int) -> dict[str, Any]:
    """Seconds of the peer's ordinary use and of ours, in turns; the outputs are compared first."""
    build, size, batch = CASES[name]
    with torch.inference_mode(False):
        pair = build()
        fast = {precision: fast_copy(pair.ours) for precision in PRECISIONS}
        for precision, model in fast.items():
            lower(model, precision, torch.device("cpu"))
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
    differences = {}
    for precision, model in fast.items():
        with computing(precision, torch.device("cpu")):
            differences[precision] = pair.differ(model, images)

    def ours(precision: Precision) -> Callable[[], Any]:
        def run() -> Any:
            with computing(precision, torch.device("cpu")):
                return fast[precision](images)

        return run

    runs: dict[str, Callable[[], Any]] = {"peer": lambda: pair.call(images), "ours as built": lambda: pair.ours(images)}
    seconds = in_turns({**runs, **{f"ours {precision}": ours(precision) for precision in PRECISIONS}}, repeats, warm=2)
    with FlopCounterMode(display=False) as counter:
        fast["fp32"](images)
    return {
        "work": name,
        "size": list(size),
        "batch": batch,
        "milliseconds": {key: 1000 * value for key, value in seconds.items()},
        "times faster": {key: seconds["peer"] / value for key, value in seconds.items() if key != "peer"},
        "difference": differences,
        "billion multiply-adds": counter.get_total_flops() / 2e9,
    }


def report(rows: list[dict[str, Any]], peaks: dict[str, float]) -> None:
    print("| work | peer | ours fp32 | times | share of peak | ours bf16 | times | largest difference fp32 / bf16 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        spent, faster, apart = row["milliseconds"], row["times faster"], row["difference"]
        share = row["billion multiply-adds"] / spent["ours fp32"] * 1000 / peaks["fp32"]
        print(
            f"| {row['work']} | {spent['peer']:.1f} ms | {spent['ours fp32']:.1f} ms | {faster['ours fp32']:.2f} | {share:.0%} | "
            f"{spent['ours bf16']:.1f} ms | {faster['ours bf16']:.2f} | {apart['fp32']:.0e} / {apart['bf16']:.0e} |"
        )


def machine() -> dict[str, Any]:
    """What was measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit,
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "bf16 instructions": torch.cpu._is_avx512_bf16_supported(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    print(f"peak of a 3x3 convolution: {peaks['fp32']:.0f} billion multiply-adds a second, {peaks['bf16']:.0f} in bf16")
    rows = []
    for name in given.only:
        rows.append(compare(name, given.repeats))
        print(json.dumps(rows[-1]), flush=True)
    report(rows, peaks)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({**machine(), "peak": peaks, "rows": rows}, indent=1), encoding="utf-8")
