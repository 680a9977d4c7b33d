"""A real Prometheus on loopback, for the tests that ask one."""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grafana_files import RECORDING, RULES
from harness import free_port, until

SCRAPE_INTERVAL = "250ms"


@dataclass
class Prometheus:
    port: int

    def ask(self, path: str, **query: str) -> Any:
        """The `data` of an answer. Raises AssertionError with what Prometheus says against the query."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {json.load(error)['error']}") from None

    def series(self, expression: str) -> list[dict[str, str]]:
        """The labels of what an expression returns now."""
        return [one["metric"] for one in self.result(expression)]

    def result(self, expression: str) -> list[dict[str, Any]]:
        found = self.ask("query", query=expression)
        assert found["resultType"] == "vector"
        result: list[dict[str, Any]] = found["result"]
        return result

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(
    folder: Path, targets: list[str], rules: Sequence[Path] = (RULES, RECORDING), interval: str = SCRAPE_INTERVAL
) -> Iterator[Prometheus]:
    """One on a free port of loopback, with the rules evaluated as often as the targets are scraped."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing; `make test` says how to install it"
    for file in rules:
        content = yaml.safe_load(file.read_text())
        for group in content["groups"]:
            group["interval"] = interval
        (folder / file.name).write_text(yaml.safe_dump(content))
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "rule_files": [file.name for file in rules],
        "scrape_configs": [{"job_name": "tocsin", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        one = Prometheus(port)
        until(lambda: one.ready() or process.poll() is not None, "Prometheus to be ready")
        assert process.poll() is None, log.read_text()
        yield one
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
