"""Replies that a cache gave: the handler did not run, whatever they say."""

import re

from tocsin.call.verdict import one_line

# The header fields by which caches say that they answered themselves. Not among them: what was fetched or checked anew
# for this request (MISS, EXPIRED, BYPASS, REVALIDATED, RefreshHit), since the handler was asked then.
_HIT = re.compile(
    rb"""^(?:
    age:[ \t]*0*[1-9]\d*                                                    # RFC 9111, 5.1
    | cache-status:(?:[^"\r\n]|"[^"\r\n]*")*?;[ \t]*hit(?:=\?1)?[ \t]*(?=[;,\r])  # RFC 9211, 2.1
    | x-vercel-cache:[ \t]*(?:hit|stale|prerender)\b
    | x-nextjs-cache:[ \t]*(?:hit|stale)\b
    | cf-cache-status:[ \t]*(?:hit|stale|updating)\b                        # Cloudflare
    | (?:x-cache|x-cache-status|x-proxy-cache|x-fastcgi-cache|x-litespeed-cache|cdn-cache):
      [^\r\n]*?(?<![a-z])(?<!refresh_)(?<!expired_)(?:hit|stale|updating)(?![-.\w])  # CloudFront, Fastly, Squid, nginx
    | x-varnish:[ \t]*\d+[ \t]+\d+                                          # this request, and the one that filled it
    )[^\r\n]*""",
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)


def cache_hit(fields: bytes) -> bytes:
    """The header field that says so, of fields that each end with CR LF; empty where none does."""
    found = _HIT.search(fields)
    return found[0] if found else b""


def told(hit: bytes, method: str) -> str:
    """What a run says of such a reply."""
    post = ' or method = "POST"' if method == "GET" else ""
    return (
        f"the reply came from a cache ({one_line(hit.decode('iso-8859-1'))}), so the handler did not run; make it send "
        f'"Cache-Control: no-store" (Next.js: export const dynamic = "force-dynamic"){post}, '
        "or set expect.cached = true"
    )
