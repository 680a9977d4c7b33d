"""What the figures were measured on."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def said(*words: str) -> str:
    if not shutil.which(words[0]):
        return "absent"
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip().split("\n")[0] or "unknown"


def revision() -> str:
    return said("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")


def machine() -> dict[str, str]:
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    autogroup = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return {
        "cores": str(os.cpu_count()),
        "cpu": next((line.split(": ")[1] for line in cpus if line.startswith("model name")), "?"),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "autogroup": autogroup.read_text().strip() if autogroup.exists() else "absent",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
        "python": platform.python_version(),
        "node": said("node", "--version"),
        "go": said("go", "version"),
        "curl": " ".join(said("curl", "--version").split()[:2]),
        "load before": " ".join(Path("/proc/loadavg").read_text().split()[:3]),
        "tocsin": revision(),
    }
