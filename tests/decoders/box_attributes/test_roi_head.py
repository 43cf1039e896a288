"""The head on the features inside boxes: its contract, and objects that are not labeled."""

from __future__ import annotations

import pytest
import torch

from vertebra.decoders.box_attributes.roi_head import RoIHead
from vertebra.errors import ConfigError
from vertebra.features import FeatureSpec, Level
from vertebra.losses.classification import object_class_term
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.testing import check_decoder, fake_features, fake_labels, fake_proposals, fake_targets

PYRAMID = FeatureSpec((Level(8, 4), Level(16, 8), Level(24, 16), Level(32, 32)))
SMALL = {"channels": 16, "hidden": [8], "region_size": 3}


@pytest.mark.parametrize(
    ("spec", "multilabel"),
    [(PYRAMID, False), (FeatureSpec((Level(8, 16), Level(8, 16))), True)],
    ids=["pyramid", "plain"],
)
def test_the_contract(spec: FeatureSpec, multilabel: bool) -> None:
    labels = fake_labels("box_attributes", 3, multilabel)
    check_decoder(lambda joint, own: RoIHead(joint, own, **SMALL), spec, labels)  # type: ignore[arg-type]


def test_boxes_stay_in_order_and_padding_has_no_probability() -> None:
    labels = fake_labels("box_attributes")
    decoder = RoIHead(PYRAMID, labels, **SMALL).eval()  # type: ignore[arg-type]
    features, proposals = fake_features(PYRAMID, (64, 64)), fake_proposals(labels, (64, 64))
    decoded = decoder.decode(decoder(features, proposals), features.frame)
    torch.testing.assert_close(decoded.boxes, proposals.boxes)
    torch.testing.assert_close(decoded.probabilities[0].sum(dim=1), torch.ones(3))
    assert not bool(decoded.probabilities[1].any()) and decoder.in_levels == (1, 2, 3)


@pytest.mark.parametrize("multilabel", [False, True])
def test_objects_that_are_not_labeled_have_no_gradient(multilabel: bool) -> None:
    logits = torch.randn(1, 3, 4, requires_grad=True)
    values = torch.ones(1, 3, 4) if multilabel else torch.tensor([[1, 2, 0]])
    term = object_class_term(logits, values, torch.tensor([[True, False, True]]), smoothing=0.1)
    term.sum.backward()
    assert float(term.count) == 2 and logits.grad is not None
    assert not bool(logits.grad[0, 1].any()) and bool(logits.grad[0, [0, 2]].any(dim=1).all())


def test_a_batch_without_labeled_objects_trains_nothing() -> None:
    labels = fake_labels("box_attributes")
    decoder = RoIHead(PYRAMID, labels, **SMALL)  # type: ignore[arg-type]
    targets = fake_targets(labels, (64, 64), 1)
    bare = type(targets)(*(value[:, :0] for value in targets[:3]), torch.zeros(1, dtype=torch.int64))
    terms, _ = decoder.loss(fake_features(PYRAMID, (64, 64), 1), bare)
    assert float(terms["cross_entropy"].sum.detach()) == 0 and float(terms["cross_entropy"].count) == 0
    terms["cross_entropy"].sum.backward()
    assert all(value.grad is not None and not bool(value.grad.any()) for value in decoder.parameters())


def test_a_student_agrees_with_a_teacher_of_the_same_weights() -> None:
    labels = fake_labels("box_attributes")
    decoder = RoIHead(PYRAMID, labels, **SMALL).eval()  # type: ignore[arg-type]
    features = fake_features(PYRAMID, (64, 64))
    _, outputs = decoder.loss(features, fake_targets(labels, (64, 64)))
    assert float(decoder.distillation(outputs, decoder, features).sum.detach()) == pytest.approx(0, abs=1e-6)


def test_one_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="one exclusive value leaves nothing to decide"):
        RoIHead(PYRAMID, AttributeLabels(("red",)))
    with pytest.raises(ConfigError, match="'levels' must name some of the levels 0 to 3"):
        RoIHead(PYRAMID, fake_labels("box_attributes"), levels=[4])
