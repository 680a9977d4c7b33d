"""The URLs of the job file: which are allowed, their origin, and whether a host is public."""

from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

# Ends of names that only a private network or this machine knows. RFC 6761 (localhost, test), 6762 (local), 8375
# (home.arpa). ICANN reserved internal for private use (2024): docker.internal, railway.internal, compute.internal.
_PRIVATE_NAMES = (
    *(".localhost", ".local", ".internal", ".test", ".home.arpa"),
    ".svc",  # Kubernetes: NAME.NAMESPACE.svc
    *(".flycast", ".consul", ".dns.podman"),
)
# Ends that are not top-level domains. People use them in their own networks, so such a name may not be public.
_OWN_ENDINGS = {"lan", "home", "corp", "private", "intranet", "domain", "localdomain", "production", "staging"}
MAX_URL = 2000  # characters of a path and of a URL: servers accept less, and it must fit into a message


def check_url(url: str) -> str:
    """Check for an http or https URL without user, password or fragment. Raises ValueError."""
    if len(url) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        port_ok = parts.port != 0
    except ValueError:
        port_ok = False
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError('is not a URL: write it in full, for example "https://app.example.com/path"')
    if set(parts.netloc) & set("${}"):
        raise ValueError("has an invalid host: a reference to a variable is ${NAME} or ${NAME:-default}")
    if parts.username is not None:
        raise ValueError(
            'must be plain ASCII without user, password, spaces or fragment: put "Basic " and the base64 of '
            'user:password into a variable, name it in secret_env, and set send_secret = "authorization"'
        )
    if "#" in url or " " in url or not url.isascii() or not url.isprintable():
        raise ValueError("must be plain ASCII without user, password, spaces or fragment")
    return url


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, to which a secret belongs (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_public(host: str) -> bool:
    """Whether the host may be beyond this network: not a private address, and not a name that only a private network
    knows. A final dot does not matter."""
    host = host.lower().rstrip(".")
    try:
        address = ip_address(host.partition("%")[0])  # without the zone of a link-local address (RFC 6874)
    except ValueError:
        if host.isdigit() or host.startswith("0x"):  # the resolver takes it for an address
            return True
        return "." in host and not host.endswith(_PRIVATE_NAMES)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_global or address.is_multicast  # 100.64.0.0/10 is not global either (RFC 6598)


def may_be_private(host: str) -> bool:
    """Whether a host that counts as public may still be private: its name does not end with a top-level domain of the
    internet, for example `web.production` or `nas.lan`."""
    return host.lower().rstrip(".").rpartition(".")[2] in _OWN_ENDINGS


def host_to_resolve(host: str) -> str:
    """Return a URL's host as the resolver needs it: in a URL the zone of an address follows %25, not % (RFC 6874)."""
    address, percent, zone = host.partition("%25")
    return f"{address}%{unquote(zone)}" if percent and ":" in address else host
