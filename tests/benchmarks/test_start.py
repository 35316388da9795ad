"""How long Snakemake plans before the first job of a large study, and with how much memory: a dry run."""

import os
import resource
import subprocess
import sys
import time

import yaml
from repository import REPOSITORY, copy

from nearorbit.study import catalogue

SYSTEMS, METHODS = 174, 15  # with the three data of the paper study: 7,830 trainings, some 19,500 jobs


def large() -> dict:
    study = yaml.safe_load((REPOSITORY / "workflow/studies/paper.yaml").read_text())
    entries = catalogue.names("methods")
    study["methods"] = {f"method{k:02}": {"method": entries[k % len(entries)]} for k in range(METHODS)}
    sizes = range(5, 5 + SYSTEMS - len(study["systems"]))
    study["systems"] |= {f"Other{n}": {"system": "lorenz96", "size": n, "forcing": 8} for n in sizes}
    return study | {"study": "large"}


def test_a_large_study_starts_within_a_minute_and_a_gibibyte(tmp_path):
    folder = copy(tmp_path / "nearorbit")
    (folder / "large.yaml").write_text(yaml.safe_dump(large(), sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "--profile", "workflow/profiles/local"]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--configfile", "large.yaml"], cwd=folder, env=os.environ, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    gibibytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"\n{SYSTEMS} systems x 3 data x {METHODS} methods: {seconds:.0f} s, {gibibytes:.2f} GiB")
    assert seconds < 60 and gibibytes < 1
