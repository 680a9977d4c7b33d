"""Translates schedules of other programs, which add something to the five fields."""

import re

_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(\S.*)", re.IGNORECASE)  # robfig/cron, and so Kubernetes and many more
_EVENTBRIDGE = re.compile(r"cron\(\s*(\S+(?:\s+\S+){5})\s*\)", re.IGNORECASE)  # AWS: year last, Sunday is 1
_RATE = re.compile(r"(?:rate\(|every\s+)\s*(\d{1,6})?\s*(second|minute|hour|day|min|hr)s?\s*\)?", re.IGNORECASE)
_UNITS = {"second": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h", "day": "d"}
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEKDAY = re.compile(r"(?<![#/0-9])([1-7])(?![0-9])")


def rewritten(text: str) -> tuple[str, str]:
    """Return the schedule as Tocsin writes it, and the zone in it, or "". A schedule that needs no translation, or has
    none, is returned unchanged."""
    text = text.strip()
    if zone := _ZONE.fullmatch(text):
        return rewritten(zone[2])[0], zone[1]
    if rate := _RATE.fullmatch(text):
        return f"@every {rate[1] or 1}{_UNITS[rate[2].lower()]}", ""
    if inner := _EVENTBRIDGE.fullmatch(text):
        *fields, weekday, year = inner[1].split()
        weekday = _WEEKDAY.sub(lambda day: _WEEKDAYS[int(day[1]) - 1], weekday)
        return (" ".join((*fields, weekday)), "") if year in ("*", "?") else (text, "")
    fields = text.split()
    if len(fields) == 7 and fields[-1] in ("*", "?") and not text.startswith("@"):
        return " ".join(fields[:-1]), ""  # Quartz: a year, here every year
    return text, ""
