"""How images come onto the canvas and results come back.

- `vertebra.preprocess.image_transform`: where an image lies on its canvas, and boxes and points there and back (numpy);
  `vertebra.preprocess.image_transform_torch`: the same as tensors, with the pixels, for graphs that hold it.
- `vertebra.preprocess.view_transform`: the same for mirrored and scaled canvases (test-time augmentation);
  `vertebra.preprocess.crop_window`: for the random crops of training; `vertebra.preprocess.tiles`: the tiles of large images.
- `vertebra.preprocess.images`: the pixels, with Pillow.
"""

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec

__all__ = ["ImageTransform", "ResizeSpec"]
