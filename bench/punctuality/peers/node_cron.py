"""node-cron and croner with fetch: one Node process, as the scripts that Tocsin replaces had it."""

import json
from pathlib import Path

from punctuality.install import HERE, once
from punctuality.peer import ON_THE_REAL_PATH, REAL, Command, Plan

FILES = [HERE / "node" / name for name in ("package.json", "package-lock.json", "jobs.mjs")]


class Node:
    seconds = True

    def __init__(self, library: str, real: bool = False) -> None:
        version = json.loads(FILES[0].read_text())["dependencies"][library]
        self.library, self.real, self.name = library, real, library + REAL * real
        self.about = f"{library} {version} with `fetch`, one Node process" + ON_THE_REAL_PATH * real

    def setup(self, cache: Path) -> None:
        once(cache / "node", FILES, ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], ["node", "--version"])

    def commands(self, plan: Plan) -> list[Command]:
        words = ["node", str(plan.cache / "node/jobs.mjs"), self.library, str(plan.jobs), plan.expression, plan.url]
        return [Command(words, {"CRON_SECRET": plan.secret, "NODE_EXTRA_CA_CERTS": str(plan.authority)})]


NODE_CRON = Node("node-cron")
CRONER = Node("croner")
NODE_CRON_REAL = Node("node-cron", real=True)
CRONER_REAL = Node("croner", real=True)
