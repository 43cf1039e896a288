"""How a model is trained, as data: augmentation and learning-rate schedule by name, with options; without torch."""
