"""Loads weight files of any trainer into a module."""

from vertebra.checkpoints.guards import check_length, one_line
from vertebra.checkpoints.loading import LoadReport, is_finite, load_file, load_matching
from vertebra.checkpoints.prefixes import NOTHING, Choice, Stripped, choose, choose_before
from vertebra.checkpoints.reading import read_state_dict

__all__ = [
    "NOTHING",
    "Choice",
    "LoadReport",
    "Stripped",
    "check_length",
    "choose",
    "choose_before",
    "is_finite",
    "load_file",
    "load_matching",
    "one_line",
    "read_state_dict",
]
