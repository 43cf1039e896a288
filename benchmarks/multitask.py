"""Three tasks on one backbone in one pass, beside three models of the peers, one after the other.

python -m benchmarks.multitask [--canvas HEIGHT WIDTH] [--device cuda] [--threads N] [--repeats N] [--out FILE]

torchvision's ResNet-50, its RetinaNet on ResNet-50, and segmentation-models-pytorch's Unet on ResNet-50 are given one backbone's
weights. Ours has that backbone once, (a) with the same three heads, so that all answers must be equal, and (b) with light
decoders of ours, with other outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import vertebra
from benchmarks import peers
from benchmarks.inference import full_fp32, on_cpu
from benchmarks.measure import in_turns, milliseconds, waiting
from benchmarks.pairs import by_boxes, by_probabilities, in_our_terms, require_equal
from benchmarks.report import Columns, Row, beside, finish, has_bf16, ms, options, set_threads, times
from benchmarks.runtimes import Run, in_torch
from benchmarks.synthetic import canvases
from vertebra.model import VisionModel
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.importing import assemble
from vertebra.weights.peers.base import PeerModel

LIBRARIES = {
    "classify": ("torchvision", "resnet50"),
    "detect": ("torchvision", "retinanet_resnet50_fpn"),
    "segment": ("smp", "Unet"),
}
LIGHT: dict[str, dict[str, Any]] = {
    "classify": {"decoder": "linear"},
    "detect": {"neck": {"name": "fpn", "channels": 96}, "decoder": "fcos"},
    "segment": {"neck": {"name": "fpn", "channels": 96}, "decoder": "fpn"},
}
DIFFER = {
    "classify": by_probabilities("classify"),
    "detect": by_boxes("detect"),
    "segment": by_probabilities("segment"),
}
THREE, SAME, APART, LIGHTER = (
    "three peers",
    "one model, same heads",
    "three models, same heads",
    "one model, light decoders",
)
NOTES = (
    f"'{THREE}' is the peers' eager use, in float32. Ours run as a predictor has them (folded, channels last), in float32 "
    "where nothing else is given. "
    f"'{APART}' are ours too, which shows what the shared backbone gives beside the faster copies. Files: safetensors of ours, "
    "state dicts of the peers. Answers of the same heads equal the peers'; light decoders are other models, smaller on purpose.",
)


class Peers(NamedTuple):
    """The peers' models by task, and the same in our terms."""

    modules: dict[str, nn.Module]
    terms: dict[str, PeerModel]


def three_peers(size: tuple[int, int]) -> Peers:
    """The three models, with the classifier's backbone in all of them."""
    modules = {
        "classify": peers.classifier("torchvision", "resnet50"),
        "detect": peers.detector("retinanet_resnet50_fpn", size),
        "segment": peers.segmenter("smp", "Unet", "resnet50"),
    }
    body = {name: value for name, value in modules["classify"].state_dict().items() if not name.startswith("fc.")}
    modules["detect"].backbone.body.load_state_dict(body)  # type: ignore[union-attr]
    modules["segment"].encoder.load_state_dict(body)  # type: ignore[operator, union-attr]
    terms = {task: in_our_terms(task, *LIBRARIES[task], module, size) for task, module in modules.items()}
    return Peers(modules, terms)


def together(terms: dict[str, PeerModel], size: tuple[int, int], parts: dict[str, dict[str, Any]]) -> VisionModel:
    """One model with the segmenter's backbone, which gives a map at each stride, and three branches.

    Args:
        terms: the peers' models.
        size: (height, width) of the canvas.
        parts: by task, neck, encoder and decoder; what of the peers' tensors has no place in them is left out.
    """
    backbone = {**terms["segment"].model["backbone"], "norm_eps": 1e-5}
    branches = {
        task: {**parts[task], "classes": own.model["branches"][task]["classes"], "task": task}
        for task, own in terms.items()
    }
    tensors = {name: value for own in terms.values() for name, value in own.tensors.items()}
    if parts is not LIGHT:
        whole = PeerModel({"backbone": backbone, "branches": branches}, ResizeSpec(size, "resize"), tensors)
        return assemble(whole)[0]
    torch.manual_seed(0)
    model = vertebra.create_model(backbone=backbone, branches=branches, image_size=size)
    known = model.state_dict()
    fitting = {name: value for name, value in tensors.items() if name.startswith("backbone.") and name in known}
    model.load_state_dict({**known, **fitting})
    return model.eval()


