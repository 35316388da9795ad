"""Copies of the repository to run studies in, and the trainings that run there."""

import shutil
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SMOKE = "workflow/studies/smoke.yaml"


def copy(folder: Path) -> Path:
    """Copy what runs, without results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "config.yaml", "pyproject.toml", "workflow", "src", "envs"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(path, folder / name)
    return folder


def trainings(folder: Path) -> list[int]:
    """List the processes that train in a folder."""
    found = subprocess.run(["pgrep", "-f", "^python -m nearorbit train "], capture_output=True, text=True).stdout
    places = {int(pid): Path(f"/proc/{pid}/cwd") for pid in found.split()}
    return [pid for pid, place in places.items() if place.exists() and place.resolve() == folder.resolve()]


def a_training(folder: Path, seconds: float = 200) -> int:
    """Wait until a training is at work, its modules imported."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for pid in trainings(folder):
            try:
                if "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text():
                    return pid
            except OSError:
                pass  # it has just ended
        time.sleep(0.05)
    raise TimeoutError(f"no training began in {folder}")
