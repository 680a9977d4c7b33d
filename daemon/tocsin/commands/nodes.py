"""`tocsin nodes`: the nodes that share a ledger on PostgreSQL."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin import config, display
from tocsin.commands.common import FAILED, USAGE, examples, fail, job_file_option
from tocsin.jobfile.faults import ConfigError
from tocsin.timestamps import rfc3339
from tocsin.units import duration

if TYPE_CHECKING:  # it needs psycopg, which is an extra
    from tocsin.ledger.pg_nodes import Node

NAMED = 5  # jobs in one line


@click.command(epilog=examples("tocsin nodes", "tocsin nodes --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def nodes(file: Path, as_json: bool) -> None:
    """Show the nodes that share the ledger, and their jobs.

    Reads the ledger on PostgreSQL; no daemon need run on this machine. JOBS is how many jobs a node owns, CLOCK how far
    its clock is ahead of the server's, and JOB FILE the same for nodes whose job files define the same jobs.
    """
    from tocsin.ledger import stores
    from tocsin.ledger.store import Absent, Unreadable
    from tocsin.redact import redact

    try:
        kept = config.ledger_of(file)
    except ConfigError as error:
        fail(str(error), USAGE)
    if kept == "sqlite":
        fail("the ledger is in SQLite, which one daemon has for itself: only nodes on PostgreSQL share one", USAGE)
    redact.hide(kept.hidden)
    try:
        found = stores.nodes(kept)
    except Absent as error:
        fail(f"there is no ledger yet ({error}); has a daemon ever been started?", FAILED)
    except Unreadable as error:
        fail(f"cannot read the ledger on {kept}: {error}", FAILED)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    rows = [
        [
            one.name,
            f"silent for {duration(one.silent)}" if one.state in ("live", "leaving") and one.silent else one.state,
            str(one.jobs),
            one.version or "-",
            "-" if one.clock_off is None else f"{one.clock_off:+.1f} s",
            rfc3339(int(one.joined)),
            one.job_file or "-",
        ]
        for one in found.nodes
    ]
    click.echo(display.table(["NODE", "STATE", "JOBS", "VERSION", "CLOCK", "SINCE", "JOB FILE"], rows))
    for line in [*map(_difference, found.nodes), _named("without an owner", found.unowned)]:
        if line:
            click.echo(display.bad(display.printable(line)))


def _difference(node: "Node") -> str:
    parts = [
        _named("lacks", node.lacks),
        _named("has besides", node.more),
        _named("defines otherwise", node.differs),
    ]
    said = "; ".join(part for part in parts if part)
    return f"the job file of {node.name} differs from that of most nodes: {said}" if said else ""


def _named(what: str, jobs: list[str]) -> str:
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return f"{what} {', '.join(jobs[:NAMED])}{more}" if jobs else ""
