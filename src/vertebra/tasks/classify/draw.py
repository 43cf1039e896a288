"""Pictures of classifications: the image with bars of its most probable classes below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from vertebra.tasks.palette import color
from vertebra.tasks.picture import BRIGHT, DIM, TRACK, enlarge, fit_text, text_size, text_width, with_strip, write

if TYPE_CHECKING:
    from vertebra.tasks.classify.types import ClassifyPrediction

SHOWN_CLASSES = 3


def draw_classification(prediction: ClassifyPrediction, picture: Image.Image) -> Image.Image:
    """The picture with the most probable classes in a strip below: name, bar, percentage.

    Args:
        prediction: the classes to draw.
        picture: RGB, of any size; a small one is enlarged.
    """
    picture = enlarge(picture)
    if not len(prediction):
        return picture
    size = text_size(picture)
    best = prediction.class_ids[:SHOWN_CLASSES].tolist()
    accepted = prediction.accepted.class_ids
    row, margin = round(size * 1.6), max(4, size // 2)
    whole = with_strip(picture, row * len(best) + margin)
    draw = ImageDraw.Draw(whole)
    percent_width = text_width("100.0 %", size)
    name_width = max(1, (picture.width - percent_width - 4 * margin) // 2)
    bar_left = 2 * margin + name_width
    bar_right = max(bar_left + 1, picture.width - percent_width - 2 * margin)
    for position, class_id in enumerate(best):
        probability = float(prediction.probabilities[class_id])
        middle = picture.height + margin / 2 + row * (position + 0.5)
        ink = BRIGHT if position == 0 or (prediction.spec.multilabel and class_id in accepted) else DIM
        name = fit_text(prediction.spec.classes[class_id], size, name_width)
        write(draw, (margin, middle), name, size, ink)
        top, bottom = middle - size * 0.3, middle + size * 0.3
        draw.rectangle((bar_left, top, bar_right, bottom), fill=TRACK)
        filled = bar_left + round((bar_right - bar_left) * min(max(probability, 0.0), 1.0))
        if filled > bar_left:
            draw.rectangle((bar_left, top, filled, bottom), fill=color(class_id))
        percent = f"{100 * probability:.1f} %"
        write(draw, (picture.width - margin - text_width(percent, size), middle), percent, size, ink)
    return whole
