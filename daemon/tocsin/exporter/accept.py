"""What an Accept header takes: RFC 9110, 12.4.2 (weights) and 12.5.1 (media ranges)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
OPENMETRICS_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})  # 1.0.0 is what there is; what reads 0.0.1 reads it too
TEXT_VERSIONS = frozenset({"", "0.0.4"})
ANY_VERSION = frozenset({""})


class Range(NamedTuple):
    """One media range: its two halves in lower case, its version or "", and its weight."""

    kind: str
    subtype: str
    version: str
    weight: float


class Match(NamedTuple):
    """How much a type is wanted, from 0 (refused) to 1, and whether the header names it (`*/*` does not)."""

    weight: float
    named: bool


def ranges(accept: str) -> Iterator[Range]:
    """The media ranges of the header; one that is malformed is passed over."""
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
    """What the header says of a type in one of these versions; None: nothing. The most specific range decides, and
    of several versions that one can be sent as, the one that is wanted most."""
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
    """Whether the header names the type, and does not refuse it."""
    found = match(accept, media)
    return found is not None and found.named and found.weight > 0
