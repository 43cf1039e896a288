"""The contract of all decoders, and tests of the classification and segmentation decoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vertebra.decoders import DECODERS
from vertebra.decoders.classify.linear import Linear
from vertebra.decoders.segment.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.segment.unet import UNet
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.padding import valid_mean
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.testing import check_decoder, fake_features
from vertebra.testing.synthetic import fake_labels

PYRAMID = FeatureSpec((Level(16, 4), Level(24, 8), Level(32, 16), Level(40, 32)), embedding=48)
FLAT = FeatureSpec((Level(32, 16),))
CLASSES = ("a", "b", "c")
SEGMENTERS = [part for part in DECODERS.values() if part.task == "segment"]
WHOLE_IMAGE = ("fpn", "lraspp", "mask2former", "maskformer", "pspnet", "upernet")  # decoders with image-wide context
LOCAL = [part for name, part in DECODERS.items() if part.task == "segment" and name not in WHOLE_IMAGE]

FEW = {"channels": 16, "layers": 1, "queries": 8, "hidden": 16, "points": 32}
SMALL = dict.fromkeys(("mask2former", "mask2former_instances", "maskformer"), FEW)  # their defaults are slow

CASES: list[tuple[str, dict[str, Any], FeatureSpec, bool]] = [
    *((name, SMALL.get(name, {}), PYRAMID, False) for name in DECODERS),
    *(
        (name, SMALL.get(name, {}), PYRAMID, True)
        for name, part in DECODERS.items()
        if part.task in ("classify", "segment")
    ),
    *(
        (name, {"auxiliary": 0.4}, PYRAMID, False)
        for name in ("fcn", "unet", "unetplusplus", "fpn", "pspnet", "deeplabv3")
    ),
    ("fcn", {"depth": 2, "channels": 24}, FLAT, False),
    ("attention_pool", {"heads": 4, "embed_dim": 32, "label_smoothing": 0.1}, FLAT, False),
    ("linear", {"hidden": [32, 16], "dropout": 0.5, "pool": "average", "label_smoothing": 0.1}, PYRAMID, False),
    ("linear", {}, FLAT, False),
    ("upsample", {"mode": "transpose", "channels": 16, "to_stride": 2}, FLAT, False),
    ("unet", {"channels": [48, 32, 16], "dropout": 0.2}, PYRAMID, False),
    ("deeplabv3plus", {"separable": False, "low_level_channels": 8, "channels": 16}, PYRAMID, False),
    *((name, {}, FLAT, False) for name in ("retinanet", "fcos", "upsample")),
]


@pytest.mark.parametrize(("name", "options", "spec", "multilabel"), CASES)
def test_holds_the_contract(name: str, options: dict[str, Any], spec: FeatureSpec, multilabel: bool) -> None:
    part = DECODERS[name]
    labels = fake_labels(part.task, 3, multilabel)
    check_decoder(lambda in_spec, branch_labels: part(in_spec, branch_labels, **options), spec, labels)


@pytest.mark.parametrize("part", SEGMENTERS)
@pytest.mark.parametrize("multilabel", [False, True])
def test_probabilities_have_the_canvas_size(part: type, multilabel: bool) -> None:
    decoder = part(PYRAMID, SegmentLabels(CLASSES, multilabel=multilabel)).eval()
    features = fake_features(PYRAMID, (97, 65))
    with torch.no_grad():
        probabilities = decoder.decode(decoder(features), features.frame).probabilities
    assert probabilities.shape == (2, 3, 97, 65)
    assert bool(((probabilities >= 0) & (probabilities <= 1)).all())
    sums = probabilities.sum(1)
    assert torch.allclose(sums, torch.ones_like(sums)) is (not multilabel)


@pytest.mark.parametrize("part", LOCAL)
def test_every_pixel_comes_from_its_own_place(part: type) -> None:
    """A change at the top left of all maps affects the logits there, but not at the far end."""
    torch.manual_seed(2)
    spec = FeatureSpec((Level(16, 4), Level(16, 8), Level(16, 16)))
    decoder = part(spec, SegmentLabels(CLASSES)).eval()
    before = fake_features(spec, (256, 256))
    maps = tuple(values.clone() for values in before.maps)
    for values in maps:
        values[..., 0, 0] += 10
    after = Features(maps, before.embedding, before.frame)
    with torch.no_grad():
        change = (decoder(after).logits - decoder(before).logits).abs().amax(dim=(0, 1))
    assert float(change[:4, :4].max()) > 1e-3 and float(change[-8:, -8:].max()) == 0


def test_a_classifier_pools_over_the_image_and_not_over_padding() -> None:
    maps = torch.zeros(2, 1, 2, 4)
    maps[:, :, :, 2:] = 100
    maps[:, :, :, :2] = 4
    frame = Frame((16, 32), torch.tensor([[16, 16], [9, 32]]))
    torch.testing.assert_close(valid_mean(maps, 8, frame), torch.tensor([[4.0], [52.0]]))


def test_a_classifier_reads_what_it_says() -> None:
    labels = ClassifyLabels(CLASSES)
    embedded, pooled = Linear(PYRAMID, labels), Linear(PYRAMID, labels, pool="average")
    assert (embedded.uses_embedding, embedded.uses_maps, pooled.uses_embedding, pooled.uses_maps) == (
        True,
        False,
        False,
        True,
    )
    assert embedded.classifier.in_features == 48 and pooled.classifier.in_features == 40
    wide = Linear(PYRAMID, labels, hidden=[7, 5])
    assert [layer.out_features for layer in wide.layers if isinstance(layer, torch.nn.Linear)] == [7, 5]


def test_what_does_not_fit_is_refused_with_the_cure() -> None:
    with pytest.raises(IncompatiblePartsError, match="pool: average"):
        Linear(FLAT, ClassifyLabels(CLASSES), pool="embedding")
    for part in (UNet, DeepLabV3Plus):
        with pytest.raises(IncompatiblePartsError, match="simple_pyramid"):
            part(FLAT, SegmentLabels(CLASSES))
    with pytest.raises(ConfigError, match="'channels' needs 3 numbers here, one for each finer level, got 2"):
        UNet(PYRAMID, SegmentLabels(CLASSES), channels=[8, 8])
    with pytest.raises(ConfigError, match="one exclusive class leaves nothing to decide"):
        Linear(PYRAMID, ClassifyLabels(("a",)))
    for segmenter in SEGMENTERS:
        with pytest.raises(ConfigError, match="one exclusive class leaves nothing to decide"):
            segmenter(PYRAMID, SegmentLabels(("a",)))


def test_padding_is_not_looked_at() -> None:
    """Decoders with image-wide context give the same logits for the same image on a wider canvas."""
    spec = FeatureSpec((Level(16, 8), Level(24, 16)))
    narrow = fake_features(spec, (64, 64), batch=1)
    maps = tuple(torch.cat([values, 9 * torch.randn_like(values)], dim=3) for values in narrow.maps)
    wide = Features(maps, None, Frame((64, 128), torch.tensor([[64, 64]])))
    for name in ("attention_pool", "lraspp"):
        decoder = DECODERS[name](spec, fake_labels(DECODERS[name].task)).eval()
        with torch.no_grad():
            expected, got = decoder(narrow).logits, decoder(wide).logits
        if name == "lraspp":
            expected, got = expected[..., :6], got[..., :6]  # interpolation reaches one cell over the edge
        torch.testing.assert_close(got, expected)


def test_the_auxiliary_head_learns_and_is_not_heard() -> None:
    decoder = DECODERS["unet"](PYRAMID, SegmentLabels(CLASSES), auxiliary=0.4)
    assert decoder.auxiliary is not None and decoder.auxiliary.index == 2
    assert decoder.terms[-1] == "auxiliary" and decoder.in_levels == (0, 1, 2, 3)
    plain = DECODERS["fcn"](PYRAMID, SegmentLabels(CLASSES))
    assert plain.auxiliary is None and plain.in_levels == (3,)
    assert DECODERS["fcn"](PYRAMID, SegmentLabels(CLASSES), auxiliary=0.4).in_levels == (2, 3)
