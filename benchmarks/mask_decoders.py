"""The decoders of masks beside each other: milliseconds of the branch and of the whole model, for few and many objects.

python -m benchmarks.mask_decoders [--backbone NAME] [--canvas HEIGHT WIDTH] [--threads N] [--repeats N] [--out FILE]

Models as a user builds them, with FCOS and random weights, in eager float32; they take turns. Times are those of the processor, so
that other processes do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

import vertebra
from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, ms, options, set_threads
from benchmarks.synthetic import canvases
from vertebra.features import Features, Proposals
from vertebra.model import VisionModel

DECODERS = ("mask_rcnn", "condinst")
OBJECTS = (10, 100)
CLASSES = ["a", "b", "c", "d"]


def build(backbone: str, decoder: str, size: tuple[int, int]) -> VisionModel:
    """A detector that keeps 100 boxes, whatever their scores, and the masks of these."""
    torch.manual_seed(0)
    detector = {"name": "fcos", "postprocess": {"score_threshold": 0.0, "max_detections": max(OBJECTS)}}
    model = vertebra.create_model(
        backbone, neck="fpn", decoder=decoder, boxes_from=detector, classes=CLASSES, image_size=list(size)
    )
    return model.eval()


def branch_run(model: VisionModel, features: Features, found: Proposals, count: int) -> Callable[[], object]:
    """Masks of the first boxes."""
    decoder = model.branch("instances").decoder
    few = Proposals(
        found.boxes[:, :count], found.scores[:, :count], found.labels[:, :count], found.count.clamp(max=count)
    )
    return lambda: decoder.decode(decoder(features, few), features.frame)


@torch.inference_mode()
def compare(backbone: str, size: tuple[int, int], repeats: int) -> list[Row]:
    """A row for each decoder."""
    models = {name: build(backbone, name, size) for name in DECODERS}
    images = canvases(1, size)
    runs: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        detected = model(images)["detect"]
        features = model.branch("instances").prepare(model.features(images))
        proposals = Proposals(*(getattr(detected, field) for field in Proposals._fields))
        runs |= {f"{name} {count}": branch_run(model, features, proposals, count) for count in OBJECTS}
        runs[name] = lambda model=model: model(images)  # type: ignore[misc]
    spans = milliseconds(in_turns(runs, repeats, warm=1, clock=time.process_time))
    return [
        {
            "name": name,
            "parameters": sum(value.numel() for value in model.branch("instances").parameters()),
            "branch": {str(count): spans[f"{name} {count}"] for count in OBJECTS},
            "model": spans[name],
        }
        for name, model in models.items()
    ]


COLUMNS: Columns = {
    "decoder": lambda row: f"`{row['name']}`",
    "parameters": lambda row: f"{row['parameters'] / 1e6:.2f} M",
    **{f"masks of {count} objects": ms("branch", str(count)) for count in OBJECTS},
    f"whole model, {max(OBJECTS)} objects": ms("model"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=7)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--canvas", nargs=2, type=int, default=[256, 320], metavar=("HEIGHT", "WIDTH"))
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    height, width = given.canvas
    finish("mask_decoders", compare(given.backbone, (height, width), given.repeats), COLUMNS, given)


if __name__ == "__main__":
    main()
