"""Data sets: readers, annotation columns, samples on the canvas, batches, checks. Imports tasks' types, never the model."""
