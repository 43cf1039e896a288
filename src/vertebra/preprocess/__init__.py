"""How images come onto the canvas and results come back: numpy and Pillow only."""

from vertebra.preprocess.plan import Placement, Plan

__all__ = ["Placement", "Plan"]
