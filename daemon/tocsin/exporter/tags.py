"""Entity tags, which say what a browser already has of a page, so that it gets only what is new (RFC 9110, 8.8.3 and
13.1.2)."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_TAG = re.compile(r'"([0-9a-f]{12})\.(\d{1,15})\.([0-9a-f]{12})\.([0-9a-f]{12})"')
LONGEST = 1000  # characters of If-None-Match that are read: a browser sends one tag


class Tag(NamedTuple):
    """Identifies one state of one page. `boot` identifies the exporter's process, `serial` the newest row that it had
    rendered, `order` the page's rows and their order, and `digest` the whole page."""

    boot: str
    serial: int
    order: str
    digest: str

    def __str__(self) -> str:
        """Weak, since the times in two equal pages may differ by the clock."""
        return f'W/"{self.boot}.{self.serial}.{self.order}.{self.digest}"'


@dataclass(frozen=True, slots=True)
class Had:
    """What the browser says it has. `takes_parts`: it accepts a page with only the rows that changed."""

    tags: tuple[Tag, ...] = ()
    takes_parts: bool = False

    def has(self, tag: Tag) -> bool:
        return any(one.digest == tag.digest and one.boot == tag.boot for one in self.tags)

    def base(self, boot: str) -> Tag | None:
        """Return the state to which changed rows can be added, if there is one."""
        return self.tags[0] if self.takes_parts and self.tags and self.tags[0].boot == boot else None


NOTHING = Had()


def read(if_none_match: str, *, takes_parts: bool = False) -> Had:
    return Had(tuple(_tags(if_none_match[:LONGEST])), takes_parts) if if_none_match else NOTHING


def _tags(text: str) -> Iterator[Tag]:
    for boot, serial, order, digest in _TAG.findall(text):
        yield Tag(boot, int(serial), order, digest)


def digest(*values: object) -> str:
    """Return the same text for values that are written alike."""
    return hashlib.blake2b(repr(values).encode(), digest_size=6).hexdigest()
