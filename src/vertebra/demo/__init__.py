"""The demo: scenes drawn on the spot, one backbone with three branches, and a page that shows what it learned."""
