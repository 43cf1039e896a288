"""The operations of augmentation; `vertebra.data.transforms` puts them together for one image.

- Windows of the image, which is then resampled once: `crop_windows.py` (random zoom and random resized crop), `iou_crop.py`,
  `random_warp.py` (free rotation and perspective).
- Pixels on the canvas: `colors.py`, and `camera.py` with `blur.py`, `noise.py`, `jpeg.py`.
- Several images on the canvas: `mosaic.py`, `mixup.py`, `cutmix.py`, `copy_paste.py`, chosen by `mixing.py`.
- `user_transform.py`: a transform of the user's own over ``torchvision.tv_tensors``.
"""
