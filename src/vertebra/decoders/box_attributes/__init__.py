"""Decoders of attributes of boxes."""
