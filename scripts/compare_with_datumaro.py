"""Converts a data set with Vertebra and with Datumaro, and reports what each of them changes.

Datumaro pins other versions of many packages, so it needs an environment of its own, in which this script runs Datumaro's part::

    python -m venv /tmp/datumaro && /tmp/datumaro/bin/pip install datumaro
    python -m scripts.compare_with_datumaro data/cells --python /tmp/datumaro/bin/python --to coco voc yolo
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vertebra.annotations.table import Annotations
from vertebra.data.convert import convert_data, load_annotations

FORMATS = {"coco": "coco_instances", "voc": "voc_detection", "yolo": "yolo_ultralytics"}
PIXELS = 1e-6  # differences of coordinates that count
DATUMARO = """
import sys
from datumaro.components.dataset import Dataset
source, source_format, target, target_format = sys.argv[1:]
Dataset.import_from(source, source_format).export(target, target_format, save_media=True)
"""


def main() -> None:
    """Compares all formats, by way of COCO, which both read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set with boxes or outlines")
    parser.add_argument("--python", required=True, help="the interpreter of an environment with Datumaro")
    parser.add_argument("--to", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        convert_data(options.data, "coco", folder / "coco")
        before = load_annotations(folder / "coco")
        print(f"{len(before)} images, {len(before.objects)} objects, {len(before.categories)} classes")
        for to in options.to:
            start = time.perf_counter()
            convert_data(folder / "coco", to, folder / "vertebra" / to)
            seconds = time.perf_counter() - start
            report(f"vertebra, {to}", before, folder / "vertebra" / to, seconds)
            target = folder / "datumaro" / to
            command = [options.python, "-c", DATUMARO, str(folder / "coco"), "coco_instances", str(target), FORMATS[to]]
            start = time.perf_counter()
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                print(f"datumaro, {to}: failed: {ended.stderr.strip().splitlines()[-1][:200]}")
            else:
                report(f"datumaro, {to}", before, target, time.perf_counter() - start)


def report(title: str, before: Annotations, folder: Path, seconds: float) -> None:
    """Prints what of a data set is not as it was."""
    try:
        after = load_annotations(folder)
    except Exception as error:
        print(f"{title}: not read again: {str(error)[:200]}")
        return
    rows = {_key(after, row): row for row in range(len(after))}
    kept = [row for row in range(len(before)) if _key(before, row) in rows]
    pairs = [(_boxes(before, row), _boxes(after, rows[_key(before, row)])) for row in kept]
    same = [(old, new) for old, new in pairs if old.shape == new.shape]
    moved = sum(int((np.abs(old - new) > PIXELS).any(axis=1).sum()) for old, new in same)
    exact = sum(int((old == new).all(axis=1).sum()) for old, new in same)
    lines = [
        f"{len(before) - len(kept)} of {len(before)} images missing",
        f"{len(pairs) - len(same)} images with another number of objects",
        f"{moved} boxes moved, {exact} of {len(before.objects)} the same in all bits",
        f"classes {'same' if after.category_names == before.category_names else f'changed to {after.category_names[:5]}'}",
        f"image ids {_compared(_sorted(before.image_ids), _sorted(after.image_ids))}",
        f"object ids {_compared(_sorted(before.objects.ids), _sorted(after.objects.ids))}",
        f"areas {_compared(_areas(before), _areas(after))}",
        f"order of images {_compared(_in_order(after), _in_order(before))}",
        f"{seconds:.1f} s",
    ]
    print(f"{title}: " + "; ".join(lines))


def _key(annotations: Annotations, row: int) -> str:
    return os.fsdecode(annotations.images[row]).rpartition("/")[2].rpartition(".")[0]


def _in_order(annotations: Annotations) -> list[str]:
    """The images in their order, those of each split together."""
    splits = np.zeros(len(annotations)) if annotations.splits is None else annotations.splits
    return [_key(annotations, row) for row in np.argsort(splits, kind="stable").tolist()]


def _boxes(annotations: Annotations, row: int) -> np.ndarray:
    boxes: np.ndarray = annotations.objects.boxes[annotations.objects.rows == row]
    return boxes


def _areas(annotations: Annotations) -> list[float] | None:
    areas = annotations.objects.areas
    return None if np.isnan(areas).all() else sorted(areas.tolist())


def _sorted(ids: Sequence[object] | None) -> list[str] | None:
    return None if ids is None else sorted(map(str, ids))


def _compared(before: object, after: object) -> str:
    return "same" if before == after else "none" if after is None else "changed"


if __name__ == "__main__":
    main()
