"""Peak memory of prediction and of training, ours and the peers', each in a process of its own.

python -m benchmarks.memory [--only NAME ...] [--batch N] [--device cuda] [--threads N] [--repeats N] [--out FILE]

Same architecture and weights, PyTorch; float32, and bfloat16 where the processor has it. The figure is the process' largest
resident memory, libraries included; on a GPU, what PyTorch has allocated there at most.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.report import Columns, Row, finish, has_bf16, options, set_threads
from vertebra.evaluation.benchmark import _peak_memory as peak_memory

STEPS = 3  # predictions, or training steps, of a process
SIDES = ("peer", "ours")


class ParityCase(NamedTuple):
    """A model.

    Attributes:
        task: "classify", "detect", "segment", or "instances", which predicts only.
        library, name: of the peer's builder.
        size: (height, width) of the canvas.
        batch: images of a training step; prediction takes one.
        classes: how many there are.
    """

    task: str
    library: str
    name: str
    size: tuple[int, int]
    batch: int
    classes: int


CASES = {
    "torchvision resnet50": ParityCase("classify", "torchvision", "resnet50", (224, 224), 8, 1000),
    "torchvision retinanet_resnet50_fpn": ParityCase(
        "detect", "torchvision", "retinanet_resnet50_fpn", (480, 640), 2, 90
    ),
    "torchvision maskrcnn_resnet50_fpn": ParityCase(
        "instances", "torchvision", "maskrcnn_resnet50_fpn", (480, 640), 1, 90
    ),
    "smp Unet": ParityCase("segment", "smp", "Unet", (384, 512), 2, 21),
}


def peer_of(case: ParityCase) -> Any:
    """The peer's module, without anything of ours."""
    from benchmarks import peers

    if case.task == "detect":
        return peers.frozen_retinanet(case.size)
    if case.task == "instances":
        return peers.detector(case.name, case.size)
    build = peers.classifier if case.task == "classify" else peers.segmenter
    return build(case.library, case.name)


def save_ours(case: ParityCase, file: Path) -> None:
    """Writes the same model as a model file."""
    import vertebra
    from benchmarks.pairs import in_our_terms
    from vertebra.weights.importing import assemble

    terms = in_our_terms(case.task, case.library, case.name, peer_of(case), case.size)
    vertebra.save(assemble(terms)[0], file)


def predicting(side: str, case: ParityCase, file: Path, device: str, precision: Any = "fp32") -> None:
    """A process that predicts on one image a few times."""
    import torch

    from benchmarks.synthetic import canvases

    images = canvases(1, case.size)
    if side == "peer":
        from benchmarks.peers import call_of

        call = call_of(case.task, peer_of(case).to(device))
        with torch.inference_mode():
            for _ in range(STEPS):
                call(images.to(device))
    else:
        import numpy as np

        import vertebra
        from vertebra.inference.predictor import Predictor

        predictor = Predictor(vertebra.load(file), device=device, precision=precision, inplace=True)
        canvas = images.permute(0, 2, 3, 1).contiguous().numpy()
        for _ in range(STEPS):
            if case.task == "instances":  # with the masks drawn into the image, as the peer's
                predictor.predict([canvas[0]])
            else:
                predictor.run(canvas, np.array([case.size]))


def training(side: str, case: ParityCase, file: Path, device: str, precision: str = "32") -> None:
    """A process that trains for a few steps, ours without a moving average, which a plain loop has not."""
    from benchmarks.synthetic import canvases, ground_truth

    images, true = canvases(case.batch, case.size), ground_truth(case.task, case.batch, case.size, case.classes)
    if side == "peer":
        from benchmarks.peers import plain_step

        step = plain_step(case.task, peer_of(case).to(device), images, true, device)
        for _ in range(STEPS):
            step()
    else:
        import vertebra
        from benchmarks.ours import batch_of, recipe, train

        train(vertebra.load(file), batch_of(case.task, images, true), recipe(device, precision=precision), STEPS)


