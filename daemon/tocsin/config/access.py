"""Who may use the exporter: TLS, client certificates, tokens, passwords, and host names."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from tocsin.config import secrets
from tocsin.config.credentials import Credentials
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.tls import ServerTls, TlsError
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import DaemonTable

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[^\]]*)?\]|[^\[\]:/?#@]*)(?::[0-9]*)?")  # RFC 9110, 7.2
NONE = Credentials()
LONGEST = 1024  # characters of a token or password: much less than the exporter's limit on a header


@dataclass(frozen=True, slots=True)
class Access:
    """Two are equal if they admit the same clients and show the same certificate."""

    tls: ServerTls | None = None
    bearer: Secret | None = None
    user: str = ""
    password: Secret | None = None
    hosts: frozenset[str] = frozenset()  # names that a request may use, in lower case
    actors: Credentials = NONE  # of those who may fire, pause, resume and reload
    open_actions: bool = False  # whether a client on loopback that may read may do so too

    @property
    def readers(self) -> Credentials:
        return Credentials(self.bearer, self.user, self.password)

    @property
    def challenge(self) -> str:
        """The WWW-Authenticate header of a 401, or "" if no credentials are required to read."""
        readers, actors = self.readers, self.actors
        if not readers:
            return ""
        return Credentials(readers.bearer or actors.bearer, "", readers.password or actors.password).challenge

    @property
    def secrets(self) -> Iterator[Secret]:
        """Texts that must never be shown, also in the form in which they are sent."""
        yield from self.readers.secrets
        yield from self.actors.secrets

    def admits(self, authorization: str) -> bool:
        """Whether the Authorization header is right, or none is required to read."""
        readers = self.readers
        return not readers or (readers.name(authorization) or self.actors.name(authorization)) is not None

    def actor(self, authorization: str, peer: str, *, by_proxy: bool) -> str | None:
        """The name of whoever may act, for the log; None if this client may not.

        Without credentials, only a client on loopback may, and none that a proxy passes on.
        """
        if self.open_actions and is_loopback(peer) and not by_proxy and self.admits(authorization):
            return self.readers.name(authorization) or "somebody"
        return self.actors.name(authorization)

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
    if daemon.listen_actions == "loopback":
        if not is_loopback(daemon.listen[0]) and "listen" not in faulty:
            why = "needs a `listen` on loopback; beyond it, set listen_actor_bearer_env or listen_actor_user"
            reader.fault("daemon", "listen_actions", why, daemon.listen_actions)
        for key in ("listen_actor_bearer_env", "listen_actor_bearer_file", "listen_actor_user"):
            if getattr(daemon, key):
                reader.fault("daemon", key, 'cannot be combined with listen_actions = "loopback"')
    readers = _credentials(daemon, faulty, reader, "listen")
    return Access(
        _tls(daemon, faulty, reader),
        readers.bearer,
        readers.user,
        readers.password,
        frozenset(map(_plain, daemon.listen_hosts)),
        _credentials(daemon, faulty, reader, "listen_actor"),
        daemon.listen_actions == "loopback",
    )


def _credentials(daemon: DaemonTable, faulty: frozenset[str], reader: Reader, whose: str) -> Credentials:
    """Read the keys that begin with `whose`."""
    user, by_env, by_file = f"{whose}_user", f"{whose}_password_env", f"{whose}_password_file"
    named = getattr(daemon, user)
    key = by_env if getattr(daemon, by_env) else by_file if getattr(daemon, by_file) else ""
    if named and not key and faulty.isdisjoint((by_env, by_file)):
        reader.fault("daemon", user, f"needs {by_env} or {by_file}")
    if key and not named and user not in faulty:
        reader.fault("daemon", key, f"needs {user}")
    return Credentials(
        _secret(daemon, reader, f"{whose}_bearer", "bearer"),
        named,
        _secret(daemon, reader, f"{whose}_password", "authorization"),
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
