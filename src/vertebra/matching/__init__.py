"""Matching (label assignment): which anchors, locations or queries belong to which ground-truth object.

- `vertebra.matching.iou`: anchors by IoU thresholds (RetinaNet, Faster R-CNN, SSD).
- `vertebra.matching.fcos`, `vertebra.matching.simota`, `vertebra.matching.task_aligned`: locations (FCOS, YOLOX, TOOD).
- `vertebra.matching.one_to_one`: queries, by the Hungarian algorithm (DETR, RT-DETR).
- `vertebra.matching.sampling`: the balanced sample of a two-stage detector.

The losses of the matches are in `vertebra.losses`.
"""
