"""Range checks of options when a part is built."""

from __future__ import annotations

from vertebra.errors import ConfigError


def check_range(part: str, *, least: float, most: float | None = None, **options: float | None) -> None:
    """Raises if an option is out of its limits.

    Args:
        part: kind and name, for the message: "neck 'fpn'".
        least: smallest legal value.
        most: largest legal value, or None for no limit.
        options: values by name; None (a default that is resolved later) passes.

    Raises:
        ConfigError: with the part, the option, its limits and its value.
    """
    limits = f"{least} or more" if most is None else f"from {least} to {most}"
    for name, value in options.items():
        if value is not None and not (least <= value and (most is None or value <= most)):
            raise ConfigError(f"{part}: '{name}' must be {limits}, got {value}")
