"""The package from a wheel, outside of a clone."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from repository import REPOSITORY


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder, and a function that runs a command in it with the package from a wheel."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source = shutil.copytree(
        REPOSITORY,
        folder / "clone",
        ignore=shutil.ignore_patterns(".*", "results", "build", "*.egg-info", "__pycache__"),
    )
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", source], check=True, timeout=300
    )
    (wheel,) = (folder / "wheels").glob("nearorbit-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, timeout=300)
    shutil.rmtree(source)
    (work := folder / "work").mkdir()

    def run(*command, fails=False):
        environment = os.environ | {"PYTHONPATH": str(folder / "site")}
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=work, env=environment, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    assert str(folder) in run("nearorbit", "where", "Snakefile")
    return run


def test_names_are_listed(elsewhere):
    assert "neighborhood" in elsewhere("nearorbit", "names", "methods")


def test_published_figures_come_with_the_wheel(elsewhere):
    settings = {"tables": {"published": {}}, "study": {"systems": [], "data": {}, "methods": []}}
    elsewhere("nearorbit", "tables", "--settings", json.dumps(settings), "--folder", "park", "--into", "shown")


def test_the_shipped_workflow_prepares_a_cell_which_is_trained_and_judged_by_hand(elsewhere):
    study, snakefile = (elsewhere("nearorbit", "where", name) for name in ("smoke", "Snakefile"))
    cell = "results/smoke/Lorenz/noisy"
    options = ["--cores", "1", "--snakefile", snakefile, "--configfile", study]
    elsewhere("snakemake", f"{cell}/observations.nc", f"{cell}/truth.nc", *options)
    files = [part for name, end in (("model", "safetensors"), ("history", "csv"), ("costs", "csv"))
             for part in (f"--{name}", f"{name}.{end}")]  # fmt: skip
    train = ["nearorbit", "train", "--study", "smoke", "--cell", "Lorenz/noisy/baseline"]
    elsewhere(*train, "--observations", f"{cell}/observations.nc", *files)
    judge = ["nearorbit", "forecast", "--study", "smoke", "--cell", "Lorenz/noisy/baseline"]
    elsewhere(*judge, *files[:4], "--truth", f"{cell}/truth.nc", "--forecast", "forecast.nc")
    elsewhere(*train[:3], "smok", *train[4:], "--observations", f"{cell}/observations.nc", *files, fails=True)
