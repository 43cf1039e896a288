"""Readers: one file a format, each from files to an `vertebra.data.index.Index`."""
