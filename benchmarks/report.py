"""What all benchmarks share: their options, the machine and the versions, a Markdown table, and the file of results.

Nothing heavy is imported here: some benchmarks measure processes that this one starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "transformers",
    "lightning",
    "torchmetrics",
    "pycocotools",
    "faster-coco-eval",
    "onnxruntime",
    "openvino",
    "ultralytics",
)
INSTRUCTIONS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "sve",
    "bf16",
    "i8mm",
)
"""The instruction sets that decide how fast a model can run, as Linux names them."""

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Row], str]]


def options(doc: str | None, repeats: int, *, gpu: bool = False) -> argparse.ArgumentParser:
    """The options that every benchmark has.

    Args:
        doc: the benchmark's docstring.
        repeats: how often each thing is measured by default.
        gpu: whether it can measure a GPU too.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"turns that count, {repeats} by default")
    parser.add_argument("--threads", type=int, help="CPU threads; by default as the libraries choose")
    parser.set_defaults(device="cpu")
    if gpu:
        parser.add_argument("--device", choices=["cpu", "cuda"], help="cpu by default")
    parser.add_argument("--out", type=Path, help="JSON file; by default benchmarks/results/DATE_NAME.json")
    return parser


def today() -> str:
    """The date in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


def result_path(name: str) -> Path:
    """Where a benchmark's results go by default."""
    return RESULTS / f"{today()}_{name}.json"


def finish(
    name: str, rows: Sequence[Row], columns: Columns, given: argparse.Namespace, notes: Sequence[str] = ()
) -> Path:
    """Prints the table and the notes, and writes the file of results.

    Args:
        name: of the benchmark.
        rows: what was measured, plain values only.
        columns: of the table; see `table`.
        given: the command's options.
        notes: what a reader must know beside the numbers.

    Returns:
        The file.
    """
    print(f"\n{table(rows, columns)}")
    for note in notes:
        print(f"\n{note}")
    path: Path = given.out or result_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "benchmark": name,
        "options": {key: value.name if isinstance(value, Path) else value for key, value in vars(given).items()},
        **circumstances(given.device),
        "notes": list(notes),
        "rows": list(rows),
    }
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}", file=sys.stderr)
    return path


def table(rows: Sequence[Row], columns: Columns) -> str:
    """A Markdown table.

    Args:
        rows: what was measured.
        columns: by heading, from a row to the cell's text; the cell is "-" where the row lacks what it names.
    """
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row, text) for text in columns.values())} |" for row in rows]
    return "\n".join(lines)


def _cell(row: Row, text: Callable[[Row], str]) -> str:
    try:
        return text(row)
    except KeyError:
        return "-"


def ms(*path: str) -> Callable[[Row], str]:
    """A column: the median milliseconds found under these keys."""
    return lambda row: f"{_at(row, path)['median']:.1f} ms"


def times(*path: str) -> Callable[[Row], str]:
    """A column: the ratio found under these keys."""
    return lambda row: f"{_at(row, path):.2f}"


def beside(first: Callable[[Row], str], second: Callable[[Row], str]) -> Callable[[Row], str]:
    """A column: one text, and another in brackets."""
    return lambda row: f"{first(row)} ({second(row)})"


def _at(row: Row, path: Sequence[str]) -> Any:
    value: Any = row
    for key in path:
        value = value[key]
    return value


def circumstances(device: str = "cpu") -> dict[str, Any]:
    """When, on what, and with what was measured."""
    return {"date": today(), "commit": commit(), "machine": machine(device), "versions": versions()}


def commit() -> str:
    """The commit that was measured, with ``+`` where files were changed after it; empty outside of a repository."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=Path(__file__).parent)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "..")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def machine(device: str = "cpu") -> dict[str, Any]:
    """The processor with its instruction sets, the threads that torch uses, the memory in GB, and the GPU that was measured."""
    import torch

    model, flags = processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": model,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 2**30, 1),
        "system": platform.platform(),
        **({"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if device == "cuda" else {}),
    }


def processor(info: Path = Path("/proc/cpuinfo")) -> tuple[str, set[str]]:
    """The processor's name and its flags, from Linux; elsewhere what Python knows, without flags."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    for key, _, value in (line.partition(":") for line in lines):
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags |= set(value.split())
    return name, flags


def versions() -> dict[str, str]:
    """Of Python and of each package that takes part, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def has_bf16(device: str = "cpu") -> bool:
    """Whether this processor, or GPU, computes in bfloat16; elsewhere it is emulated, and a time in it is no measure."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


NO_BF16 = "This processor has no bfloat16 instructions: the columns in bf16 are left out."


def set_threads(count: int | None) -> None:
    """The CPU threads of torch in this process; None leaves them as they are."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
