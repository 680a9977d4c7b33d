"""A ledger on PostgreSQL in the job file: its address, and a password that shows up nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from config_rig import ENVIRONMENT, GOOD, Load, faults
from tocsin.config import ledger_of
from tocsin.config.ledger import AddressError, Postgres, parse

PASSWORD = "s3cr3t/of:the@db"
ESCAPED = "s3cr3t%2Fof%3Athe%40db"
TEXT = '[daemon]\nledger = "${DATABASE_URL}"\n' + GOOD


def on(load: Load, address: str, daemon: str = "", **environment: str) -> Postgres:
    text = TEXT.replace("[daemon]\n", f"[daemon]\n{daemon}\n")
    loaded = load(text, {**ENVIRONMENT, "DATABASE_URL": address, **environment})
    assert isinstance(loaded.ledger, Postgres)
    return loaded.ledger


@pytest.mark.parametrize(("address", "parameters", "shown"), [
    ("postgresql://u@h/db", {"user": "u", "host": "h", "dbname": "db"}, "postgresql://u@h/db"),
    ("postgres://u:p@h:6543/db?sslmode=require",
     {"user": "u", "host": "h", "port": "6543", "dbname": "db", "sslmode": "require"}, "postgresql://u@h:6543/db"),
    ("postgresql://postgres.ref:p@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
     {"user": "postgres.ref", "host": "aws-0-eu.pooler.supabase.com", "port": "6543", "dbname": "postgres"},
     "postgresql://postgres.ref@aws-0-eu.pooler.supabase.com:6543/postgres"),
    ("postgresql://u:p@ep-x.neon.tech/db?sslmode=require&channel_binding=require&options=endpoint%3Dep-x",
     {"user": "u", "host": "ep-x.neon.tech", "dbname": "db", "sslmode": "require", "channel_binding": "require",
      "options": "endpoint=ep-x"}, "postgresql://u@ep-x.neon.tech/db"),
    ("postgresql://u:p@a:1,[::1]:2/db", {"user": "u", "host": "a,::1", "port": "1,2", "dbname": "db"},
     "postgresql://u@a:1,[::1]:2/db"),
    ("postgresql:///db?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "db"},
     "postgresql:///run/postgresql/db"),
])  # fmt: skip
def test_addresses_as_hosts_write_them(load: Load, address: str, parameters: dict[str, str], shown: str) -> None:
    found = on(load, address)
    assert (dict(found.parameters), str(found)) == (parameters, shown)


BAD = [
    f"postgresql://u:{PASSWORD}@h/db",
    f"postgresql://u:{ESCAPED}#@h/db",
    f"postgresql://u:{ESCAPED}@h:5432x/db",
    f"postgresql://u:{ESCAPED}@[::1/db",
    f"postgresql://u:{ESCAPED}@::1/db",
    f"postgresql://u:{ESCAPED}%zz%ff@h/db",
    f"postgresql://u:{ESCAPED}@h",
    f"postgresql://u:{ESCAPED}@/db",
    f"postgresql://u:{ESCAPED}@h/db?service=x",
    f"postgresql://u:{ESCAPED}@h/db?sslpassword={ESCAPED}",
    f"postgresql://u:{ESCAPED}@h/db?{ESCAPED}",
    f"postgresql://u:{ESCAPED}%00@h/db",
]


@pytest.mark.parametrize("address", BAD)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "TOCSIN_LEDGER"])
def test_no_fault_repeats_an_address(load: Load, address: str, variable: str) -> None:
    text = TEXT if variable == "DATABASE_URL" else GOOD
    (fault,) = faults(load, text, {**ENVIRONMENT, variable: address})
    assert fault.startswith("tocsin.toml: [daemon] ledger: ")
    assert "s3cr3t" not in fault
    with pytest.raises(AddressError):
        parse(address)


def test_a_reference_in_an_address_of_the_environment_is_not_repeated(load: Load) -> None:
    found = faults(load, GOOD, {**ENVIRONMENT, "TOCSIN_LEDGER": "postgresql://u:s3cr3t${NOT}@h/db"})
    assert "s3cr3t" not in "\n".join(found)
    assert "NOT is not set" in found[0]


@pytest.mark.parametrize("written", [
    "postgresql://u:s3cr3t@h/db", "${DATABASE_URL:-postgresql://u:s3cr3t@h/db}", "postgresql://u@h/db?password=s3cr3t",
    "postgresql://u:s3cr3t@${HOST}/db",
])  # fmt: skip
def test_a_password_does_not_belong_into_the_file(load: Load, written: str) -> None:
    (fault,) = faults(load, TEXT.replace("${DATABASE_URL}", written), ENVIRONMENT)
    assert "holds a password, which does not belong into a job file" in fault
    assert "s3cr3t" not in fault


def test_the_password_stays_out_of_sight(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    by_file = 'ledger_password_file = "password"'
    ways = [
        on(load, f"postgresql://u:{ESCAPED}@h/db"),
        on(load, f"postgresql://u@h/db?password={ESCAPED}"),
        on(load, "postgresql://u@h/db", 'ledger_password_env = "PW"', PW=PASSWORD),
        on(load, "postgresql://u@h/db", by_file),
    ]
    for found in ways:
        assert found.password
        assert found.password.value == PASSWORD
        assert list(found.hidden) == [PASSWORD]
        assert "s3cr3t" not in f"{found} {found!r} {found.parameters}"
    loaded = load(TEXT, {**ENVIRONMENT, "DATABASE_URL": f"postgresql://u:{ESCAPED}@h/db"})
    assert PASSWORD in loaded.hidden
    other = load(TEXT, {**ENVIRONMENT, "DATABASE_URL": "postgresql://u:another@h/db"})
    assert loaded.hash == other.hash, "nobody can guess the password by the hash"
    assert loaded.ledger != other.ledger, "a reload says that it takes effect at the next start"
    (tmp_path / "password").write_text("another")
    assert on(load, "postgresql://u@h/db", by_file) == ways[3], "it is read again at each connection"


@pytest.mark.parametrize(("keys", "why"), [
    ('ledger_password_env = "PW"\nledger_password_file = "x"', "set one of them"),
    ('ledger_password_env = "PW"', "is not set"),
    ('ledger_password_file = "x"', "cannot read"),
])  # fmt: skip
def test_faults_of_the_password(load: Load, keys: str, why: str) -> None:
    text = TEXT.replace("[daemon]", f"[daemon]\n{keys}")
    (fault,) = faults(load, text, {**ENVIRONMENT, "DATABASE_URL": "postgresql://u@h/db"})
    assert why in fault


def test_two_passwords_are_one_too_many(load: Load) -> None:
    text = TEXT.replace("[daemon]", '[daemon]\nledger_password_env = "PW"')
    (fault,) = faults(load, text, {**ENVIRONMENT, "PW": "x", "DATABASE_URL": f"postgresql://u:{ESCAPED}@h/db"})
    assert "cannot be combined with a password in the address" in fault


@pytest.mark.parametrize(("address", "warned"), [
    ("postgresql://u@db.example.com/db", True), ("postgresql://u@db.example.com/db?sslmode=prefer", True),
    ("postgresql://u@127.0.0.1,db/db", True), ("postgresql://u@db.example.com/db?sslmode=require", False),
    ("postgresql://u@db.example.com/db?sslmode=verify-full", False), ("postgresql://u@127.0.0.1/db", False),
    ("postgresql://u@localhost/db", False), ("postgresql:///db?host=/run/postgresql", False),
])  # fmt: skip
def test_a_server_beyond_loopback_wants_tls(load: Load, address: str, warned: bool) -> None:
    warnings = load(TEXT, {**ENVIRONMENT, "DATABASE_URL": address}).warnings
    assert any("sslmode" in one for one in warnings) is warned


def test_what_prisma_writes_is_dropped_with_a_warning(load: Load) -> None:
    address = f"postgresql://u:{ESCAPED}@127.0.0.1/db?schema=public&pgbouncer=true&connection_limit=1&connect_timeout=9"
    warnings = load(TEXT, {**ENVIRONMENT, "DATABASE_URL": address}).warnings
    assert any("dropped: connect_timeout, connection_limit, pgbouncer, schema" in one for one in warnings)
    assert "s3cr3t" not in "\n".join(warnings)


def test_the_ledger_is_found_though_the_rest_is_faulty(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('[daemon]\nledger = "${DATABASE_URL}"\nlisten = 5\n[jobs.a]\nschedule = "never"\n')
    found = ledger_of(file, {"DATABASE_URL": "postgresql://u@h/db"})
    assert str(found) == "postgresql://u@h/db"
    assert ledger_of(tmp_path / "absent.toml", {}) == "sqlite"


WITHOUT = """
import sys
sys.modules["psycopg"] = None  # as where the extra is not installed
from pathlib import Path
from tocsin import config
from tocsin.ledger import stores
from tocsin.ledger.store import Unusable
loaded = config.load(Path(sys.argv[1]), {"CRON_SECRET": "0123456789abcdef-", "DATABASE_URL": "postgresql://u@h/db"})
try:
    stores.opener(loaded, "session")()
except Unusable as error:
    print(error)
print(stores.reader(loaded.ledger, loaded.state_dir).examine(1.0).advice)
"""


def test_without_psycopg_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text(TEXT)
    words = [sys.executable, "-c", WITHOUT, str(tmp_path / "tocsin.toml")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == 2 * ["a ledger on PostgreSQL needs psycopg: pip install 'tocsin[postgres]'"]


def test_with_sqlite_nothing_imports_psycopg() -> None:
    modules = "tocsin.cli, tocsin.commands.run, tocsin.commands.history, tocsin.ledger.stores, tocsin.ledger.main"
    code = f"import sys, {modules}, tocsin.parent.main, tocsin.doctor.state; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
