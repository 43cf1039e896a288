"""A task, a decoder and a reader of another package: found by entry points, and used by every verb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vertebra
from vertebra.data import readers
from vertebra.data.open import detect_format, open_data
from vertebra.errors import ConfigError, DataError
from vertebra.training.selection import main_score

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package ``vertebra_regress`` as if it were installed."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    _forget()
    yield
    _forget()


def _forget() -> None:
    vertebra.tasks.all_tasks.cache_clear()
    readers.all_readers.cache_clear()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Gray images and the brightness of each."""
    folder = tmp_path / "table"
    folder.mkdir()
    lines = ["image,brightness"]
    for number in range(12):
        Image.new("RGB", (32, 32), (20 * number,) * 3).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number / 12}")
    (folder / "values.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.usefixtures("plugin")
def test_a_reader_of_another_package_is_found(table: Path) -> None:
    assert detect_format(table) == "value_table"
    index = open_data(table, "regress", "train")
    assert len(index) == 10 and index.columns["regress"].get(0, (32, 32)).values.shape == (1,)
    with pytest.raises(DataError, match="format 'value_table' has no labels for task 'detect', only for regress"):
        open_data(table, "detect", "train")
    (table / "values.csv").unlink()
    with pytest.raises(DataError, match="of no known format; formats of .png files: mask_folder, image_folder"):
        detect_format(table)


@pytest.mark.usefixtures("plugin")
def test_a_task_of_another_package_does_all_that_others_do(table: Path, tmp_path: Path) -> None:
    """It trains, is evaluated, predicts, draws, and is saved and loaded; no file of Vertebra knows it."""
    run = vertebra.train(
        data=str(table),
        model={"backbone": "test_resnet", "decoder": "regress_linear"},
        train={"epochs": 1, "batch_size": 10, "image_size": 32, "workers": 0, "precision": "32"},
        out=tmp_path / "run",
    )
    folder = Path(getattr(run, "folder", run))
    scores = vertebra.evaluate(folder, split="val")
    assert scores.keys() == {"regress/mae", "regress/loss"}
    model = vertebra.load(folder)
    (result,) = model.predict(table / "5.png")
    assert result.to_dict()["regress"]["objects"][0].keys() == {"class_name", "class_id", "value"}
    assert repr(result["regress"]).startswith("1 number: brightness ")
    assert result["regress"].draw().size == (32, 32)
    vertebra.save(model, tmp_path / "again.safetensors")
    (again,) = vertebra.load(tmp_path / "again.safetensors").predict(table / "5.png", flip=True)
    assert np.allclose(again["regress"].values, result["regress"].values, atol=1e-5)
    json.dumps(result.to_dict())


@pytest.mark.usefixtures("plugin")
def test_its_main_metric_may_be_better_when_smaller() -> None:
    model = vertebra.create_model("test_resnet", decoder="regress_linear", classes=["brightness"])
    from vertebra.model_info import model_info

    score = main_score(model_info(model), {"regress/mae": 0.5}, None)
    assert score is not None and (score.name, score.value, score.lower_is_better) == ("regress/mae", 0.5, True)


@pytest.mark.usefixtures("plugin")
def test_its_parts_are_those_of_its_name(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--task`` alone takes the parts that the task names."""
    from vertebra.cli.train import _raw

    raw = _raw(None, data=str(table), task="regress", backbone=None, start=None, neck=None, encoder=None, decoder=None)
    assert raw["model"]["decoder"] == "regress_linear"


@pytest.mark.parametrize(
    ("group", "find"), [("vertebra.tasks", "tasks"), ("vertebra.readers", "readers")], ids=["task", "reader"]
)
def test_an_entry_point_of_something_else_is_refused(group: str, find: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import vertebra.tasks as tasks

    module: Any = {"tasks": tasks, "readers": readers}[find]
    points = [EntryPoint("wrong", "math:pi", group)]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    _forget()
    with pytest.raises(ConfigError, match=rf"'wrong = math:pi' of group {group} must be a vertebra"):
        (tasks.all_tasks if find == "tasks" else readers.all_readers)()
    _forget()
