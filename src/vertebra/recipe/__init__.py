"""The training recipe as data: names with options, without torch.

- `vertebra.recipe.augment`: options of random augmentation (``train.augment``); `vertebra.data.transforms` applies them;
  `vertebra.recipe.augment_effect`: which of them have an effect on the data.
- `vertebra.recipe.lr_schedule`: learning-rate schedules and warm-up (``train.lr_schedule``).

Optimizers are in `vertebra.training.optimizers`.
"""
