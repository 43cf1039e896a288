"""Tasks: their labels, target and prediction types, metrics and pictures; one folder a task."""
