"""Weights: the model file, fine-tuning from another model, and models of other libraries.

- `vertebra.weights.model_file`: the ``.safetensors`` file, with its header and checksums.
- `vertebra.weights.finetune`: starts training from a trained model.
- `vertebra.weights.importing`: imports models of other libraries; `vertebra.weights.peers` has a file for each library and task.

`vertebra.checkpoints` reads the weight files of any trainer.
"""
