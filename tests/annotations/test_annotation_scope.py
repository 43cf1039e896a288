"""Label scopes: sets of classes, renumbered, restricted, joined and intersected."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.scope import WHOLE, LabelScope, intersected, joined_scope, relabeled, whole_scope


def scope_of(sets: list[int], pairs: list[tuple[int, int]], inverted: list[bool], count: int = 3) -> LabelScope:
    codes = np.array([number * count + label for number, label in pairs], dtype=np.int64)
    return LabelScope.of_pairs(np.array(sets), codes, np.array(inverted, dtype=bool), count)


def rows_of(scope: LabelScope, count: int) -> list[list[int]]:
    """The classes of each image."""
    rows = [scope.of_image(row, count) for row in range(len(scope.sets))]
    return [[1] * count if row is None else row.astype(int).tolist() for row in rows]


def test_sets_of_classes() -> None:
    """Image 0 has class 2 only, image 1 all classes, image 2 all but class 0, image 3 as image 0."""
    scope = scope_of([0, WHOLE, 1, 0], [(0, 2), (1, 0)], [False, True])
    assert rows_of(scope, 3) == [[0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]]
    assert scope.partial.tolist() == [True, False, True, True]
    assert rows_of(scope.take(np.array([2, 1])), 3) == [[0, 1, 1], [1, 1, 1]]
    assert rows_of(whole_scope(2), 3) == [[1, 1, 1]] * 2


def test_merged_classes_need_all_of_their_parts() -> None:
    """Classes 0 and 1 become 0, class 2 becomes 1; the new class 2 has no old one."""
    scope = scope_of([0, 1, 2, WHOLE], [(0, 0), (0, 2), (1, 0), (1, 1), (2, 1)], [False, False, True])
    assert rows_of(scope, 3) == [[1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 1, 1]]
    new = scope.renumbered(np.array([0, 0, 1]), 3)
    assert rows_of(new, 3) == [[0, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]]
    assert rows_of(scope.renumbered(np.array([-1, -1, 0]), 1), 1) == [[1], [0], [1], [1]]


def test_restricted_to_a_list() -> None:
    scope = scope_of([0, WHOLE, 1], [(0, 0), (0, 2), (1, 0)], [False, True])
    assert rows_of(scope.restricted(np.array([0, 1]), 3), 3) == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]


def test_joined() -> None:
    scope = scope_of([0, WHOLE], [(0, 2)], [False])
    joined = joined_scope([None, scope, scope], [1, 2, 2])
    assert joined is not None
    assert rows_of(joined, 3) == [[1, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1]]
    assert joined_scope([None, None], [1, 2]) is None


def test_of_one_image() -> None:
    first, second = np.array([True, False, True]), np.array([True, True, False])
    mixed = intersected([first, None, second])
    assert mixed is not None and mixed.tolist() == [True, False, False]
    assert intersected([None, None]) is None and relabeled(None, np.array([0]), 1) is None
    # 0 and 1 become 1, and 2 becomes 0; class 2 of the branch has no class here
    ids = np.array([1, 1, 0])
    changed = [relabeled(each, ids, 3) for each in (first, second)]
    assert [each.tolist() for each in changed if each is not None] == [[True, False, False], [False, True, False]]
