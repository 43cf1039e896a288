"""Panoptic segmentation: things and stuff of an image in one map, in which each pixel is of one segment at most.

- `fusion.py`: from objects with masks and the class of each pixel to segments.
- `types.py`, `draw.py`: the fused prediction, and its pictures.
- `ground_truth.py`, `quality.py`: annotated segments, and PQ, SQ and RQ.
"""
