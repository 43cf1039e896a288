"""Ways of damaging inputs: bytes, numbers in text, and JSON."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import numpy as np

Rng = np.random.Generator

WORDS = (
    "0", "-1", "1", "2", "255", "65535", "65536", "2147483647", "2147483648", "-2147483648", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "1" + "0" * 40, "9" * 5000, "1e7", "1e9", "1e38", "1e39", "-1e300", "1e999",
    "NaN", "Infinity", "-Infinity", "0.5", "1e-320", "", "text", "true", "null", "4006381333931", "\u0663", "\u00b2", "\x00",
    "../../../../etc/passwd", "a" * 5000, "\ud800", "[]", "{}",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    0, -1, 1, 2, 255, 65536, 2**31 - 1, 2**31, 2**62, 2**63 - 1, 2**63, 10**40, -(2**63), 0.5, 1e7, 1e9, 1e38, 1e39, -1e300,
    float("nan"), float("inf"), float("-inf"), "", "0", "1", "false", "text", "4006381333931", None, True, False, [], {},
    [[]], [None], ["x"], [1e999], {"size": [2, 2], "counts": [1, 3]}, {"size": [24, 32], "counts": "zz"},
    {"size": [24, 32], "counts": [2**63 - 1, 1]}, {"size": [2**31, 2**31], "counts": [0]}, "a" * 5000, "\ud800", "\x00",
    [[0, 0, 1e7, 0, 1e7, 1e7]], [[0, 0, 1e9, 0, 5, 1e9]], [[0, 0, 1e39, 0, 5, 5]], [0, 0, 1e9, 1e9],
)  # fmt: skip


def spoil_bytes(rng: Rng, content: bytes) -> bytes:
    """One to four of: bits turned, an end cut off, a part cut out, doubled or overwritten, a number made extreme."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        length = int(min(rng.integers(1, 65), len(data) - at))
        match int(rng.integers(7)):
            case 0:
                for place in rng.integers(0, len(data), int(rng.integers(1, 9))).tolist():
                    data[place] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes([int(rng.choice([0, 255, 128]))]) * length
            case 5:
                data[at : at + length] = rng.bytes(length)
            case _:
                extreme = int(rng.choice([0, 1, 0x7F, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 100_000_000]))
                wide = extreme.to_bytes(4, "big" if rng.integers(2) else "little")
                data[at : at + 4] = wide[: len(data) - at]
    return bytes(data)


def spoil_text(rng: Rng, text: str) -> str:
    """One to three of: a number or word replaced, a line cut, doubled, dropped or moved, the whole spoiled as bytes."""
    for _ in range(int(rng.integers(1, 4))):
        lines = text.split("\n")
        at = int(rng.integers(len(lines)))
        match int(rng.integers(6)):
            case 0 | 1:
                found = list(re.finditer(r"[\w.]+", text))
                if found:
                    one = found[int(rng.integers(len(found)))]
                    text = text[: one.start()] + WORDS[int(rng.integers(len(WORDS)))] + text[one.end() :]
                continue
            case 2:
                lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
            case 3:
                lines.insert(int(rng.integers(len(lines))), lines[at])
            case 4:
                del lines[at]
            case _:
                return spoil_bytes(rng, text.encode("utf-8", "surrogatepass")).decode("latin-1")
        text = "\n".join(lines)
    return text


def encoded(rng: Rng, text: str) -> bytes:
    """Text as bytes, sometimes in another encoding than is expected."""
    names = ["utf-8"] * 6 + ["utf-16", "latin-1", "utf-8-sig"]
    return text.encode(names[int(rng.integers(len(names)))], "replace")


def spoil_json(rng: Rng, document: Any) -> bytes:
    """One to four changes of a JSON document's values, keys and nesting, and seldom of its bytes."""
    deep: dict[str, str] = {}
    for number in range(int(rng.integers(1, 5))):
        places = list(_places(document))
        if not places:
            break
        holder, key = places[int(rng.integers(len(places)))]
        _change(rng, holder, key, places, deep, number)
    text = json.dumps(document)
    for mark, nested in deep.items():
        text = text.replace(f'"{mark}"', nested)
    if rng.integers(8) == 0:
        keys = list(re.finditer(r'"\w+": ', text))
        one = keys[int(rng.integers(len(keys)))] if keys else None
        text = text[: one.start()] + one[0] + "7, " + text[one.start() :] if one else text
    content = text.encode()
    return spoil_bytes(rng, content) if rng.integers(6) == 0 else content


def _change(rng: Rng, holder: Any, key: Any, places: list[Any], deep: dict[str, str], number: int) -> None:
    match int(rng.integers(7)):
        case 0 | 1 | 2:
            holder[key] = deepcopy(VALUES[int(rng.integers(len(VALUES)))])  # a later change must not reach the values
        case 3:
            del holder[key]
        case 4 if isinstance(holder, list):
            holder.extend([holder[key]] * int(rng.integers(1, 4)))
        case 5:
            other, place = places[int(rng.integers(len(places)))]
            holder[key] = json.loads(json.dumps(other[place]))
        case 6:
            depth = int(rng.choice([5, 500, 100_000]))
            sign = rng.integers(2)
            deep[f"deep {number}"] = ("[" if sign else '{"a":') * depth + "1" + ("]" if sign else "}") * depth
            holder[key] = f"deep {number}"
        case _:
            holder[key] = str(holder[key])


def _places(document: Any) -> Any:
    """Where all values of a document are: (list or object, index or key)."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in list(keys):
        yield document, key
        yield from _places(document[key])
