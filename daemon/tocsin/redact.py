"""Keeps secrets out of everything people read: recognizes them by look or name, and hides them in texts.

docs/security.md says what is hidden, and what cannot be.
"""

import functools
import html.entities
import re
from collections.abc import Iterable

from tocsin.wordlike import is_random

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"secret(?!ar)|token(?!s\b|[-_]?(limit|type|count))|passw|apikey|authorization|credential|signature(?![-_]?version)"
    r"|session(?!s\b)|cookie|(^|[-_.])(pass|pwd|pw|auth|sig)$|^code$"  # ?code= holds the key of an Azure Function
    r"|^(?!(mon|tur|hoc|whis|.*(cache|sort|partition|primary|foreign|idempotency)[-_]?)key$).*key$",
    re.IGNORECASE,
)
_LONG = re.compile(r"(://[^/?#\s\"]*)|[A-Za-z0-9_-]{20,}")  # a host, or a possible secret
_USER = re.compile(r"(://).*@|[^\s\"/:]*:(?!//)[^\s\"]*@")  # up to the last @: a password may contain / or ?
_PAIR = re.compile(r"([A-Za-z0-9_.-]{1,100})(\s*[:=]\s*)(?!//)\S.*")
SHORTEST_PART = 4  # characters of a text that is hidden everywhere: hiding shorter ones would garble texts


def random_parts(text: str) -> Iterable[str]:
    """Return the parts of a text that may be secrets, as in https://hc-ping.com/<uuid>. A host is not one."""
    return (one[0] for one in _LONG.finditer(text) if not one[1] and is_random(one[0]))


def looks_random(text: str) -> bool:
    """Whether the text, or a part of it, may be a secret."""
    return any(True for _ in random_parts(text))


def public(text: str) -> str:
    """Return the part of an address or text that an error may show: no user and password, no query, nothing random."""
    kept, cut, query = _USER.sub(r"\1…@", text).partition("?")
    kept = _LONG.sub(lambda one: one[0] if one[1] or not is_random(one[0]) else "…", kept)
    kept = _PAIR.sub(lambda one: f"{one[1]}{one[2]}…" if names_a_secret(one[1]) else one[0], kept)
    return f"{kept}?…" if query else kept + cut


def names_a_secret(name: str) -> bool:
    """Whether a header, parameter or key of this name probably holds a secret."""
    return bool(_SECRET_NAME.search(name))


class Redactor:
    """Removes secrets from texts. This is the last line of defence: no code should put a secret there."""

    def __init__(self) -> None:
        self._hidden: dict[str, str] = {}  # secret -> a part of it that no encoding changes
        self.longest = 0  # characters of the longest, in any encoding

    def hide(self, texts: Iterable[str]) -> None:
        """Hide these texts too, wherever they occur. Earlier ones stay hidden: they may be valid."""
        for value in set(texts) - self._hidden.keys():
            self._hidden[value] = max(_PLAIN.findall(value), key=len, default="").lower()
            self.longest = max(self.longest, sum(1 if char.isalnum() else LONGEST_DISGUISE for char in value))
        self._hidden = dict(sorted(self._hidden.items(), key=lambda one: len(one[0]), reverse=True))

    def __call__(self, text: str) -> str:
        folded = text.lower()  # some apps repeat a header in lower case
        for value, part in self._hidden.items():
            if part in folded:
                text = _disguises(value).sub(REDACTED, text)
        return text


_PLAIN = re.compile("[A-Za-z0-9]+")  # characters that are never escaped
_ENTITIES: dict[str, list[str]] = {}
for _name, _char in html.entities.html5.items():
    if len(_char) == 1 and _char.isascii() and _name.endswith(";"):
        _ENTITIES.setdefault(_char, []).append(_name)
LONGEST_DISGUISE = 24  # characters of an encoded character, for example "&amp;DiacriticalGrave;"


_GROUP = re.compile(r"(\\*)([^\\]?)", re.DOTALL)
MOST_ESCAPES = 16  # backslashes that nested encodings put before one character


@functools.cache  # compiled when needed: a thousand jobs may have a thousand secrets
def _disguises(value: str) -> re.Pattern[str]:
    """Return a pattern for the secret in any encoding. A run of backslashes belongs to the character after it. It is
    matched as a whole (`+`) and counted: to try every division, a search with six of them takes seconds."""
    groups = [(len(one[1]), one[2]) for one in _GROUP.finditer(value) if one[0]]
    return re.compile("".join(_group(*group, first=not index) for index, group in enumerate(groups)))


def _group(backslashes: int, char: str, *, first: bool) -> str:
    """Return a pattern for `count` backslashes and the character after them ("" at the end). The first pattern begins
    where the run of backslashes begins."""
    alone = not char or char.isalnum()  # it is never encoded; only its case may change
    if char.isalpha():
        char = f"[{char.lower()}{char.upper()}]"
    if alone and not backslashes:
        return char
    most = (backslashes + 1) * (MOST_ESCAPES + 1)
    run = rf"(?<!\\)\\{{{backslashes},}}+" if first else rf"\\{{{backslashes},{most}}}+"
    if backslashes:
        other = _written("\\", rf"\\{{1,{MOST_ESCAPES}}}+")
        escapes = "" if alone else rf"\\{{0,{MOST_ESCAPES}}}+"
        run = rf"(?:{run}|(?:{other}){{{backslashes}}}{escapes})"
    elif first:
        run = rf"(?:{run}|)"
    if alone:
        return run + char
    forms = [re.escape(char), _written(char, r"(?<=\\)"), *(["[+]"] if char == " " else [])]
    return f"{run}(?:{'|'.join(forms)})"


def _written(char: str, before_u: str) -> str:
    """Return a pattern with the character's encodings in URLs, in JSON (of any program) and in HTML."""
    code = f"{ord(char):02x}"
    hexadecimal = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    numbers = f"#0{{0,8}}{ord(char)};", f"#[xX]0{{0,8}}{hexadecimal};"  # limited, or a long text would take forever
    entities = "|".join((*map(re.escape, _ENTITIES.get(char, ())), *numbers))
    return rf"{before_u}u00{hexadecimal}|%(?:25)?{hexadecimal}|&(?:amp;)?(?:{entities})"


redact = Redactor()  # one for each process; children inherit the parent's secrets
