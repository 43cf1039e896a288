"""Range checks of options when a part is built."""

from __future__ import annotations

from vertebra.errors import ConfigError


def check_range(part: str, *, minimum: float, maximum: float | None = None, **options: float | None) -> None:
    """Raises if an option is out of its limits.

    Args:
        part: kind and name, for the message: "neck 'fpn'".
        minimum: smallest legal value.
        maximum: largest legal value, or None for no limit.
        options: values by name; None (a default that is resolved later) passes.

    Raises:
        ConfigError: with the part, the option, its limits and its value.
    """
    limits = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
    for name, value in options.items():
        if value is not None and not (minimum <= value and (maximum is None or value <= maximum)):
            raise ConfigError(f"{part}: '{name}' must be {limits}, got {value}")
