"""The parameters that the address of a PostgreSQL server may have, and what Tocsin does with each."""

# Parameters of libpq that an address may set. Left out: those that hold another secret, and those that name another
# file or a service with settings.
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
# Parameters in DATABASE_URL that are meant for Prisma and poolers. libpq does not know them.
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
# Parameters that Tocsin sets itself, to notice a dead server within seconds.
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
VALUES = {  # allowed values, which libpq itself would check only when it connects
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "primary"),  # a ledger must be writable
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
