"""Models are built from names, and what does not fit is told with both names and a way out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from vertebra import create_model
from vertebra.backbones import TimmBackbone
from vertebra.encoders import ENCODERS
from vertebra.errors import ConfigError, IncompatiblePartsError, UnknownName
from vertebra.features import Features, FeatureSpec
from vertebra.necks import FPN, NECKS
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.testing import fake_targets

CLASSES = ["dog", "cat"]


def test_the_joint_of_the_design_is_told_in_full() -> None:
    with pytest.raises(IncompatiblePartsError) as caught:
        create_model("vit_small_patch16_224", decoder="deeplabv3plus", classes=CLASSES)
    assert str(caught.value) == (
        "decoder 'deeplabv3plus' needs a level at stride 4 or 8; backbone 'vit_small_patch16_224' gives stride 16 only. "
        "Add neck 'simple_pyramid'."
    )


def test_the_cure_works() -> None:
    create_model("test_vit", neck="simple_pyramid", decoder="deeplabv3plus", classes=CLASSES)


def test_a_backbone_without_aligned_maps_classifies_but_does_not_segment() -> None:
    create_model("crossvit_tiny_240", decoder="linear", classes=CLASSES)
    with pytest.raises(IncompatiblePartsError, match="decoder 'upsample' needs .*backbone 'crossvit_tiny_240'"):
        create_model("crossvit_tiny_240", decoder="upsample", classes=CLASSES)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"backbone": "resnet81", "decoder": "linear"}, "'resnet81'.*Did you mean"),
        ({"backbone": "resnet10t", "decoder": "retinanett"}, "unknown decoder 'retinanett'. Did you mean 'retinanet'"),
        ({"backbone": "resnet10t", "decoder": "linear", "neck": "fnp"}, "unknown neck 'fnp'. Did you mean 'fpn'"),
        ({"backbone": {"name": "resnet10t", "pretraned": True}, "decoder": "linear"}, "Did you mean 'pretrained'"),
        (
            {"backbone": "resnet10t", "decoder": {"name": "linear", "droput": 0.1}},
            "option 'model.branches.classify.decoder.droput': 'droput'. Did you mean 'dropout'",
        ),
    ],
)
def test_wrong_names_get_the_nearest_right_ones(parts: dict, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        create_model(**parts, classes=CLASSES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": "linear"}, "needs its class names"),
        ({"decoder": "linear", "classes": ["a", "a"]}, "are repeated in 'classes': a"),
        ({"decoder": "linear", "classes": []}, "at least one class"),
        ({"branches": {}}, "at least one branch"),
        ({"decoder": {"name": "linear", "dropout": True}, "classes": CLASSES}, "dropout' must be a number"),
        ({"decoder": "linear", "classes": CLASSES, "task": "detect"}, "serves task 'classify', but .* 'detect'"),
        ({"decoder": "linear", "classes": CLASSES, "image_size": [1, 2, 3]}, "image_size must be"),
        ({"decoder": "linear", "classes": CLASSES, "branches": {"a": {}}}, "is set beside 'branches'"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("resnet10t", **arguments)


def test_branches_that_read_boxes_are_ordered_and_circles_refused() -> None:
    from vertebra.config import BranchConfig, PartConfig
    from vertebra.part_builder import branch_order

    def branch(on: str | None) -> BranchConfig:
        return BranchConfig(decoder=PartConfig(name="linear"), boxes_from=on)

    assert branch_order({"a": branch("b"), "b": branch(None), "c": branch("a")}) == ["b", "a", "c"]
    with pytest.raises(ConfigError, match="in a circle: a, b"):
        branch_order({"a": branch("b"), "b": branch("a")})
    with pytest.raises(UnknownName, match="'boxen'"):
        branch_order({"boxes": branch(None), "a": branch("boxen")})


def test_parts_may_be_objects() -> None:
    model = create_model(
        "resnet10t",
        neck=partial(NECKS["fpn"], channels=32),
        encoder=ENCODERS["conv"],
        decoder="upsample",
        classes=CLASSES,
        image_size=64,
    )
    assert model.config is not None
    assert model.config["branches"]["segment"]["neck"] == {"name": "fpn", "channels": 32}, "a class of the catalog"
    decoded = model.eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert decoded["segment"].probabilities.shape == (1, 2, 64, 64)


def test_a_linear_branch_reads_the_embedding_unless_parts_stand_before_it() -> None:
    plain = create_model("mobilenetv2_035", decoder="linear", classes=CLASSES)
    assert plain.branch("classify").decoder.uses_embedding
    encoded = create_model("mobilenetv2_035", encoder="conv", decoder="linear", classes=CLASSES)
    assert not encoded.branch("classify").decoder.uses_embedding
    features = encoded.eval().features(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert features.embedding is None, "an embedding that nobody asked for must not be computed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.b", "take letters"),
        ("a/b", "take letters"),
        ("", "take letters"),
        ("keys", "'keys_branch'"),
        ("image", "reserved"),
    ],
)
def test_names_that_no_branch_can_have(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("resnet10t", branches={name: {"decoder": "linear", "classes": ["a", "b"]}})
    create_model("resnet10t", branches={"고양이-1": {"decoder": "linear", "classes": ["a", "b"]}})


def test_wishes_that_make_no_sense_together() -> None:
    for parts, message in (
        ({"decoder": "unet", "resize": "center_crop"}, "only tasks about the whole image"),
        ({"decoder": "fcos", "multilabel": True}, "'multilabel' has no effect for task 'detect'"),
        ({"decoder": {"name": "linear", "dropout": 2}}, "'dropout' must be from 0 to 1, got 2"),
        ({"decoder": {"name": "linear", "hidden": [8, -1]}}, "'hidden' must be 1 or more, got -1"),
        ({"decoder": {"name": "unet", "channels": [-8, 8, 8]}}, "'channels' must be 1 or more"),
        ({"decoder": {"name": "deeplabv3plus", "low_level_channels": 0}}, "'low_level_channels' must be 1 or more"),
        ({"decoder": "linear", "classes": "dog"}, "must be a list of names, got the text 'dog'"),
    ):
        with pytest.raises(ConfigError, match=message):
            create_model("resnet10t", **{"classes": ["a", "b"], **parts})
    with pytest.raises(ConfigError, match="wrap it: vertebra.as_backbone"):
        create_model(torch.nn.Conv2d(3, 8, 1), decoder="linear", classes=["a", "b"])
    with pytest.raises(ConfigError, match="built for 224x224, got a canvas of 448x448"):
        create_model(
            {"name": "visformer_tiny", "image_size": [224, 224]}, decoder="linear", classes=["a", "b"], image_size=448
        )


def test_only_detections_are_read_as_boxes() -> None:
    branches = {
        "animal": {"decoder": "linear", "classes": ["a", "b"]},
        "boxes": {"decoder": "fcos", "classes": ["a"], "boxes_from": "animal"},
    }
    with pytest.raises(ConfigError, match="branch 'boxes': decoder 'fcos' reads no boxes; leave 'boxes_from' out"):
        create_model("resnet10t", branches=branches)


def test_a_detector_wishes_coarser_levels_of_its_own_neck() -> None:
    strides = (
        create_model("resnet10t", neck="fpn", decoder="retinanet", classes=["a"]).branch("detect").neck.out_spec.strides
    )
    assert strides == (4, 8, 16, 32, 64, 128)
    chosen = {"name": "fpn", "extra_levels": 0}
    plain = create_model("resnet10t", neck=chosen, decoder="retinanet", classes=["a"])
    assert plain.branch("detect").neck.out_spec.strides == (4, 8, 16, 32)
    segmenter = create_model("resnet10t", neck="fpn", decoder="unet", classes=["a", "b"])
    assert segmenter.branch("segment").neck.out_spec.strides == (4, 8, 16, 32)


class Doubled(nn.Module):
    """A neck by somebody else: it knows nothing of ``keep_levels``."""

    def __init__(self, in_spec: FeatureSpec) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.out_spec = in_spec

    def forward(self, features: Features) -> Features:
        return features.with_maps([self.scale * level for level in features.maps])


def test_a_callable_that_knows_no_levels_is_called_once_and_on_the_device_in_use() -> None:
    built: list[Doubled] = []

    def neck(in_spec: FeatureSpec) -> Doubled:
        built.append(Doubled(in_spec))
        return built[-1]

    model = create_model("test_resnet", neck=neck, encoder="hybrid", decoder="fcn", classes=["a", "b"], image_size=64)
    assert model.branch("segment").neck is built[0] and len(built) == 1
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_a_neck_by_a_callable_keeps_the_levels_that_are_read_as_one_by_name_does() -> None:
    necks = [
        create_model("test_resnet", neck=neck, decoder="fcn", classes=["a", "b"], image_size=64).branch("segment").neck
        for neck in ("fpn", FPN, partial(FPN, norm="none"))
    ]
    assert len({tuple(name for name, _ in neck.named_parameters()) for neck in necks}) == 1  # type: ignore[union-attr]
    assert [isinstance(layer, nn.Identity) for layer in necks[0].smooth] == [True, True, True, False]  # type: ignore[union-attr,arg-type]


def test_a_module_that_is_given_stays_as_it_is() -> None:
    backbone = TimmBackbone("test_resnet")
    neck = FPN(backbone.out_spec, channels=16)
    names = list(neck.state_dict())
    for decoder in ("fcn", "unet"):
        model = create_model(backbone, neck=neck, decoder=decoder, classes=["a", "b"], image_size=64)
        assert model.branch("segment").neck is neck and list(neck.state_dict()) == names


def test_parts_by_name_start_from_the_same_draws_as_without_the_search_for_levels() -> None:
    """The search builds on the meta device and draws nothing."""
    torch.manual_seed(3)
    model = create_model("test_resnet", neck="fpn", decoder="fcn", classes=["a", "b"], image_size=64)
    torch.manual_seed(3)
    neck = FPN(TimmBackbone("test_resnet").out_spec)
    state = model.branch("segment").neck.state_dict()  # type: ignore[union-attr]
    assert state and all(torch.equal(value, neck.state_dict()[name]) for name, value in state.items())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"backbone": nn.Identity()}, "the backbone Identity is no vertebra.backbones.Backbone.*as_backbone"),
        ({"neck": nn.Identity()}, "neck: Identity has no out_spec; a neck sets it to the FeatureSpec of its output"),
        ({"decoder": nn.Identity()}, "the decoder Identity is no vertebra.decoders.base.Decoder; derive it"),
    ],
)
def test_objects_that_are_no_parts(parts: dict, message: str) -> None:
    options = {"backbone": "test_resnet", "decoder": "fcn", "task": "segment", "classes": ["a", "b"], **parts}
    with pytest.raises(ConfigError, match=message):
        create_model(**options)


def test_decoders_of_ones_own_in_branches() -> None:
    from vertebra.decoders.classify.linear import Linear

    model = create_model("resnet10t", branches={"x": {"decoder": partial(Linear, dropout=0.0), "classes": ["a", "b"]}})
    assert model.branch("x").task == "classify"


def test_many_classes_do_not_collide_with_the_ignored_value() -> None:
    model = create_model("resnet10t", decoder="unet", classes=[f"c{index}" for index in range(300)])
    assert model.branch("segment").labels.ignore_index == 65535


def test_a_shared_neck_makes_what_is_read() -> None:
    model = create_model(
        "resnet10t",
        shared={"neck": "fpn"},
        branches={"boxes": {"decoder": "retinanet", "classes": ["a"]}},
        image_size=64,
    )
    images, sizes = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]] * 2)
    terms, _ = model.loss(
        images, sizes, {"boxes": (torch.arange(2), fake_targets(model.branch("boxes").labels, (64, 64)))}
    )
    torch.stack([term.mean() for term in terms["boxes"].values()]).sum().backward()
    assert not [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]


def test_a_wrong_option_of_decoding_is_told_plainly() -> None:
    with pytest.raises(ConfigError, match=r"postprocess: 'postprocess\.nms_iou' must be between 0 and 1, got 2"):
        create_model("resnet10t", decoder={"name": "fcos", "postprocess": {"nms_iou": 2}}, classes=["a"])


def test_the_labels_of_points_come_with_the_model() -> None:
    labels = {
        "points": ["nose", "l_ear", "r_ear"],
        "skeleton": [[0, 1]],
        "flip_pairs": [[1, 2]],
        "sigmas": [0.1, 0.2, 0.2],
    }
    model = create_model("resnet10t", decoder="heatmap", classes=["cat"], labels=labels, image_size=64)
    assert model.branch("keypoints").labels == KeypointLabels(
        ("cat",), ("nose", "l_ear", "r_ear"), ((0, 1),), ((1, 2),), (0.1, 0.2, 0.2)
    )
    with pytest.raises(ConfigError, match="a keypoints branch needs the names of its points"):
        create_model("resnet10t", decoder="heatmap", classes=["cat"])


def test_a_model_may_be_built_in_inference_mode() -> None:
    with torch.inference_mode():
        model = create_model("resnet10t", decoder="linear", classes=["a", "b"])
        decoded = model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert decoded["classify"].probabilities.shape == (1, 2)


def test_a_neck_makes_all_levels_for_an_encoder_without_in_levels() -> None:
    model = create_model(
        "test_resnet", neck="fpn", encoder=Doubled, decoder="fcn", classes=["a", "b"], image_size=64
    ).eval()
    neck = model.branch("segment").neck
    assert neck is not None
    full = FPN(model.backbone.out_spec).eval()
    full.load_state_dict(neck.state_dict())
    features = model.backbone(torch.rand(1, 3, 64, 64))
    for level, expected in zip(neck(features).maps, full(features).maps, strict=True):
        assert torch.equal(level, expected)


def test_renamed_options_get_their_new_names() -> None:
    with pytest.raises(
        UnknownName, match="'exclusive'. It is now 'multilabel' .*exclusive: false is now multilabel: true"
    ):
        create_model("test_resnet", decoder="linear", classes=CLASSES, exclusive=False)
    with pytest.raises(UnknownName, match="'taps'. It is now 'out_indices'"):
        create_model({"name": "test_resnet", "taps": [1]}, decoder="linear", classes=CLASSES)
    branches = {"segment": {"decoder": "fcn", "classes": CLASSES, "on": "boxes"}}
    with pytest.raises(UnknownName, match="'on'. It is now 'boxes_from'"):
        create_model("test_resnet", branches=branches)
