"""Classification decoders."""
