"""The one command, on a CPU and as small as can be, so that it works where a GPU is lent for minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run")


def test_the_run_measures_all_and_writes_its_tables(tmp_path):
    command = [RUN, "--device", "cpu", "--small", "--out", tmp_path]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert "1 passed" in report["tests"]["summary"] and "errors" not in report
    for part in ("steps", "ensembles", "rates", "study"):
        assert report[part] and f"## {part}" in (tmp_path / "gpu.md").read_text()
