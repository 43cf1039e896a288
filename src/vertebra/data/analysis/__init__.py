"""Functions that find what is wrong in a data set, and divide it: numbers and names in, arrays out.

- `small_images`: an image decoded at reduced scale, which the next two read.
- `perceptual_hash`, `hamming_pairs`: images that are nearly the same.
- `image_kinds`: images that are black, blurred, or of another kind than the rest.
- `groups`: images that belong together by their names; `stratify`: shares and folds with the classes in proportion.
- `class_names`: names of one class, spelled differently; `box_conventions`: what four numbers of a box mean.
"""
