"""TLS of the calls and of the exporter: which CAs to trust, and which certificate to show."""

import functools
import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tocsin import files

FILE_SIZE = 16 * 1024**2  # bytes of a PEM file: a bundle of all public CAs takes a hundredth


class TlsError(ValueError):
    """A file cannot be used. `key` is the key that names it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: a CA bundle to trust instead of the system's, and this client's certificate and key. Two that were
    `read` are equal if their files have the same content."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None  # may be in the same file as the certificate
    digest: str = field(default="", repr=False)  # of all the files
    made: ssl.SSLContext | None = field(default=None, compare=False, repr=False)

    def read(self) -> "TlsFiles":
        """Return a copy with the files read. They are not read again. Raises TlsError."""
        named = {"ca_file": self.ca_file, "client_cert": self.client_cert, "client_key": self.client_key}
        if not any(named.values()):
            return self
        return replace(self, digest=_digest(named), made=_context(self))

    def context(self) -> ssl.SSLContext:
        """Return the context, which verifies certificate and host name. Jobs share it, because it takes long to make.
        Raises TlsError if the files were not read before.
        """
        if self == TlsFiles():
            return _system_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return self.made or _context(self)


def system_fault(environment: Mapping[str, str] = os.environ) -> str:
    """Say why the file in SSL_CERT_FILE, which OpenSSL opens without checking, cannot be used. "" if it can. (OpenSSL
    ignores a file that does not exist.)"""
    named = environment.get("SSL_CERT_FILE")
    try:
        if named and os.path.exists(named):
            files.read(Path(named), FILE_SIZE, "certificates")
    except OSError as error:
        return _why(Path(named or ""), error)
    return ""


@functools.lru_cache(maxsize=1)
def _system_context(*_named: str | None) -> ssl.SSLContext:
    return _context(TlsFiles())


def _context(of: TlsFiles) -> ssl.SSLContext:
    # Not ssl.create_default_context(), which obeys SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if of.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(of.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsError("ca_file", _why(of.ca_file, error)) from None
    if of.client_key is not None and of.client_cert is None:
        raise TlsError("client_key", "needs client_cert")
    if of.client_cert is not None:
        try:
            context.load_cert_chain(of.client_cert, of.client_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise TlsError("client_cert", _why(of.client_cert, error)) from None
    return context


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The exporter's side. Two are equal if their files have the same content."""

    context: ssl.SSLContext = field(compare=False, repr=False)
    asks_clients: bool  # whether clients need a certificate
    digest: str = field(repr=False)  # of all the files

    @classmethod
    def load(cls, cert: Path, key: Path | None, client_ca: Path | None) -> "ServerTls":
        """Read PEM files: certificate chain, its key (may be in the same file), and the CA of the clients'
        certificates, which are then required. Raises TlsError.
        """
        digest = _digest({"listen_cert": cert, "listen_key": key, "listen_client_ca": client_ca})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise TlsError("listen_cert", _why(cert, error)) from None
        if client_ca:
            try:
                context.load_verify_locations(client_ca)
            except (OSError, ssl.SSLError) as error:
                raise TlsError("listen_client_ca", _why(client_ca, error)) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return cls(context, client_ca is not None, digest)


def _digest(named: Mapping[str, Path | None]) -> str:
    """Hash the contents of the files."""
    digest = hashlib.sha256()
    for key, file in named.items():
        digest.update(hashlib.sha256(_content(key, file)).digest() if file else b"-")
    return digest.hexdigest()


def _content(key: str, file: Path) -> bytes:
    try:
        return files.read(file, FILE_SIZE, "certificates and keys")
    except OSError as error:
        raise TlsError(key, _why(file, error)) from None


def _no_password() -> str:
    raise ValueError("the key is encrypted, and Tocsin cannot ask for its password")


def _why(file: Path, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"cannot use {file}: {error.reason or 'is not PEM'}"
    return f"cannot use {file}: {error.strerror if isinstance(error, OSError) else error}"
