"""node-cron and croner with fetch: one Node process, as the scripts that Tocsin replaces had it."""

import json
from pathlib import Path

from punctuality.install import HERE, once
from punctuality.peer import Command, Plan

FILES = [HERE / "node" / name for name in ("package.json", "package-lock.json", "jobs.mjs")]


class Node:
    seconds = True

    def __init__(self, name: str) -> None:
        version = json.loads(FILES[0].read_text())["dependencies"][name]
        self.name, self.about = name, f"{name} {version} with `fetch`, one Node process"

    def setup(self, cache: Path) -> None:
        once(cache / "node", FILES, ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], ["node", "--version"])

    def commands(self, plan: Plan) -> list[Command]:
        words = ["node", str(plan.cache / "node/jobs.mjs"), self.name, str(plan.jobs), plan.expression, plan.url]
        return [Command(words, {"CRON_SECRET": plan.secret})]


NODE_CRON = Node("node-cron")
CRONER = Node("croner")
