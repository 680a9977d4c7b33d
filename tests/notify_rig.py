"""Servers that messages are sent to, on loopback: a webhook, mail, ntfy, and some that do not do as they should."""

import contextlib
import email
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from harness import Call, Daemon, Endpoint, free_port

TOKEN = "zq7x9KfPw2mVt4Rb8Ys1"  # what no log may show


class Sink(Endpoint):
    """A webhook, to which Apprise's json:// writes."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.take
        self.status = 200

    def take(self, _: Call) -> tuple[int, dict[str, str], bytes]:
        return self.status, {}, b"ok"

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/{TOKEN}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(call.body) for call in self.calls if call.method == "POST"]

    @property
    def titles(self) -> list[str]:
        """Without what they all begin with."""
        return [message["title"].partition(": ")[2] for message in self.messages]


@dataclass
class Mailbox:
    """An SMTP server that keeps what it gets."""

    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextlib.contextmanager
def smtp() -> Iterator[tuple[Mailbox, str]]:
    """A mailbox, and the address to write to."""
    mailbox = Mailbox()
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, f"mailto://127.0.0.1:{port}?from=tocsin@example.com&to=ops@example.com"
    finally:
        controller.stop()


class Hanging:
    """Takes connections and never answers; or, as `trickles`, a byte each second that ends nothing."""

    def __init__(self, *, trickles: bool = False) -> None:
        self._trickles = trickles
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._held: list[socket.socket] = []
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        return len(self._held)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._held.append(connection)
            if self._trickles:
                threading.Thread(target=self._trickle, args=(connection,), daemon=True).start()

    def _trickle(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self._over.wait(1):
                connection.sendall(b".")

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        for one in self._held:
            one.close()


def no_secret_in(daemon: Daemon, *secrets: str) -> None:
    """Neither in the log nor in what a command, a page or ps shows."""
    shown = daemon.log() + daemon.get("/") + daemon.get("/metrics") + daemon.get("/api/jobs")
    shown += "".join(str(daemon.run(*words)) for words in (("jobs",), ("check",), ("notify",), ("doctor",)))
    for pid in (daemon.pid, *daemon.children().values()):
        with open(f"/proc/{pid}/cmdline") as line:
            shown += line.read()
    for secret in secrets:
        assert secret not in shown