def heads_of(terms: dict[str, PeerModel]) -> dict[str, dict[str, Any]]:
    """By task, the peers' parts."""
    return {
        task: {key: value for key, value in own.model["branches"][task].items() if key != "classes"}
        for task, own in terms.items()
    }


@torch.inference_mode()
def check(run: Run, calls: dict[str, peers.Call], images: Tensor, device: str) -> dict[str, float]:
    """By task, the largest difference of one model's answers from the peers'.

    Raises:
        AssertionError: one is more than rounding.
    """
    with full_fp32():
        found, theirs = run(images), {task: call(images.to(device)) for task, call in calls.items()}
    return {task: require_equal(task, DIFFER[task](found, own)) for task, own in theirs.items()}


def compare(size: tuple[int, int], repeats: int, device: str = "cpu") -> list[Row]:
    """A row for each way to get three answers."""
    modules, terms = three_peers(size)
    calls = {task: peers.call_of(task, module) for task, module in modules.items()}
    heads = heads_of(terms)
    same, light = together(terms, size, heads), together(terms, size, LIGHT)
    singles = {task: assemble(own)[0] for task, own in terms.items()}
    for module in modules.values():
        module.to(device)
    fast = {name: in_torch(model, "fp32", device) for name, model in {SAME: same, LIGHTER: light, **singles}.items()}
    images = canvases(1, size)
    apart = check(fast[SAME], calls, images, device)
    runs: dict[str, Callable[[], Any]] = {
        THREE: lambda: [on_cpu(call(images.to(device))) for call in calls.values()],
        APART: lambda: [fast[task](images) for task in singles],
        SAME: lambda: fast[SAME](images),
        LIGHTER: lambda: fast[LIGHTER](images),
    }
    if has_bf16(device):
        half = {name: in_torch(model, "bf16", device) for name, model in {SAME: same, LIGHTER: light}.items()}
        runs |= {f"{name}, bf16": lambda run=run: run(images) for name, run in half.items()}  # type: ignore[misc]
    with torch.inference_mode():
        seconds = in_turns(runs, repeats, warm=2, turn=0.1, finish=waiting(device))
    sizes = file_sizes({THREE: list(modules.values()), APART: list(singles.values()), SAME: [same], LIGHTER: [light]})
    spans = milliseconds(seconds)
    return [
        {
            "name": name,
            "size": list(size),
            "milliseconds": spans[name],
            "times": seconds[THREE].median / seconds[name].median,
            "megabytes": sizes[name.removesuffix(", bf16")],
            "size_of_peers": sizes[name.removesuffix(", bf16")] / sizes[THREE],
            **({"difference": apart} if name == SAME else {}),
        }
        for name in runs
    ]


def file_sizes(models: dict[str, list[Any]]) -> dict[str, float]:
    """Megabytes of the files of some models, together."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for way, own in models.items():
            files = [Path(name) / f"{len(found)}_{number}.safetensors" for number in range(len(own))]
            for model, file in zip(own, files, strict=True):
                if isinstance(model, VisionModel):
                    vertebra.save(model, file)
                else:
                    torch.save(model.state_dict(), file)
            found[way] = sum(file.stat().st_size for file in files) / 1e6
    return found


COLUMNS: Columns = {
    "three answers for an image": lambda row: row["name"],
    "time (times the three peers)": beside(ms("milliseconds"), times("times")),
    "files (part of the three peers')": lambda row: f"{row['megabytes']:.1f} MB ({row['size_of_peers']:.2f})",
    "largest difference": lambda row: f"{max(row['difference'].values()):.0e}",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=7, gpu=True)
    parser.add_argument("--canvas", nargs=2, type=int, default=[480, 640], metavar=("HEIGHT", "WIDTH"))
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    height, width = given.canvas
    finish("multitask", compare((height, width), given.repeats, given.device), COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
