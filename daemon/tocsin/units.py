"""Writes durations and sizes for people."""


def duration(seconds: float | None, none: str = "-") -> str:
    """Write a duration with a unit: "45 ms", "1.2 s", "3 min 5 s", "2 h 1 min". None becomes `none`."""
    if seconds is None:
        return none
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(number: int | None) -> str:
    """Write a number of bytes. A dash if it is not known."""
    return "-" if number is None else f"{number / 1024**2:.1f} MiB"
