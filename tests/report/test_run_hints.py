"""Curves and hints from the table of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.report.comparison_page import write_comparison_page
from vertebra.report.hints import hints
from vertebra.report.measured import Measured, MeasuredBranch
from vertebra.report.run_curves import class_charts, loss_charts, metric_charts, time_charts
from vertebra.report.run_facts import MetricFacts, RunFacts
from vertebra.report.run_page import ReportContent
from vertebra.report.split_facts import SplitFacts
from vertebra.tasks.diagnosis import BarChart, Diagnosis, LikelyWrongLabel


def rows(losses: list[float], maps: list[float]) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch, "lr": 0.1, "train/boxes/box": 1 / epoch, "train/boxes/class": 1 / epoch, "boxes/loss": loss,
            "boxes/map": value, "boxes/map/cat": value / 2, "boxes/error": 9.0, "seconds/data": 6.0, "seconds/forward": 4.0,
        }
        for epoch, (loss, value) in enumerate(zip(losses, maps, strict=True), start=1)
    ]  # fmt: skip


def run(**changes: Any) -> RunFacts:
    values: dict[str, Any] = {
        "folder": Path("runs/a"), "config": {}, "resolved": {}, "starts": [], "rows": rows([3, 2, 2, 2, 2], [0.1] * 5),
        "kept_epoch": 2, "kept_text": "", "kept_scores": {}, "monitor": "boxes/map",
        "metrics": {"boxes/map": MetricFacts(), "boxes/error": MetricFacts(True)}, "tasks": {"boxes": "detect"},
    }  # fmt: skip
    return RunFacts(**{**values, **changes})


def test_one_chart_for_each_family() -> None:
    table = rows([3.0, math.nan, 2.0], [0.1, 0.2, 0.3])
    (loss,) = loss_charts(table, ["boxes"])
    assert [curve.name for curve in loss.curves] == ["training", "validation", "training, box", "training, class"]
    assert loss.curves[0].y.tolist() == [2.0, 1.0, 2 / 3] and loss.curves[1].x.tolist() == [1, 3]
    shares, error = metric_charts(table, ["boxes"], run().metrics, ("boxes/map", 2))
    assert [curve.name for curve in shares.curves] == ["map"] and shares.curves[0].mark == (2, 0.2)
    assert error.title == "error of boxes" and error.y_label == "lower is better"
    (classes,) = class_charts(table, ["boxes"], {"boxes/map/cat": MetricFacts(meaning="mean average precision")})
    assert (classes.title, classes.y_label, classes.text) == ("boxes/map", "higher is better", "mean average precision")
    assert [curve.name for curve in classes.curves] == ["cat"]
    totals, each = time_charts(table)
    assert isinstance(totals, BarChart) and totals.bars == {"data (60%)": 18.0, "forward (40%)": 12.0}
    assert each.title == "Time of each epoch"
    assert not time_charts([{"epoch": 1, "seconds": 3.0}])


def test_hints_name_what_is_wrong() -> None:
    assert any("waiting for images" in line for line in hints(run(), [], None, {}))
    over = hints(run(rows=rows([3, 1, 2, 2.5, 3], [0.1] * 5)), [], None, {})
    assert any(line.startswith("boxes: overfitting. The validation loss was lowest in epoch 2") for line in over)
    rising = hints(run(rows=rows([3, 2, 2, 2, 2], [0.1, 0.2, 0.3, 0.4, 0.5]), kept_epoch=5), [], None, {})
    assert any("still improving" in line and "more epochs than 5" in line for line in rising)
    calm = hints(run(rows=[{**row, "seconds/data": 0.1} for row in rows([3, 2, 2, 2, 2], [0.1] * 5)]), [], None, {})
    assert calm == []


def test_hints_about_classes_and_labels() -> None:
    train = SplitFacts("train", 100, class_images={"boxes": {"cat": 90, "dog": 80, "hen": 3}})
    scores = {"boxes/map": 0.5, "boxes/map/cat": 0.8, "boxes/map/dog": 0.7, "boxes/map/hen": 0.1}
    scores |= {"boxes/error/cat": 9.0, "boxes/error/dog": 8.0, "boxes/error/hen": 1.0}
    blocks = [BarChart("Errors", {"missed": 12.0, "class": 3.0}, "points of AP50", advice={"missed": "Label more."})]
    wrong = [LikelyWrongLabel(0, 0.9, "labeled cat")]
    diagnosis = Diagnosis(blocks, np.zeros(1), [""], likely_wrong=wrong)
    measured = Measured("test", 1, 1, scores, {"boxes": MeasuredBranch("detect", [Path("a.png")], diagnosis)})
    lines = "\n".join(hints(None, [train], measured, {"boxes/error/hen": MetricFacts(True)}))
    assert "fewer than 20 training images: hen (3)" in lines and "far below the mean of 0.533 for hen (0.100)" in lines
    assert (
        "the largest loss is from errors of the kind 'missed': without them, 12 points of AP50 more. Label more."
        in lines
    )
    assert "1 label of test may be wrong" in lines and "boxes/error" not in lines, "its smallest error is its best one"


def test_a_comparison_has_the_classes_whose_names_have_slashes(tmp_path: Path) -> None:
    facts = {"boxes/map/cat/tabby": MetricFacts(meaning="mean average precision")}
    contents = [
        ReportContent(
            name,
            Path(name),
            run(kept_scores={"boxes/map/cat/tabby": score}),
            None,
            [],
            None,
            [],
            facts,
            {"boxes": "detect"},
        )
        for name, score in (("first", 0.25), ("second", 0.75))
    ]
    html = write_comparison_page(tmp_path / "both.html", contents).read_text(encoding="utf-8")
    assert "<h3>boxes/map</h3><p>mean average precision</p>" in html and '<th scope="row">cat/tabby</th>' in html


def test_of_many_doubted_labels_the_model_is_rather_wrong() -> None:
    def lines(images: int) -> str:
        wrong = [LikelyWrongLabel(image, 0.9, "labeled cat") for image in range(images)] * 2
        diagnosis = Diagnosis([], np.zeros(20), [""] * 20, likely_wrong=wrong)
        branch = MeasuredBranch("detect", [Path(f"{number}.png") for number in range(20)], diagnosis)
        return "\n".join(hints(None, [], Measured("val", 20, 20, {}, {"boxes": branch}), {}))

    assert "12 labels of val may be wrong" in lines(6)
    assert "contradicts 14 labels in 7 of 20 images of val. Of so many, most are errors of the model" in lines(7)


def test_few_images_make_numbers_shaky() -> None:
    few, many = (hints(None, [], Measured("val", count, count, {}, {}), {}) for count in (49, 50))
    assert len(few) == 1 and few[0].startswith("val has 49 images only") and not many
    assert not hints(None, [], Measured("val", 40, 4000, {}, {}), {}), "a part of many was evaluated"
