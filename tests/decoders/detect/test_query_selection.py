"""Where queries start, and how their boxes are shown, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vertebra.decoders.detect._query_postprocess import QueryPostprocess, decode_queries
from vertebra.decoders.detect._query_selection import (
    EMPTY_LOGIT,
    QuerySelection,
    away_from_edges,
    cell_boxes,
    inverse_sigmoid,
)
from vertebra.errors import ConfigError
from vertebra.features import Frame


def test_cells_start_at_their_own_place() -> None:
    """A canvas of 12 x 20 pixels: the last column and row of stride 8 reach over it."""
    boxes = cell_boxes([(2, 3), (1, 2)], [8, 16], (12, 20), torch.device("cpu"))
    expected = [[x / 20, y / 12, 0.05, 0.05] for y in (4, 12) for x in (4, 12, 20)]
    expected += [[x / 20, 8 / 12, 0.1, 0.1] for x in (8, 24)]
    torch.testing.assert_close(boxes, torch.tensor(expected))
    assert away_from_edges(boxes).tolist() == [True, True, False, False, False, False, True, False]


def test_a_very_coarse_level_starts_with_most_of_the_canvas() -> None:
    boxes = cell_boxes([(1, 1)], [512], (512, 512), torch.device("cpu"))
    torch.testing.assert_close(boxes, torch.tensor([[0.5, 0.5, 0.9, 0.9]]))


def test_inverse_sigmoid_by_hand() -> None:
    values = torch.tensor([0.5, 0.75, 0.0, 1.0, -3.0])
    end = torch.tensor(1e-5).log()
    torch.testing.assert_close(inverse_sigmoid(values), torch.stack([*torch.tensor([1.0, 3.0]).log(), end, -end, end]))


def choose(cells: Tensor, usable: Tensor, queries: int) -> tuple[QuerySelection, object]:
    """A selection whose class scores are the cells' two features."""
    part = QuerySelection(2, 2, queries)
    part.read = nn.Identity()
    with torch.no_grad():
        part.score.weight.copy_(torch.eye(2))
        part.score.bias.zero_()
    boxes = torch.tensor([[0.1 * number, 0.5, 0.2, 0.2] for number in range(1, 5)])
    return part, part(cells, boxes, usable)


def test_the_best_cells_are_chosen_by_hand() -> None:
    """Scores are the best class's: 3, 5, 4, 1. The surest cell is not usable."""
    cells = torch.tensor([[[3.0, -1.0], [0.0, 5.0], [4.0, 2.0], [1.0, 1.0]]])
    _, chosen = choose(cells, torch.tensor([[True, False, True, True]]), 2)
    assert chosen.class_logits.tolist() == [[[4, 2], [3, -1]]]
    assert chosen.content.tolist() == [[[4, 2], [3, -1]]] and not chosen.empty.any()
    torch.testing.assert_close(chosen.boxes.sigmoid(), torch.tensor([[[0.3, 0.5, 0.2, 0.2], [0.1, 0.5, 0.2, 0.2]]]))


def test_fewer_cells_than_queries_leave_empty_ones() -> None:
    cells = torch.tensor([[[3.0, -1.0], [0.0, 5.0], [4.0, 2.0], [1.0, 1.0]]])
    _, chosen = choose(cells, torch.tensor([[True, False, True, False]]), 6)
    assert chosen.empty.tolist() == [[False, False, True, True, True, True]]
    assert chosen.class_logits[0, :2].tolist() == [[4, 2], [3, -1]]
    assert bool((chosen.class_logits[0, 2:] == EMPTY_LOGIT).all()) and bool((chosen.content[0, 2:] == 0).all())


def test_the_best_pairs_are_shown_by_hand() -> None:
    """Two queries, three classes: pairs are ranked, cut to the image, and dropped below the floor or out of sight."""
    probabilities = torch.tensor([[[0.9, 0.2, 0.6], [0.7, 0.05, 0.001], [0.99, 0.9, 0.9]]])
    boxes = torch.tensor([[[-4.0, 2, 8, 9], [1, 1, 5, 5], [30, 1, 40, 5]]])
    frame = Frame((10, 40), torch.tensor([[10, 20]]))
    decoded = decode_queries(
        inverse_sigmoid(probabilities), boxes, frame, QueryPostprocess(score_threshold=0.1, max_detections=5)
    )
    torch.testing.assert_close(decoded.scores, torch.tensor([[0.9, 0.7, 0.6, 0.2, 0.0]]), atol=1e-4, rtol=0)
    assert decoded.labels.tolist() == [[0, 0, 2, 1, -1]] and decoded.count.tolist() == [4]
    own = [0.0, 2, 8, 9]
    assert decoded.boxes.tolist() == [[own, [1, 1, 5, 5], own, own, [0, 0, 0, 0]]]
    few = decode_queries(inverse_sigmoid(probabilities), boxes, frame, QueryPostprocess(max_detections=12))
    assert few.scores.shape == (1, 12)


def test_options_of_decoding_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"'postprocess.max_detections' must be 1 or more, got 0"):
        QueryPostprocess(max_detections=0)
    with pytest.raises(ConfigError, match=r"'postprocess.score_threshold' must be at least 0 and below 1, got 1"):
        QueryPostprocess(score_threshold=1.0)
