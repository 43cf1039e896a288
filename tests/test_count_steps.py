"""Guards: the paths from an image to its result and from a data set to the loss stay short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "count_steps.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("count_steps", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    script.write_data(path)
    return path


def test_a_plain_image_passes_no_unused_layer(script: ModuleType, folder: Path) -> None:
    steps = script.count_predict(folder)
    assert len(steps.stack) <= 8 and len(steps.files) <= 24, steps
    skipped = (
        "multi_view",
        "tta",
        "result_assembler",
        "tiles",
        "view_transform",
        "video",
        "streams",
        "prefetch",
        "urls",
    )
    assert not [name for name in steps.files if any(word in name for word in skipped)]
    assert set(steps.files) < set(steps.files_with_model) and steps.depth_with_model > len(steps.stack)


def test_an_annotation_has_five_types(script: ModuleType, folder: Path) -> None:
    steps = script.count_training(folder)
    assert len(steps.types) == 5 and len(steps.files) <= 61, steps
    assert {name.rpartition(".")[2] for name in steps.types} >= {"DetectAnnotation", "DetectTargets"}


def test_the_box_is_recognized(script: ModuleType) -> None:
    from vertebra.tasks.detect.annotation import DetectAnnotation

    box = np.array([script.BOX], dtype=np.float32)
    held = DetectAnnotation(box, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool))
    assert script.holds_box(held) and not script.holds_box(box)
    assert not script.holds_box(DetectAnnotation(box + 1, held.labels, held.crowd))
