"""The task ``detect``: `task.py` joins its types, predictions, metrics and pictures.

- `metrics.py`, `coco_ap.py`: mAP, by COCO's rules.
- `predictions.py`: from decoded boxes to a prediction in pixels of the original image; `to_image_coords.py` does the same as
  tensors, for exported files that take images of any size.
- `tiles.py`, `tta.py`: boxes of several tiles or views merged.
"""
