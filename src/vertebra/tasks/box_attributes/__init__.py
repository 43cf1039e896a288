"""The task ``box_attributes``: the values of one attribute, such as a color, of the boxes of another branch.

A config names it as ``task: classify`` with ``boxes_from``. `task.py` joins its types, predictions, metrics and pictures.
"""
