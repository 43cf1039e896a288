"""Data sets: from files to batches. Imports tasks' types, never the model.

- `vertebra.data.readers`: a file for each data format; `vertebra.data.open`: detects the format and reads one split.
- `vertebra.data.index`: a split as columns of annotations, without the pixels.
- `vertebra.data.transforms`: an image and its annotations onto the canvas, with random augmentation, whose options are those of
  `vertebra.recipe.augment`.
- `vertebra.data.samples`, `vertebra.data.sampler`, `vertebra.data.batches`, `vertebra.data.loaders`: from samples to batches.
- `vertebra.data.analysis`: near-duplicates, groups, stratified division, odd images: arrays in, arrays out.
- `vertebra.data.check.run`: what ``vertebra data check`` reports.
"""
