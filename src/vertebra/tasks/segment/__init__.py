"""The task ``segment``: `task.py` joins its types, predictions, metrics and pictures.

- `metrics.py`: mean IoU and pixel accuracy.
- `predictions.py`: from decoded probabilities to a mask of the size of the original image; `to_image_coords.py` does the same as
  tensors, for exported files that take images of any size.
"""
