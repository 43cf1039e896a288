"""Decoders of the task of rotated boxes."""
