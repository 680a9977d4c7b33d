"""Which variable names a proxy that a call does not take."""

import pytest

from tocsin.call.proxies import unused_proxy

HTTPS, HTTP = "https://app.example.com/api", "http://app.example.com:8080/api"
PROXY = "http://user:password@proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environment", "named"),
    [
        (HTTPS, {}, ""),
        (HTTPS, {"HTTPS_PROXY": ""}, ""),
        (HTTPS, {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        (HTTPS, {"https_proxy": PROXY, "HTTPS_PROXY": PROXY}, "https_proxy"),
        (HTTPS, {"HTTP_PROXY": PROXY}, ""),
        (HTTP, {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
        (HTTP, {"http_proxy": PROXY}, "http_proxy"),
        (HTTP, {"HTTPS_PROXY": PROXY}, ""),
        (HTTPS, {"ALL_PROXY": PROXY}, "ALL_PROXY"),
        (HTTP, {"all_proxy": PROXY}, "all_proxy"),
        ("http://127.0.0.1:3000/x", {"HTTP_PROXY": PROXY}, ""),
        ("http://[::1]:3000/x", {"HTTP_PROXY": PROXY}, ""),
        ("http://localhost:3000/x", {"HTTP_PROXY": PROXY}, ""),
        ("http://[fe80::1%25eth0]/x", {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
    ],
)
def test_by_scheme(url: str, environment: dict[str, str], named: str) -> None:
    assert unused_proxy(url, environment) == named


@pytest.mark.parametrize(
    ("listed", "exempt"),
    [
        ("*", True),
        ("app.example.com", True),
        ("APP.example.com.", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("other.org, example.com", True),
        ("other.org example.com", True),
        ("app.example.com:8080", True),
        ("app.example.com:80", False),
        ("ample.com", False),
        ("other.org", False),
        (",", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy(listed: str, exempt: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert unused_proxy(HTTP, {"HTTP_PROXY": PROXY, name: listed}) == ("" if exempt else "HTTP_PROXY")


@pytest.mark.parametrize(
    ("url", "listed", "exempt"),
    [
        ("http://10.1.2.3/x", "10.0.0.0/8", True),
        ("http://11.1.2.3/x", "10.0.0.0/8", False),
        ("http://10.1.2.3:99/x", "10.1.2.3", True),
        ("http://10.1.2.3:99/x", "10.1.2.3:99", True),
        ("http://[fd00::1]:99/x", "fd00::1", True),
        ("http://[fd00::1]:99/x", "[fd00::1]:99", True),
        ("http://[fd00::1]/x", "fd00::/8", True),
    ],
)
def test_no_proxy_with_addresses(url: str, listed: str, exempt: bool) -> None:
    assert unused_proxy(url, {"HTTP_PROXY": PROXY, "NO_PROXY": listed}) == ("" if exempt else "HTTP_PROXY")
