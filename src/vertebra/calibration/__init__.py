"""Calibration of a trained model on labeled images of their own: promised operating points, and temperatures.

- `bounds.py`, `operating_points.py`: thresholds whose share of missed objects is bounded, with their costs.
- `temperature.py`: the temperature of a branch, and its calibration error.
- `measured_images.py`, `run.py`: both for a model file or a run, on a data set.
"""
