"""Rewrites of an exported graph: lower precision, preprocessing inside the graph."""
