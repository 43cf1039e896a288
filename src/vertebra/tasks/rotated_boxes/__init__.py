"""The task ``rotated_boxes``: objects with boxes of any angle; `task.py` joins its types, predictions, metrics and pictures.

A box is kept as its four corners everywhere, see `vertebra.geometry.rectangles`, which stay exact under flips, turns and crops.

- `from_annotations.py`: from outlines of any number of points to the smallest rectangles around them.
- `metrics.py`, `rotated_ap.py`: COCO's mAP, by the IoU of the rotated boxes.
- `tiles.py`, `tta.py`: boxes of several tiles or views merged.
"""
