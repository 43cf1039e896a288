"""Keypoint decoders. Files that begin with an underscore hold code that several of them share."""
