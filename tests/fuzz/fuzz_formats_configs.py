"""Configs: YAML files and overrides damaged, read, checked against the parts' signatures, and built into a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from fuzz_damage import VALUES, WORDS, encoded, spoil_text
from fuzz_runner import Format

from vertebra.build import build
from vertebra.config import Config, override, read_raw
from vertebra.training.hardware import check_hardware
from vertebra.yaml_files import parse_yaml

CONFIG = """\
data:
  train:
    - {path: photos, branches: [animal]}
    - {path: coco, branches: [boxes], ratio: 0.5, split: train, format: coco}
  val: [{path: photos, branches: [animal]}, {path: coco, branches: [boxes, pose]}, {path: masks, ignore_index: 255}]
model:
  backbone: {name: test_resnet, pretrained: false, freeze: 2, in_channels: 3}
  shared:
    neck: {name: fpn, channels: 16}
  branches:
    animal: {decoder: {name: linear, hidden: [8], dropout: 0.3}, classes: [cat, dog]}
    boxes: {decoder: {name: fcos, channels: 16, postprocess: {nms_iou: 0.6, max_detections: 20}}, weight: 0.5, classes: [cat, dog]}
    regions: {encoder: {name: conv}, decoder: upsample, classes: [sky, road], multilabel: false}
    pose: {decoder: {name: heatmap}, boxes_from: boxes, classes: [cat], points: [nose, left, right], flip_pairs: [[1, 2]]}
train: {epochs: 5, batch_size: 4, image_size: [64, 96], lr: 0.001, accumulate: 2, ema: 0.99, patience: 3, seed: 1,
        precision: "32", devices: 1, strategy: auto, accelerator: cpu, workers: 0, monitor: boxes/map, warmup: 0.1}
"""
BOMB = "".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]\n" for n in range(10))

ALIKE: dict[type, tuple[object, ...]] = {
    bool: (True, False),
    int: (0, 1, 2, 3, 7, 16, 64, 255, 1000, 100_000, 2**31 - 1, 2**31, 10**12, -1),
    float: (0.0, 1e-12, 0.1, 0.5, 1.0, 2.0, 1e12, -1.0, float("nan"), float("inf")),
    str: (
        "test_resnet",
        "test_vit",
        "fpn",
        "pafpn",
        "aspp",
        "linear",
        "retinanet",
        "unet",
        "heatmap",
        "boxes",
        "cat",
        "",
    ),
}


def _write(folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


def _spoil(rng: np.random.Generator, file: Path) -> None:
    match int(rng.integers(8)):
        case 0 | 1 | 2 | 3:
            file.write_text(_changed(rng), encoding="utf-8", errors="replace")
        case 4:
            file.write_text(BOMB + CONFIG, encoding="utf-8")
        case _:
            file.write_bytes(encoded(rng, spoil_text(rng, CONFIG)))


def _changed(rng: np.random.Generator) -> str:
    """The config with one or two of its values replaced, half of them by others of their type."""
    raw = parse_yaml(CONFIG)
    for _ in range(int(rng.integers(1, 3))):
        holder = raw
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            if isinstance(holder[key], dict | list) and rng.integers(6):
                holder = holder[key]
                continue
            alike = ALIKE.get(type(holder[key]), ())
            values = alike if alike and rng.integers(2) else (*VALUES, *WORDS)
            holder[key] = values[int(rng.integers(len(values)))]
            break
    return str(yaml.safe_dump(raw, allow_unicode=True))


def _read(file: Path, number: int) -> None:
    raw = override(read_raw(file), ["train.epochs=2", "model.backbone.pretrained=false"])
    config = Config.from_raw(raw, str(file))
    check_hardware(config.train)
    build(config.model, image_size=config.train.image_size, resize=config.train.resize, pretrained=False)
    config.to_yaml()


FORMATS = {"config": Format(_write, _spoil, _read)}
