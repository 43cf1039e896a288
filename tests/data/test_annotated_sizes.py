"""Annotations made for another size of the image, or before it was turned upright."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.annotated_sizes import AnnotatedSizes, SizeChange
from vertebra.data.checks import check_data
from vertebra.data.loaders import make_loader
from vertebra.data.open import open_data
from vertebra.data.samples import MixedData, SampleKey, Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import read_image
