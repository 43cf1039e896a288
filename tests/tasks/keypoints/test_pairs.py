"""Left and right of points: by their names, and by where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from vertebra.tasks.keypoints.flip_pair_suggestions import propose_pairs
from vertebra.tasks.keypoints.flip_pairs_by_name import pairs_by_name, read_names
from vertebra.tasks.keypoints.flip_pairs_by_position import pairs_by_position
from vertebra.tasks.keypoints.labels import COCO_POINTS, KeypointLabels


@pytest.mark.parametrize(
    ("points", "pairs"),
    [
        (COCO_POINTS, tuple((place, place + 1) for place in range(1, 17, 2))),
        (("snout", "leftear", "rightear", "tailbase"), ((1, 2),)),
        (("r_paw", "l_paw", "nose"), ((1, 0),)),
        (("paw_L", "paw_R"), ((0, 1),)),
        (("Left Eye", "Right Eye", "bright", "cleft"), ((0, 1),)),
        (("earL", "earR", "tail"), ((0, 1),)),
        (("LeftHip", "RightHip", "leftx", "rightx"), ((0, 1), (2, 3))),
        (("Nose", "RShoulder", "RElbow", "LShoulder", "LElbow"), ((3, 1), (4, 2))),
        (("L_F_Paw", "R_F_Paw", "L_B_Paw", "R_B_Paw", "Tail_Base"), ((0, 1), (2, 3))),
        (("front_left_paw", "front_right_paw", "nose"), ((0, 1),)),
        (("LEFT_EYE", "RIGHT_EYE"), ((0, 1),)),
        (("lt-ear", "rt-ear", "leye", "reye"), ((0, 1), (2, 3))),
        (("eyeL1", "eyeL2", "eyeR1", "eyeR2"), ((0, 2), (1, 3))),
        (("mouth_left", "mouth_right", "mouth", "left_eye_inner", "right_eye_inner"), ((0, 1), (3, 4))),
        (("left_ear", "right_ear", "tail1", "tail2", "spine_3"), ((0, 1),)),
        (("links_auge", "rechts_auge"), ((0, 1),)),
        (("왼눈", "오른눈", "코"), ((0, 1),)),
        (("left_ear", "right_ear", "rear"), ((0, 1),)),
    ],
)
def test_names_that_tell_it_all(points: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> None:
    assert pairs_by_name(points) == pairs


@pytest.mark.parametrize(
    ("points", "undecided"),
    [
        (("a", "b"), (0, 1)),
        (("0", "1", "2"), (0, 1, 2)),
        (("head", "tail"), ()),
        (("left_eye", "nose"), (0,)),
        (("left_ear", "right_ear", "lefteye"), (2,)),
        (("left_eye", "right_eye", "paw_L"), (2,)),
        (("leye", "reye", "lear", "nose"), (2,)),
        (("left_eye", "l_eye", "right_eye"), (0, 1, 2)),
        (("left_eye", "right_eye", "kp_3"), (2,)),
        (("left_eye", "right_eye", "paw1", "paw2"), (2, 3)),
        (("left_eye", "right_eye", "wing a", "wing b"), (2, 3)),
        (tuple(f"face-{place}" for place in range(68)), tuple(range(68))),
    ],
)
def test_names_that_leave_something_open(points: tuple[str, ...], undecided: tuple[int, ...]) -> None:
    """Without a single pair, or with a point of which a mirrored image would be wrong, the pairs are not known."""
    assert pairs_by_name(points) is None and read_names(points).undecided == undecided


def objects(shape: np.ndarray, count: int = 60, noise: float = 0.05, hidden: float = 0.2, seed: int = 0) -> np.ndarray:
    """A shape (K,) of complex numbers, moved, turned, scaled, with noise and points that are not labeled: (M, K, 3)."""
    draw = np.random.default_rng(seed)
    noisy = shape + noise * (draw.normal(size=(count, len(shape))) + 1j * draw.normal(size=(count, len(shape))))
    turn = draw.uniform(10, 50, (count, 1)) * np.exp(1j * draw.uniform(0, 2 * np.pi, (count, 1)))
    places = noisy * turn + draw.uniform(0, 300, (count, 1)) + 1j * draw.uniform(0, 300, (count, 1))
    seen = draw.random(places.shape) > hidden
    return np.stack([places.real * seen, places.imag * seen, 2 * seen], axis=-1).astype(np.float32)


def info(seed: int = 1) -> tuple[np.ndarray, set[tuple[int, ...]]]:
    """68 points of which 30 mirror 30 others, in any order, and the pairs."""
    draw = np.random.default_rng(seed)
    half = draw.uniform(0.3, 1.5, 30) + 1j * np.linspace(-1.5, 1.5, 30)
    whole = np.concatenate([half, -half.conj(), 1j * np.linspace(-1.2, 1.2, 8)])
    order = draw.permutation(68)
    places = np.argsort(order)
    return whole[order], {tuple(sorted((int(places[one]), int(places[one + 30])))) for one in range(30)}


def test_pairs_lie_mirrored_about_the_mid_line() -> None:
    shape, pairs = info()
    found = pairs_by_position(objects(shape, noise=0.03))
    assert found is not None and set(found) == pairs


def test_no_pairs_without_confidence() -> None:
    shape, _ = info()
    assert pairs_by_position(objects(shape, count=12)) is None, "too few objects"
    assert pairs_by_position(objects(shape, noise=0.8)) is None, "anything anywhere"
    assert pairs_by_position(objects(np.array([-2 - 1j, 2 - 1j, 2 + 1j, -2 + 1j]))) is None, "two mid-lines"
    assert pairs_by_position(objects(np.array([-1, -0.5, 0, 0.3, 0.9]) + 0j)) is None, "a line"
    assert pairs_by_position(objects(np.array([-1 - 1j, 1 - 1j, 1.5j]))) is None, "three points"
    assert pairs_by_position(np.zeros((50, 5, 3), dtype=np.float32)) is None, "nothing is labeled"
    assert pairs_by_position(np.full((50, 5, 3), 2, dtype=np.float32)) is None, "all in one place"
    draw = np.random.default_rng(0)
    chance = [draw.normal(size=6) + 1j * draw.normal(size=6) for _ in range(50)]
    assert sum(pairs_by_position(objects(shape)) is not None for shape in chance) <= 1, "no mid-line, or by mere chance"


def test_a_proposal_is_a_line_for_the_config() -> None:
    shape, pairs = info()
    labels = KeypointLabels(("face",), tuple(str(place) for place in range(68)))
    text = propose_pairs(labels, objects(shape, noise=0.03))
    line = text.splitlines()[-1]
    given = {tuple(pair) for pair in yaml.safe_load(line)["flip_pairs"]}
    assert given == pairs and "positions of the points on 60 objects" in text
    assert KeypointLabels(labels.classes, labels.points, flip_pairs=tuple(given)).mirror_refusal is None


def test_a_proposal_by_names_tells_what_they_leave_open() -> None:
    labels = KeypointLabels(("dog",), ("left_ear", "right_ear", "paw1", "paw2"))
    text = propose_pairs(labels, np.zeros((0, 4, 3), dtype=np.float32))
    assert "undecided: paw1, paw2;" in text and text.endswith("\n    flip_pairs: [[0, 1]]")
    nothing = propose_pairs(KeypointLabels(("dog",), ("a", "b")), np.zeros((0, 2, 3), dtype=np.float32))
    assert "flip_pairs: [[LEFT, RIGHT], ...]" in nothing and "\n" not in nothing
