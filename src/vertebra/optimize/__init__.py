"""The inference copy of a model: the same function, faster."""
