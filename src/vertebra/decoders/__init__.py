"""Decoders by name. Each turns features into the outputs, the loss and the decoded predictions of one task."""

from __future__ import annotations

from vertebra.decoders.base import AnyDecoder, Decoder
from vertebra.decoders.box_attributes.roi_head import RoIHead
from vertebra.decoders.classify.attention_pool import AttentionPool
from vertebra.decoders.classify.linear import Linear
from vertebra.decoders.detect.detr import DETR
from vertebra.decoders.detect.faster_rcnn import FasterRCNN
from vertebra.decoders.detect.fcos import FCOS
from vertebra.decoders.detect.retinanet import RetinaNet
from vertebra.decoders.detect.rt_detr import RTDETR
from vertebra.decoders.detect.ssd import SSD
from vertebra.decoders.detect.ssdlite import SSDLite
from vertebra.decoders.detect.tood import TOOD
from vertebra.decoders.detect.yolox import YOLOX
from vertebra.decoders.instances.condinst import CondInst
from vertebra.decoders.instances.mask2former import Mask2FormerInstances
from vertebra.decoders.instances.mask_rcnn import MaskRCNN
from vertebra.decoders.keypoints.heatmap import Heatmap
from vertebra.decoders.keypoints.keypoint_regression import KeypointRegression
from vertebra.decoders.keypoints.simcc import SimCC
from vertebra.decoders.rotated_boxes.rotated_fcos import RotatedFCOS
from vertebra.decoders.rotated_boxes.rotated_retinanet import RotatedRetinaNet
from vertebra.decoders.segment.deeplabv3 import DeepLabV3
from vertebra.decoders.segment.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.segment.dpt import DPT
from vertebra.decoders.segment.fcn import FCN
from vertebra.decoders.segment.lraspp import LRASPP
from vertebra.decoders.segment.mask2former import Mask2Former
from vertebra.decoders.segment.maskformer import MaskFormer
from vertebra.decoders.segment.pspnet import PSPNet
from vertebra.decoders.segment.segformer import SegFormer
from vertebra.decoders.segment.semantic_fpn import SemanticFPN
from vertebra.decoders.segment.unet import UNet
from vertebra.decoders.segment.unetplusplus import UNetPlusPlus
from vertebra.decoders.segment.upernet import UPerNet
from vertebra.decoders.segment.upsample import Upsample

DECODERS: dict[str, type[AnyDecoder]] = {
    "attention_pool": AttentionPool,
    "condinst": CondInst,
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
    "mask2former": Mask2Former,
    "mask2former_instances": Mask2FormerInstances,
    "mask_rcnn": MaskRCNN,
    "maskformer": MaskFormer,
    "pspnet": PSPNet,
    "regression": KeypointRegression,
    "retinanet": RetinaNet,
    "roi_head": RoIHead,
    "rotated_fcos": RotatedFCOS,
    "rotated_retinanet": RotatedRetinaNet,
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
