"""Who may ask the exporter: what the job file may say of it, what it warns of, and which credentials are right."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from exporter_rig import Asked, job, world
from tocsin import config
from tocsin.config import Config
from tocsin.config.access import Access
from tocsin.config.secrets import Secret
from tocsin.config.tls import FILE_SIZE
from tocsin.jobfile.faults import ConfigError

TOKEN = "token-of-the-scraper-0123456789"
PASSWORD = "pass:word with/three+colons::"
GOOD = '[target]\nsend_secret = "none"\n[jobs.a]\nevery = "1m"\nurl = "https://app.example"\n'
BEARER = Access(bearer=Secret(TOKEN, "bearer", "TOKEN"))
BASIC = Access(user="prometheus", password=Secret(PASSWORD, "authorization", "PASSWORD"))
BOTH = Access(bearer=BEARER.bearer, user=BASIC.user, password=BASIC.password)

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(keys: str, listen: str = "127.0.0.1:9911") -> Config:
        file = tmp_path / "tocsin.toml"
        file.write_text(f'[daemon]\nlisten = "{listen}"\n{keys}\n{GOOD}')
        return config.load(file, {"TOKEN": TOKEN, "PASSWORD": PASSWORD, "EMPTY": " ", "LONG": "x" * 1025, "SHORT": "x"})

    return load


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of certificates, right and wrong."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    renew(tmp_path, authority)
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(tmp_path / "other.key"))
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "huge.pem").write_bytes(b"\n" * (FILE_SIZE + 1))
    return tmp_path


def renew(folder: Path, authority: trustme.CA) -> None:
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "cert.key"))


def faults(load: Load, keys: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(keys)
    return [str(fault) for fault in raised.value.faults]


# ---- what the job file says


def test_without_a_word_everything_is_open(load: Load) -> None:
    assert load("").access == Access()
    assert load("").access.admits("")


@pytest.mark.parametrize(
    "name", ["https://tocsin.internal", "tocsin.internal:9911", "*.internal", "", "a b", "x" * 254]
)
def test_what_is_not_a_host_name(load: Load, name: str) -> None:
    (fault,) = faults(load, f'listen_hosts = ["tocsin.internal", "{name}"]')
    assert fault.startswith("tocsin.toml: [daemon] listen_hosts.1 = ")
    assert 'is not a host name: leave out scheme, port and wildcards, for example "tocsin.internal"' in fault


def test_names_of_the_listener(load: Load) -> None:
    access = load('listen_hosts = ["Tocsin.Internal."]').access
    assert access == Access(hosts=frozenset({"tocsin.internal"}))
    assert access != load("").access, "the exporter must start anew"


def test_secrets_of_the_environment_and_of_files(load: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "password").write_text(PASSWORD)
    for keys in (
        'listen_bearer_env = "TOKEN"\nlisten_user = "prometheus"\nlisten_password_env = "PASSWORD"',
        'listen_bearer_file = "token"\nlisten_user = "prometheus"\nlisten_password_file = "password"',
    ):
        loaded = load(keys)
        assert loaded.access.bearer
        assert loaded.access.password
        assert (loaded.access.bearer.value, loaded.access.password.value) == (TOKEN, PASSWORD)
        assert loaded.access.user == "prometheus"
        sent = base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()
        assert {secret.value for secret in loaded.secrets} == {TOKEN, PASSWORD, sent}
        assert not any(secret in repr(loaded) for secret in (TOKEN, PASSWORD, sent))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('listen_key = "cert.key"', "listen_key: needs listen_cert"),
        ('listen_client_ca = "ca.pem"', "listen_client_ca: needs listen_cert"),
        ('listen_cert = "gone.pem"', "listen_cert: cannot use {}/gone.pem: No such file or directory"),
        (
            'listen_cert = "huge.pem"',
            "listen_cert: cannot use {}/huge.pem: it is larger than 16777216 bytes, too much for certificates and keys",
        ),
        ('listen_cert = "broken.pem"', "listen_cert: cannot use {}/broken.pem: "),
        ('listen_cert = "cert.pem"', "listen_cert: cannot use {}/cert.pem: "),
        ('listen_cert = "cert.pem"\nlisten_key = "gone"', "listen_key: cannot use {}/gone: No such file or directory"),
        ('listen_cert = "cert.pem"\nlisten_key = "other.key"', "cannot use {}/cert.pem: KEY_VALUES_MISMATCH"),
        ('listen_cert = "both.pem"\nlisten_client_ca = "."', "listen_client_ca: cannot use {}: it is a folder"),
        ('listen_cert = "both.pem"\nlisten_client_ca = "cert.key"', "listen_client_ca: cannot use {}/cert.key: "),
        (
            'listen_bearer_env = "TOKEN"\nlisten_bearer_file = "x"',
            "cannot be combined with listen_bearer_env: use only one",
        ),
        ('listen_bearer_env = "UNSET"', "listen_bearer_env: environment variable UNSET is not set"),
        ('listen_bearer_env = "EMPTY"', "listen_bearer_env: environment variable EMPTY is empty"),
        ('listen_bearer_env = "LONG"', "listen_bearer_env: LONG holds more than 1024 characters"),
        ('listen_bearer_file = "gone"', "listen_bearer_file: cannot read {}/gone: No such file or directory"),
        ('listen_user = "a"', "listen_user: needs listen_password_env or listen_password_file"),
        ('listen_password_env = "PASSWORD"', "listen_password_env: needs listen_user"),
        ('listen_password_file = "cert.pem"', "listen_password_file: needs listen_user"),
        ('listen_user = "a"\nlisten_password_env = "EMPTY"', "listen_password_env: environment variable EMPTY is"),
    ],
)
def test_faults(load: Load, files: Path, keys: str, expected: str) -> None:
    found = faults(load, keys)
    assert all(fault.startswith("tocsin.toml: [daemon] listen_") for fault in found)
    assert any(expected.format(files) in fault for fault in found), found


@pytest.mark.parametrize("key", ["listen_bearer_env", "listen_password_env"])
def test_a_secret_written_in_place_of_its_variable_is_not_repeated(load: Load, key: str) -> None:
    found = faults(load, f'{key} = "my-own secret!"')
    assert key in str(found)
    assert "my-own" not in str(found)


def test_short_secrets_are_warned_of(load: Load) -> None:
    (warning,) = load('listen_bearer_env = "SHORT"').warnings
    assert "the secret from SHORT has fewer than 16 characters" in warning


@pytest.mark.parametrize("listen", ["0.0.0.0:9911", "[::]:9911", "192.0.2.7:9911", "tocsin.example:9911"])
def test_beyond_loopback_one_of_them_is_wanted(load: Load, files: Path, listen: str) -> None:
    assert files
    (warning,) = load("", listen).warnings
    assert "`listen` is beyond loopback" in warning
    assert load('listen_cert = "both.pem"', listen).warnings == (warning,), "TLS alone says nothing of who asks"
    assert load('listen_cert = "both.pem"\nlisten_client_ca = "ca.pem"', listen).warnings == ()
    assert load('listen_bearer_env = "TOKEN"', listen).warnings == ()
    assert load('listen_user = "a"\nlisten_password_env = "PASSWORD"', listen).warnings == ()


@pytest.mark.parametrize("listen", ["127.0.0.1:9911", "127.1.2.3:9911", "[::1]:9911", "localhost:9911"])
def test_on_loopback_none_is_wanted(load: Load, listen: str) -> None:
    assert load("", listen).warnings == ()


# ---- what makes a difference to who listens


def test_a_renewed_file_is_a_change(load: Load, files: Path) -> None:
    keys = (
        'listen_cert = "cert.pem"\nlisten_key = "cert.key"\nlisten_client_ca = "ca.pem"\nlisten_bearer_file = "token"'
    )
    (files / "token").write_text(TOKEN)
    before = load(keys).access
    assert load(keys).access == before
    renew(files, trustme.CA())
    renewed = load(keys).access
    assert renewed != before
    trustme.CA().cert_pem.write_to_path(str(files / "ca.pem"))
    assert load(keys).access != renewed
    again = load(keys)
    (files / "token").write_text(TOKEN + "2")
    rotated = load(keys)
    assert rotated.access != again.access
    assert rotated.hash == again.hash, "what a secret is shows nowhere"


def test_nothing_below_tls_1_2(load: Load, files: Path) -> None:
    assert files
    tls = load('listen_cert = "both.pem"').access.tls
    assert tls
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (tls.asks_clients, tls.context.verify_mode) == (False, ssl.CERT_NONE)


# ---- credentials


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


RIGHT = {
    "bearer": [f"Bearer {TOKEN}", f"bearer {TOKEN}"],
    "basic": [basic(f"prometheus:{PASSWORD}"), basic(f"prometheus:{PASSWORD}").replace("Basic", "BASIC")],
}
WRONG = [
    "",
    "Bearer",
    "Bearer ",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN.upper()}",
    f"Bearer {PASSWORD}",
    f"Token {TOKEN}",
    TOKEN,
    "Bearer \udcff",
    "Basic",
    "Basic !!!",
    "Basic \udcff",
    f"Basic {TOKEN}",
    f"Basic prometheus:{PASSWORD}",
    basic(f"Prometheus:{PASSWORD}"),
    basic(f":{PASSWORD}"),
    basic("prometheus:"),
    basic(f"prometheus:{PASSWORD}x"),
    basic(f"prometheus:{TOKEN}"),
]


@pytest.mark.parametrize("shown", WRONG)
@pytest.mark.parametrize("access", [BEARER, BASIC, BOTH])
def test_wrong_credentials(access: Access, shown: str) -> None:
    reply = Asked(*world(job()), access=access).ask("/metrics", authorization=shown)
    assert reply.status == 401
    assert reply.headers["Cache-Control"] == "no-store"
    assert b"tocsin_" not in reply.body


@pytest.mark.parametrize(("access", "right"), [(BEARER, ["bearer"]), (BASIC, ["basic"]), (BOTH, ["bearer", "basic"])])
def test_right_credentials(access: Access, right: list[str]) -> None:
    asked = Asked(*world(job()), access=access)
    for kind, headers in RIGHT.items():
        for header in headers:
            assert asked.ask("/metrics", authorization=header).status == (200 if kind in right else 401)


def test_a_401_says_what_is_wanted() -> None:
    def challenge(access: Access) -> str:
        return Asked(access=access).ask("/").headers["WWW-Authenticate"]

    assert challenge(BEARER) == 'Bearer realm="Tocsin"'
    assert challenge(BASIC) == 'Basic realm="Tocsin", charset="UTF-8"'
    assert challenge(BOTH) == 'Basic realm="Tocsin", charset="UTF-8", Bearer realm="Tocsin"'


@pytest.mark.parametrize(
    "path", ["/", "/jobs/sla-check", "/metrics", "/api/jobs", "/api/jobs/sla-check", "/static/page.css", "/nope", "//"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_else_is_open(path: str, method: str) -> None:
    assert Asked(*world(job()), access=BOTH).ask(path, method).status == 401


def test_health_is_open_to_all_and_names_no_job() -> None:
    asked = Asked(access=BEARER)
    assert asked.json("/healthz")[0] == 200
    assert asked.json("/readyz") == (503, {"status": "waiting"})
    assert b"missing" in asked.ask("/readyz", authorization=f"Bearer {TOKEN}").body
    asked.tell(*world(job()))
    assert asked.json("/readyz") == (200, {"status": "ready"})


def test_a_stranger_on_loopback_learns_nothing_of_credentials() -> None:
    assert Asked(access=BEARER).ask("/metrics", host="evil.example").status == 421
