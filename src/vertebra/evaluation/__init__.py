"""Evaluation: runs a model over a labeled data set and collects its metrics and losses; speed and memory of a runtime.

`vertebra.evaluation.measure` runs the model. The metrics themselves are in ``metrics.py`` of each task, such as
`vertebra.tasks.detect.metrics` (mAP) and `vertebra.tasks.segment.metrics` (mean IoU).
"""
