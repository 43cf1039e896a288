"""Inputs and outputs of prediction: files, videos, streams, result writers."""
