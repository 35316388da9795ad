"""What may go wrong on a machine, done on purpose to the smoke study: each time it ends with the same scores.

What a user has to type after each fault is what these tests type; docs/faults.md lists it. The faults of a cluster (a
lost node, a job killed inside Slurm) are in tests/cluster.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import SMOKE, a_training, copy, trainings

pytestmark = pytest.mark.slow

CELL = "results/smoke/Lorenz/noisy"
LOCAL = ["--profile", "workflow/profiles/local", "--cores", "2"]


def begin(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start `snakemake scores` in a folder, in a process group of its own."""
    command = [sys.executable, "-m", "snakemake", "scores", *LOCAL, *arguments, "--configfile", SMOKE]
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def snakemake(folder: Path, *arguments: str) -> tuple[int, str]:
    code = begin(folder, *arguments).wait()
    return code, (folder / "snakemake.log").read_text()


def recovered(folder: Path, *arguments: str) -> bytes:
    """Run to the end, and return the scores."""
    code, log = snakemake(folder, *arguments)
    assert code == 0, log[-5000:]
    return (folder / "results/smoke/scores.csv").read_bytes()


def complete(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob(f"{CELL}/*/model.safetensors")}


def copied(source: Path, target: Path) -> Path:
    """Copy a repository with its results and what Snakemake knows of them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)
    return target


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A copy of the repository in which everything before the trainings is done."""
    folder = copy(tmp_path_factory.mktemp("prepared") / "nearorbit")
    needed = [f"{CELL}/{name}.nc" for name in ("truth", "neighbors/nearest", "supervision")]
    command = [sys.executable, "-m", "snakemake", *needed, *LOCAL, "--configfile", SMOKE]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> Path:
    """A copy in which the scores are there."""
    folder = copied(prepared, tmp_path_factory.mktemp("undisturbed") / "nearorbit")
    recovered(folder)
    return folder


@pytest.fixture(scope="module")
def expected(undisturbed) -> bytes:
    return (undisturbed / "results/smoke/scores.csv").read_bytes()


@pytest.fixture
def folder(prepared, tmp_path) -> Path:
    return copied(prepared, tmp_path / "nearorbit")


@pytest.fixture
def finished(undisturbed, tmp_path) -> Path:
    return copied(undisturbed, tmp_path / "nearorbit")


def test_a_training_is_killed(folder, expected):
    running = begin(folder)
    os.kill(a_training(folder), signal.SIGKILL)
    assert running.wait() != 0
    assert len(complete(folder)) == 3, "the others go on"
    assert recovered(folder) == expected


def test_a_killed_training_is_tried_again(folder, expected):
    running = begin(folder, "--retries", "1")
    os.kill(a_training(folder), signal.SIGKILL)
    assert running.wait() == 0
    assert (folder / "results/smoke/scores.csv").read_bytes() == expected


def test_snakemake_is_killed_and_its_children_live_on(folder, expected):
    running = begin(folder)
    a_training(folder)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert trainings(folder), "the children have lived on"
    code, log = snakemake(folder)
    assert code != 0 and "--unlock" in log, log
    unlock = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", SMOKE]
    subprocess.run(unlock, cwd=folder, check=True, capture_output=True)
    assert recovered(folder) == expected


def test_the_disk_is_full(folder, expected):
    results = folder / "results"
    kept = copied(results, folder / "kept")
    size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size + 100_000}", "none", str(results)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a tmpfs: {mounted.stderr}")
    try:
        copied(kept, results)
        code, log = snakemake(folder)
        assert code != 0
        assert "No space left on device" in log and "Traceback" not in log, log[-5000:]
        subprocess.run(["mount", "-o", "remount,size=64m", str(results)], check=True)
        assert recovered(folder) == expected
    finally:
        subprocess.run(["umount", str(results)], check=True)


@pytest.mark.parametrize("name", ["forecast.nc", "model.safetensors"])
def test_an_output_was_truncated(finished, expected, name):
    file = finished / CELL / "baseline" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    later = {"forecast.nc": file.parents[2] / "scores.csv", "model.safetensors": file.with_name("forecast.nc")}[name]
    later.unlink()
    code, log = snakemake(finished)
    again = f"{CELL}/baseline/{name}"  # as the message says
    assert code != 0 and f"--force {again}" in log and "Traceback" not in log, log[-5000:]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--force", again, "--configfile", SMOKE]
    subprocess.run(command, cwd=finished, check=True, capture_output=True)
    assert recovered(finished) == expected


def test_two_snakemakes_are_started_in_one_folder(folder, expected):
    first = begin(folder)
    a_training(folder)
    other = subprocess.run(
        [sys.executable, "-m", "snakemake", "scores", *LOCAL, "--configfile", SMOKE],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert other.returncode != 0 and "cannot be locked" in other.stdout + other.stderr
    assert first.wait() == 0
    assert (folder / "results/smoke/scores.csv").read_bytes() == expected


def test_a_checkpoint_is_of_other_settings(folder, expected):
    import torch
    from safetensors.torch import save_file

    checkpoint = folder / "results/smoke/checkpoints/Lorenz/noisy/baseline.safetensors"
    checkpoint.parent.mkdir(parents=True)
    save_file({"step": torch.tensor([20])}, checkpoint, {"key": "another"})
    assert recovered(folder) == expected
    log = (folder / "results/smoke/logs/Lorenz/noisy/baseline/training.log").read_text()
    assert "is not used" in log and "starts afresh" in log


def test_the_clock_was_set_back(finished, expected):
    tomorrow = time.time() + 86_400
    for path in (finished / "results").rglob("*.nc"):
        os.utime(path, (tomorrow, tomorrow))
    (finished / CELL).with_name("scores.csv").unlink()
    assert recovered(finished) == expected
