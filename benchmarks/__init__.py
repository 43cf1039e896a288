"""Measurements that take too long or vary too much for tests. Run them with ``make bench``."""
