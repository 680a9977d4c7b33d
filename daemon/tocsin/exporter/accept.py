"""Reads Accept headers: RFC 9110, 12.4.2 (weights) and 12.5.1 (media ranges)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
OPENMETRICS_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})  # we send 1.0.0, which readers of 0.0.1 understand
TEXT_VERSIONS = frozenset({"", "0.0.4"})
ANY_VERSION = frozenset({""})


class Range(NamedTuple):
    """One media range: its two halves in lower case, its version or "", and its weight."""

    kind: str
    subtype: str
    version: str
    weight: float


class Match(NamedTuple):
    """The weight of a type, from 0 (refused) to 1, and whether the header names it (`*/*` does not)."""

    weight: float
    named: bool


def ranges(accept: str) -> Iterator[Range]:
    """Yield the media ranges of the header. Skips malformed ones."""
    for element in accept.split(","):
        media, *parameters = (part.strip() for part in element.split(";"))
        kind, slash, subtype = media.lower().partition("/")
        given: dict[str, str] = {}
        for name, _, value in (one.partition("=") for one in parameters):
            given.setdefault(name.strip().lower(), value.strip().strip('"'))
        weight = given.get("q", "1")
        if slash and _WEIGHT.fullmatch(weight):
            yield Range(kind, subtype, given.get("version", ""), float(weight))


def match(accept: str, media: str, versions: frozenset[str] = ANY_VERSION) -> Match | None:
    """Return the weight of a type in one of these versions, or None if the header does not mention it. The most
    specific range decides. Of several versions that match, the one with the highest weight counts."""
    kind, _, subtype = media.partition("/")
    found = []
    for one in ranges(accept):
        if (one.kind, one.subtype) == (kind, subtype):
            if one.version in versions or versions is ANY_VERSION:
                found.append((3 if one.version else 2, one.weight))
        elif not one.version and one.subtype == "*" and one.kind in (kind, "*"):
            found.append((int(one.kind == kind), one.weight))
    if not found:
        return None
    specificity, weight = max(found)
    return Match(weight, specificity >= 2)


def wants(accept: str, media: str) -> bool:
    """Whether the header names the type and does not refuse it."""
    found = match(accept, media)
    return found is not None and found.named and found.weight > 0