def importing(side: str, case: ParityCase, file: Path, device: str) -> None:
    """A process that imports what prediction needs, and does nothing."""
    if side == "peer":
        import_module("benchmarks.peers")
    else:
        for name in ("vertebra.weights.model_file", "vertebra.inference.predictor"):
            import_module(name)


Work = Callable[[str, ParityCase, Path, str], None]
KINDS: dict[str, Work] = {"predicting": predicting, "training": training, "importing": importing}
IN_BF16: dict[str, Work] = {
    "predicting, ours in bf16": partial(predicting, precision="bf16"),
    "training, ours in bf16": partial(training, precision="bf16-mixed"),
}
"""The peer's side is in float32 here too."""


def kinds_of(case: ParityCase, kinds: Mapping[str, Work]) -> dict[str, Work]:
    """What is measured of a model."""
    return {name: work for name, work in kinds.items() if case.task != "instances" or not name.startswith("training")}


def kinds_on(device: str) -> dict[str, Work]:
    """What can be measured on a device."""
    found = {**KINDS, **(IN_BF16 if has_bf16(device) else {})}
    return {name: work for name, work in found.items() if device == "cpu" or name != "importing"}


def measured(work: Work, side: str, case: ParityCase, file: Path, device: str, threads: int | None) -> int:
    """Peak bytes of this process, or on a GPU, after some work."""
    set_threads(threads)
    work(side, case, file, device)
    if device == "cpu":
        return peak_memory()
    import torch

    return torch.cuda.max_memory_allocated()


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """What a function gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def compare(
    name: str, case: ParityCase, repeats: int, kinds: Mapping[str, Work], *, device: str, threads: int | None
) -> Row:
    """Megabytes of both sides for each kind of work, and their ratios; medians.

    Args:
        name: of the case.
        case: the model.
        repeats: processes of each kind and side, in turns.
        kinds: see `kinds_on`.
        device: "cpu" or "cuda".
        threads: of the CPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_ours(case, file)
        found: dict[str, dict[str, list[int]]] = {kind: {side: [] for side in SIDES} for kind in kinds}
        for _ in range(repeats):
            for kind, work in kinds.items():
                for side in SIDES:
                    found[kind][side].append(apart(measured, work, side, case, file, device, threads))
    row: Row = {"work": name, "size": list(case.size), "batch": case.batch, "megabytes": {}, "ours_of_peer": {}}
    for kind, sides in found.items():
        medians = {side: statistics.median(values) / 1e6 for side, values in sides.items()}
        row["megabytes"][kind] = medians
        row["ours_of_peer"][kind] = medians["ours"] / medians["peer"]
    return row


def _column(kind: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        if kind not in row["megabytes"]:
            return "-"
        own = row["megabytes"][kind]
        return f"{own['peer']:.0f} / {own['ours']:.0f} MB ({row['ours_of_peer'][kind]:.2f})"

    return text


def columns(kinds: Iterable[str]) -> Columns:
    """Of the table."""
    return {
        "work": lambda row: row["work"],
        "canvas, batch of training": lambda row: "{}x{}, {}".format(*row["size"], row["batch"]),
        **{f"{kind}: peer / ours (ratio)": _column(kind) for kind in kinds},
    }


NOTES = (
    "Ratio: ours as a part of the peer's. Importing: a process that has loaded the libraries for prediction and done nothing. Ours "
    "reads a model file in prediction and in training; the peer builds its module with random weights.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=1, gpu=True)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--batch", type=int, help="images of a training step; by default as each model has it")
    given = parser.parse_args(arguments)
    rows, kinds = [], kinds_on(given.device)
    for name in given.only:
        case = CASES[name] if given.batch is None else CASES[name]._replace(batch=given.batch)
        measured_kinds = kinds_of(case, kinds)
        rows.append(compare(name, case, given.repeats, measured_kinds, device=given.device, threads=given.threads))
        print(name, {kind: round(value, 2) for kind, value in rows[-1]["ours_of_peer"].items()}, flush=True)
    finish("memory", rows, columns(kinds), given, NOTES)


if __name__ == "__main__":
    main()
