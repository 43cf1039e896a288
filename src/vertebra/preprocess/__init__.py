"""Preprocessing: from images to the canvas, and from the canvas back to image coordinates.

- `vertebra.preprocess.image_transform`: the position of an image on its canvas; maps boxes and points both ways (numpy);
  `vertebra.preprocess.image_transform_torch`: the same as tensors, with the pixels, for exported graphs.
- `vertebra.preprocess.view_transform`: the same for mirrored and scaled canvases (test-time augmentation);
  `vertebra.preprocess.canvas_map`: for training: `vertebra.preprocess.crop_window` for random crops, mirroring and quarter
  turns, `vertebra.preprocess.warp` for free rotation and perspective; `vertebra.preprocess.tiles`: the tiles of large images.
- `vertebra.preprocess.images`: the pixels, with Pillow.
"""

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec

__all__ = ["ImageTransform", "ResizeSpec"]
