"""A request of a command line, and what the readers of curl and wget share.

An unknown option makes the whole command unclear, so that nothing is lost silently.
"""

import getopt
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from tocsin.importing.shell import MARK, Unclear

NOWHERE = ("/dev/null", "-")  # places for output that keep nothing
TO_A_FILE = "its output went to a file; Tocsin shows runs in its log and in `tocsin history`"
FORM = "application/x-www-form-urlencoded"
_NEVER_SENT = {"expect", "transfer-encoding", "proxy-connection", "cookie", "referer", "origin"}


@dataclass(slots=True)
class Call:
    """One request. Texts may contain marks of variables. Seconds are floats, or None if not given."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    encoded: list[tuple[str, str]] = field(default_factory=list)  # of the query, with an encoded variable
    body: str | None = None
    content_type: str = ""
    user: str = ""  # user:password
    bearer: str = ""
    timeout: float | None = None
    connect_timeout: float | None = None
    retries: int | None = None
    remarks: list[str] = field(default_factory=list)

    def header(self, text: str) -> None:
        """Add the header of an option, NAME: VALUE. Raises Unclear."""
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not name or not colon or MARK.search(name):
            raise Unclear("a header that is not NAME: VALUE")
        if not value and name.lower() in _NEVER_SENT:
            return  # it removes a header that Tocsin does not send
        if not value:
            raise Unclear(f"removes the header {name[:40]!a}" if name.isascii() else "removes a header")
        self.headers.append((name, value))

    def to(self, urls: list[str]) -> None:
        """Take the one address, and the user in it. Raises Unclear."""
        if len(urls) != 1 or not urls[0]:
            raise Unclear("calls several addresses" if urls else "names no address")
        scheme, separator, rest = urls[0].rpartition("://") if "://" in urls[0] else ("", "", urls[0])
        place = min(rest.find(end) for end in "/?#" if end in rest) if set(rest) & set("/?#") else len(rest)
        user, at, host = rest[:place].rpartition("@")
        if at:
            self.user = self.user or (unquote(user) if ":" in user else f"{unquote(user)}:")
            self.url = f"{scheme}{separator}{host}{rest[place:]}"
        else:
            self.url = urls[0]


def options(
    words: list[str], short: dict[str, str], long: tuple[str, ...], positional: Callable[[str], None]
) -> list[tuple[str, str]]:
    """Yield the options by their long names. Other words, which may come in between, go to `positional`."""
    letters = "".join(letter + ":" * (f"{name}=" in long) for letter, name in short.items())
    found: list[tuple[str, str]] = []
    rest = words
    while rest:
        try:
            given, rest = getopt.getopt(rest, letters, list(long))
        except getopt.GetoptError as error:
            option = f"-{error.opt}" if len(error.opt) == 1 else f"--{error.opt}"
            why = "lacks its value" if "requires" in error.msg else "is not understood"
            raise Unclear(
                f"the option {option[:30] if option.isascii() and option.isprintable() else '?'} {why}"
            ) from None
        found += [(name[2:] if name.startswith("--") else short[name[1:]], value) for name, value in given]
        if rest:
            positional(rest[0])
            rest = rest[1:]
    return found


def seconds(name: str, text: str) -> float | None:
    """Read seconds. None for 0, which means no limit in curl and wget."""
    try:
        found = float(text) if len(text) < 20 else -1.0
    except ValueError:
        found = -1.0
    if not 0 <= found < 366 * 86400:
        raise Unclear(f"--{name} is not a number of seconds")
    return found or None


def count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Unclear(f"--{name} is no number")
    return int(text)
