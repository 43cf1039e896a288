"""Images inside of other files: tar shards, with and without their index files, and Hugging Face's Arrow files, damaged."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from fuzz_damage import spoil_bytes, spoil_json
from fuzz_formats_annotations import IMAGES, SIZE, _format, _write_coco
from PIL import Image

from vertebra.data.convert import convert_data

TASKS = ("detect", "classify", "segment", "keypoints")


def _picture(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), 10 * number, dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def _write_shards(folder: Path) -> Path:
    convert_data(_write_coco(folder / "coco"), "tar", folder / "tar", shard_size=0.005)
    return folder / "tar"


def _spoil_shards(rng: np.random.Generator, folder: Path) -> None:
    """The lists of shards and of members, or the archives themselves."""
    for _ in range(int(rng.integers(1, 3))):
        files = sorted(folder.iterdir())
        file = files[int(rng.integers(len(files)))]
        if file.suffix == ".tar":
            file.write_bytes(spoil_bytes(rng, file.read_bytes()))
            if rng.integers(2):
                Path(str(file).removesuffix(".tar") + ".index.json").unlink(missing_ok=True)
        elif rng.integers(2):
            with suppress(ValueError, RecursionError):  # damaged already
                file.write_bytes(spoil_json(rng, json.loads(file.read_bytes())))
        else:
            file.write_bytes(spoil_bytes(rng, file.read_bytes()))


def _write_webdataset(folder: Path) -> Path:
    for split in ("train", "val"):
        with tarfile.open(folder / f"{split}-000000.tar", "w") as opened:
            for number in range(IMAGES):
                document = {
                    "annotations": [{"bbox": [1, 2, 9, 8], "category": "dog", "segmentation": [[1, 1, 9, 1, 5, 9]]}]
                }
                files = {
                    "png": _picture(number),
                    "json": json.dumps(document).encode(),
                    "cls": str(number % 2).encode(),
                }
                for suffix, content in files.items():
                    entry = tarfile.TarInfo(f"{number:04}.{suffix}")
                    entry.size = len(content)
                    opened.addfile(entry, io.BytesIO(content))
    return folder


def _write_hf(folder: Path) -> Path:
    import pyarrow as pa

    kind = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    features = {
        "image": {"_type": "Image"},
        "label": kind,
        "objects": {"_type": "Sequence", "feature": {"category": kind}},
    }
    for split in ("train", "validation"):
        images = [{"bytes": _picture(number), "path": None} for number in range(IMAGES)]
        objects = [{"bbox": [[1.0, 2.0, 9.0, 8.0]], "category": [number % 2]} for number in range(IMAGES)]
        content = pa.table({"image": images, "label": [number % 2 for number in range(IMAGES)], "objects": objects})
        content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (folder / split).mkdir()
        with pa.ipc.new_stream(str(folder / split / "data.arrow"), content.schema) as writer:
            writer.write_table(content)
        (folder / split / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        (folder / split / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    return folder


def _spoil_files(rng: np.random.Generator, folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = files[int(rng.integers(len(files)))]
    file.write_bytes(spoil_bytes(rng, file.read_bytes()))


FORMATS = {
    "tar_shards": _format(_write_shards, _spoil_shards, TASKS),
    "webdataset": _format(_write_webdataset, _spoil_files, ("detect", "classify", "segment")),
    "hf": _format(_write_hf, _spoil_files, ("detect", "classify")),
}
