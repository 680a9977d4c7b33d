"""Looks up names. That cannot be interrupted, so it runs in a thread that nothing waits for at the end."""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

ADDRESSES = 8  # of one name that are checked
Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # as from getaddrinfo: host and port come first


async def look_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a name, in the order in which a job tries them. Raises OSError and UnicodeError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Address]] = loop.create_future()

    def finish(result: list[Address], error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)

    def work() -> None:
        result: list[Address] = []
        error: Exception | None = None
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:ADDRESSES]:
                result.append((family, address))
        except (OSError, UnicodeError) as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for the answer
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=work, daemon=True).start()
    return await done


class Known(AbstractResolver):
    """Gives aiohttp the addresses that accept connections."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, *_: object, **__: object) -> list[ResolveResult]:  # aiohttp passes some
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=family, proto=0, flags=0)
            for family, address in self._addresses
        ]

    async def close(self) -> None:
        pass
