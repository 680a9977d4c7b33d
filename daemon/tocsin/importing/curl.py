"""Reads a call of curl (curl(1) 8). Options that only change the output are ignored."""

import re
from urllib.parse import quote_plus

from tocsin.importing.request import FORM, NOWHERE, TO_A_FILE, Call, count, options, seconds
from tocsin.importing.shell import MARK, Unclear

_QUIET = (  # they print more, less or elsewhere, or ask for what Tocsin does anyway
    *("silent", "show-error", "fail", "fail-with-body", "fail-early", "verbose", "include", "no-buffer"),
    *("progress-bar", "no-progress-meter", "compressed", "http1.0", "http1.1", "http2", "ipv4", "ipv6", "disable"),
    *("tlsv1.2", "tlsv1.3", "proto=", "proto-default=", "write-out=", "stderr=", "dump-header=", "cookie-jar="),
    *("retry-connrefused", "retry-all-errors", "retry-delay=", "retry-max-time=", "max-redirs=", "append"),
    *("basic", "noproxy=", "keepalive-time=", "no-keepalive", "tcp-nodelay", "no-sessionid", "no-alpn", "ssl-reqd"),
    *("styled-output", "no-styled-output", "suppress-connect-headers", "create-dirs", "no-location", "no-insecure"),
    *("path-as-is", "no-fail", "no-silent", "no-show-error", "no-verbose", "no-include", "raw", "remove-on-error"),
)
_MEANT = (
    *("request=", "header=", "data=", "data-ascii=", "data-raw=", "data-binary=", "data-urlencode=", "json=", "get"),
    *("resolve=", "connect-to="),
    *("max-time=", "connect-timeout=", "retry=", "user=", "oauth2-bearer=", "user-agent=", "referer=", "cookie="),
    *("url=", "globoff", "location", "insecure", "head", "output=", "remote-name"),
)
_SHORT = {
    **dict.fromkeys("sSfivN#46q", "silent"),
    "g": "globoff",
    "O": "remote-name",
    "X": "request",
    "H": "header",
    "d": "data",
    "m": "max-time",
    "u": "user",
    "A": "user-agent",
    "e": "referer",
    "b": "cookie",
    "o": "output",
    "w": "write-out",
    "D": "dump-header",
    "c": "cookie-jar",
    "L": "location",
    "k": "insecure",
    "G": "get",
    "I": "head",
}
_IPV6_HOST = re.compile(r"^(https?://)?\[[0-9a-f.]*:[0-9a-f.:]*\]", re.IGNORECASE)


def curl(words: list[str], stdin: str | None) -> Call:
    """Return the request of `curl WORDS`. `stdin` is the text that it reads as @-. Raises Unclear."""
    call = Call(headers=[])
    urls: list[str] = []
    data: list[str] = []
    encoded: list[tuple[str, str]] = []
    in_query = False
    patterns = "[]{}"  # curl's patterns for several addresses
    for name, value in options(words, _SHORT, (*_QUIET, *_MEANT), urls.append):
        match name:
            case "request":
                call.method = value
            case "header":
                call.header(value)
            case "data" | "data-ascii" | "data-binary" | "json" if value.startswith("@"):
                if value != "@-" or stdin is None:
                    raise Unclear(f"--{name} reads a file")
                data.append(stdin if name == "data-binary" else stdin.replace("\n", ""))
            case "data" | "data-ascii" | "data-raw" | "data-binary":
                data.append(value)
            case "data-urlencode" if MARK.search(value):
                encoded.append(_variable(value))
            case "data-urlencode":
                data.append(_urlencoded(value))
            case "resolve" | "connect-to":
                raise Unclear(f"--{name}: give the name that address in /etc/hosts instead")
            case "json":
                data = ["&".join(data) + value]
            case "get":
                in_query = True
            case "max-time":
                call.timeout = seconds(name, value)
            case "connect-timeout":
                call.connect_timeout = seconds(name, value)
            case "retry":
                call.retries = count(name, value)
                call.remarks.append(
                    "--retry: curl also tries again after a timeout or a 5xx, Tocsin if retry_on says so"
                )
            case "user":
                call.user = value
            case "oauth2-bearer":
                call.bearer = value
            case "cookie" if "=" not in value and not MARK.search(value):
                raise Unclear("-b reads cookies from a file")
            case "output" if value not in NOWHERE:
                call.remarks.append(TO_A_FILE)
            case "remote-name":
                call.remarks.append(TO_A_FILE)
            case "user-agent" | "referer" | "cookie":
                call.headers.append((name.title(), value))
            case "url":
                urls.append(value)
            case "globoff":
                patterns = ""
            case "location":
                call.remarks.append("-L: curl followed redirects, Tocsin never does; use the address they lead to")
            case "insecure":
                call.remarks.append("-k: curl took any certificate, Tocsin checks it; name yours in [target] ca_file")
            case "head":
                raise Unclear("asks with HEAD")
        if name == "json":
            call.content_type = "application/json"
    if call.content_type and not any(name.lower() == "accept" for name, _ in call.headers):
        call.headers.append(("Accept", "application/json"))
    call.to(urls)
    if any(char in _IPV6_HOST.sub("", call.url) for char in patterns):
        raise Unclear("the address is a pattern for several addresses")
    if encoded and not in_query:
        raise Unclear("--data-urlencode of a variable in the data: Tocsin sends a variable there unencoded")
    call.encoded = encoded
    if data and in_query:
        call.url += ("&" if "?" in call.url else "?") + "&".join(data)
    elif data:
        call.body = "&".join(data)
        call.content_type = call.content_type or FORM
    call.method = call.method or ("GET" if call.body is None else "POST")
    return call


def _urlencoded(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        name, value = "", text
    if "@" in name or (not equals and "@" in value):
        raise Unclear("--data-urlencode reads a file")
    return (f"{name}=" if name else "") + quote_plus(value)  # curl encodes a space as +


def _variable(text: str) -> tuple[str, str]:
    """Split name and value, which contains a variable."""
    name, equals, value = text.partition("=")
    if not equals or not name or "@" in name or MARK.search(name):
        raise Unclear("--data-urlencode of a file or of a variable without a name")
    return name, value
