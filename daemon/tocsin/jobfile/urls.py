"""What the job file's URLs may be, and who is whose neighbour."""

from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

# Ends of names that only a private network, or this machine, knows. RFC 6761 (localhost, test), 6762 (local), 8375
# (home.arpa); internal is ICANN's for private use (2024): docker.internal, railway.internal, compute.internal too.
_PRIVATE_NAMES = (
    *(".localhost", ".local", ".internal", ".test", ".home.arpa"),
    ".svc",  # Kubernetes: NAME.NAMESPACE.svc
    *(".flycast", ".consul", ".dns.podman"),
)
# Ends that are no top-level domain: people use them in their own networks, so such a name need not be a public one.
_OWN_ENDINGS = {"lan", "home", "corp", "private", "intranet", "domain", "localdomain", "production", "staging"}
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
    """Scheme, host and port: what a secret belongs to (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_public(host: str) -> bool:
    """Whether the host may be beyond this network: neither a private address nor a name that only a private network
    knows. A dot at the end changes nothing."""
    host = host.lower().rstrip(".")
    try:
        address = ip_address(host.partition("%")[0])  # without the zone of a link-local one (RFC 6874)
    except ValueError:
        if host.isdigit() or host.startswith("0x"):  # an address too, to the resolver
            return True
        return "." in host and not host.endswith(_PRIVATE_NAMES)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_global or address.is_multicast  # not global either: 100.64.0.0/10 (RFC 6598)


def may_be_private(host: str) -> bool:
    """Whether a host that counts as public may still be one of a private network: its name ends with no top-level
    domain of the internet, as `web.production` or `nas.lan`."""
    return host.lower().rstrip(".").rpartition(".")[2] in _OWN_ENDINGS


def host_to_resolve(host: str) -> str:
    """A URL's host as the system takes it: the zone of an address follows %25 in a URL and % elsewhere (RFC 6874)."""
    address, percent, zone = host.partition("%25")
    return f"{address}%{unquote(zone)}" if percent and ":" in address else host
