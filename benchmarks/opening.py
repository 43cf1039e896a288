"""How long a large COCO file takes to open, the first time and from the cache, and its memory, also with loader processes.

python -m benchmarks.opening [--images N] [--objects N] [--repeats N] [--out FILE]

The file is drawn: as many images and annotations as COCO train2017 has by default, each with a box and an outline; image files are
empty. Each opening is a process of its own; seconds are without imports. The first opening starts with an empty cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import apart
from benchmarks.report import Columns, Row, finish, options

IMAGES, OBJECTS = 118_000, 860_000
SHAPES = 20_000  # different outlines
WORKERS = 4
SIZE = (480, 640)
NAME = "annotations/instances_train2017.json"


def write_coco(folder: Path, images: int, objects: int, seed: int = 0) -> Path:
    """Writes a COCO file like train2017's, with empty image files; the data set's folder."""
    draw = np.random.default_rng(seed)
    shapes = [_shape(draw) for _ in range(min(SHAPES, objects))]
    rows = np.sort(draw.integers(0, images, objects)).tolist()
    (folder / "train2017").mkdir(parents=True)
    (folder / NAME).parent.mkdir()
    entry = '{"license":3,"file_name":"%012d.jpg","coco_url":"http://images.cocodataset.org/train2017/%012d.jpg","height":480,"width":640,"id":%d}'
    with (folder / NAME).open("w", encoding="utf-8") as opened:
        opened.write('{"info":{},"licenses":[],"images":[')
        opened.write(",".join(entry % (number, number, number) for number in range(images)))
        opened.write('],"annotations":[')
        for number, row in enumerate(rows):
            separator = "," if number else ""
            opened.write(f'{separator}{{{shapes[number % len(shapes)]},"image_id":{row},"id":{number}}}')
        categories = [{"supercategory": "drawn", "id": number + 1, "name": f"class {number}"} for number in range(80)]
        opened.write(f'],"categories":{json.dumps(categories)}}}')
    for number in range(images):
        (folder / "train2017" / f"{number:012d}.jpg").touch()
    return folder


def _shape(draw: np.random.Generator) -> str:
    """An outline with its box, area and category, as JSON."""
    count = int(np.clip(draw.lognormal(2.9, 0.6), 4, 200))
    angles, radii = np.sort(draw.uniform(0, 2 * np.pi, count)), draw.uniform(5, 60, count)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + draw.uniform(70, 400, 2)
    points = points.round(2)
    low, sides = points.min(axis=0), np.ptp(points, axis=0).round(2)
    outline, box = points.reshape(-1).tolist(), [*low.tolist(), *sides.tolist()]
    area, category = round(float(sides.prod()) * 0.6, 4), int(draw.integers(1, 81))
    return f'"segmentation":[{outline}],"area":{area},"iscrowd":0,"bbox":{box},"category_id":{category}'


def opened(folder: Path, cache: Path, task: str) -> dict[str, Any]:
    """One opening in this process: seconds, processor seconds, peak megabytes, megabytes of the index, and its hash."""
    os.environ["VERTEBRA_CACHE"] = str(cache)
    from vertebra.data.open import open_data
    from vertebra.data.readers import all_readers
    from vertebra.tasks import get_task

    all_readers(), get_task(task).data
    before = resource.getrusage(resource.RUSAGE_SELF)
    start, used = time.perf_counter(), time.process_time()
    index = open_data(folder, task, "train")
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    arrays = list(_arrays(index))
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "before_mb": before.ru_maxrss / 1e3,
        "index_mb": sum(array.nbytes for array in arrays) / 1e6,
        "images": len(index),
        "hash": hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest(),
    }


def _arrays(value: Any, seen: set[int] | None = None) -> Any:
    """All arrays that an object holds, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _arrays(getattr(value, field.name), seen)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _arrays(inner, seen)


def with_workers(folder: Path, cache: Path, task: str, workers: int) -> dict[str, float]:
    """Megabytes of this process and of forked processes that read the annotations of all images, pages they share counted once.

    Linux only: proportional set sizes of ``/proc``.
    """
    os.environ["VERTEBRA_CACHE"] = str(cache)
    from vertebra.data.open import open_data

    index = open_data(folder, task, "train")
    alone = _proportional_mb("self")
    context = get_context("fork")
    ready, leave = context.Barrier(workers + 1), context.Event()
    children = [context.Process(target=_read_all, args=(index, task, ready, leave)) for _ in range(workers)]
    for child in children:
        child.start()
    ready.wait()
    together = _proportional_mb("self") + sum(_proportional_mb(str(child.pid)) for child in children)
    leave.set()
    for child in children:
        child.join()
    return {"alone_mb": alone, "together_mb": together}


def _read_all(index: Any, task: str, ready: Any, leave: Any) -> None:
    column = index.columns[task]
    for row in range(0, len(index), 1 if task == "detect" else 50):
        column.get(row, SIZE)
        index.path(row)
    ready.wait()
    leave.wait()


def _proportional_mb(process: str) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def measure(folder: Path, task: str, repeats: int) -> Row:
    """A row of results for a task."""
    runs: dict[str, list[dict[str, Any]]] = {"first": [], "again": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for kind in runs:
                runs[kind].append(apart(opened, folder, Path(cache), task))
            workers = apart(with_workers, folder, Path(cache), task, WORKERS) if sys.platform == "linux" else {}
    hashes = {run["hash"] for kind in runs.values() for run in kind}
    assert len(hashes) == 1, "an index from the cache differs from the file's"
    row: Row = {"task": task, "images": runs["first"][0]["images"], "index_mb": runs["first"][0]["index_mb"], **workers}
    for kind, measured in runs.items():
        row[kind] = {
            key: statistics.median(run[key] for run in measured) for key in ("seconds", "cpu_seconds", "peak_mb")
        }
    return row


COLUMNS: Columns = {
    "task": lambda row: row["task"],
    "first": lambda row: f"{row['first']['seconds']:.1f} s ({row['first']['cpu_seconds']:.1f} s of processor time)",
    "again": lambda row: f"{row['again']['seconds']:.2f} s ({row['again']['cpu_seconds']:.2f} s)",
    "peak first": lambda row: f"{row['first']['peak_mb']:.0f} MB",
    "peak again": lambda row: f"{row['again']['peak_mb']:.0f} MB",
    "index": lambda row: f"{row['index_mb']:.0f} MB",
    f"process, with {WORKERS} loader processes": lambda row: f"{row['alone_mb']:.0f}, {row['together_mb']:.0f} MB",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a table, and writes the results."""
    parser = options(__doc__, 3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--objects", type=int, default=OBJECTS)
    parser.add_argument("--tasks", nargs="+", default=["detect", "segment"])
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = write_coco(Path(folder) / "data", given.images, given.objects)
        size = (data / NAME).stat().st_size / 1e6
        rows = [measure(data, task, given.repeats) for task in given.tasks]
    finish(
        "opening",
        rows,
        COLUMNS,
        given,
        [f"{given.images} images, {given.objects} annotations, a file of {size:.0f} MB."],
    )


if __name__ == "__main__":
    main()
