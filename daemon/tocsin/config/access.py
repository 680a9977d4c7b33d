"""Who may use the exporter: TLS, client certificates, tokens, passwords, and host names."""

import base64
import hmac
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from tocsin.config import secrets
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.tls import ServerTls, TlsError
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import DaemonTable

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[^\]]*)?\]|[^\[\]:/?#@]*)(?::[0-9]*)?")  # RFC 9110, 7.2
LONGEST = 1024  # characters of a token or password: much less than the exporter's limit on a header


@dataclass(frozen=True, slots=True)
class Access:
    """Two are equal if they admit the same clients and show the same certificate."""

    tls: ServerTls | None = None
    bearer: Secret | None = None
    user: str = ""
    password: Secret | None = None
    hosts: frozenset[str] = frozenset()  # names that a request may use, in lower case

    @property
    def challenge(self) -> str:
        """The WWW-Authenticate header of a 401, or "" if no credentials are required."""
        basic = 'Basic realm="Tocsin", charset="UTF-8"' if self.password else ""
        bearer = 'Bearer realm="Tocsin"' if self.bearer else ""
        return ", ".join(filter(None, (basic, bearer)))

    @property
    def secrets(self) -> Iterator[Secret]:
        """Texts that must never be shown, also in the form in which they are sent."""
        if self.bearer:
            yield self.bearer
        if self.password:
            yield self.password
            sent = base64.b64encode(_pair(self.user, self.password)).decode()
            yield Secret(sent, "authorization", self.password.source)

    def admits(self, authorization: str) -> bool:
        """Whether the Authorization header is right, or none is required."""
        if not self.bearer and not self.password:
            return True
        scheme, _, shown = authorization.partition(" ")
        match scheme.lower():
            case "bearer" if self.bearer:
                return hmac.compare_digest(_octets(shown), _octets(self.bearer.value))
            case "basic" if self.password:
                try:
                    pair = base64.b64decode(_octets(shown), validate=True)
                except ValueError:
                    return False
                return hmac.compare_digest(pair, _pair(self.user, self.password))
        return False

    def answers_as(self, host: str, listen: str) -> bool:
        """Whether a listener on `listen` answers a request with this Host header.

        This prevents DNS rebinding: an attacker points a name at this listener, so that a visitor's browser reads its
        pages for the attacker's page. Beyond loopback, TLS or credentials are enough: a browser refuses a certificate
        for another name, and a page of the attacker cannot send our credentials. A client that sends no Host header is
        not a browser.
        """
        if (self.challenge or self.tls) and not is_loopback(listen):
            return True
        found = _HOST.fullmatch(host.strip())
        if not found:
            return False
        name = _plain(found[1])
        own = {*self.hosts, _plain(listen), _plain(os.uname().nodename)}
        return not name or name in own or f".{name}".endswith(".localhost") or _is_literal(name.strip("[]"))


def read(daemon: DaemonTable, faulty: frozenset[str], reader: Reader) -> Access:
    """Read the access rules in [daemon], of which some keys may be faulty. Adds the faults to the reader."""
    has_password = bool(daemon.listen_password_env or daemon.listen_password_file)
    if daemon.listen_user and not has_password and faulty.isdisjoint(("listen_password_env", "listen_password_file")):
        reader.fault("daemon", "listen_user", "needs listen_password_env or listen_password_file")
    if has_password and not daemon.listen_user and "listen_user" not in faulty:
        key = "listen_password_env" if daemon.listen_password_env else "listen_password_file"
        reader.fault("daemon", key, "needs listen_user")
    return Access(
        _tls(daemon, faulty, reader),
        _secret(daemon, reader, "listen_bearer", "bearer"),
        daemon.listen_user,
        _secret(daemon, reader, "listen_password", "authorization"),
        frozenset(map(_plain, daemon.listen_hosts)),
    )


def warning(listen: tuple[str, int], access: Access) -> str:
    """Return a warning if everybody beyond this machine may use the exporter, else ""."""
    if is_loopback(listen[0]) or access.challenge or (access.tls and access.tls.asks_clients):
        return ""
    return (
        "`listen` is beyond loopback, so anyone who can connect can read the pages and metrics; set listen_bearer_env, "
        "listen_user with listen_password_env, or listen_client_ca in [daemon]"
    )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _tls(daemon: DaemonTable, faulty: frozenset[str], reader: Reader) -> ServerTls | None:
    if not faulty.isdisjoint(("listen_cert", "listen_key", "listen_client_ca")):
        return None  # they belong together
    if not daemon.listen_cert:
        for key in ("listen_key", "listen_client_ca"):
            if getattr(daemon, key):
                reader.fault("daemon", key, "needs listen_cert")
        return None
    names = (daemon.listen_cert, daemon.listen_key, daemon.listen_client_ca)
    cert, key_file, client_ca = (reader.file.parent / name if name else None for name in names)
    assert cert
    try:
        return ServerTls.load(cert, key_file, client_ca)
    except TlsError as error:
        reader.fault("daemon", error.key, str(error))
        return None


def _secret(daemon: DaemonTable, reader: Reader, what: str, sent: str) -> Secret | None:
    variable, file = getattr(daemon, f"{what}_env"), getattr(daemon, f"{what}_file")
    if variable and file:
        reader.fault("daemon", f"{what}_file", f"cannot be combined with {what}_env: use only one of them")
        return None
    if (not variable and not file) or (not file and variable in reader.unknown):
        return None
    try:
        if file:
            found = secrets.from_file(reader.file.parent / file, sent)
        else:
            found = secrets.from_environment(variable, sent, reader.environment)
        if len(found.value) > LONGEST:
            raise SecretError(f"{found.source} holds more than {LONGEST} characters")
    except SecretError as error:
        reader.fault("daemon", f"{what}_{'file' if file else 'env'}", str(error))
        return None
    return found


def _pair(user: str, password: Secret) -> bytes:
    return f"{user}:{password.value}".encode()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # the reverse of aiohttp's decoding
