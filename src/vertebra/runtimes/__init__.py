"""Exported files and the runtimes that run them; without torch, but for files that torch made."""
