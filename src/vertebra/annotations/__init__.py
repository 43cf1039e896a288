"""Annotations of a data set in one form for all formats, below the tasks that use them.

- `vertebra.annotations.table`: all that the files of a split hold, as columns.
- `vertebra.annotations.builder`: makes such a table from one image and one object at a time.
- `vertebra.annotations.shapes`: outlines and run lengths.
- `vertebra.annotations.notes`: counted warnings.
"""
