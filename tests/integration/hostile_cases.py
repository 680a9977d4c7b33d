"""The servers of docs/calls.md, one for each row of its tables."""

import gzip
from functools import cache

from hostile_server import CHUNKED, JSON, OK, SECRET, ZEROS, Peer, bomb, case, json, packed, replies, status
from tocsin.call.verdict import LARGEST

# ---- slow and endless


@case("sends the status line a byte at a time")
def _(peer: Peer) -> None:
    peer.drip(OK * 99)


@case("sends the headers a byte at a time")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 200 OK\r\n")
    peer.drip(b"X-Slow: yes\r\n" * 99)


@case("sends the body a byte at a time")
def _(peer: Peer) -> None:
    peer.say(JSON + b"Content-Length: 999\r\n\r\n")
    peer.drip(b" " * 999)


@case("sends one tiny chunk after the other, slowly")
def _(peer: Peer) -> None:
    peer.say(CHUNKED)
    peer.endless(b"1\r\n \r\n", slowly=True)


@case("sends `100 Continue` for ever, slowly")
def _(peer: Peer) -> None:
    peer.endless(b"HTTP/1.1 100 Continue\r\n\r\n", slowly=True)


@case("sends trailers for ever")
def _(peer: Peer) -> None:
    peer.say(CHUNKED + b"2\r\n{}\r\n0\r\n")
    peer.endless(b"X-Trailer: more\r\n" * 999)


@case("accepts and says nothing")
def _(peer: Peer) -> None:
    peer.hold()


@case("does not read the request", body=bytes(2**24))
def _(peer: Peer) -> None:
    peer.sit()


@case("takes longer to answer than `connect_timeout`", connect_timeout=0.1)
def _(peer: Peer) -> None:
    peer.hear()
    for _ in range(10):
        peer.pause()
    peer.say(OK)


@case("leaves the TLS handshake unanswered", https=True, connect_timeout=0.1)
def _(peer: Peer) -> None:
    peer.hold()


@case("sends a 500 and a body that does not end, slowly")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 500 Oops\r\n\r\n")
    peer.endless(b"x", slowly=True)


# ---- large


@case("sends `100 Continue` for ever")
def _(peer: Peer) -> None:
    peer.endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 999)


@case("sends headers for ever")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 200 OK\r\n")
    peer.endless(b"X-More: and more\r\n" * 999)


replies("sends 101 headers", b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 101 + b"\r\n")
replies("sends a header of 64 KiB", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2**16 + b"\r\n\r\n")
replies("sends headers of 60 KB, five of them", b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 5 + b"\r\n")
replies("sends headers of 60 KB, four of them", b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 4 + b"\r\n")


@case("sends a status line that does not end")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 200 ")
    peer.endless(b"O" * 65536)


@case("sends a body that does not end")
def _(peer: Peer) -> None:
    peer.say(JSON + b"\r\n")
    peer.endless(ZEROS)


@case("announces 10 TB and begins to send them")
def _(peer: Peer) -> None:
    peer.say(JSON + b"Content-Length: 10000000000000\r\n\r\n")
    peer.endless(ZEROS)


@case("sends one tiny chunk after the other", max_reply=2**18)
def _(peer: Peer) -> None:
    peer.say(CHUNKED)
    peer.endless(b"1\r\n \r\n" * 9999)


@case("sends a chunk of 16 EB")
def _(peer: Peer) -> None:
    peer.say(CHUNKED + b"ffffffffffffffff\r\n")
    peer.endless(ZEROS)


@case("sends a chunk of size -1")
def _(peer: Peer) -> None:
    peer.say(CHUNKED + b"-1\r\n")
    peer.endless(ZEROS)


@case("sends a redirect and a body that does not end")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n")
    peer.endless(ZEROS)


@case("sends a 500 and a body that does not end")
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 500 Oops\r\n\r\n")
    peer.endless(b"database is down " * 999)


_bomb = cache(bomb)


@case("sends a gzip bomb")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(packed("gzip", _bomb(1, 31)))


@case("sends a gzip bomb in gzip")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(packed("gzip, gzip", _bomb(2, 31)))


