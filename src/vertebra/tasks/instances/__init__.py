"""The task ``instances``: `task.py` joins its types, predictions, metrics and pictures.

- `region_mapping.py`: masks as run lengths, moved by crops, flips and warps.
- `paste.py`: masks of a fixed number of cells, drawn into boxes as run lengths.
- `predictions.py`: from decoded boxes and masks to a prediction in pixels of the original image; `to_image_coords.py` does the same
  as tensors, for exported files that take images of any size.
- `metrics.py`, `mask_ap.py`: mAP by masks and by their boundaries, by COCO's rules.
- `tiles.py`, `tta.py`: objects of several tiles or views merged.
"""
