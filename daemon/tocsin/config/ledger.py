"""Where the ledger is: in SQLite, or on a PostgreSQL server, whose password is removed from its address here."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from tocsin.config import secrets
from tocsin.config.access import is_loopback
from tocsin.config.pg_parameters import FILES, KNOWN, OF_OTHERS, OWN, VALUES, WRITTEN_BY_OTHERS
from tocsin.config.secrets import Secret, SecretError
from tocsin.jobfile.faults import REFERENCE
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import DaemonTable

SCHEMES = ("postgresql", "postgres")
ESCAPES = "in a user name or password write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25"
_ENCRYPTED = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A ledger on PostgreSQL. `parameters` are libpq's, without the password. Two are equal if a change from one to the
    other needs no restart: a password in a file is read at each connection."""

    parameters: tuple[tuple[str, str], ...]
    schema: str
    password: Secret | None = field(default=None, compare=False)
    fixed: str = field(default="", repr=False)  # the password, if it is not in a file

    def __str__(self) -> str:
        """The address to show: no password, no options."""
        given = dict(self.parameters)
        user = f"{quote(given['user'])}@" if "user" in given else ""
        ports = given.get("port", "").split(",")
        hosts = given.get("host", "").split(",")
        many = len(hosts) == len(ports)
        where = ",".join(
            f"{f'[{host}]' if ':' in host else quote(host)}{f':{port}' if port else ''}"
            for host, port in zip(hosts, ports if many else ports * len(hosts), strict=True)
        )
        return f"postgresql://{user}{where}/{quote(given.get('dbname', ''))}"

    @property
    def hidden(self) -> Iterator[str]:
        """The texts to hide. A password that is also the name of the user or the database cannot be hidden."""
        given = dict(self.parameters)
        if self.password and self.password.value not in (given.get("user"), given.get("dbname")):
            yield self.password.value

    @property
    def hosts(self) -> list[str]:
        """Names and addresses of the servers; a socket's is the folder that it is in."""
        return dict(self.parameters).get("host", "").split(",")


class AddressError(ValueError):
    """Says what is wrong with an address, without repeating any of it."""


def read(daemon: DaemonTable, faulty: frozenset[str], reader: Reader, warnings: list[str]) -> Postgres | None:
    """Return None for SQLite, and after a fault. Neither faults nor warnings repeat the address."""
    address = daemon.ledger
    named = bool(daemon.ledger_password_env or daemon.ledger_password_file)
    scheme, separator, _ = address.partition("://")
    if not separator or scheme not in SCHEMES:
        if address != "sqlite":
            reader.fault("daemon", "ledger", 'must be "sqlite" or an address as "postgresql://user@host/database"')
        elif named and "ledger" not in faulty:
            key = "ledger_password_env" if daemon.ledger_password_env else "ledger_password_file"
            reader.fault("daemon", key, "needs a ledger on PostgreSQL")
        return None
    try:
        parameters, password, dropped = parse(address)
    except AddressError as error:
        reader.fault("daemon", "ledger", str(error))
        return None
    if dropped:
        warnings.append(f"the address in `ledger` has parameters of other programs, which are dropped: {dropped}")
    secret = _password(daemon, reader, password)
    for key in sorted(FILES & parameters.keys()):
        if parameters[key] == "system":  # libpq's word for the machine's own CA certificates
            continue
        parameters[key] = str(reader.file.parent / parameters[key])
        if not os.access(parameters[key], os.R_OK):
            reader.fault("daemon", "ledger", f"names a file in {key} that cannot be read: {parameters[key]}")
    made = Postgres(
        tuple(sorted(parameters.items())),
        daemon.ledger_schema,
        secret,
        secret.value if secret and not secret.file else "",
    )
    if warning := _in_the_clear(made, parameters.get("sslmode", "")):
        warnings.append(warning)
    return made


def holds_password(written: object) -> bool:
    """Whether an address holds a password as it stands in the job file, the defaults of its references filled in."""
    if not isinstance(written, str):
        return False
    text = REFERENCE.sub(lambda reference: reference[2] or "", written)
    where, _, query = text.partition("://")[2].partition("?")
    _, colon, password = where.rpartition("@")[0].partition(":")
    names = {unquote(one.partition("=")[0]) for one in query.split("&")}
    return bool(colon and password) or not names.isdisjoint(("password", "sslpassword"))


