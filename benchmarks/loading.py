"""Images a second that the loaders give, beside torchvision's, in one process.

python -m benchmarks.loading [--images N] [--photos FOLDER] [--quality N] [--repeats N] [--threads N] [--out FILE]

The first rows load JPEG files of 480x640 to normalized training batches, beside Pillow with torchvision's transforms: random
resized crops at 224 with the same pixels, at 128 with decoding at a reduced scale, and images with boxes, mirrored and resized.
The last rows are the loaders of the tasks with the default augmentation.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vertebra
from benchmarks import torchvision_loading
from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.config import Config
from vertebra.data.augmentation.crop_windows import crop_window
from vertebra.data.open_datasets import open_split
from vertebra.data.transforms import cut
from vertebra.demo.files import SceneCounts, write_scenes
from vertebra.demo.scenes import SceneStyle
from vertebra.layers.normalize import normalize
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import read_image
from vertebra.recipe.augment import Augment
from vertebra.training.loaders import RunData
from vertebra.training.resolved_config import resolved_config

TASKS = {"animals": "linear", "boxes": "fcos", "regions": "upsample"}
BATCH = 8
SIZE = (480, 640)
BOXES = torch.tensor([[40.0, 60, 200, 300], [300, 100, 600, 400], [10, 10, 90, 90]])
DETECTION = (384, 512)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt
CROPS = {"name": "none", "horizontal_flip": 0.5, "crop_area": [0.08, 1.0], "crop_ratio": 4 / 3}
FLIPS = {"name": "none", "horizontal_flip": 0.5}


def loader(
    data: Path,
    decoder: str,
    size: tuple[int, int],
    augment: Mapping[str, Any] | None = None,
    reduced: bool = True,
    cache: str | None = None,
) -> RunData:
    """What gives the batches of a data set.

    Args:
        data: its folder.
        decoder: of the task.
        size: (height, width) of the canvas.
        augment: as in a config; None for the default.
        reduced: whether JPEG files are decoded at a reduced scale where that is enough.
        cache: where decoded images are kept; None for nowhere.
    """
    train: dict[str, Any] = {
        "epochs": 1,
        "batch_size": BATCH,
        "accumulate": 1,
        "evaluate_every": 1,
        "backbone_lr": 0.3,
        "freeze_backbone": 0.0,
        "image_size": list(size),
        "workers": 0,
        "reduced_decoding": reduced,
        "cache": cache,
        "augment": {"name": "default", **(augment or {})},
    }
    model = {"backbone": "resnet10t", "decoder": decoder}
    config = resolved_config(Config.from_raw({"data": str(data), "model": model, "train": train}, "benchmark"))
    opened = open_split(config, "train")
    branch = next(iter(config.model.branches))
    classes = list(opened.labels[branch].classes)
    built = vertebra.create_model("resnet10t", decoder=decoder, classes=classes, image_size=size)
    opened_data = RunData(built, config.train, opened.sources, [])
    opened_data.open_cache()
    return opened_data


def write_photos(root: Path, count: int, quality: int, photos: Path | None) -> list[Path]:
    """JPEG files of 480x640 as a folder of classes and, with the same boxes in each, as VOC.

    Args:
        root: folder that gets ``classes`` and ``voc``.
        count: number of images of each.
        quality: of the files.
        photos: a folder with photographs; None for drawn scenes.

    Returns:
        The files of the classes.
    """
    if photos is None:
        write_scenes(
            root / "drawn", SceneCounts(classes=count, boxes=0, masks=0, val=1, test=1), style=SceneStyle(size=SIZE)
        )
    given = sorted((photos or root / "drawn").rglob("*.jpg" if photos else "*.png"))
    paths = []
    voc = [root / "voc" / name for name in ("JPEGImages", "Annotations", "ImageSets/Main")]
    for folder in (
        *voc,
        root / "classes/train/a",
        root / "classes/train/b",
        root / "classes/val/a",
        root / "classes/val/b",
    ):
        folder.mkdir(parents=True)
    for number in range(count):
        picture = Image.open(given[number % len(given)]).convert("RGB").resize(SIZE[::-1])
        paths.append(root / "classes/train" / "ab"[number % 2] / f"{number:04}.jpg")
        for path in (paths[-1], voc[0] / paths[-1].name):
            picture.save(path, quality=quality)
        (voc[1] / f"{number:04}.xml").write_text(_annotation(BOXES))
    for name in "ab":
        picture.save(root / f"classes/val/{name}/val.jpg")
    for split in ("train", "val"):
        (voc[2] / f"{split}.txt").write_text("\n".join(path.stem for path in paths))
    return sorted(paths)


def _annotation(boxes: Tensor) -> str:
    objects = "".join(
        f"<object><name>thing</name><bndbox><xmin>{box[0] + 1}</xmin><ymin>{box[1] + 1}</ymin><xmax>{box[2]}</xmax>"
        f"<ymax>{box[3]}</ymax></bndbox></object>"
        for box in boxes.int().tolist()
    )
    return f"<annotation><size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>{objects}</annotation>"


def check_pixels(path: Path) -> None:
    """Checks that both sides make the same pixels of a file, within one gray level."""
    theirs = torchvision_loading
    image = read_image(path)
    window = CropWindow(30, 50, 300, 400, (224, 224))
    crop = cut(image, {}, ResizeSpec((224, 224), "center_crop"), {}, window).image
    expected = theirs.v1.functional.resized_crop(Image.open(path).convert("RGB"), 30, 50, 300, 400, [224, 224])
    assert np.abs(crop.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)).max() <= 1
    whole = cut(image, {}, ResizeSpec(DETECTION), {}, CropWindow(0, 0, *SIZE, DETECTION)).image
    resized = theirs.v2.Resize(DETECTION, antialias=True)(theirs.v2.ToImage()(Image.open(path).convert("RGB")))
    assert (whole.int() - resized.int()).abs().max() <= 1


def crops(side: int) -> Callable[[tuple[int, int]], tuple[int, int, int, int]]:
    """What draws the crops (top, left, height, width) of images of (height, width), as our side does."""
    options = {name: value for name, value in CROPS.items() if name != "name"}
    augment, resize_spec = Augment.from_options("none", options), ResizeSpec((side, side), "center_crop")
    draw = np.random.default_rng(0)

    def crop(size: tuple[int, int]) -> tuple[int, int, int, int]:
        window = crop_window(resize_spec, size, augment, draw)
        return window.top, window.left, window.height, window.width

    return crop


def normalized(data: RunData) -> Callable[[], None]:
    """An epoch of batches, normalized as the model's first layer does it."""
    mean, std = (
        255 * torch.tensor(values)[None, :, None, None]
        for values in (torchvision_loading.MEAN, torchvision_loading.STD)
    )

    def run() -> None:
        for [batch] in data.train_dataloader():
            normalize(batch.images, mean, std)

    return run


