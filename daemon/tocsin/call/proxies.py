"""Finds proxies that the environment names. Tocsin never uses them, but a failed call mentions them."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def unused_proxy(url: str, environment: Mapping[str, str]) -> str:
    """Return the variable that names a proxy for this URL, by curl's rules, or "". Never show its value, which may
    hold a password."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if _is_loopback(host) or _is_exempt(host, parts.port, environment):
        return ""
    named = f"{parts.scheme}_proxy"
    return next((name for name in (named, named.upper(), "all_proxy", "ALL_PROXY") if environment.get(name)), "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_exempt(host: str, port: int | None, environment: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names the host, a domain above it, its address or its network."""
    listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for entry in listed.lower().replace(",", " ").split():
        if entry == "*" or _is_within(host, entry):
            return True
        name, _, number = entry.rpartition(":")
        name = (name if number.isdigit() and (":" not in name or name.endswith("]")) else entry).strip("[]")
        if number.isdigit() and name not in ("", entry) and port != int(number):
            continue
        name = name.removeprefix("*").strip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
