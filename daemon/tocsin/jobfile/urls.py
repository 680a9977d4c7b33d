"""What the job file's URLs may be, and who is whose neighbour."""

from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

MAX_URL = 2000  # characters of a path and of a URL: more than servers take, and a message must hold one


def check_url(url: str) -> str:
    """An http or https URL without user, password or fragment. Raises ValueError."""
    if len(url) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        port_ok = parts.port != 0
    except ValueError:
        port_ok = False
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError('is no URL; write it in full, as "https://app.example.com/path"')
    if set(parts.netloc) & set("${}"):
        raise ValueError("has a host that is none; a reference to a variable is ${NAME} or ${NAME:-default}")
    if parts.username is not None or "#" in url or " " in url or not url.isascii() or not url.isprintable():
        raise ValueError("must be plain ASCII without user, password, spaces or fragment")
    return url


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what a secret belongs to (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_public(host: str) -> bool:
    """Whether the host is likely beyond this network: no loopback, private address or single-label name."""
    try:
        address = ip_address(host)
    except ValueError:
        if host.isdigit() or host.startswith("0x"):  # an address too, to the resolver
            return True
        return "." in host.rstrip(".") and not host.endswith((".localhost", ".local", ".internal"))
    return not (address.is_loopback or address.is_private or address.is_link_local)


def host_to_resolve(host: str) -> str:
    """A URL's host as the system takes it: the zone of an address follows %25 in a URL and % elsewhere (RFC 6874)."""
    address, percent, zone = host.partition("%25")
    return f"{address}%{unquote(zone)}" if percent and ":" in address else host
