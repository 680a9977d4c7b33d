"""The target of the job file, which gives calls their secret, signature and certificates."""

from typing import Any
from urllib.parse import urlsplit

from tocsin.config import secrets
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.tls import TlsError, TlsFiles
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import JobTable, TargetTable
from tocsin.jobfile.urls import is_public, may_be_private, origin

_REMEDY = "use https://, or set allow_insecure = true in [target]"
_IN_THE_CLEAR = f"calls would be sent unencrypted to a public host; {_REMEDY}"
_PERHAPS_IN_THE_CLEAR = f"calls may be sent unencrypted beyond this network, by its host name; {_REMEDY}"


class Target:
    """Adds its faults to the reader, each once, however many jobs they affect."""

    def __init__(self, reader: Reader, written: dict[str, Any]) -> None:
        self._reader = reader
        self.written = written
        self.table, self.faulty = reader.read(TargetTable, written, "target")
        self._told: set[str] = set()  # keys whose further faults have been added
        self.signing_secret = self._signing_secret()
        self.tls = self._tls()

    def _fault(self, key: str, why: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._reader.fault("target", key, why)

    def url(self, model: JobTable, table: str) -> str:
        """Return the URL of the job of `table`, from its path or its own url. "" if it is not known."""
        if model.path and "base_url" in self.faulty:
            return ""
        if model.path and not self.table.base_url:
            self._fault("base_url", f"is required by job {table.removeprefix('jobs.')}, which has a path")
            return ""
        url = model.url or self.table.base_url.rstrip("/") + model.path
        insecure = self.table.allow_insecure or "allow_insecure" in self.faulty
        host = urlsplit(url).hostname or ""
        if urlsplit(url).scheme == "http" and not insecure and is_public(host):
            why = _PERHAPS_IN_THE_CLEAR if may_be_private(host) else _IN_THE_CLEAR
            if model.path:
                self._fault("base_url", why)
            else:
                self._reader.fault(table, "url", why)
        return url

    def owns(self, url: str) -> bool:
        """Whether a URL belongs to the target. Only then a call uses its secret, signature and certificates."""
        return bool(self.table.base_url) and origin(url) == origin(self.table.base_url)

    def secret(self, sent: str) -> Secret | None:
        """Return the target's secret, to be sent in this way. None if there is none, or if it has a fault."""
        variable, file = self.table.secret_env, self.table.secret_file
        if self.faulty & {"secret_env", "secret_file"} or (not file and variable in self._reader.unknown):
            return None
        try:
            if file:
                return secrets.from_file(self._reader.file.parent / file, sent)
            return secrets.from_environment(variable, sent, self._reader.environment)
        except SecretError as error:
            self._fault("secret_file" if file else "secret_env", str(error))
            return None

    def _signing_secret(self) -> Secret | None:
        if not self.table.signing_secret_env or self.table.signing_secret_env in self._reader.unknown:
            return None
        try:
            return secrets.for_signing(self.table.signing_secret_env, self._reader.environment)
        except SecretError as error:
            self._fault("signing_secret_env", str(error))
            return None

    def _tls(self) -> TlsFiles:
        """Its CA and client certificate, read and checked."""
        if self.faulty & {"ca_file", "client_cert", "client_key"}:
            return TlsFiles()
        names = (self.table.ca_file, self.table.client_cert, self.table.client_key)
        ca, cert, key = (self._reader.file.parent / name if name else None for name in names)
        try:
            return TlsFiles(ca, cert, key).read()
        except TlsError as error:
            self._fault(error.key, str(error))
            return TlsFiles()
