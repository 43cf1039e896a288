"""Boxes and points as tensors, in pixels of the canvas.

- `vertebra.geometry.nms`: non-maximum suppression; `vertebra.decoders.detect._nms_postprocess` has its thresholds.
- `vertebra.geometry.boxes`, `vertebra.geometry.giou`: areas, intersections, IoU and generalized IoU.
- `vertebra.geometry.anchors`, `vertebra.geometry.default_boxes`: anchors, and those of SSD.
- `vertebra.geometry.box_coding`: boxes relative to anchors or locations, and back.
- `vertebra.geometry.points`, `vertebra.geometry.rois`, `vertebra.geometry.heatmaps`: centers of cells, regions, and heatmaps.

`vertebra.preprocess` converts between the canvas and the original image.
"""
