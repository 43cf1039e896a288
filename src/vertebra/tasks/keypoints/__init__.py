"""The task ``keypoints``: `task.py` joins its types, predictions, metrics and pictures.

- `metrics.py`: PCK and mean distances; `oks_ap.py`: average precision by object keypoint similarity.
- `flip_pairs_by_name.py`, `flip_pairs_by_position.py`: which points change places in a mirrored image.
- `predictions.py`: from decoded points to a prediction in pixels of the original image; `to_image_coords.py` does the same as
  tensors, for exported files that take images of any size.
"""
