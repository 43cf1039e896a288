"""Searches for good options and parts by trial runs, with Optuna; see `vertebra.tuning.tune.tune`."""
