"""Export targets: one file format each."""
