"""Decoders of boxes. Files with a leading underscore are shared by several decoders."""