def beside_torchvision(
    images: int, repeats: int, quality: int, photos: Path | None, clock: Callable[[], float] = time.perf_counter
) -> list[Row]:
    """A row for each work that torchvision's users do too.

    Args:
        images: of each data set.
        repeats: epochs that count.
        quality: of the JPEG files.
        photos: a folder with photographs; None for drawn scenes.
        clock: seconds.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = write_photos(root, images, quality, photos)
        check_pixels(paths[0])
        classes, theirs = root / "classes", torchvision_loading
        works: dict[str, tuple[RunData, Any]] = {
            f"{side}, {'reduced decoding' if reduced else 'same pixels'}": (
                loader(classes, "linear", (side, side), CROPS, reduced),
                theirs.classification(paths, side, BATCH, crops(side)),
            )
            for side, reduced in ((224, False), (224, True), (128, False), (128, True))
        }
        works = {f"classes at {name}": pair for name, pair in works.items()}
        works["boxes at 384x512, flip and resize"] = (
            loader(root / "voc", "fcos", DETECTION, FLIPS, False),
            theirs.detection(paths, BOXES, DETECTION, BATCH),
        )
        for cache in ("memory", "disk"):
            works[f"classes at 224, cache: {cache}"] = (
                loader(classes, "linear", (224, 224), CROPS, cache=cache),
                theirs.classification(paths, 224, BATCH, crops(224)),
            )
            works[f"boxes at 384x512, cache: {cache}"] = (
                loader(root / "voc", "fcos", DETECTION, FLIPS, cache=cache),
                theirs.detection(paths, BOXES, DETECTION, BATCH),
            )
        for work, (data, peer) in works.items():
            sides: dict[str, Callable[[], object]] = {"ours": normalized(data), "peer": partial(list, peer)}
            seconds = in_turns(sides, repeats, clock=clock)
            count = BATCH * len(data.train_dataloader())
            rows.append(
                {
                    "name": work,
                    "milliseconds": milliseconds(seconds),
                    "images_a_second": count / seconds["ours"].median,
                    "peer_images_a_second": len(paths) / seconds["peer"].median,
                    "ratio": seconds["peer"].median / seconds["ours"].median * count / len(paths),
                    "bytes": sum(path.stat().st_size for path in paths) / len(paths),
                }
            )
    return rows


def compare(
    images: int, repeats: int, size: tuple[int, int] = SIZE, clock: Callable[[], float] = time.perf_counter
) -> list[Row]:
    """A row for each data set: scenes as a folder of classes, as VOC and as masks.

    Args:
        images: of each data set.
        repeats: epochs that count.
        size: (height, width) of the scenes.
        clock: seconds.
    """
    counts = SceneCounts(classes=images, boxes=images, masks=images, val=1, test=1)
    with tempfile.TemporaryDirectory() as name:
        write_scenes(Path(name), counts, style=SceneStyle(size=size))
        loaders = {task: loader(Path(name, task), decoder, (320, 416)) for task, decoder in TASKS.items()}
        seconds = in_turns(
            {task: lambda data=data: list(data.train_dataloader()) for task, data in loaders.items()},  # type: ignore[misc]
            repeats,
            clock=clock,
        )
        steps = {task: len(data.train_dataloader()) for task, data in loaders.items()}
    spans = milliseconds(seconds)
    return [
        {"name": task, "milliseconds": spans[task], "images_a_second": BATCH * steps[task] / seconds[task].median}
        for task in loaders
    ]


@contextmanager
def cache_at(folder: Path) -> Iterator[None]:
    """With the user's cache folder at another one."""
    before = os.environ.get("VERTEBRA_CACHE")
    os.environ["VERTEBRA_CACHE"] = str(folder)
    yield
    if before is None:
        del os.environ["VERTEBRA_CACHE"]
    else:
        os.environ["VERTEBRA_CACHE"] = before