def parse(address: str) -> tuple[dict[str, str], str, str]:
    """libpq's parameters, the password ("" where there is none) and the names of what was dropped. Raises
    AddressError. (PostgreSQL's manual, 34.1.1.2: more than one host is allowed.)"""
    try:
        split = urlsplit(address)
    except ValueError:
        raise AddressError(f"is not a valid address; {ESCAPES}") from None
    if split.fragment or "#" in address:
        raise AddressError(f"must not hold a #; {ESCAPES}")
    userinfo, at, where = split.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    given = {"user": _plain(user)} if user else {}
    if "@" in userinfo or (at and not user):
        raise AddressError(f"has no clear user name before its host; {ESCAPES}")
    password = _plain(password)
    hosts, ports = zip(*map(_host, where.split(",")), strict=True)
    if any(hosts):
        given["host"] = ",".join(hosts)
    if any(ports):
        given["port"] = ",".join(ports)
    if database := _plain(split.path.removeprefix("/")):
        given["dbname"] = database
    pairs = _pairs(split.query)
    dropped = sorted({name for name, _ in pairs if name in OF_OTHERS | OWN})
    for name, value in pairs:
        if name in OF_OTHERS | OWN:
            continue
        if name not in KNOWN:
            shown = name if name.isidentifier() and len(name) <= 40 else "one"
            raise AddressError(f"has a parameter that cannot be used here: {shown}")
        if value not in VALUES.get(name, (value,)):
            raise AddressError(f"has a value for {name} that cannot be used here: use {_either(VALUES[name])}")
        if name == "password":
            password = value
        else:
            given[name] = value
    if any("\0" in value for value in (*given.values(), password)):
        raise AddressError("holds a NUL")
    if not given.get("host"):
        raise AddressError('names no host; for a socket write "postgresql:///database?host=/var/run/postgresql"')
    if not given.get("dbname"):
        raise AddressError('names no database; write it behind the host, as "postgresql://user@host/database"')
    if given.get("port", "").count(",") not in (0, given["host"].count(",")):
        raise AddressError("names more ports than hosts, or fewer")
    if given.get("sslmode") == "verify-ca" and "sslrootcert" not in given:
        raise AddressError("has sslmode=verify-ca without sslrootcert: name the file of the authority")
    if "sslcert" in given and "sslkey" not in given:
        raise AddressError(
            "has sslcert without sslkey, which are Tocsin's own certificate and key; the server's authority (Prisma's"
            " sslcert) goes into sslrootcert"
        )
    return given, password, ", ".join(dropped)


def _pairs(query: str) -> list[tuple[str, str]]:
    """As libpq reads them: to it a + is a +."""
    pairs = []
    for one in query.split("&") if query else ():
        name, equals, value = one.partition("=")
        if not equals:
            raise AddressError(f"has parameters that are not name=value; {ESCAPES}")
        pair = _plain(name), _plain(value)
        pairs.append(WRITTEN_BY_OTHERS.get(pair, pair))
    return pairs


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _host(where: str) -> tuple[str, str]:
    host, colon, port = where.rpartition(":") if not where.endswith("]") else (where, "", "")
    if not colon:
        host, port = where, ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise AddressError(f"has a port that is not a number from 1 to 65535; {ESCAPES}")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    if ":" in host:
        raise AddressError(f"has more than one colon in its host: write an IPv6 address in brackets; {ESCAPES}")
    return _plain(host), port


def _plain(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise AddressError(f"has %-escapes that are not UTF-8; {ESCAPES}") from None


def _password(daemon: DaemonTable, reader: Reader, inline: str) -> Secret | None:
    variable, file = daemon.ledger_password_env, daemon.ledger_password_file
    if variable and file:
        reader.fault("daemon", "ledger_password_file", "cannot be combined with ledger_password_env: set one of them")
        return None
    if inline and (variable or file):
        key = "ledger_password_env" if variable else "ledger_password_file"
        reader.fault("daemon", key, "cannot be combined with a password in the address of `ledger`: remove one")
        return None
    if inline:
        return Secret(inline, "password", "the address in `ledger`")
    if not file and variable in reader.unknown:
        return None
    try:
        if file:
            return secrets.from_file(reader.file.parent / file, "password")
        return secrets.from_environment(variable, "password", reader.environment) if variable else None
    except SecretError as error:
        reader.fault("daemon", f"ledger_password_{'file' if file else 'env'}", str(error))
        return None


def _in_the_clear(ledger: Postgres, mode: str) -> str:
    """What is to be said of a server beyond loopback that TLS does not protect; "" of any other."""
    beyond = [host for host in ledger.hosts if not host.startswith(("/", "@")) and not is_loopback(host)]
    if not beyond or mode in _ENCRYPTED:
        return ""
    return (
        f"the ledger's server {beyond[0]} is beyond loopback, and without sslmode=require the connection may be"
        " unencrypted: add ?sslmode=verify-full to `ledger` (then nobody can pose as the server), or at least"
        " ?sslmode=require"
    )
