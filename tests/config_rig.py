"""Job files for the tests of the configuration."""

from collections.abc import Callable
from typing import Any

import pytest

from tocsin.config import Config, Job
from tocsin.jobfile.faults import ConfigError, Fault

SECRET = "0123456789abcdef-not-guessed"
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ENVIRONMENT = {"CRON_SECRET": SECRET}
TARGET = '[target]\nbase_url = "https://app.example.com"\n'
JOB = '[jobs.a]\nschedule = "* * * * *"\npath = "/x"\n'
GOOD = TARGET + JOB

Load = Callable[..., Config]


def faults(load: Load, text: str, *args: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text, *args)
    assert raised.value.faults, "an error lists what is wrong"
    assert str(raised.value) == "\n".join(map(str, raised.value.faults))
    return [str(fault) for fault in raised.value.faults]


def outcome(call: Callable[[], Config]) -> Config | list[Fault]:
    """What was loaded, or the faults; any other exception passes."""
    try:
        return call()
    except ConfigError as error:
        return error.faults


def job(load: Load, keys: str = "", target: str = "", *args: Any) -> Job:
    return load(TARGET + target + JOB + keys, *args).jobs["a"]
