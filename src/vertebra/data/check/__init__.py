"""What ``vertebra data check`` finds before a training is lost: all kinds of problems of images, annotations and splits.

- `run`: `check_data`, all of it; `before_training`: the quick part, from opened data.
- `report`: a finding, and the report; `open_splits`: the splits of a data set for all its tasks; `scanning`: one pass over the
  images; `fix`: a corrected copy.
- `images`, `duplicates`, `labels`, `boxes`, `masks`, `splits`: what is found, by subject.
"""
