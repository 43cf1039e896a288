"""Options that must lie within limits, checked when a part is built."""

from __future__ import annotations

from vertebra.errors import ConfigError


def check_range(part: str, *, least: float, most: float | None = None, **options: float | None) -> None:
    """Raises where an option is out of its limits.

    Args:
        part: kind and name, for the message: "neck 'fpn'".
        least: smallest legal value.
        most: largest legal value, or None where there is no end.
        options: values by name; None (a default still to be chosen) passes.

    Raises:
        ConfigError: naming the part, the option, its limits and what was given.
    """
    limits = f"{least} or more" if most is None else f"from {least} to {most}"
    for name, value in options.items():
        if value is not None and not (least <= value and (most is None or value <= most)):
            raise ConfigError(f"{part}: '{name}' must be {limits}, got {value}")
