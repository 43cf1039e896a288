"""Decoders of the instances task."""
