"""The smoke study through a real Slurm: `pytest tests/cluster`, as root on Debian; 12 minutes on two cores.

What was submitted is compared with what a run on this machine gives, to the bit: undisturbed, with a training killed,
with the node lost, and through cluster-generic. The last thing that every test asks of Slurm is its list of jobs.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from repository import SMOKE, a_training, copy
from slurm import Cluster, end, install

PROFILE = ["--workflow-profile", "workflow/profiles/slurm"]
# A cluster without accounting; and nobody else to be polite to.
HERE = [
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "5"),
]
STATES = "case $(scontrol -o show job $1 | grep -o 'JobState=[A-Z_]*') in *=COMPLETED) echo success;; \
*=PENDING|*=RUNNING|*=CONFIGURING|*=COMPLETING) echo running;; *) echo failed;; esac"


def snakemake(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", SMOKE]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    limited = ["timeout", "-k", "10", "540", *command]
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(limited, cwd=folder, env=os.environ | {"PATH": path}, stdout=log, stderr=log)


def finish(process: subprocess.Popen, folder: Path) -> str:
    code, log = process.wait(), (folder / "snakemake.log").read_text()
    assert code == 0, log[-5000:]
    return log


def scores(folder: Path) -> bytes:
    return (folder / "results/smoke/scores.csv").read_bytes()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    install()
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def repository(tmp_path) -> Path:
    """A copy of the repository whose smoke study trains on a GPU where there is one, and so asks Slurm for it."""
    copy(tmp_path)
    text = (tmp_path / SMOKE).read_text()
    assert "device: cpu" in text
    (tmp_path / SMOKE).write_text(text.replace("device: cpu", "device: auto"))
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> bytes:
    """The scores of a run on this machine, from the repository as it is."""
    folder = copy(tmp_path_factory.mktemp("local"))
    finish(snakemake(folder, "scores", "--profile", "workflow/profiles/local", "--cores", "2"), folder)
    return scores(folder)


def test_a_study_goes_through_slurm(cluster, repository, expected):
    finish(snakemake(repository, *PROFILE, *HERE), repository)
    assert scores(repository) == expected
    asked = {job["Comment"]: job for job in cluster.jobs()}
    gpus = {comment: "gpu" in job.get("TresPerJob", "") for comment, job in asked.items()}
    assert any(gpus.values()) and all(("train" in comment) == gpu for comment, gpu in gpus.items()), gpus
    assert all((repository / f"results/smoke/figures/{name}.png").is_file() for name in ("overview", "attractors"))


def test_a_killed_training_is_submitted_again_with_more_memory(cluster, repository, expected):
    before = len(cluster.jobs())
    running = snakemake(repository, "scores", *PROFILE, *HERE)
    end(a_training(repository), signal.SIGKILL)
    log = finish(running, repository)
    assert "Trying to restart job" in log
    assert scores(repository) == expected
    memory = [job["TRES"] for job in cluster.jobs()[before:] if "train" in job["Comment"]]
    assert sum("mem=4000M" in asked for asked in memory) == 1, memory


def test_a_lost_node_costs_nothing_but_time(cluster, repository, expected):
    running = snakemake(repository, "scores", *PROFILE, *HERE)
    a_training(repository)
    cluster.lose_node()
    cluster.start_node()
    log = finish(running, repository)
    assert "Trying to restart job" in log
    assert scores(repository) == expected


def test_trainings_share_a_gpu(cluster, repository, expected):
    before = len(cluster.jobs())
    profile = repository / PROFILE[1] / "config.yaml"
    asked = "  train:\n    runtime:"
    assert asked in profile.read_text()
    profile.write_text(profile.read_text().replace(asked, "  train:\n    gpu: 0\n    gres: shard:1\n    runtime:"))
    finish(snakemake(repository, "scores", *PROFILE, *HERE), repository)
    assert scores(repository) == expected
    asked = [job for job in cluster.jobs()[before:] if "train" in job["Comment"]]
    assert len(asked) == 4 and all("shard:1" in str(job) for job in asked), asked


def test_any_scheduler_with_a_command_will_do(cluster, repository, expected):
    status = repository / "status.sh"
    status.write_text(f"#!/bin/sh\n{STATES}\n")
    status.chmod(0o755)
    submit = "sbatch --parsable --mem={resources.mem_mb} --time={resources.runtime} --cpus-per-task={threads}"
    options = {
        "--executor": "cluster-generic",
        "--cluster-generic-submit-cmd": submit,
        "--cluster-generic-status-cmd": str(status),
        "--cluster-generic-cancel-cmd": "scancel",
        "--default-resources": "mem_mb=1000 runtime=10",
        "--jobs": "8",
        "--latency-wait": "5",
    }
    words = [word for name, value in options.items() for word in
             ([name, *shlex.split(value)] if name == "--default-resources" else [name, value])]  # fmt: skip
    finish(snakemake(repository, "scores", *words), repository)
    assert scores(repository) == expected
