"""The job file's schema: one that editors take, and of one mind with `config.load` where a schema can have one."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_rig import ENVIRONMENT, GOOD, JOB, SECRET, SIGNING, TARGET, Load, outcome
from test_config import EVERY_KEY
from test_config_any import values
from test_config_faults import BAD_DAEMON, BAD_JOB_KEYS, BAD_URLS
from tocsin import config
from tocsin.jobfile.schema import OF_A_JOB, schema
from tocsin.jobfile.tables import DaemonTable, JobTable, NotifyTable, Table, TargetTable

ROOT = Path(__file__).parents[2]
SCHEMA = schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
MODELS: dict[str, type[Table]] = {
    "daemon": DaemonTable,
    "target": TargetTable,
    "notify": NotifyTable,
    "defaults": JobTable,
}
JOB_SCHEMA = next(iter(SCHEMA["properties"]["jobs"]["patternProperties"].values()))
SHIPPED = sorted(file for file in [*ROOT.glob("*.toml"), *ROOT.glob("*/**/tocsin.toml")] if "tocsin" in file.name)

UNSEEN = {  # what `config.load` refuses and a schema does not see
    *('timeout = "0s"', 'timeout = "367d"', 'max_reply = "0B"', 'retention = "0s"'),  # what their parts add up to
    *('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:65536"', 'timezone = "Europe/Berln"', 'listen_cert = "a\\u0000b"'),
    *('content_type = "text/csv"', "retries = 3.0", "expect = { json = { a = inf } }", 'headers = { b = "${UNSET}" }'),
    *("json = {}\nbody = 'x'", "json = { when = 2026-01-01 }", "json = [nan]", 'ledger = "postgresql://u@h"'),
    *('ledger = "mysql://u@h/db"', 'ledger_password_env = "PW"'),
}


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(tomllib.loads(text)))


def properties(found: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in found.get("properties", {}).items():
        yield f"{where}{key}", value
        yield from properties(value, f"{where}{key}.")


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert "$ref" not in json.dumps(SCHEMA), "Taplo shows nothing that stands beside one"


def test_the_committed_copy_is_this_one() -> None:
    assert json.loads((ROOT / "tocsin.schema.json").read_text()) == SCHEMA, "write it anew: make docs"


def test_it_has_every_key_of_the_models() -> None:
    for table, model in MODELS.items():
        keys = {field.alias or name for name, field in model.model_fields.items()}
        assert SCHEMA["properties"][table]["properties"].keys() == keys - set(OF_A_JOB if table == "defaults" else ())
    assert JOB_SCHEMA["properties"].keys() == {field.alias or key for key, field in JobTable.model_fields.items()}


@pytest.mark.parametrize("where", [SCHEMA, JOB_SCHEMA], ids=["file", "job"])
def test_every_key_has_a_description(where: dict[str, Any]) -> None:
    for key, found in properties(where):
        assert found.get("description", "").endswith("."), f"{key} needs Field(…, description=…) in jobfile/tables.py"


def test_its_defaults_are_the_defaults(load: Load) -> None:
    """As the schema writes them, so may the file."""
    lines = {
        table: [f"{key} = {json.dumps(one['default'])}" for key, one in properties(found) if "default" in one]
        for table, found in SCHEMA["properties"].items()
    }
    assert {'drain = "30s"', 'listen = "127.0.0.1:9911"', 'retention = "90d"'} < set(lines["daemon"])
    assert {'timeout = "5m"', 'max_reply = "1MiB"', "retries = 3", "enabled = true"} < set(lines["defaults"])
    text = "\n".join(["[daemon]", *lines["daemon"], TARGET, *lines["target"], "[defaults]", *lines["defaults"], JOB])
    assert accepts(text)
    written, plain = load(text), load(GOOD)
    assert written.jobs == plain.jobs
    assert (written.listen, written.drain, written.retention) == (plain.listen, plain.drain, plain.retention)


def test_files_that_hold(load: Load) -> None:
    good = [
        EVERY_KEY,
        GOOD,
        GOOD.replace("https://app.example.com", "${BASE}"),
        GOOD + 'method = "${METHOD:-PUT}"\nretries = "${RETRIES:-2}"\nenabled = "${ON:-true}"',
        GOOD + 'timeout = "${N:-5}s"\nretry_on = ["${R:-reset}"]\ntimezone = "${TZ:-UTC}"',
    ]
    environment = {"CRON_SECRET": SECRET, "OTHER_SECRET": SECRET, "SIGNING": SIGNING, "BASE": "https://a.example"}
    environment["PING"] = "https://hc-ping.com/1"
    for text in good:
        assert load(text, environment).jobs
        assert accepts(text), list(VALIDATOR.iter_errors(tomllib.loads(text)))


BAD_LINES = {line: GOOD + line for line, _ in BAD_JOB_KEYS}
BAD_LINES |= {line: f"[daemon]\n{line}\n{GOOD}" for line, _ in BAD_DAEMON}
BAD = [
    *(text for line, text in BAD_LINES.items() if line not in UNSEEN),
    f"[more]\n{GOOD}",
    f"{TARGET}secret = 'x'\n{JOB}",
    GOOD.replace(".a]", ".A]"),
    GOOD + 'every = "5s"',
    GOOD + 'url = "https://x.example"',
    TARGET + "[jobs.a]\n",
    f"{GOOD}[defaults]\npath = '/x'",
    f"jobs = 3\n{TARGET}",
]


@pytest.mark.parametrize("text", BAD, ids=[text.replace("\n", " ")[-40:] for text in BAD])
def test_files_that_do_not(load: Load, text: str) -> None:
    assert isinstance(outcome(lambda: load(text)), list)
    assert not accepts(text)


def test_what_it_does_not_see() -> None:
    assert {line for line, text in BAD_LINES.items() if accepts(text)} == UNSEEN


@pytest.mark.parametrize("url", [url for url in BAD_URLS if "://" not in url or " " in url or len(url) > 2000])
def test_urls_that_do_not(url: str) -> None:
    assert not accepts(GOOD.replace("https://app.example.com", url))


LAX = {"enabled", "allow_insecure", "retries"}  # "3" for 3 and "yes" for true: taken, since a ${variable} is a text
one_key = st.sampled_from(
    [(f"[{t}]", f.alias or n) for t, m in MODELS.items() for n, f in m.model_fields.items() if n not in OF_A_JOB]
)
near = st.sampled_from(["5s", "1MiB", "/x", "POST", "bearer", "none", "X", 0, 3, True, [], {}, ["2xx"], {"a": "b"}])


@given(one_key, st.one_of(values, near))
def test_what_is_loaded_is_accepted(tmp_path_factory: pytest.TempPathFactory, at: tuple[str, str], value: Any) -> None:
    table, key = at
    if key in LAX and not isinstance(value, bool | int):
        return
    if key in LAX and isinstance(value, bool) != (key != "retries"):
        return
    written = tomllib.loads(GOOD)
    written.setdefault(table.strip("[]"), {})[key] = value
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text("")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tomllib, "loads", lambda _: written)
        found = outcome(lambda: config.load(file, {**ENVIRONMENT, "X": "x"}))
    assert isinstance(found, list) or VALIDATOR.is_valid(written), (written, found)


# ---- in an editor


def taplo(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "taplo"), "check", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("file", SHIPPED, ids=[str(file.relative_to(ROOT)) for file in SHIPPED])
def test_shipped_files_name_it_and_hold(file: Path) -> None:
    first = file.read_text().partition("\n")[0]
    assert first.startswith("#:schema ")
    assert (file.parent / first.removeprefix("#:schema ")).resolve() == ROOT / "tocsin.schema.json"
    assert accepts(file.read_text())


def test_taplo_takes_it(tmp_path: Path) -> None:
    assert SHIPPED
    found = taplo(*SHIPPED)
    assert found.returncode == 0, found.stderr
    shutil.copy(ROOT / "tocsin.schema.json", tmp_path)
    file = tmp_path / "tocsin.toml"
    file.write_text('#:schema ./tocsin.schema.json\n[jobs.a]\nevery = "5s"\npath = "/x"\nmethd = "GET"\n')
    found = taplo(file)
    assert found.returncode == 1
    assert "'methd' was unexpected" in found.stderr


def test_enums_are_the_models() -> None:
    assert JOB_SCHEMA["properties"]["method"]["anyOf"][0]["enum"] == list(
        get_args(JobTable.model_fields["method"].annotation)
    )
