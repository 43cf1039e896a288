"""Preprocessing: from images to the canvas, and from the canvas back to image coordinates.

- `vertebra.preprocess.image_transform`: the position of an image on its canvas; maps boxes and points both ways (numpy);
  `vertebra.preprocess.image_transform_torch`: the same as tensors, with the pixels, for exported graphs.
- `vertebra.preprocess.view_transform`: the same for mirrored and scaled canvases (test-time augmentation);
  `vertebra.preprocess.crop_window`: for the random crops of training; `vertebra.preprocess.tiles`: the tiles of large images.
- `vertebra.preprocess.images`: the pixels, with Pillow.
"""

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec

__all__ = ["ImageTransform", "ResizeSpec"]
