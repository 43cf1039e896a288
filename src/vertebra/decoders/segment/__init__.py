"""Decoders of pixels. Files that begin with an underscore hold what several of them share."""
