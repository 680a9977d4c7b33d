"""Checks that the exporter's address is free, or that the exporter listens there."""

import dataclasses
import errno
import http.client
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from tocsin.config import Config
from tocsin.doctor import processes
from tocsin.doctor.finding import Finding, fail, ok, warning
from tocsin.parent.listener import advice, bind, shown
from tocsin.parent.main import base_url
from tocsin.parent.state_folder import held_by

ANSWER = 3.0  # seconds for the exporter to report its health
LISTEN = "exporter.listen"
VARIABLE = "TOCSIN_LISTEN"
_WHOSE = "ss -ltnp shows which; stop it, or set another `listen`"


def check(config: Config, *, running: bool) -> Iterator[Finding]:
    """Check the address. (A warning of the configuration covers one beyond this machine without credentials.)"""
    subject = shown(*config.listen)
    daemon = processes.daemon_of(held_by(config.state_dir) or "") if running else None
    theirs = processes.listens_on(daemon) if daemon else None
    if daemon and theirs and config.listen[1] not in {port for _, port in theirs}:
        there = dataclasses.replace(config, listen=theirs[0])
        yield _elsewhere(config, shown(*there.listen))
        yield _held(there, shown(*there.listen))
        return
    try:
        bind(*config.listen).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            yield fail(LISTEN, subject, f"cannot listen here: {error.strerror or error}", advice(error))
        elif not running:
            yield _taken(config, subject, error)
        elif theirs == []:
            yield fail(LISTEN, subject, "another process listens there, and not the daemon's exporter", _WHOSE)
        else:
            yield _held(config, subject)
        return
    if running:
        detail = "nothing listens there, though the daemon runs"
        then = "the daemon's log says why; if `listen` was changed: tocsin reload; if TOCSIN_LISTEN is set for the"
        yield fail(LISTEN, subject, detail, f"{then} daemon alone, set it for doctor too")
    else:
        yield ok(LISTEN, subject, "free")


def _elsewhere(config: Config, there: str) -> Finding:
    """The daemon listens at another address than the job file, read in this environment, has."""
    detail = f"the daemon listens on {there} instead"
    try:
        bind(*config.listen).close()
    except OSError as error:
        detail += f"; here it could not: {error.strerror or error}"
    then = (
        f"if `listen` was changed since: tocsin reload; if {VARIABLE} is set for the daemon or for doctor alone: set it"
        " for both, or use `listen` in [daemon] instead"
    )
    return warning(LISTEN, shown(*config.listen), detail, then)


def _held(config: Config, subject: str) -> Finding:
    """Something listens there, which should be the daemon's exporter."""
    if config.access.tls and config.access.tls.asks_clients:
        return ok(LISTEN, subject, "in use; the process there answers only clients with a certificate")
    try:
        status, is_tocsin = _healthz(config)
    except (OSError, http.client.HTTPException) as error:
        detail = f"something listens there, but does not answer like the exporter: {error}"
        return fail(LISTEN, subject, detail, "ss -ltnp shows which it is; the daemon's log says more")
    if not is_tocsin:
        return fail(LISTEN, subject, f"another program listens there (it answers /healthz with {status})", _WHOSE)
    if status == 503:
        detail = "the exporter answers, but gets no messages from the daemon"
        return warning(LISTEN, subject, detail, "the daemon's log says why")
    return ok(LISTEN, subject, "the daemon's exporter answers")


def _taken(config: Config, subject: str, error: OSError) -> Finding:
    """No daemon runs with this state folder, but the address is in use."""
    try:
        _, is_tocsin = _healthz(config)
    except (OSError, http.client.HTTPException):
        is_tocsin = False
    if not is_tocsin:
        return fail(LISTEN, subject, f"cannot listen here: {error.strerror}", advice(error))
    detail = f"a Tocsin daemon listens there, and its state folder is not {config.state_dir}"
    then = (
        "was TOCSIN_STATE_DIR set for that daemon alone? Set it for doctor too; a second daemon needs its own `listen`"
    )
    return fail(LISTEN, subject, detail, then)


def _healthz(config: Config) -> tuple[int, bool]:
    """Return the status of the answer, and whether it comes from a Tocsin exporter."""
    parts = urlsplit(base_url(config))
    host, port = parts.hostname or "", parts.port
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER)
    if config.access.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # our own listener, and no secret is sent
        connection = http.client.HTTPSConnection(host, port, timeout=ANSWER, context=context)
    try:
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        return reply.status, reply.status in (200, 503) and b'"heard_seconds_ago"' in reply.read(4096)
    finally:
        connection.close()
