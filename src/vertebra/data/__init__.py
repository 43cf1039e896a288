"""Data sets: readers to columns, samples on the canvas, batches, checks. Knows tasks' types; never the model."""
