"""Takes from an HTTP request what the routes need, and reads its body if it may have one."""

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tocsin.exporter.replies import Body, ReadBody, Request

ONCE = ("Host", "Authorization", "Origin", "Sec-Fetch-Site", "Content-Type", "Content-Length")
BY_PROXY = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def request_of(request: web.BaseRequest, peer: str) -> Request:
    headers = request.headers
    return Request(
        request.method,
        request.path,
        request.query_string,
        headers.get("Host", ""),
        ", ".join(headers.getall("Accept", [])),  # RFC 9110, 5.3: several lines are one list
        headers.get("Authorization", ""),
        peer,
        headers.get("Origin", ""),
        headers.get("Sec-Fetch-Site", ""),
        headers.get("Content-Type", ""),
        next((name for name in ONCE if len(headers.getall(name, [])) > 1), ""),
        any(name in headers for name in BY_PROXY),
        headers.get("If-None-Match", ""),
        "Tocsin-Parts" in headers,
    )


async def body_of(request: web.BaseRequest, wanted: ReadBody) -> Body:
    """Read the body, or return the HTTP status that says why not."""
    if (request.content_length or 0) > wanted.most:
        return 413
    body = bytearray()
    try:
        async with asyncio.timeout(wanted.seconds):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > wanted.most:
                    return 413
    except TimeoutError:
        return 408
    except (
        HttpProcessingError,
        web.RequestPayloadError,
        OSError,
    ):  # for example malformed chunks, or the client is gone
        return 400
    return bytes(body)
