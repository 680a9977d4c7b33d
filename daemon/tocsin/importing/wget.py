"""Reads a call of wget (wget(1) 1.21). Options that only change the output are ignored."""

from tocsin.importing.request import FORM, NOWHERE, TO_A_FILE, Call, count, options, seconds

_QUIET = (
    *("quiet", "verbose", "no-verbose", "output-file=", "append-output=", "server-response", "progress="),
    *("delete-after", "no-cache", "no-cookies", "inet4-only", "inet6-only", "no-hsts", "content-on-error"),
    *("auth-no-challenge", "no-dns-cache", "waitretry=", "retry-connrefused", "background", "max-redirect="),
    *("show-progress", "no-config", "read-timeout=", "dns-timeout=", "no-proxy", "no-http-keep-alive", "no-iri"),
    *("secure-protocol=", "https-only", "random-wait", "wait=", "no-directories", "no-host-directories", "no-clobber"),
    *("no-use-server-timestamps", "no-parent", "quota="),
)
_MEANT = (
    *("method=", "header=", "post-data=", "body-data=", "timeout=", "connect-timeout=", "tries=", "user=", "password="),
    *("http-user=", "http-password=", "user-agent=", "referer=", "no-check-certificate", "spider"),
    *("output-document=", "directory-prefix="),
)
_SHORT = {
    **dict(zip("qvS46b", ("quiet",) * 6, strict=True)),
    "O": "output-document",
    "o": "output-file",
    "a": "append-output",
    "P": "directory-prefix",
    "T": "timeout",
    "t": "tries",
    "U": "user-agent",
}
_TWO_LETTERS = frozenset({"-nv", "-nc", "-nd", "-nH", "-np"})
MOST_RETRIES = 20  # the limit of a job's `retries`


def wget(words: list[str], _stdin: str | None) -> Call:
    """Return the request of `wget WORDS`. Raises Unclear."""
    call = Call(remarks=["wget followed redirects, Tocsin never does; use the address they lead to"])
    urls: list[str] = []
    user, password = "", ""
    words = [word for word in words if word not in _TWO_LETTERS]
    for name, value in options(words, _SHORT, (*_QUIET, *_MEANT), urls.append):
        match name:
            case "method":
                call.method = value.upper()
            case "header":
                call.header(value)
            case "post-data" | "body-data":
                call.body = value
            case "timeout":
                call.timeout = seconds(name, value)
                call.remarks.append("--timeout: wget's limits each silence, Tocsin's the whole call")
            case "connect-timeout":
                call.connect_timeout = seconds(name, value)
            case "tries" if not count(name, value):
                call.retries = MOST_RETRIES
                call.remarks.append(f"-t 0: wget tried forever, Tocsin tries at most {MOST_RETRIES} times more")
            case "tries":
                call.retries = count(name, value) - 1
            case "output-document" if value not in NOWHERE:
                call.remarks.append(TO_A_FILE)
            case "directory-prefix":
                call.remarks.append(TO_A_FILE)
            case "user" | "http-user":
                user = value
            case "password" | "http-password":
                password = value
            case "user-agent" | "referer":
                call.headers.append((name.title(), value))
            case "no-check-certificate":
                call.remarks.append("wget took any certificate, Tocsin checks it; name yours in [target] ca_file")
            case "spider":
                call.remarks.append("--spider: wget asked with HEAD first, Tocsin asks with GET")
    if user or password:
        call.user = f"{user}:{password}"
    call.to(urls)
    if call.body is not None:
        call.content_type = FORM
    call.method = call.method or ("GET" if call.body is None else "POST")
    return call
