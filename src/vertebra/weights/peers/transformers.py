"""All of transformers' models that can come in, by the ``model_type`` of their ``config.json``."""

from __future__ import annotations

from vertebra.weights.peers.base import FolderBuilder
from vertebra.weights.peers.transformers_detr import detr
from vertebra.weights.peers.transformers_rt_detr import rt_detr
from vertebra.weights.peers.transformers_segformer import segformer

BUILDERS: dict[str, FolderBuilder] = {"detr": detr, "rt_detr": rt_detr, "rt_detr_v2": rt_detr, "segformer": segformer}
