"""Pages about models and runs: the model summary, HTML pages."""
