"""The parameters that an address of a PostgreSQL server may have, and what becomes of each."""

# Parameters of libpq that an address may set. Left out: those with a secret of their own, and those by which another
# file or a service would decide.
KNOWN = frozenset(
    [
        "host",
        "port",
        "user",
        "dbname",
        "password",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "sslsni",
        "sslnegotiation",
        "sslcertmode",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "channel_binding",
        "require_auth",
        "gssencmode",
        "krbsrvname",
        "target_session_attrs",
        "load_balance_hosts",
        "options",
        "application_name",
    ]
)
FILES = frozenset(("sslrootcert", "sslcert", "sslkey", "sslcrl"))
# What Prisma and poolers write into DATABASE_URL for themselves; libpq knows none of it.
OF_OTHERS = frozenset(
    [
        "pgbouncer",
        "schema",
        "connection_limit",
        "pool_timeout",
        "socket_timeout",
        "statement_cache_size",
        "sslaccept",
        "sslidentity",
        "supa",
        "workaround",
        "pool_mode",
        "pool_max_conns",
        "default_query_exec_mode",
        "prepared_statements",
        "uselibpqcompat",
    ]
)
# What Tocsin sets itself, so that a dead server is noticed within seconds.
OWN = frozenset(
    [
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "client_encoding",
        "fallback_application_name",
    ]
)
VALUES = {  # what libpq takes, of what it would refuse only when it connects
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "primary"),  # a ledger is written
    "gssencmode": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "sslsni": ("0", "1"),
    "load_balance_hosts": ("disable", "random"),
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1.2", "TLSv1.3"),
}
WRITTEN_BY_OTHERS = {  # JDBC's and node-postgres's words -> libpq's
    ("ssl", "true"): ("sslmode", "require"),
    ("ssl", "1"): ("sslmode", "require"),
    ("sslmode", "no-verify"): ("sslmode", "require"),
}
