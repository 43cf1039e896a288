"""Class names that differ hardly."""

from __future__ import annotations

import time

import pytest

from vertebra.data.analysis.class_names import similar_class_names


def reasons(*names: str) -> list[tuple[str, ...]]:
    return [similar.reasons for similar in similar_class_names(names)]


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("dog", "dog", "repeated"),
        ("Dog", "dog", "case"),
        ("\u00e9clair", "e\u0301clair", "case"),
        ("traffic light", "traffic_light", "spacing"),
        ("trafficLight", "traffic-light", "spacing"),
        ("motorbike", "Motor Bike", "spacing"),
        ("dog", "dogs", "plural"),
        ("Hard Hat", "hard_hats", "plural"),
        ("bus", "buses", "plural"),
        ("berry", "berries", "plural"),
        ("knife", "knives", "plural"),
        ("person", "people", "plural"),
        ("helmet", "helmt", "spelling"),
        ("helmet", "hemlet", "spelling"),
        ("no_helmet", "no helmmet", "spelling"),
        ("excavator", "excevator", "spelling"),
    ],
)
def test_these_are_similar(one: str, other: str, reason: str) -> None:
    for names in ((one, "unrelated", other), (other, "unrelated", one)):
        (similar,) = similar_class_names(names)
        assert similar.rows == (0, 2) and similar.names == (names[0], names[2]) and similar.reasons == (reason,)


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "car", "cap", "can", "bat", "rat"),
        ("class_1", "class_2", "class_10", "class_12", "class 3"),
        ("screw_type_a", "screw_type_b", "screw_type_c"),
        ("with_mask", "without_mask", "mask_weared_incorrect"),
        ("bottle", "battle", "beaver", "beaker", "hammer", "hamper"),
        ("archer", "archery", "organism", "organist"),
        ("carrot", "parrot", "kitten", "mitten"),
        ("glass", "grass", "bus", "boss"),
        ("c", "c++", "c#", "s", "as", "ass"),
        ("고양이", "개", "\u3042", ""),
        ("-", "_", "?"),
        ("left_eye", "right_eye", "left_ear", "right_ear"),
        ("hepatitis_b_2019", "hepatitis_b_2018"),
    ],
)
def test_these_are_not(names: tuple[str, ...]) -> None:
    assert similar_class_names(names) == []


def test_one_group_has_all_its_reasons() -> None:
    (similar,) = similar_class_names(["strawberries", "apple", "Strawberry", "strawberry", "strawbery"])
    assert similar.rows == (0, 2, 3, 4) and similar.reasons == ("case", "plural", "spelling")
    assert str(similar) == "'strawberries', 'Strawberry', 'strawberry', 'strawbery' (case, plural, spelling)"


def test_several_groups() -> None:
    assert reasons("dog", "cat", "Cat", "dogs", "cats") == [("plural",), ("case", "plural")]


def test_no_false_alarm_in_published_lists() -> None:
    meta = pytest.importorskip("torchvision.models._meta")
    for names in (meta._VOC_CATEGORIES, meta._KINETICS400_CATEGORIES, [*{*meta._COCO_CATEGORIES}]):
        assert similar_class_names(names) == []
    assert [str(similar) for similar in similar_class_names(meta._IMAGENET_CATEGORIES)] == [
        "'Cardigan', 'cardigan' (case)",
        "'sunglass', 'sunglasses' (plural)",
    ]


def test_many_names_take_seconds() -> None:
    names = [
        f"{first}{second}word{third}" for first in "bcdfglmnpr" for second in "aeiou" for third in "bcdfglmnpr" * 10
    ]
    start = time.process_time()
    assert similar_class_names(names)
    assert time.process_time() - start < 5


def test_none() -> None:
    assert similar_class_names([]) == [] and similar_class_names(["a"]) == []
