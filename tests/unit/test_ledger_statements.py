"""The rows of jobs on PostgreSQL: whatever is remembered of a job comes back."""

import json

import msgspec
import pytest

from ledger_rig import ask
from tocsin.ipc.record import JobRecord
from tocsin.ledger.pg_columns import JOB, job_row, job_values
from tocsin.ledger.rows import JobRow

VALUES = (True, 7, 7.5, "timeout", {"success": 7}, "text")  # of which each field takes one


def a_value(name: str) -> object:
    """One that differs from the field's default."""
    for value in VALUES:
        try:
            made = msgspec.convert({"accounted": 0, name: value}, JobRecord)
        except msgspec.ValidationError:
            continue
        if getattr(made, name) != getattr(JobRecord(0), name):
            return getattr(made, name)
    raise AssertionError(f"no value for {name}")


@pytest.mark.parametrize("under_way", [False, True])
def test_a_record_comes_back_with_every_field(under_way: bool) -> None:
    record = msgspec.convert({name: a_value(name) for name in JobRecord.__struct_fields__}, JobRecord)
    job = JobRow("* * * * * UTC", 7, "s1:1", record, ask() if under_way else None, "why")
    values = dict(zip(JOB, job_values("a", job), strict=True))
    read = tuple(json.loads(one) if JOB[name] == "jsonb" else one for name, one in values.items())
    assert job_row(read) == ("a", job)
