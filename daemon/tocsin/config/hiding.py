"""What must be hidden of a job's request, besides its secret. Uses the rules of tocsin.redact."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from tocsin.jobfile.faults import REFERENCE
from tocsin.redact import SHORTEST_PART, names_a_secret, random_parts
from tocsin.wordlike import is_words

ADDRESSES = ("url", "path", "base_url")
_HOST = re.compile(r"^[a-z]+://[^/?#]*", re.IGNORECASE)
_AT_HOST = re.compile(r"://[^/?#]*$")  # followed by a host, or a part of one
_NAMED = re.compile(  # a parameter, or a string in JSON, up to its value
    r"""(?:^|[?&\s])([^?&=\s"]{1,100})=|"([^"\\]{1,100})"\s*:\s*"(?=[^"])"""
)
_VALUE = re.compile(r"""[^&\s"]*""")


def hidden_in(sent: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Return the texts to hide wherever they occur. `sent` has the request's parts as written, by key.

    Hidden are: the value of a variable if it or its place is named like a secret; in a path, everything that does not
    plainly consist of words; literal text that looks like a secret, or that is not a word in a place named like one.
    """
    for key, written in sent.items():
        for one in _in(written, environment, is_secret=False, is_address=key in ADDRESSES):
            if len(one) >= SHORTEST_PART:
                yield one


def _in(written: Any, environment: Mapping[str, str], *, is_secret: bool, is_address: bool) -> Iterator[str]:
    if isinstance(written, dict):
        for name, value in written.items():
            yield from _in(value, environment, is_secret=is_secret or names_a_secret(name), is_address=False)
    elif isinstance(written, list):
        for value in written:
            yield from _in(value, environment, is_secret=is_secret, is_address=False)
    elif isinstance(written, str):
        for reference in REFERENCE.finditer(written):
            held = environment.get(reference[1]) or reference[2] or ""
            before = written[: reference.start()]
            if is_secret or names_a_secret(reference[1]) or _fills_a_secret(before):
                yield from _with_scheme(held)
            elif is_address and "?" not in before:
                yield from _in_path(held, after_host=bool(_AT_HOST.search(before)))
            yield from random_parts(held)
            yield from _named_in(held)
        yield from _literal(written, is_secret=is_secret, is_address=is_address)


def _fills_a_secret(before: str) -> bool:
    """Whether this text is followed by the value of a parameter or key that is named like a secret."""
    names = list(_NAMED.finditer(before[-200:]))
    if not names or not _VALUE.fullmatch(before[-200:], names[-1].end()):
        return False
    return names_a_secret(unquote(names[-1][1] or names[-1][2]))


def _with_scheme(value: str) -> Iterator[str]:
    """Return the value, and the part after the scheme of an Authorization header."""
    yield value
    yield value.partition(" ")[2]


def _in_path(held: str, *, after_host: bool) -> Iterator[str]:
    """Return the segments of a variable's value in an address that are not plainly words. Its host is not a secret."""
    path = held.partition("/")[2] if after_host else _HOST.sub("", held)
    for segment in re.split("[/;]", path.partition("?")[0]):
        if not is_words(unquote(segment)):
            yield segment


def _literal(written: str, *, is_secret: bool, is_address: bool) -> Iterator[str]:
    if is_secret and not REFERENCE.search(written):
        yield from (one for one in _with_scheme(written) if not is_words(one))
    if is_address:
        yield from random_parts(REFERENCE.sub("", written))
    yield from (one for one in _named_in(written) if not REFERENCE.search(one) and not is_words(one))


def _named_in(text: str) -> Iterator[str]:
    """Return the values of parameters and of JSON strings that are named like a secret."""
    for one in _NAMED.finditer(text):
        if names_a_secret(unquote(one[1] or one[2])) and (value := _VALUE.match(text, one.end())):
            yield value[0]
            yield unquote(value[0])
