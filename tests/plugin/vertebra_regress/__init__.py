"""A package that adds a task to Vertebra: numbers of an image, such as its brightness."""
