"""How images come onto the canvas and results come back: numpy and Pillow only."""

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec

__all__ = ["ImageTransform", "ResizeSpec"]
