"""Reads the simplest replies without a library. Almost every reply is one.

That is: one complete success in one piece, with a length or in chunks, not encoded, and not from a cache. Any other
reply is left to the libraries.
"""

import re

from tocsin.call.cached import cache_hit

SimpleReply = tuple[int, str, bytes]  # status, media type, body

# A head with nothing unusual in it (RFC 9112): no continued line, no lone CR or LF, no more lines than http.client
# accepts. 204 has no body, whatever its head says.
_HEAD = re.compile(rb"HTTP/1\.1 (2(?!04)\d\d)(?: [^\r\n]*)?\r\n((?:[!#-'*+.^`|~\w-]+:[^\r\n]*\r\n){0,100})\r\n")
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE)
_LENGTH = re.compile(rb"\d{1,9}")
_MEDIA_TYPE = re.compile(rb"^content-type:[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE | re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")


def simple_reply(whole: bytes) -> SimpleReply | None:
    """Return the reply, or None if it is not simple or not complete."""
    head = _HEAD.match(whole)
    if head is None:
        return None
    fields, body = head[2].lower(), whole[head.end() :]
    framing, types = _FRAMING.findall(fields), _MEDIA_TYPE.findall(head[2])
    if len(framing) != 1 or len(types) > 1 or b"content-encoding:" in fields or cache_hit(fields):
        return None
    name, value = framing[0]
    if name == b"transfer-encoding":
        found = _unchunked(body) if value == b"chunked" else None
    else:
        found = body if _LENGTH.fullmatch(value) and int(value) == len(body) else None
    if found is None:
        return None
    return int(head[1]), types[0].decode("iso-8859-1") if types else "", found


def _unchunked(body: bytes) -> bytes | None:
    """Join chunks without extensions and trailers (RFC 9112, 7.1). None for any others, or if they are not complete."""
    pieces: list[bytes] = []
    at = 0
    while size := _CHUNK.match(body, at):
        begin, at = size.end(), size.end() + int(size[1], 16)
        if body[at : at + 2] != b"\r\n":
            return None
        at += 2
        if begin == at - 2:
            return b"".join(pieces) if at == len(body) else None
        pieces.append(body[begin : at - 2])
    return None
