"""Recognizes replies from a cache. They mean that the handler did not run, whatever else they say."""

import re

from tocsin.call.verdict import one_line

# The header fields by which caches say that they answered the request themselves. Not included: replies that were
# fetched or checked for this request (MISS, EXPIRED, BYPASS, REVALIDATED, RefreshHit), because the handler was asked.
_HIT = re.compile(
    rb"""^(?:
    age:[ \t]*0*[1-9]\d*                                                    # RFC 9111, 5.1
    | cache-status:(?:[^"\r\n]|"[^"\r\n]*")*?;[ \t]*hit(?:=\?1)?[ \t]*(?=[;,\r])  # RFC 9211, 2.1
    | x-vercel-cache:[ \t]*(?:hit|stale|prerender)\b
    | x-nextjs-cache:[ \t]*(?:hit|stale)\b
    | cf-cache-status:[ \t]*(?:hit|stale|updating)\b                        # Cloudflare
    | (?:x-cache|x-cache-status|x-proxy-cache|x-fastcgi-cache|x-litespeed-cache|cdn-cache):
      [^\r\n]*?(?<![a-z])(?<!refresh_)(?<!expired_)(?:hit|stale|updating)(?![-.\w])  # CloudFront, Fastly, Squid, nginx
    | x-varnish:[ \t]*\d+[ \t]+\d+                                          # this request, and that which filled it
    )[^\r\n]*""",
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)


def cache_hit(fields: bytes) -> bytes:
    """Return the header field that says so, or b"". Each field of the head ends with CR LF."""
    found = _HIT.search(fields)
    return found[0] if found else b""


def told(hit: bytes, method: str) -> str:
    """Describe such a reply in a run's detail."""
    post = ' or method = "POST"' if method == "GET" else ""
    return (
        f"the reply came from a cache ({one_line(hit.decode('iso-8859-1'))}), so the handler did not run; make it send "
        f'"Cache-Control: no-store" (Next.js: export const dynamic = "force-dynamic"){post}, '
        "or set expect.cached = true"
    )
