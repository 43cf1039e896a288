"""Prediction, with a model in PyTorch or with an exported file.

- `vertebra.inference.predictor`: with a model in PyTorch; `vertebra.inference.exported_model`: with an exported file.
- `vertebra.inference.pipeline`: preprocessing, batches, the model, and results in pixels of the original image;
  `vertebra.inference.multi_view`: tiles and test-time augmentation.
- `vertebra.inference.results`: the `Result` of an image; `vertebra.tasks` has the prediction of each task.
- `vertebra.inference.io`: images, videos and cameras in; pictures, JSON lines, COCO results and masks out.
- `vertebra.inference.ray`: the same on a Ray cluster.

`vertebra.optimize` makes the faster copy of the model that is run.
"""
