"""Decoders of whole images."""
