"""Imported models of segmentation-models-pytorch have equal logits and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import ConfigError, WeightsError
from vertebra.layers.resample import fit_to
from vertebra.model import VisionModel
from vertebra.weights.importing import assemble, import_with_report
from vertebra.weights.peers.smp import BUILDERS

smp = pytest.importorskip(
    "segmentation_models_pytorch",
    reason="segmentation-models-pytorch is not installed; it comes with the extra 'peers'",
)

NARROW: dict[str, Any] = {"decoder_channels": (64, 48, 32, 24, 16)}
DPT: dict[str, Any] = {
    "dynamic_img_size": True,
    "decoder_intermediate_channels": (16, 24, 32, 32),
    "decoder_fusion_channels": 32,
    "encoder_output_indices": [1, 2, 4, 5],
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("Unet", {}),
    "unet tu": ("Unet", {"encoder_name": "tu-resnet18", "classes": 1}),
    "unet scse": ("Unet", {"decoder_attention_type": "scse", "decoder_interpolation": "bilinear", **NARROW}),
    "unet plain": ("Unet", {"decoder_use_norm": False, "encoder_depth": 3, "decoder_channels": (32, 24, 16)}),
    "unet stem": ("Unet", {"encoder_name": "tu-resnet18", "stem_type": "deep", "stem_width": 16, **NARROW}),
    "unet convnext": ("Unet", {"encoder_name": "tu-convnext_atto", **NARROW}),
    "unetplusplus": ("UnetPlusPlus", NARROW),
    "unetplusplus tu": ("UnetPlusPlus", {"encoder_name": "tu-mobilenetv3_small_050", **NARROW}),
    "unetplusplus scse": ("UnetPlusPlus", {"decoder_attention_type": "scse", **NARROW}),
    "unetplusplus convnext": ("UnetPlusPlus", {"encoder_name": "tu-convnext_atto", **NARROW}),
    "unet mobile": ("Unet", {"encoder_name": "mobilenet_v2", **NARROW}),
    "fpn": ("FPN", {}),
    "fpn tu": ("FPN", {"encoder_name": "tu-resnet18", "decoder_merge_policy": "cat", "classes": 1}),
    "fpn fine": ("FPN", {"encoder_depth": 4, "upsampling": 2, "decoder_segmentation_channels": 64}),
    "pspnet": ("PSPNet", {}),
    "pspnet tu": ("PSPNet", {"encoder_name": "tu-resnet18", "encoder_depth": 4, "upsampling": 16, "in_channels": 4}),
    "pspnet plain": ("PSPNet", {"decoder_use_norm": "identity", "psp_out_channels": 64}),
    "deeplabv3": ("DeepLabV3", {"decoder_channels": 64}),
    "deeplabv3 tu": ("DeepLabV3", {"encoder_name": "tu-resnet18", "decoder_channels": 64, "encoder_output_stride": 16}),
    "deeplabv3 separable": (
        "DeepLabV3",
        {"decoder_channels": 32, "decoder_aspp_separable": True, "decoder_atrous_rates": (2, 4, 6)},
    ),
    "deeplabv3plus": ("DeepLabV3Plus", {"activation": "sigmoid", "decoder_channels": 64}),
    "deeplabv3plus tu": ("DeepLabV3Plus", {"encoder_name": "tu-resnet18", "encoder_output_stride": 8}),
    "deeplabv3 mobile": ("DeepLabV3", {"encoder_name": "mobilenet_v2", "decoder_channels": 32}),
    "deeplabv3plus mobile": ("DeepLabV3Plus", {"encoder_name": "mobilenet_v2", "decoder_channels": 32}),
    "upernet": ("UPerNet", {"decoder_channels": 48}),
    "upernet convnext": ("UPerNet", {"encoder_name": "tu-convnext_atto", "decoder_channels": 32}),
    "segformer": ("Segformer", {"decoder_segmentation_channels": 48}),
    "segformer convnext": ("Segformer", {"encoder_name": "tu-convnext_atto", "decoder_segmentation_channels": 48}),
    "dpt": ("DPT", {"encoder_name": "tu-test_vit", **DPT}),
    "dpt ignore": ("DPT", {"encoder_name": "tu-test_vit", "decoder_readout": "ignore", **DPT}),
    "deeplabv3plus dense": (
        "DeepLabV3Plus",
        {"encoder_name": "resnet50", "decoder_aspp_separable": False, "decoder_channels": 32},
    ),
}


def both(case: str) -> tuple[Any, VisionModel]:
    name, options = CASES[case]
    options = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3, **options}
    theirs = randomize(getattr(smp, name)(**options))
    with (
        torch.no_grad()
    ):  # classes of equal weight, so that masks show several and what does not vary cannot hide errors
        config = theirs(torch.randn(1, options.get("in_channels", 3), 96, 160))
        config = config.logit() if theirs.config["activation"] == "sigmoid" else config
        head = theirs.segmentation_head.head[4] if name == "DPT" else theirs.segmentation_head[0]
        head.bias -= config.mean(dim=(0, 2, 3))
    ours, report = assemble(BUILDERS[name.lower()](theirs.config, theirs.state_dict()))
    assert report.leftover == ()
    return theirs, ours


def logits_of(model: VisionModel, images: Tensor) -> Tensor:
    branch = model.branch("segment")
    outputs = branch.decoder(branch.prepare(model.features(images)))
    return fit_to(outputs.logits, (images.shape[-2], images.shape[-1]), branch.decoder.stride, branch.decoder.fit)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_equal_masks(case: str) -> None:
    """At odd sizes smp gets the canvas, padded with the mean color."""
    theirs, ours = both(case)
    classes, activation = theirs.config["classes"], theirs.config["activation"]
    multiple = ours.backbone.size_multiple
    # attention over the whole image: ours masks the padding, so it differs from smp if there is any
    # smp's DPT takes multiples of 32 only
    for canvas in ((96, 160),) if "scse" in case or "dpt" in case else ((96, 160), (91, 130)):
        images = torch.randint(0, 256, (2, ours.backbone.in_channels, *canvas), dtype=torch.uint8)
        normal = (images.float() - ours.backbone.mean) / ours.backbone.std
        padded = F.pad(normal, (0, -canvas[1] % multiple, 0, -canvas[0] % multiple))
        expected = theirs(padded)[..., : canvas[0], : canvas[1]]
        logits = logits_of(ours, images)
        assert relative_difference(logits.sigmoid() if activation == "sigmoid" else logits, expected) < 1e-4
        probabilities = ours(images)["segment"].probabilities
        if classes == 1 or activation == "sigmoid":
            expected_masks, masks = expected > (0.5 if activation else 0.0), probabilities > 0.5
        else:
            expected_masks, masks = expected.argmax(1), probabilities.argmax(1)
        assert torch.equal(masks, expected_masks) and len(expected_masks.unique()) > 1


@torch.no_grad()
def test_a_saved_folder_comes_in(tmp_path: Path) -> None:
    theirs = randomize(smp.PSPNet("resnet18", encoder_weights=None, classes=3, psp_dropout=0.3))
    theirs.save_pretrained(tmp_path)
    ours, report = import_with_report(f"smp:{tmp_path}")
    assert report.leftover == () and report.unread == ()
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    expected = theirs((images.float() - ours.backbone.mean) / ours.backbone.std)
    assert relative_difference(logits_of(ours, images), expected) < 1e-4
    decoder: Any = ours.branch("segment").decoder
    assert (
        decoder.classifier[0].p == 0.3 and ours.resize_spec.size == (512, 512) and ours.resize_spec.mode == "letterbox"
    )


def test_classes() -> None:
    state = smp.FPN("resnet18", encoder_weights=None, classes=1).state_dict()
    branch = BUILDERS["fpn"]({"encoder_name": "resnet18"}, state).model["branches"]["segment"]
    assert branch["classes"] == ["class_0"] and branch["multilabel"] is True
    state = smp.FPN("resnet18", encoder_weights=None, classes=2).state_dict()
    config: dict[str, Any] = {"encoder_name": "resnet18", "class_names": ["sky", "ground"]}
    branch = BUILDERS["fpn"](config, state).model["branches"]["segment"]
    assert branch["classes"] == ["sky", "ground"] and branch["multilabel"] is False
    branch = BUILDERS["fpn"]({**config, "activation": "sigmoid"}, state).model["branches"]["segment"]
    assert branch["multilabel"] is True
    with pytest.raises(ConfigError, match="has 2 classes, but 'class_names' has 1 names"):
        BUILDERS["fpn"]({**config, "class_names": ["sky"]}, state)


def test_older_names_of_deeplabv3() -> None:
    theirs = smp.DeepLabV3("resnet18", encoder_weights=None, decoder_channels=16)
    changes = {"decoder.aspp.": "decoder.0.", "decoder.conv.": "decoder.1.", "decoder.bn.": "decoder.2."}
    older = theirs.state_dict()
    for new, old in changes.items():
        older = {name.replace(new, old): value for name, value in older.items()}
    assert any(name.startswith("decoder.0.convs") for name in older)
    report = assemble(BUILDERS["deeplabv3"](theirs.config, older))[1]
    assert not [name for name in report.leftover if "decoder" in name]


@pytest.mark.parametrize(
    ("architecture", "config", "error", "message"),
    [
        ("unet", {"encoder_name": "mit_b0"}, WeightsError, "encoder 'mit_b0' is not supported; supported are resnet18"),
        (
            "unet",
            {"encoder_name": "tu-swin_tiny_patch4_window7_224"},
            WeightsError,
            "models those are that take images",
        ),
        ("unet", {"aux_params": {"classes": 4}}, ConfigError, "has a second head, for classification"),
        ("unet", {"decoder_interpolation": "bicubic"}, ConfigError, "'bicubic' is not supported"),
        ("unet", {"decoder_use_norm": "layernorm"}, ConfigError, "'layernorm' is not supported"),
        ("unet", {"decoder_attention_type": "other"}, ConfigError, "'other' is not supported on this encoder"),
        ("unet", {"magic": 1}, ConfigError, "the arguments magic are not supported"),
        ("unet", {"activation": "tanh"}, ConfigError, "activation 'tanh' is not supported"),
        ("fpn", {"upsampling": 8}, ConfigError, "with upsampling 8 the masks are not of the image's size"),
        ("fpn", {"encoder_depth": 3}, ConfigError, "needs four features"),
        ("pspnet", {"encoder_depth": 4}, ConfigError, "upsampling 8 .* the logits are at stride 16"),
    ],
)
def test_what_is_not_known_is_refused(
    architecture: str, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    state = smp.create_model(architecture, "resnet18", encoder_weights=None).state_dict()
    with pytest.raises(error, match=message):
        BUILDERS[architecture]({"encoder_name": "resnet18", **config}, state)


def test_weights_of_another_architecture() -> None:
    state = smp.Unet("resnet18", encoder_weights=None).state_dict()
    with pytest.raises(WeightsError, match=r"not those of this architecture; there is no 'decoder\.seg_blocks"):
        BUILDERS["fpn"]({"encoder_name": "resnet18"}, state)
    with pytest.raises(WeightsError, match="backbone: .* of .* tensors matched"):
        assemble(BUILDERS["unet"]({"encoder_name": "resnet50"}, state))
