"""The demo: synthetic scenes, one backbone with three branches, and a page with the results."""
