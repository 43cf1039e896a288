"""Metrics of tracks: equal to TrackEval's, and hand cases; MOT files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import vertebra
from tests.tracking.drawn_tracks import crossing_tracks
from tests.tracking.trackeval_numbers import FILE, SEQUENCES, sequence
from vertebra.cli.main import main
from vertebra.errors import ConfigError, DataError
from vertebra.tracking.evaluate import TrackingCounts
from vertebra.tracking.mot_text import mot_lines, read_mot
from vertebra.tracking.sequence_pairs import TrackedFrame

BOXES = np.array([[0.0, 0, 10, 10], [100, 0, 110, 10]])
PAIR = TrackedFrame(np.array([1, 2]), BOXES)
EMPTY = TrackedFrame(np.zeros(0, dtype=np.int64), np.zeros((0, 4)))


def write(path: Path, frames: list[TrackedFrame]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [mot_lines(n, ids, boxes, np.ones(len(ids))) for n, (ids, boxes) in enumerate(frames, start=1)]
    path.write_text("".join(lines))
    return path


def test_metrics_equal_those_of_trackeval() -> None:
    """trackeval_numbers.py wrote the expected numbers, with TrackEval 1.3.0."""
    expected, total = json.loads(FILE.read_text()), TrackingCounts()
    for name in SEQUENCES:
        counts = TrackingCounts.of(*sequence(name))
        total = total.plus(counts)
        metrics = counts.metrics()
        assert expected[name] == pytest.approx({key: metrics[key] for key in expected[name]}, abs=1e-9), name
    metrics = total.metrics()
    assert expected["all"] == pytest.approx({key: metrics[key] for key in expected["all"]}, abs=1e-9)
    assert list(metrics)[:3] == ["hota", "mota", "idf1"]


def test_perfect_tracks() -> None:
    metrics = TrackingCounts.of([PAIR] * 4, [TrackedFrame(np.array([7, 5]), BOXES)] * 4).metrics()
    assert [metrics[name] for name in ("hota", "mota", "idf1", "motp", "deta", "assa", "loca")] == [1.0] * 7
    assert metrics["mostly_tracked"] == 2 and metrics["id_switches"] == 0


def test_ids_that_are_exchanged_in_the_middle() -> None:
    turned = TrackedFrame(np.array([2, 1]), BOXES)
    metrics = TrackingCounts.of([PAIR] * 8, [*[PAIR] * 4, *[turned] * 4]).metrics()
    assert metrics["mota"] == 1 - 2 / 16 and metrics["idf1"] == 0.5 and metrics["id_switches"] == 2
    assert metrics["deta"] == 1 and metrics["assa"] == pytest.approx(1 / 3)
    assert metrics["hota"] == pytest.approx(math.sqrt(1 / 3))


def test_an_object_that_is_missed_and_a_wrong_one() -> None:
    half = TrackedFrame(np.array([1]), BOXES[:1])
    wrong = TrackedFrame(np.array([1, 9]), np.array([BOXES[0], [500, 0, 510, 10]]))
    metrics = TrackingCounts.of([PAIR] * 4, [PAIR, half, PAIR, wrong]).metrics()
    assert (metrics["true_positives"], metrics["false_negatives"], metrics["false_positives"]) == (6, 2, 1)
    assert metrics["mota"] == (6 - 1) / 8 and metrics["fragments"] == 1
    assert metrics["idf1"] == pytest.approx(6 / (6 + 0.5 * 2 + 0.5 * 1))


def test_the_match_of_the_frame_before_goes_on() -> None:
    """CLEAR keeps a match while it is valid, though another box fits better; HOTA and the counts of boxes do not care."""
    one = TrackedFrame(np.array([1]), BOXES[:1])
    both = TrackedFrame(np.array([4, 5]), np.array([[2.0, 0, 12, 10], [0, 0, 10, 10]]))
    metrics = TrackingCounts.of([one, one], [TrackedFrame(np.array([4]), BOXES[:1]), both]).metrics()
    assert metrics["id_switches"] == 0 and metrics["motp"] == pytest.approx((1 + 8 / 12) / 2)


def test_sequences_without_tracks() -> None:
    for first, second, mota in (
        ([PAIR], [EMPTY], 0.0),
        ([EMPTY], [PAIR], -2.0),
        ([EMPTY], [EMPTY], 0.0),
        ([], [], 0.0),
    ):
        metrics = TrackingCounts.of(first, second).metrics()
        assert (metrics["hota"], metrics["mota"], metrics["idf1"]) == (0.0, mota, 0.0)
    assert TrackingCounts.of([PAIR], [EMPTY]).metrics()["mostly_lost"] == 2


def test_mot_files(tmp_path: Path) -> None:
    tracks = crossing_tracks(3, 5)
    file = write(tmp_path / "clip.txt", tracks)
    boxes = read_mot(file)
    assert len(file.read_text().splitlines()[0].split(",")) == 10
    for (ids, expected), frame in zip(tracks, boxes.by_frame(5), strict=True):
        assert frame.ids.tolist() == ids.tolist() and np.allclose(frame.boxes, expected, atol=0.02)
    metrics = vertebra.evaluate_tracks(file, file)
    assert metrics["hota"] == metrics["idf1"] == 1.0 and metrics["ignored"] == 0


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "clip.txt", crossing_tracks(3, 5))

    def call(*options: str) -> str:
        monkeypatch.setattr("sys.argv", ["vertebra", "eval-tracks", str(file), str(file), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    assert json.loads(call("--json"))["idf1"] == 1.0
    lines = call().splitlines()
    assert lines[0].split() == ["hota", "1.0000"] and "id_switches      0" in lines


def test_folders_of_sequences(tmp_path: Path) -> None:
    tracks = crossing_tracks(3, 6)
    write(tmp_path / "truth" / "a" / "gt" / "gt.txt", tracks)
    write(tmp_path / "truth" / "b" / "gt" / "gt.txt", tracks)
    write(tmp_path / "found" / "a.txt", tracks)
    with pytest.raises(DataError, match=r"found/b.txt: no such file, for 1 of 2 sequences"):
        vertebra.evaluate_tracks(tmp_path / "truth", tmp_path / "found")
    (tmp_path / "found" / "b.txt").write_text("")
    metrics = vertebra.evaluate_tracks(tmp_path / "truth", tmp_path / "found")
    assert metrics["mota"] == 0.5 and metrics["a/mota"] == 1.0 and metrics["b/mota"] == 0.0
    truth = tmp_path / "truth" / "b" / "gt" / "gt.txt"
    truth.write_text(truth.read_text().replace(",1.0000,", ",0,"))
    metrics = vertebra.evaluate_tracks(tmp_path / "truth", tmp_path / "found")
    assert metrics["mota"] == 1.0 and metrics["ignored"] == 18


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "clip.txt: not MOT tracks, whose lines are frame, id, left"),
        ("1,a,3,4,5,6,1\n", "clip.txt: not MOT tracks"),
        ("0,1,3,4,5,6,1\n", r"clip.txt: box 1 \(0, 1, 3, 4, 5, 6, 1\) is wrong"),
        ("1,1,3,4,5,6,1\n1,1.5,3,4,5,6,1\n", "clip.txt: box 2"),
        ("1,1,3,4,-5,6,1\n", "sides of 0 or more"),
        ("1,1,nan,4,5,6,1\n", "finite numbers"),
        ("1e12,1,3,4,5,6,1\n", "whole frames"),
        ("3,7,3,4,5,6,1\n3,7,0,0,5,6,1\n", "clip.txt: track 7 has 2 boxes in frame 3; it may have one"),
    ],
)
def test_damaged_mot_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "clip.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        vertebra.evaluate_tracks(file, file)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    write(tmp_path / "clip.txt", [PAIR])
    (tmp_path / "empty").mkdir()
    for first, second, message in (
        (tmp_path / "no.txt", tmp_path / "clip.txt", "no.txt: cannot be read"),
        (tmp_path / "clip.txt", tmp_path / "binary.txt", "binary.txt: not a text file"),
        (tmp_path / "empty", tmp_path / "clip.txt", "must be two files, or two folders"),
        (tmp_path / "empty", tmp_path / "empty", "has no <sequence>.txt"),
    ):
        with pytest.raises(DataError, match=message):
            vertebra.evaluate_tracks(first, second)
    with pytest.raises(ConfigError, match="'match_iou' must be within 0 and 1"):
        vertebra.evaluate_tracks(tmp_path / "clip.txt", tmp_path / "clip.txt", match_iou=3)
    with pytest.raises(DataError, match="1 frames of ground truth, but 2 predicted frames"):
        TrackingCounts.of([PAIR], [PAIR, PAIR])
    twice = TrackedFrame(np.array([1, 1]), BOXES)
    with pytest.raises(DataError, match="frame 1 of the predicted tracks has an id twice"):
        TrackingCounts.of([PAIR], [twice])
    with pytest.raises(DataError, match="frame 1 of ground truth has ids of shape"):
        TrackingCounts.of([TrackedFrame(np.array([1]), BOXES)], [PAIR])
