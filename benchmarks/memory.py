"""Peak memory of prediction and of training, ours and the peers', each in a process of its own.

python -m benchmarks.memory [--only NAME ...] [--threads N] [--repeats N] [--out FILE]

Same architecture and weights, float32, PyTorch. What is told is the process' largest resident memory, libraries included.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.inference.stopwatch import _peak_memory as peak_memory

STEPS = 3  # predictions, or training steps, of a process
SIDES = ("peer", "ours")


class Case(NamedTuple):
    """A model.

    Attributes:
        task: "classify", "detect" or "segment".
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
    "torchvision resnet50": Case("classify", "torchvision", "resnet50", (224, 224), 8, 1000),
    "torchvision retinanet_resnet50_fpn": Case("detect", "torchvision", "retinanet_resnet50_fpn", (480, 640), 2, 90),
    "smp Unet": Case("segment", "smp", "Unet", (384, 512), 2, 21),
}


def peer_of(case: Case) -> Any:
    """The peer's module, without anything of ours."""
    from benchmarks import peers

    if case.task == "detect":
        return peers.frozen_retinanet(case.size)
    build = peers.classifier if case.task == "classify" else peers.segmenter
    return build(case.library, case.name)


def save_ours(case: Case, file: Path) -> None:
    """Writes the same model as a model file."""
    import vertebra
    from benchmarks.pairs import in_our_terms
    from vertebra.weights.importing import assemble

    terms = in_our_terms(case.task, case.library, case.name, peer_of(case), case.size)
    vertebra.save(assemble(terms)[0], file)


def predicting(side: str, case: Case, file: Path, threads: int | None) -> int:
    """Peak bytes of a process that predicts on one image a few times."""
    set_threads(threads)
    import torch

    from benchmarks.made_up import canvases

    images = canvases(1, case.size)
    if side == "peer":
        from benchmarks.peers import call_of

        call = call_of(case.task, peer_of(case))
        with torch.inference_mode():
            for _ in range(STEPS):
                call(images)
    else:
        import numpy as np

        import vertebra
        from vertebra.inference.predictor import Predictor

        predictor = Predictor(vertebra.load(file))
        for _ in range(STEPS):
            predictor.run(images.permute(0, 2, 3, 1).contiguous().numpy(), np.array([case.size]))
    return peak_memory()


def training(side: str, case: Case, file: Path, threads: int | None) -> int:
    """Peak bytes of a process that trains for a few steps, ours without a moving average, which a plain loop has not."""
    set_threads(threads)
    from benchmarks.made_up import canvases, truth

    images, true = canvases(case.batch, case.size), truth(case.task, case.batch, case.size, case.classes)
    if side == "peer":
        from benchmarks.peers import plain_step

        step = plain_step(case.task, peer_of(case), images, true)
        for _ in range(STEPS):
            step()
    else:
        import vertebra
        from benchmarks.ours import batch_of, recipe, train

        train(vertebra.load(file), batch_of(case.task, images, true), recipe(), STEPS)
    return peak_memory()


def importing(side: str, case: Case, file: Path, threads: int | None) -> int:
    """Peak bytes of a process that imports what prediction needs, and does nothing."""
    if side == "peer":
        import_module("benchmarks.peers")
    else:
        for name in ("vertebra.weights.model_file", "vertebra.inference.predictor"):
            import_module(name)
    return peak_memory()


KINDS: dict[str, Callable[[str, Case, Path, int | None], int]] = {
    "predicting": predicting,
    "training": training,
    "importing": importing,
}


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """What a function gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def compare(
    name: str, case: Case, repeats: int, threads: int | None = None, kinds: Sequence[str] = tuple(KINDS)
) -> Row:
    """Megabytes of both sides for each kind of work, and their ratios; medians.

    Args:
        name: of the case.
        case: the model.
        repeats: processes of each kind and side, in turns.
        threads: of the CPU.
        kinds: some of `KINDS`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_ours(case, file)
        found: dict[str, dict[str, list[int]]] = {kind: {side: [] for side in SIDES} for kind in kinds}
        for _ in range(repeats):
            for kind in kinds:
                for side in SIDES:
                    found[kind][side].append(apart(KINDS[kind], side, case, file, threads))
    row: Row = {"work": name, "size": list(case.size), "batch": case.batch, "megabytes": {}, "ours_of_peer": {}}
    for kind, sides in found.items():
        medians = {side: statistics.median(values) / 1e6 for side, values in sides.items()}
        row["megabytes"][kind] = medians
        row["ours_of_peer"][kind] = medians["ours"] / medians["peer"]
    return row


def _column(kind: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        own = row["megabytes"][kind]
        return f"{own['peer']:.0f} / {own['ours']:.0f} MB ({row['ours_of_peer'][kind]:.2f})"

    return text


COLUMNS: Columns = {
    "work": lambda row: row["work"],
    "canvas, batch of training": lambda row: "{}x{}, {}".format(*row["size"], row["batch"]),
    **{f"{kind}: peer / ours (ratio)": _column(kind) for kind in KINDS},
}
NOTES = (
    "Ratio: ours as a part of the peer's. Importing: a process that has loaded the libraries for prediction and done nothing. Ours "
    "reads a model file in prediction and in training; the peer builds its module with random weights.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=1)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    given = parser.parse_args(arguments)
    rows = []
    for name in given.only:
        rows.append(compare(name, CASES[name], given.repeats, given.threads))
        print(name, {kind: round(value, 2) for kind, value in rows[-1]["ours_of_peer"].items()}, flush=True)
    finish("memory", rows, COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
