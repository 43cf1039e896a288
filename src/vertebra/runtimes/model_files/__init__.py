"""Validation of exported files before a runtime opens them, and their metadata; without torch."""