@case("sends a deflate bomb")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(packed("deflate", _bomb(1, 15)))


@case("sends a gzip bomb with a 500")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(status(500, "Content-Encoding: gzip", body=_bomb(1, 31)))


replies("packs gzip six times", packed("gzip, gzip, gzip, gzip, gzip, gzip", b"x"))
replies("nests 500,000 lists", json(b"[" * 500_000))
replies("lists 300,000 lists", json(b"[" + b"[]," * 300_000 + b"[]]"))

# ---- broken

replies("closes before it answers", b"")


@case("closes after the handshake of TCP")
def _(peer: Peer) -> None:
    peer.sock.close()


@case("resets the connection before it answers")
def _(peer: Peer) -> None:
    peer.hear()
    peer.reset()


@case("resets the connection in the middle of the body")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(JSON + b"Content-Length: 99\r\n\r\n")
    peer.say(b"{")
    peer.sock.shutdown(0)
    peer.reset()


replies("closes in the middle of the headers", b"HTTP/1.1 200 OK\r\nContent-Type: applica")
replies("closes after the status line", b"HTTP/1.1 200 OK\r\n")
replies("closes in the middle of the status line", b"HTTP/1.1 2")
replies("sends a status line without a status", b"HTTP/1.1 fine\r\n\r\n")
replies("sends status 99", b"HTTP/1.1 99 Low\r\n\r\n")
replies("answers as HTTP/0.9 did", b"<html>hello</html>\n")
replies("answers as HTTP/2", b"HTTP/2.0 200 OK\r\n\r\n")
replies("answers as SSH", b"SSH-2.0-OpenSSH_9.9\r\n")


@case("repeats what it hears")
def _(peer: Peer) -> None:
    peer.say(peer.hear())


