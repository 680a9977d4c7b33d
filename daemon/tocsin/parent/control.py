"""The control socket, which `tocsin jobs`, `fire`, `pause`, `resume` and `reload` connect to.

A client that hangs, floods or sends garbage takes up one of a limited number of places, and never blocks the parent.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tocsin import log
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import Channel, ChannelClosed, ChannelGarbage
from tocsin.ipc.control import Answer, Request, decode_request
from tocsin.parent.loop import Loop

NAME = "control.sock"
CLIENTS = 32  # at the same time; one more replaces the oldest
LOOK = 5.0  # seconds between checks that the socket still exists
REST = 1.0  # seconds until the next try when no descriptor is free for a client
SAID_AT_ONCE = 200  # messages of a long list before the loop continues: a few milliseconds


class Client:
    """One connection; `say` never waits."""

    def __init__(self, control: "Control", channel: Channel[Answer, Request]) -> None:
        self._control = control
        self.channel = channel
        self._rest: Iterator[Answer] = iter(())
        self.has_more = False

    def say_all(self, messages: Iterable[Answer]) -> None:
        """Send a long list in parts, as fast as the client reads it."""
        self._rest, self.has_more = iter(messages), True
        self.send_more()

    def send_more(self) -> None:
        """Send the next part of the list. Called when the client has read what was queued."""
        for _ in range(SAID_AT_ONCE):
            if not self.has_more or self.channel.backlog:
                break
            message = next(self._rest, None)
            self.has_more = message is not None
            if message is not None:
                self.say(message)
        self._control.await_room(self)

    def say(self, message: Answer) -> None:
        """Send or queue the message. A client that has gone or does not read is dropped."""
        try:
            taken = self.channel.send(message)
        except ChannelClosed:
            taken = False
        if taken:
            self._control.await_room(self)
        else:
            self.has_more = False
            self._control.drop(self)


class Control:
    """Raises OSError when the socket cannot be created."""

    def __init__(self, folder: Path, loop: Loop, handle: Callable[[Client, Request], None]) -> None:
        self._file = folder / NAME
        self._loop = loop
        self._handle = handle
        self._clients: list[Client] = []
        self._short = False  # no descriptor was free, and a warning was logged
        self._listener = self._listen()
        loop.at(loop.now() + LOOK, self._look)

    def close(self) -> None:
        for client in list(self._clients):
            self.drop(client)
        self._hang_up()
        try:
            if self._is_there():  # and does not belong to another daemon
                self._file.unlink(missing_ok=True)
        except OSError as error:  # the next daemon replaces it
            log.debug("cannot remove the control socket", why=str(error))

    def _listen(self) -> socket.socket:
        listener = channels.listen(self._file.parent, NAME)
        self._loop.watch(listener.fileno(), self._accept)
        self._inode = self._file.stat().st_ino
        return listener

    def _is_there(self) -> bool:
        return self._file.exists() and self._file.stat().st_ino == self._inode

    def _hang_up(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def _look(self) -> None:
        """Create the socket again if somebody deleted it: without it the daemon seems not to run."""
        if self._listener.fileno() < 0:
            return
        try:
            fresh = None if self._is_there() else self._listen()
        except OSError as error:
            log.debug("cannot create the control socket again", why=str(error))
            fresh = None
        if fresh:
            log.warning("the control socket was deleted or replaced; creating it again", file=self._file)
            self._hang_up()
            self._listener = fresh
        self._loop.at(self._loop.now() + LOOK, self._look)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError) as error:
            log.debug("a control client disconnected before it was accepted", why=str(error))
            return
        except OSError as error:  # no descriptor is free: the client waits until one is
            if not self._short:
                log.warning("cannot answer at the control socket for now", why=str(error))
            self._short = True
            self._loop.rest(self._listener.fileno(), REST)
            return
        self._short = False
        if len(self._clients) >= CLIENTS:
            self.drop(self._clients[0])
        client = Client(self, Channel(sock, decode_request, blocking=False))
        self._clients.append(client)
        self._loop.watch(client.channel.fileno(), lambda: self._read(client), lambda: self._flush(client))

    def await_room(self, client: Client) -> None:
        """Wait for room as long as messages are queued or left to send."""
        if client in self._clients:
            self._loop.await_room(client.channel.fileno(), client.channel.backlog > 0 or client.has_more)

    def drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._loop.forget(client.channel.fileno())
            client.channel.close()

    def _read(self, client: Client) -> None:
        if client not in self._clients:  # dropped earlier in this round
            return
        try:
            message = client.channel.receive()
        except ChannelClosed:
            self.drop(client)
        except ChannelGarbage as error:
            log.warning("a control client sent garbage", why=str(error))
            self.drop(client)
        else:
            if message is not None:
                self._handle(client, message)

    def _flush(self, client: Client) -> None:
        if client not in self._clients:
            return
        try:
            client.channel.flush()
        except ChannelClosed:
            self.drop(client)
        else:
            client.send_more()
