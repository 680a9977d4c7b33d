"""The plainest of replies, read without a library: what almost every reply is.

One success that is there as a whole, in one piece, its length given or in chunks, nothing encoded, and not from a
cache. Whatever is different in any way is not read here at all.
"""

import re

from tocsin.call.cached import cache_hit

SimpleReply = tuple[int, str, bytes]  # status, media type, body

# A head with nothing odd in it (RFC 9112): no line that goes on, no lone line end, at most as many lines as
# http.client takes. 204 has no body, whatever its head says.
_HEAD = re.compile(rb"HTTP/1\.1 (2(?!04)\d\d)(?: [^\r\n]*)?\r\n((?:[!#-'*+.^`|~\w-]+:[^\r\n]*\r\n){0,100})\r\n")
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE)
_LENGTH = re.compile(rb"\d{1,9}")
_MEDIA_TYPE = re.compile(rb"^content-type:[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE | re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")


def simple_reply(whole: bytes) -> SimpleReply | None:
    """What the bytes of a reply say, or None if they are not plain, or not all there."""
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
    """What is in chunks without extensions and trailers (RFC 9112, 7.1); None for any other, or not all there."""
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
