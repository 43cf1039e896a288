"""Training: the run, its steps, and what it leaves in its folder.

- `vertebra.training.run`: from a config, a model or a run folder to a run; `vertebra.training.execution`: its course, until the run
  folder is complete; `vertebra.training.trainer`: Lightning's trainer; `vertebra.training.step`: one training step, with the
  learning rate, gradient clipping and the moving average of the weights.
- `vertebra.training.optimizers`: optimizers by name; `vertebra.training.parameter_groups`: learning rate and weight decay of each
  parameter; `vertebra.training.ema`: the moving average of the weights.
- `vertebra.training.resuming`, `vertebra.training.saved_state`: the state of a run, saved and resumed.
- `vertebra.training.progress`, `vertebra.training.pace`, `vertebra.training.epoch_cost`: what a run prints, the time left, and what
  an epoch costs; `vertebra.training.metrics_table`: the tables of metrics; `vertebra.training.loggers`: TensorBoard and its like;
  `vertebra.training.run_list`: the runs of a folder.
- `vertebra.training.selection`: which weights are kept; `vertebra.training.report`: the page of a run.

Augmentation and learning-rate schedules are in `vertebra.recipe`, losses in `vertebra.losses`, metrics in ``metrics.py`` of
each task.
"""
