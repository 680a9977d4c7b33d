"""TLS of the calls: whom to believe, and which certificate to show."""

import functools
import os
import ssl
from dataclasses import dataclass
from pathlib import Path


class TlsError(ValueError):
    """A file cannot be used; `key` is the key of [target] that names it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: an authority to believe instead of the system's, and this client's certificate and key."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None  # may be in the same file as the certificate

    def context(self) -> ssl.SSLContext:
        """Verifies certificate and host name. The same object until a file changes: making one takes a while,
        and the jobs that the parent forks share it. Raises TlsError.
        """
        named = (self.ca_file, self.client_cert, self.client_key)
        changed = tuple(file.stat().st_mtime_ns if file and file.exists() else 0 for file in named)
        return _context(self, (*changed, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")))


@functools.cache
def _context(files: TlsFiles, _as_of: tuple[object, ...]) -> ssl.SSLContext:
    # Made plainly, since ssl.create_default_context() obeys SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if files.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(files.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsError("ca_file", _why(files.ca_file, error)) from None
    if files.client_key is not None and files.client_cert is None:
        raise TlsError("client_key", "stands without client_cert")
    if files.client_cert is not None:
        try:
            context.load_cert_chain(files.client_cert, files.client_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise TlsError("client_cert", _why(files.client_cert, error)) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


def _why(file: Path, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"cannot use {file}: {error.reason or 'is not PEM'}"
    return f"cannot use {file}: {error.strerror if isinstance(error, OSError) else error}"
