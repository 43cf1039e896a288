"""Panoptic segmentation: things and stuff of an image in one map, in which each pixel is of one segment at most.

- `panoptic_fpn.py`: from objects with masks and the class of each pixel to segments.
- `branches.py`: the branches of a model that are fused.
- `types.py`, `draw.py`: the fused prediction, and its pictures.
- `ground_truth.py`, `quality.py`: annotated segments, and PQ, SQ and RQ.
"""
