"""Losses, each as a `vertebra.losses.loss_term.LossTerm`: a sum and its count.

- Segmentation: `vertebra.losses.segmentation` (cross entropy, focal, Dice), `vertebra.losses.lovasz` and
  `vertebra.losses.boundary` compute the losses; `vertebra.losses.segmentation_loss` has their weights and options, as a config
  names them, and sums them.
- Detection: `vertebra.losses.detection` (focal loss, GIoU and smooth L1 of dense detectors), `vertebra.losses.distribution`
  (TOOD), `vertebra.losses.objectness` (YOLOX), `vertebra.losses.hard_negative_mining` (SSD), `vertebra.losses.proposals`
  (Faster R-CNN), `vertebra.losses.queries` (DETR, RT-DETR).
- `vertebra.losses.classification`, `vertebra.losses.keypoints`.

The ``loss`` method of a decoder chooses its losses. Which anchor or query belongs to which object: `vertebra.matching`.
"""
