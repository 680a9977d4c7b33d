"""node-cron and croner with fetch: one Node process, as the scripts that Tocsin replaces had it."""

import json
import shutil
import subprocess
from pathlib import Path

from punctuality.peer import Absent, Command, Plan

HERE = Path(__file__).parent / "node"


class Node:
    seconds = True

    def __init__(self, name: str) -> None:
        version = json.loads((HERE / "package.json").read_text())["dependencies"][name]
        self.name, self.about = name, f"{name} {version} with `fetch`, one Node process"

    def setup(self, cache: Path) -> None:
        for program in ("node", "npm"):
            if not shutil.which(program):
                raise Absent(f"{program} is not here")
        folder = cache / "node"
        folder.mkdir(exist_ok=True)
        for file in ("package.json", "package-lock.json", "jobs.mjs"):
            shutil.copy(HERE / file, folder)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Absent(f"npm ci failed: {done.stderr[-500:]}")

    def commands(self, plan: Plan) -> list[Command]:
        words = ["node", str(plan.cache / "node/jobs.mjs"), self.name, str(plan.jobs), plan.expression, plan.url]
        return [Command(words, {"CRON_SECRET": plan.secret})]


NODE_CRON = Node("node-cron")
CRONER = Node("croner")
