"""Whole processes: how long until the command line answers and until the first prediction, ours and the peers'.

python -m benchmarks.startup [--repeats N] [--threads N] [--out FILE]

The prediction is torchvision's ResNet-50 on one photograph-sized image, from a file of weights: the peer's is a script of a few
lines, ours ``vertebra predict MODEL IMAGE --json``, on the model file and, without torch, on an exported one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turns, milliseconds
from benchmarks.memory import apart
from benchmarks.report import Columns, Row, finish, ms, options

SIZE = (480, 640)  # of the image
CLOSE = 1e-3  # of a probability: images are resized before the network, by two libraries
VERTEBRA = "import sys; sys.argv[0] = 'vertebra'; from vertebra.cli.main import main; main()"
TORCHVISION = """
import json, sys
import torch, torchvision
from PIL import Image
name, weights, image = sys.argv[1:]
model = torchvision.models.get_model(name, weights=None)
model.load_state_dict(torch.load(weights, weights_only=True))
prepare = torchvision.models.get_model_weights(name).DEFAULT.transforms()
with torch.inference_mode():
    found = model.eval()(prepare(Image.open(image).convert("RGB"))[None]).softmax(dim=1)[0]
print(json.dumps(found.tolist()))
"""
TELL = """
import atexit, sys
from vertebra.evaluation.benchmark import _peak_memory
atexit.register(lambda: print("PEAK", _peak_memory(), int("torch" in sys.modules), file=sys.stderr))
"""
Command = list[str]


def python(code: str, *words: str | Path) -> Command:
    """A command that runs code with arguments."""
    return [sys.executable, "-c", code, *map(str, words)]


def prepare(folder: Path, name: str) -> None:
    """Writes an image, the peer's weights, and the same model as ours and exported."""
    import torch
    import torchvision
    from PIL import Image

    import vertebra
    from benchmarks.peers import classifier
    from benchmarks.synthetic import canvases
    from vertebra.weights.importing import import_model

    torch.manual_seed(0)
    Image.fromarray(canvases(1, SIZE)[0].permute(1, 2, 0).numpy()).save(folder / "image.png")
    peer = classifier("torchvision", name)
    assert isinstance(peer, torchvision.models.ResNet)
    with torch.no_grad():
        peer.fc.weight.mul_(10)  # else all classes would be as likely
    torch.save(peer.state_dict(), folder / "weights.pth")
    ours = import_model(f"torchvision:{name}", weights=folder / "weights.pth")
    vertebra.save(ours, folder / "model.safetensors")
    vertebra.export_model(ours, folder / "model.onnx")


def commands(folder: Path, name: str) -> dict[str, Command]:
    """Every command that is timed, by what it is."""
    image = folder / "image.png"
    found = {
        "import torch": python("import torch"),
        "vertebra --help": python(VERTEBRA, "--help"),
        "torchvision script, first prediction": python(TORCHVISION, name, folder / "weights.pth", image),
        "vertebra predict model.safetensors": python(
            VERTEBRA, "predict", folder / "model.safetensors", image, "--json"
        ),
        "vertebra predict model.onnx": python(VERTEBRA, "predict", folder / "model.onnx", image, "--json"),
    }
    yolo = shutil.which("yolo")
    return {**found, **({"yolo help": [yolo, "help"]} if yolo else {})}


BESIDE = {
    "vertebra --help": "import torch",
    "yolo help": "import torch",
    "vertebra predict model.safetensors": "torchvision script, first prediction",
    "vertebra predict model.onnx": "torchvision script, first prediction",
}
"""What each is compared with."""


def environment(threads: int | None) -> dict[str, str]:
    """This process', with the threads of those that it starts."""
    return {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}


def run(command: Command, around: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=dict(around), check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr}")
    return done


def probabilities(said: str) -> list[float]:
    """Of the classes, from what a script or ``vertebra predict --json`` prints."""
    values: Any = json.loads(said)
    return values if isinstance(values[0], float) else list(values[0]["classify"]["probabilities"].values())


def check(found: Mapping[str, Command], around: Mapping[str, str]) -> float:
    """The largest difference of a probability between ours and the peer's.

    Raises:
        AssertionError: it is more than two ways to resize an image explain.
    """
    said = {name: probabilities(run(own, around).stdout) for name, own in found.items() if "predict" in name}
    theirs = said.pop("torchvision script, first prediction")
    worst = max(abs(left - right) for own in said.values() for left, right in zip(own, theirs, strict=True))
    assert worst <= CLOSE, f"probabilities differ by {worst:.1e}"
    return worst


def peak(command: Command, around: Mapping[str, str]) -> tuple[float, bool]:
    """Megabytes of a Python command at its peak, and whether it loaded torch; in a run of its own."""
    said = run([*command[:2], TELL + command[2], *command[3:]], around).stderr
    size, torch = next(line.split()[1:] for line in said.splitlines() if line.startswith("PEAK"))
    return int(size) / 1e6, torch == "1"


def compare(name: str, repeats: int, threads: int | None = None) -> list[Row]:
    """A row for each command.

    Args:
        name: of the ResNet of torchvision.
        repeats: turns that count.
        threads: of the CPU.

    Raises:
        AssertionError: predictions differ, or the exported model's loads torch.
    """
    around = environment(threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        apart(prepare, folder, name)
        found = commands(folder, name)
        apart_by = check(found, around)
        peaks = {own: peak(command, around) for own, command in found.items() if command[0] == sys.executable}
        assert not peaks["vertebra predict model.onnx"][1], "torch was loaded for an exported model"
        seconds = in_turns(
            {own: lambda command=command: run(command, around) for own, command in found.items()}, repeats
        )  # type: ignore[misc]
    spans = milliseconds(seconds)
    rows: list[Row] = []
    for own in found:
        row: Row = {"name": own, "milliseconds": spans[own]}
        if own in peaks:
            row |= {"megabytes": peaks[own][0], "torch": peaks[own][1]}
        if own in BESIDE:
            row |= {"beside": BESIDE[own], "times": seconds[BESIDE[own]].median / seconds[own].median}
        if "vertebra predict" in own:
            row["difference"] = apart_by
        rows.append(row)
    return rows


COLUMNS: Columns = {
    "process": lambda row: row["name"],
    "time": ms("milliseconds"),
    "times as fast as": lambda row: f"{row['times']:.2f} ({row['beside']})",
    "peak memory": lambda row: f"{row['megabytes']:.0f} MB",
    "loads torch": lambda row: "yes" if row["torch"] else "no",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = options(__doc__, repeats=5).parse_args(arguments)
    rows = compare("resnet50", given.repeats, given.threads)
    worst = max(row.get("difference", 0.0) for row in rows)
    notes = [
        f"Probabilities of the {len([row for row in rows if 'difference' in row])} predictions of ours differ from the script's by "
        f"{worst:.0e} at most. Peak memory is of a run that is not timed.",
    ]
    if shutil.which("yolo") is None:
        notes.append("There is no command 'yolo' here: its help is left out.")
    finish("startup", rows, COLUMNS, given, notes)


if __name__ == "__main__":
    main()