def keep_memory() -> None:
    """Lets the C library keep freed memory, where it can: else each large array costs page faults, on both sides."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        mallopt(option, 2**30)


COLUMNS: Columns = {
    "data": lambda row: row["name"],
    "images a second": lambda row: f"{row['images_a_second']:.0f}",
    "torchvision": lambda row: f"{row['peer_images_a_second']:.0f}",
    "ratio": lambda row: f"{row['ratio']:.2f}",
}
NOTES = (
    "One process, batches of eight. With a ratio: JPEG files of 480x640 to normalized batches. Without: scenes of 480x640 as PNG "
    "onto 320x416, default augmentation. The C library keeps freed memory (mallopt), for both sides. With --threads 1 the seconds "
    "are the processor's, which other work on the machine disturbs less. Both sides draw the same crops. With a cache, the first "
    "epoch, which fills it, does not count.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=7)
    parser.add_argument("--images", type=int, default=48, help="of each data set")
    parser.add_argument("--photos", type=Path, help="folder with photographs (*.jpg); by default drawn scenes")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files")
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    keep_memory()
    clock = time.thread_time if given.threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as name, cache_at(Path(name)):
        rows = beside_torchvision(given.images, given.repeats, given.quality, given.photos, clock)
        rows += compare(given.images, given.repeats, clock=clock)
    finish("loading", rows, COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
