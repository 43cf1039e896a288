"""Decoders by name. Each turns features into the outputs, the loss and the decoded predictions of one task."""

from __future__ import annotations

from vertebra.decoders.attention_pool import AttentionPool
from vertebra.decoders.base import AnyDecoder, Decoder
from vertebra.decoders.deeplabv3 import DeepLabV3
from vertebra.decoders.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.detr import DETR
from vertebra.decoders.dpt import DPT
from vertebra.decoders.faster_rcnn import FasterRCNN
from vertebra.decoders.fcn import FCN
from vertebra.decoders.fcos import FCOS
from vertebra.decoders.heatmap import Heatmap
from vertebra.decoders.keypoint_regression import KeypointRegression
from vertebra.decoders.linear import Linear
from vertebra.decoders.lraspp import LRASPP
from vertebra.decoders.pspnet import PSPNet
from vertebra.decoders.retinanet import RetinaNet
from vertebra.decoders.rt_detr import RTDETR
from vertebra.decoders.segformer import SegFormer
from vertebra.decoders.semantic_fpn import SemanticFPN
from vertebra.decoders.simcc import SimCC
from vertebra.decoders.ssd import SSD
from vertebra.decoders.ssdlite import SSDLite
from vertebra.decoders.tood import TOOD
from vertebra.decoders.unet import UNet
from vertebra.decoders.unetplusplus import UNetPlusPlus
from vertebra.decoders.upernet import UPerNet
from vertebra.decoders.upsample import Upsample
from vertebra.decoders.yolox import YOLOX

DECODERS: dict[str, type[AnyDecoder]] = {
    "attention_pool": AttentionPool,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "detr": DETR,
    "dpt": DPT,
    "faster_rcnn": FasterRCNN,
    "fcn": FCN,
    "fcos": FCOS,
    "fpn": SemanticFPN,
    "heatmap": Heatmap,
    "linear": Linear,
    "lraspp": LRASPP,
    "pspnet": PSPNet,
    "regression": KeypointRegression,
    "retinanet": RetinaNet,
    "rt_detr": RTDETR,
    "segformer": SegFormer,
    "simcc": SimCC,
    "ssd": SSD,
    "ssdlite": SSDLite,
    "tood": TOOD,
    "unet": UNet,
    "unetplusplus": UNetPlusPlus,
    "upernet": UPerNet,
    "upsample": Upsample,
    "yolox": YOLOX,
}

__all__ = ["DECODERS", "AnyDecoder", "Decoder"]
