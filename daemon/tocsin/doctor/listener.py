"""The address of the exporter: free for it, or held by it."""

import contextlib
import errno
import http.client
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tocsin.config import Config
from tocsin.doctor.finding import Finding, fail, ok, warning
from tocsin.doctor.state import held_by
from tocsin.parent.listener import advice, bind, listening, shown, sockets
from tocsin.parent.main import base_url

ANSWER = 3.0  # seconds for the exporter to say that it is well


def check(config: Config, *, running: bool) -> Iterator[Finding]:
    """That an address beyond this machine asks for no credentials is among the warnings of the configuration."""
    subject = shown(*config.listen)
    try:
        bind(*config.listen).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            yield _held(config, subject)
        else:
            yield fail("exporter.listen", subject, f"cannot be listened on: {error.strerror or error}", advice(error))
        return
    if running:
        detail = "nothing listens there, though the daemon runs"
        yield fail(
            "exporter.listen", subject, detail, "the daemon's log says why; if `listen` was changed: tocsin reload"
        )
    else:
        yield ok("exporter.listen", subject, "free")


def _held(config: Config, subject: str) -> Finding:
    """Something listens there; the daemon's exporter, if all is right."""
    if _is_anothers(config):
        detail = "another process listens there, and not the daemon's exporter"
        return fail("exporter.listen", subject, detail, "ss -ltnp shows who it is; stop it, or set another `listen`")
    parts = urlsplit(base_url(config))
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if config.access.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # to ourselves, and no secret is sent
        connection = http.client.HTTPSConnection(host, port, timeout=ANSWER, context=context)
        if config.access.tls.asks_clients:
            return ok("exporter.listen", subject, "held; who is there answers only to clients with a certificate")
    else:
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER)
    try:
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        said = reply.read(4096)
    except (OSError, http.client.HTTPException) as error:
        detail = f"something listens there and does not answer as the exporter does: {error}"
        return fail("exporter.listen", subject, detail, "ss -ltnp shows who it is; the daemon's log says more")
    finally:
        connection.close()
    if b'"heard_seconds_ago"' not in said or reply.status not in (200, 503):
        detail = f"another program listens there (it answers /healthz with {reply.status})"
        return fail("exporter.listen", subject, detail, "ss -ltnp shows who it is; stop it, or set another `listen`")
    if reply.status == 503:
        detail = "the exporter answers, but does not hear the daemon"
        return warning("exporter.listen", subject, detail, "the daemon's log says why")
    return ok("exporter.listen", subject, "the daemon's exporter answers")


def _is_anothers(config: Config) -> bool:
    """Whether surely no process of the daemon has the socket that listens on the port (proc(5)). Not sure where
    that may not be looked at, or the daemon has another network.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        daemon = re.match("process ([0-9]+) ", held_by(config.state_dir) or "")
        if daemon and "tocsin" in Path(f"/proc/{daemon[1]}/cmdline").read_text():
            if os.readlink(f"/proc/{daemon[1]}/ns/net") != os.readlink("/proc/self/ns/net"):
                return False  # its ports are others
            processes = Path(f"/proc/{daemon[1]}/task/{daemon[1]}/children").read_text().split()
            there = listening(config.listen[1])
            return bool(processes and there) and not any(there & sockets(one) for one in processes)
    return False
