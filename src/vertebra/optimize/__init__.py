"""The inference copy of a model: the same function, faster.

- `vertebra.optimize.inference_copy`: makes the copy that ``predict`` runs; `vertebra.optimize.checked_copy` compares it with the
  model and leaves out what changes outputs.
- `vertebra.optimize.bn_folding`, `vertebra.optimize.conv_prepack`, `vertebra.optimize.conv_add_fusion`,
  `vertebra.optimize.dilated_conv_split`, `vertebra.optimize.half_precision`: one optimization each.
- `vertebra.optimize.cuda_graphs`: on a GPU.
"""
