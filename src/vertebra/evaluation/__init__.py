"""Evaluation: metrics over a data set, and benchmarks of runtimes."""
