"""Reads the simplest replies without a library. Almost every reply is one.

That is: one success with a length or in chunks, not encoded, and not from a cache; it may come in several pieces. Any
other reply is left to the libraries.
"""

import re

from tocsin.call.cached import cache_hit

SimpleReply = tuple[int, str, bytes]  # status, media type, body

LONGEST = 64 * 1024  # bytes of a reply that is read here, head and framing included: pieces are put together by copying

# A head with nothing unusual in it (RFC 9112): no continued line, no lone CR or LF, no more lines than http.client
# accepts. 204 has no body, whatever its head says.
_LINES = rb"HTTP/1\.1 (2(?!04)\d\d)(?: [^\r\n]*)?\r\n((?:[!#-'*+.^`|~\w-]+:[^\r\n]*\r\n){0,100})"
_HEAD = re.compile(_LINES + rb"\r\n")
_HEAD_BEGUN = re.compile(rb"(?:%b)?[^\r\n]*\r?" % _LINES)
_SUCCESS = b"HTTP/1.1 2"
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE)
_LENGTH = re.compile(rb"\d{1,9}")
_MEDIA_TYPE = re.compile(rb"^content-type:[ \t]*([^\r]*?)[ \t]*\r$", re.MULTILINE | re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_CHUNK_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,7}\r?")


def simple_reply(begun: bytes) -> SimpleReply | int | None:
    """Return the reply, or None if it is not simple. If it is simple so far and not complete, return its status, which
    is 0 until the whole head has arrived."""
    head = _HEAD.match(begun)
    if head is None:
        return 0 if begun.startswith(_SUCCESS[: len(begun)]) and _HEAD_BEGUN.fullmatch(begun) else None
    fields, body = head[2].lower(), begun[head.end() :]
    framing, types = _FRAMING.findall(fields), _MEDIA_TYPE.findall(head[2])
    if len(framing) != 1 or len(types) > 1 or b"content-encoding:" in fields or cache_hit(fields):
        return None
    status, (name, value) = int(head[1]), framing[0]
    found: bytes | bool
    if name == b"transfer-encoding":
        found = value == b"chunked" and _unchunked(body)
    else:
        left = int(value) - len(body) if _LENGTH.fullmatch(value) else -1
        found = body if left == 0 else 0 < left <= LONGEST
    if isinstance(found, bool):
        return status if found else None
    return status, types[0].decode("iso-8859-1") if types else "", found


def _unchunked(body: bytes) -> bytes | bool:
    """Return the content of chunks without extensions and trailers (RFC 9112, 7.1); True if more of them must come,
    False for anything else."""
    pieces: list[bytes] = []
    at = 0
    while size := _CHUNK.match(body, at):
        begin, end = size.end(), size.end() + int(size[1], 16)
        at = end + 2
        if end > begin + LONGEST or not b"\r\n".startswith(body[end:at]):
            return False
        if at > len(body):
            return True
        if begin == end:
            return at == len(body) and b"".join(pieces)
        pieces.append(body[begin:end])
    return _CHUNK_BEGUN.fullmatch(body, at) is not None
