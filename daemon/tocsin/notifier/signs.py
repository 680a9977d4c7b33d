"""The protocols of the services that wait for signs of life, as pure functions.

Healthchecks: https://healthchecks.io/docs/http_api/; Uptime Kuma: its push monitor; Better Stack: heartbeats.
"""

from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tocsin.config.notify import Style

What = Literal["start", "success", "fail"]
BODY = 10_000  # characters of a body: Healthchecks takes 100 kB, and nobody reads as much


class Sign(NamedTuple):
    method: str
    url: str
    body: str = ""


def style_of(url: str, style: Style) -> Style:
    """Return the style of the service. If the job file does not say, the address tells it."""
    if style != "auto":
        return style
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "hc-ping.com" or "/ping/" in parts.path:
        return "healthchecks"
    if "/api/push/" in parts.path:
        return "uptime-kuma"
    if host.endswith(("betterstack.com", "betteruptime.com")) and "/heartbeat/" in parts.path:
        return "betterstack"
    return "plain"


def sign(
    url: str, style: Style, what: What, detail: str = "", *, run_id: str = "", duration: float | None = None
) -> Sign | None:
    """Return the request. Returns None if the service has no request for this; then it notices the silence."""
    took = f"\nduration: {duration:.3f} s" if duration is not None else ""
    match style_of(url, style):
        case "healthchecks":
            suffix = {"start": "/start", "success": "", "fail": "/fail"}[what]
            query = {"rid": run_id} if run_id else {}
            return Sign("POST", _with(url, suffix, query), (detail + took).strip()[:BODY])
        case "uptime-kuma" if what != "start":
            query = {"status": "up" if what == "success" else "down", "msg": detail[:200] or "OK"}
            query["ping"] = f"{duration * 1000:.0f}" if duration is not None else ""
            return Sign("GET", _with(url, "", query))
        case "betterstack" if what == "success":
            return Sign("GET", url)
        case "betterstack" if what == "fail":
            return Sign("POST", _with(url, "/fail", {}), (detail + took).strip()[:BODY])
        case "plain" if what == "success":
            return Sign("GET", url)
    return None


def refused(style: Style, body: str) -> str:
    """Return why a reply with a status of success is a refusal all the same, or ""."""
    if style == "healthchecks" and body.startswith("OK (not found)"):
        return "the service does not know this check"
    if style == "healthchecks" and body.startswith("OK (rate limited)"):
        return "the service accepts only five pings a minute"
    if style == "uptime-kuma" and '"ok":false' in body.replace(" ", ""):
        return "the service does not know this monitor, or it is paused"
    return ""


def _with(url: str, suffix: str, query: dict[str, str]) -> str:
    """Return the address with a suffix on its path, and with these parameters added or replaced."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + suffix if suffix else parts.path
    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **query}
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(given), ""))
