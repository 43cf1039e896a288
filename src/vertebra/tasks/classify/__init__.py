"""The task ``classify``: `task.py` joins its types, predictions, metrics and pictures."""
