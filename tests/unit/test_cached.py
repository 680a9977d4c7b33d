"""Which header fields say that a cache answered, and the handler did not run."""

import pytest

from tocsin.call.cached import cache_hit, told

HITS = [
    "Age: 1",
    "age: 031536000",
    "X-Vercel-Cache: HIT",
    "x-vercel-cache: STALE",
    "x-vercel-cache:PRERENDER",
    "x-nextjs-cache: HIT",
    "x-nextjs-cache: STALE",
    "CF-Cache-Status: HIT",
    "cf-cache-status: UPDATING",
    "cf-cache-status: STALE",
    "X-Cache: Hit from cloudfront",
    "X-Cache: HIT",
    "X-Cache: MISS, HIT",
    "X-Cache: HIT from proxy.example.com",
    "X-Cache: TCP_HIT from a23-1-2-3",
    "X-Cache: TCP_MEM_HIT",
    "X-Cache-Status: STALE",
    "X-Proxy-Cache: HIT",
    "X-FastCGI-Cache: HIT",
    "X-LiteSpeed-Cache: hit",
    "CDN-Cache: HIT",
    "X-Varnish: 32770 3",
    "Cache-Status: ExampleCache; hit",
    'Cache-Status: "Netlify Edge"; hit; ttl=60',
    'Cache-Status: Origin; fwd=miss, "The; Edge";hit=?1',
    "Cache-Status: a ;hit , b; fwd=uri-miss",
]
NO_HITS = [
    "Age: 0",
    "Age: 00",
    "Age:",
    "Age: soon",
    "X-Age: 30",
    "X-Vercel-Cache: MISS",
    "X-Vercel-Cache: BYPASS",
    "X-Vercel-Cache: REVALIDATED",
    "x-nextjs-cache: MISS",
    "CF-Cache-Status: DYNAMIC",
    "CF-Cache-Status: MISS",
    "CF-Cache-Status: EXPIRED",
    "CF-Cache-Status: REVALIDATED",
    "X-Cache: Miss from cloudfront",
    "X-Cache: RefreshHit from cloudfront",
    "X-Cache: Error from cloudfront",
    "X-Cache: TCP_REFRESH_HIT",
    "X-Cache: TCP_EXPIRED_HIT",
    "X-Cache: MISS from white.example.com",
    "X-Cache: MISS from hit-server.example.com, MISS from stale.example.com",
    "X-Cache: CONFIG_NOCACHE",
    "X-Cache-Status: REVALIDATED",
    "X-Cache-Lookup: HIT from proxy",
    "X-Cache-Hits: 0",
    "X-Varnish: 32770",
    "X-Redis-Cache: hit",
    "Cache-Status: ExampleCache; fwd=uri-miss",
    "Cache-Status: ExampleCache; hit=?0",
    'Cache-Status: "Edge; hit"; fwd=miss',
    "Cache-Status: Edge; hits=3; fwd=stale",
    "Cache-Control: max-age=30",
]


@pytest.mark.parametrize("field", HITS)
def test_hits(field: str) -> None:
    assert cache_hit(f"Server: x\r\n{field}\r\nX-More: y\r\n".encode()) == field.encode()


@pytest.mark.parametrize("field", NO_HITS)
def test_no_hits(field: str) -> None:
    assert cache_hit(f"Server: x\r\n{field}\r\nX-More: y\r\n".encode()) == b""


def test_a_long_field_takes_no_long_time() -> None:
    """Without what it looks for, in the worst places: where each step tried all others, this would not end."""
    for field in (
        b'Cache-Status: "',
        b"Cache-Status: ;",
        b'Cache-Status: ""',
        b"X-Cache: hi",
        b"Age: 0",
        b"X-Varnish: 1",
    ):
        name, _, value = field.partition(b": ")
        assert cache_hit(name + b": " + value * (60_000 // len(value)) + b"\r\n") in (b"",)


def test_the_cure_depends_on_the_method() -> None:
    assert 'method = "POST"' in told(b"Age: 3", "GET")
    assert "POST" not in told(b"Age: 3", "POST")
    assert "expect.cached" in told(b"Age: 3", "POST")