replies("truncates a chunk", CHUNKED + b'ff\r\n{"success": true')
replies("omits the last chunk", CHUNKED + b'11\r\n{"success": true}\r\n')
replies("writes nonsense for the size of a chunk", CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")
replies("announces more than it sends", JSON + b"Content-Length: 99\r\n\r\n{}")
replies("announces less than it sends", JSON + b'Content-Length: 9\r\n\r\n{"success": true}')
replies("announces two lengths", JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
replies("announces a length that is a word", JSON + b"Content-Length: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
replies("announces one length twice", JSON + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}")
replies("announces a length and sends chunks", JSON + b"Content-Length: 9\r\n" + CHUNKED[len(JSON) :] + b"0\r\n\r\n")
twice = b"Transfer-Encoding: chunked\r\n" * 2
replies("says twice that it sends chunks", JSON + twice + b"\r\n2\r\n{}\r\n0\r\n\r\n")
replies("calls text gzip", packed("gzip", b'{"success": true}'))
replies("truncates gzip", packed("gzip", gzip.compress(b'{"success": true, "unassignedCount": 3}')[:-12]))
replies("compresses as nobody asked", packed("br", b"\x8b\x08\x80{\x22success"))
replies("compresses as nobody asked, on top of gzip", packed("br, gzip", gzip.compress(b"\x8b\x08\x80{\x22success")))
replies("compresses an error as nobody asked", status(500, "Content-Encoding: zstd", body=b"\x28\xb5\x2f\xfd\x04"))
replies("sends a NUL in a header", b"HTTP/1.1 200 OK\r\nX-Odd: a\0b\r\nContent-Length: 0\r\n\r\n")
replies("sends a header without a colon", b"HTTP/1.1 200 OK\r\nwhat is this\r\nContent-Length: 2\r\n\r\n{}")
replies("folds a header", b"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\nContent-Length: 2\r\n\r\n{}")
replies("ends its lines with LF alone", OK.replace(b"\r\n", b"\n"))
replies("speaks HTTP/1.0 without a length", b'HTTP/1.0 200 OK\r\n\r\n{"success": true}')
replies("sends 103 Early Hints first", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
replies("sends 100 and 102 first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK)
replies("switches protocols", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
replies("sends a 204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n<html")


@case("announces chunks with a 204, and sends none")
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.hold()


@case("answers 413 and stops reading", body=bytes(2**22))
def _(peer: Peer) -> None:
    peer.sock.recv(1)
    peer.say(status(413, body=b"too much"))
    peer.sock.shutdown(1)
    peer.reset()


@case("answers 413, reads no more and stays", body=bytes(6 * 2**20))
def _(peer: Peer) -> None:
    peer.sock.recv(1)
    peer.say(status(413, body=b"too much"))
    peer.sit()


@case("answers 413 over TLS, reads no more and stays", tls=True, body=bytes(6 * 2**20))
def _(peer: Peer) -> None:
    peer.sock.recv(1)
    peer.say(status(413, body=b"too much"))
    peer.sit()


@case("answers 200 before it has read all, and stays", body=bytes(6 * 2**20))
def _(peer: Peer) -> None:
    peer.sock.recv(1)
    peer.say(OK)
    peer.sit()


@case("begins a 200 and reads the rest of a large request", body=bytes(6 * 2**20))
def _(peer: Peer) -> None:
    peer.say(CHUNKED)
    heard = len(peer.hear())
    done = b'{"success": %b}' % (b"true" if heard > 6 * 2**20 else b"false")
    peer.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))


@case("sends 100 and 103, and reads the rest of a large request", tls=True, body=bytes(6 * 2**20))
def _(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    peer.hear()
    peer.say(OK)


# ---- wrong in what it says

replies("breaks off its JSON", json(b'{"success": tr'))
replies("sends HTML with a 200", status(200, body=b"<!DOCTYPE html><title>Sign in</title>", kind="text/html"))
replies("calls text HTML", status(200, body=b"OK", kind="text/html"))
replies("calls HTML JSON", json(b"\xef\xbb\xbf\n<html><title>Oops</title>"))
replies("says success: false", json(b'{"success": false, "error": "no database"}'))
replies("says ok: 0", json(b'{"ok": 0}'))
replies("says error", json(b'{"error": "no database"}'))
replies("says error: null", json(b'{"error": null, "errors": []}'))
replies("says error: true", json(b'{"error": true, "message": "no database"}'))
replies("says error, an object", json(b'{"data": null, "error": {"message": "no database", "code": "X1"}}'))
replies("says error, an empty object", json(b'{"error": {}, "data": [1]}'))
replies("says errors, a list, as GraphQL", json(b'{"data": null, "errors": [{"message": "no database"}]}'))
replies("says errors, a number", json(b'{"ok": true, "errors": 2}'))
replies("says errors, and success: true", json(b'{"success": true, "errors": ["one of ten"]}'))
replies("says status: error", json(b'{"status": "error", "message": "no database"}'))
db_down, expected = json(b'{"success": false, "error": "db down"}'), (("success", True),)
replies("says why it is not what expect.json wants", db_down, expect_json=expected)
page = status(200, body=b"<!DOCTYPE html><title>Sign in</title>", kind="text/html")
replies("sends HTML where expect.json wants JSON", page, expect_json=expected)
replies("sends JSON lines", status(200, body=b'{"a": 1}\n{"a": 2}\n', kind="application/x-ndjson"))
replies("sends an empty body", json(b""))
replies("sends plain text", status(200, body=b"done"))
counts = f'{{"a": 1e999, "b": NaN, "c": true, "d": -1, "e": 1{"0" * 4000}, "f": {LARGEST:.0f}}}'.encode()
replies("reports counts that are none", json(counts), totals=tuple((name, name) for name in "abcdefg"))
replies("repeats the secret", status(500, body=b"?" * 150 + b" token=" + SECRET.encode()))
replies("repeats the secret in a title", status(500, body=b"<title>" + SECRET.encode() * 9, kind="text/html"))

# ---- from a cache


def cached(header: str, code: int = 200) -> bytes:
    return status(code, header, body=b'{"success": true}', kind="application/json")


replies("answers from a cache, as Next.js", cached("x-nextjs-cache: HIT"), method="GET")
replies("answers from a cache, as Vercel", cached("X-Vercel-Cache: PRERENDER"))
replies("answers from a cache, as Cloudflare", cached("CF-Cache-Status: HIT"))
replies("answers from a cache, as CloudFront", cached("X-Cache: Hit from cloudfront"))
replies("answers from a cache, by RFC 9211", cached('Cache-Status: Origin; fwd=miss, "The; edge"; hit; ttl=30'))
replies("answers with an age", cached("Age: 30"))
replies("answers with an age, as the job allows", cached("Age: 30"), expect_cached=True)
replies("answers with no age", cached("Age: 0"))
replies("answers past a cache", cached("X-Vercel-Cache: MISS"))
replies(
    "answers past two caches, checked anew", cached("X-Cache: RefreshHit from cloudfront\r\nCF-Cache-Status: DYNAMIC")
)
replies("answers 404 from a cache", cached("Age: 30", 404))

# ---- another status

for code in (401, 403, 404, 405, 500, 502):
    replies(f"answers {code}", status(code))
replies("answers 401 and a body that breaks off", JSON.replace(b"200", b"401") + b"Content-Length: 9\r\n\r\n{}")
replies("answers 500 with a page", status(500, body=b"<html><title>It broke</title>", kind="text/html"))
replies("answers 429, Retry-After: 0", status(429, "Retry-After: 0"))
replies("answers 429, Retry-After: 3600", status(429, "Retry-After: 3600"))
replies("answers 503", status(503))
replies("answers 503, Retry-After: a date in the past", status(503, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"))
replies("answers 503, Retry-After: a date to come", status(503, "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"))
replies("answers 503, Retry-After: nonsense", status(503, "Retry-After: soon"))
replies("answers 500 to an idempotent job", status(500), retry_on=("5xx",))


@case("resets the connection of an idempotent job", retry_on=("reset",))
def _(peer: Peer) -> None:
    peer.hear()
    peer.reset()


replies("breaks off the body to an idempotent job", JSON + b"Content-Length: 99\r\n\r\n{}", retry_on=("reset",))


@case("is too slow for an idempotent job", retry_on=("timeout",))
def _(peer: Peer) -> None:
    peer.hold()


# ---- redirects

replies("redirects to the path with a slash", status(308, "Location: /api/?token=x"))
replies("redirects to the path without", status(308, "Location: /api"), url="/api/")
replies("redirects to a login page", status(302, "Location: /login?next=/api&token=correct%20horse%26battery%2Fstaple"))
replies("redirects to where the secret shows", status(307, "Location: //other/correct%20horse%26battery%2fstaple"))
replies("redirects to a URL with a password", status(301, "Location: http://ann:pass@other.example/"))
replies("redirects to https", status(301, "Location: https://localhost/api"))
replies("redirects without a target", status(303))
replies("redirects to an invalid URL", status(302, "Location: http://[::bad"))
replies("redirects to a very long URL", status(302, "Location: /" + "a" * 9999))
replies("answers 304", b"HTTP/1.1 304 Not Modified\r\n\r\n")

# ---- TLS


@case("shows a certificate of an unknown authority", tls=True)
def _(peer: Peer) -> None:
    peer.hold()


@case("shows the certificate of another host", tls=True)
def _(peer: Peer) -> None:
    peer.hold()


@case("shows a certificate of an authority in SSL_CERT_FILE", tls=True)
def _(peer: Peer) -> None:
    peer.hear()
    peer.say(OK)


@case("speaks plain HTTP where https is called", https=True)
def _(peer: Peer) -> None:
    peer.say(status(400))
    peer.hold()


@case("closes during the TLS handshake", https=True)
def _(peer: Peer) -> None:
    peer.sock.recv(1)


@case("speaks TLS where http is called", tls=True, https=False)
def _(peer: Peer) -> None:
    peer.hold()


replies("answers http with a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46")


# ---- no server at all: what the test sets up instead of a listener


def nobody(_: Peer) -> None:
    raise AssertionError("nobody is to connect here")


case("is not there")(nobody)
case("is at a dead address", connect_timeout=0.1)(nobody)
case("is at four dead addresses")(nobody)
case("has a dead address, and another that refuses", connect_timeout=0.1)(nobody)
replies("has a dead address, and another that answers", OK)
case("has a name that does not resolve")(nobody)
case("has a name with a label too long", url="http://" + "a" * 64 + ".example/")(nobody)
