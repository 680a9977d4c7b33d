"""A ledger on PostgreSQL in the job file: its address, and a password that shows up nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

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


ADDRESSES = [
    # Supabase: direct, the pooler's session mode, its transaction mode as written for Prisma and by Vercel
    ("postgresql://postgres:p@db.abc.supabase.co:5432/postgres",
     {"user": "postgres", "host": "db.abc.supabase.co", "port": "5432", "dbname": "postgres"}, "p", ""),
    ("postgresql://postgres.abc:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
     {"user": "postgres.abc", "host": "aws-0-eu-central-1.pooler.supabase.com", "port": "5432",
      "dbname": "postgres"}, "p", ""),
    ("postgresql://postgres.abc:p@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
     {"user": "postgres.abc", "host": "aws-0-eu.pooler.supabase.com", "port": "6543", "dbname": "postgres"}, "p",
     "connection_limit, pgbouncer"),
    ("postgres://postgres.abc:p@aws-0-eu.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x",
     {"user": "postgres.abc", "host": "aws-0-eu.pooler.supabase.com", "port": "6543", "dbname": "postgres",
      "sslmode": "require"}, "p", "supa"),
    # Neon: pooled, and by a client without SNI
    ("postgresql://u:npg_p@ep-x-pooler.us-east-2.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
     {"user": "u", "host": "ep-x-pooler.us-east-2.aws.neon.tech", "dbname": "neondb", "sslmode": "require",
      "channel_binding": "require"}, "npg_p", ""),
    ("postgresql://u:p@ep-x.neon.tech/db?sslmode=require&options=endpoint%3Dep-x",
     {"user": "u", "host": "ep-x.neon.tech", "dbname": "db", "sslmode": "require", "options": "endpoint=ep-x"},
     "p", ""),
    # Amazon RDS, Azure, DigitalOcean, Heroku, Render, Railway
    ("postgres://master:p%21@x.c9.eu-west-1.rds.amazonaws.com:5432/app?sslmode=require",
     {"user": "master", "host": "x.c9.eu-west-1.rds.amazonaws.com", "port": "5432", "dbname": "app",
      "sslmode": "require"}, "p!", ""),
    ("postgres://me%40srv:p@srv.postgres.database.azure.com:5432/postgres?sslmode=require",
     {"user": "me@srv", "host": "srv.postgres.database.azure.com", "port": "5432", "dbname": "postgres",
      "sslmode": "require"}, "p", ""),
    ("postgresql://doadmin:AVNS_p@db-postgresql-fra1-1-do-user-1-0.c.db.ondigitalocean.com:25060/db?sslmode=require",
     {"user": "doadmin", "host": "db-postgresql-fra1-1-do-user-1-0.c.db.ondigitalocean.com", "port": "25060",
      "dbname": "db", "sslmode": "require"}, "AVNS_p", ""),
    ("postgres://u1:p1@ec2-1-2-3-4.eu-west-1.compute.amazonaws.com:5432/d1",
     {"user": "u1", "host": "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com", "port": "5432", "dbname": "d1"}, "p1", ""),
    ("postgresql://u:p@dpg-abc-a/db", {"user": "u", "host": "dpg-abc-a", "dbname": "db"}, "p", ""),
    ("postgresql://postgres:p@postgres.railway.internal:5432/railway",
     {"user": "postgres", "host": "postgres.railway.internal", "port": "5432", "dbname": "railway"}, "p", ""),
    # Fly: beside the app, and its managed one's pooler
    ("postgres://app:p@app-db.flycast:5432/app?sslmode=disable",
     {"user": "app", "host": "app-db.flycast", "port": "5432", "dbname": "app", "sslmode": "disable"}, "p", ""),
    ("postgresql://fly-user:p@pgbouncer.abc.flympg.net/fly-db",
     {"user": "fly-user", "host": "pgbouncer.abc.flympg.net", "dbname": "fly-db"}, "p", ""),
    # Prisma, node-postgres, JDBC, Rails, pgx
    ("postgresql://u:p@h:5432/db?schema=public&connection_limit=5&pool_timeout=2&sslaccept=strict&sslmode=require",
     {"user": "u", "host": "h", "port": "5432", "dbname": "db", "sslmode": "require"}, "p",
     "connection_limit, pool_timeout, schema, sslaccept"),
    ("postgresql://u:p@h/db?schema=public&host=/var/run/postgresql",
     {"user": "u", "host": "/var/run/postgresql", "dbname": "db"}, "p", "schema"),
    ("postgres://0f:sk_p@db.prisma.io:5432/postgres?sslmode=require",
     {"user": "0f", "host": "db.prisma.io", "port": "5432", "dbname": "postgres", "sslmode": "require"}, "sk_p", ""),
    ("postgres://u:p@h/db?sslmode=no-verify",
     {"user": "u", "host": "h", "dbname": "db", "sslmode": "require"}, "p", ""),
    ("postgres://u:p@h/db?ssl=true", {"user": "u", "host": "h", "dbname": "db", "sslmode": "require"}, "p", ""),
    ("postgres://u:p@h/db?prepared_statements=false&pool_max_conns=3", {"user": "u", "host": "h", "dbname": "db"}, "p",
     "pool_max_conns, prepared_statements"),
    # passwords with every sign that an address uses; a + is one, also among the parameters
    ("postgres://u:a%40b%2Fc%3Ad%3Fe%23f%25g@h/db", {"user": "u", "host": "h", "dbname": "db"}, "a@b/c:d?e#f%g", ""),
    ("postgres://u:a+b%20c:d@h/db", {"user": "u", "host": "h", "dbname": "db"}, "a+b c:d", ""),
    ("postgres://u@h/db?password=a+b%26c%3Dd", {"user": "u", "host": "h", "dbname": "db"}, "a+b&c=d", ""),
    ("postgres://u:p%C3%A4%F0%9F%94%91@h/db", {"user": "u", "host": "h", "dbname": "db"}, "pä🔑", ""),
    # several hosts, IPv6, a socket
    ("postgresql://u:p@a:1,[::1]:2/db?target_session_attrs=read-write",
     {"user": "u", "host": "a,::1", "port": "1,2", "dbname": "db", "target_session_attrs": "read-write"}, "p", ""),
    ("postgresql://u@a,b/db", {"user": "u", "host": "a,b", "dbname": "db"}, "", ""),
    ("postgresql:///db?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "db"}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("address", "parameters", "password", "dropped"), ADDRESSES)
def test_addresses_as_hosts_write_them(
    load: Load, address: str, parameters: dict[str, str], password: str, dropped: str
) -> None:
    assert parse(address) == (parameters, password, dropped)
    found = on(load, address)
    assert (dict(found.parameters), found.fixed) == (parameters, password)


def test_libpq_reads_each_address_in_the_same_way() -> None:
    """Its own parser, on what it knows of them."""
    compared = 0
    for address, parameters, password, dropped in ADDRESSES:
        if dropped or "no-verify" in address or "ssl=" in address:
            continue
        found = conninfo_to_dict(address)
        assert found.pop("password", "") == password
        assert {name: value for name, value in found.items() if value not in (None, ",")} == parameters
        compared += 1
    assert compared > 15


@pytest.mark.parametrize(("address", "shown"), [
    ("postgresql://u:p@h/db?sslmode=require", "postgresql://u@h/db"),
    ("postgresql://u:p@a:1,[::1]:2/db", "postgresql://u@a:1,[::1]:2/db"),
    ("postgresql://me%40srv:p@h:5432/db", "postgresql://me%40srv@h:5432/db"),
    ("postgresql:///db?host=/run/postgresql", "postgresql:///run/postgresql/db"),
])  # fmt: skip
def test_an_address_is_shown_without_its_password(load: Load, address: str, shown: str) -> None:
    assert str(on(load, address)) == shown


@pytest.mark.parametrize(("address", "why"), [
    ("postgresql://h/db?sslmode=on", "has a value for sslmode that cannot be used here: use disable, allow, prefer,"),
    ("postgresql://h/db?target_session_attrs=standby", "use any, read-write or primary"),
    ("postgresql://h/db?sslmode=verify-ca", "without sslrootcert: name the file of the authority"),
    ("postgresql://h/db?sslcert=ca.pem&sslmode=require", "goes into sslrootcert"),
    ("postgresql://h/db?sslrootcert=absent.pem&sslmode=verify-full", "in sslrootcert that cannot be read: /"),
    ("postgresql://a,b,c/db?port=1,2", "names more ports than hosts, or fewer"),
    ("postgresql://h/db?sslmode", "has parameters that are not name=value"),
    ("postgresql://h/db?service=app", "has a parameter that cannot be used here: service"),
    ("postgresql://h/db?passfile=x", "has a parameter that cannot be used here: passfile"),
    ("prisma+postgres://accelerate.prisma-data.net/?api_key=s3cr3t", 'must be "sqlite" or an address as "postgresql:'),
    ("jdbc:postgresql://h/db?user=u&password=s3cr3t", 'must be "sqlite" or an address as "postgresql:'),
    ("mysql://u:s3cr3t@h/db", 'must be "sqlite" or an address as "postgresql:'),
])  # fmt: skip
def test_faults_of_an_address(load: Load, address: str, why: str) -> None:
    (fault,) = faults(load, TEXT, {**ENVIRONMENT, "DATABASE_URL": address})
    assert fault.startswith("tocsin.toml: [daemon] ledger: ")
    assert why in fault
    assert "s3cr3t" not in fault


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
