"""What networks are known to do: the shipped studies of networks, run whole. pytest -m slow tests/validation"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from repository import copy, snakemake

from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.models import load
from nearorbit.study.files import read

pytestmark = pytest.mark.slow
PERIODS, ORBITS = 100, 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs a shipped study and gives the folder of its results."""
    folder = copy(tmp_path_factory.mktemp("validation") / "nearorbit")

    def results(study: str) -> Path:
        done = snakemake(folder, "--configfile", f"workflow/studies/{study}.yaml")
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return folder / "results" / study

    yield results
    shutil.rmtree(folder)


def test_networks_stand_side_by_side_and_a_polynomial_learns_the_lorenz_field(run):
    folder = run("networks")
    costs = pd.read_csv(folder / "costs.csv").set_index("method")["network"]
    assert set(costs) == {"mlp", "residual", "polynomial", "known"} and costs["nearly"] == "known"
    scores = pd.read_csv(folder / "scores.csv").query("metric == 'jacobian_error'")
    worst = scores.groupby("method")["value"].max()
    assert worst["quadratic"] < 0.01, worst
    assert worst["nearly"] < worst["mlp"], worst
    assert "quadratic" in (folder / "tables/jacobian_error.md").read_text()


def henon_heiles_energy(states: np.ndarray) -> np.ndarray:
    x, y, p, q = np.moveaxis(states, -1, 0)
    return (p**2 + q**2 + x**2 + y**2) / 2 + x**2 * y - y**3 / 3


def drift(folder: Path, method: str) -> float:
    """How far the true energy goes from where it began along learned orbits of 100 periods: the median over orbits."""
    truth = read(folder / "HenonHeiles/clean/truth.nc", kind="truth")
    field = load(folder / "HenonHeiles/clean" / method / "model.safetensors")
    starts = torch.from_numpy(truth["attractor"].to_numpy()[:, :ORBITS, 0])  # (E, orbits, D)
    times = torch.arange(PERIODS * 20 + 1, dtype=torch.float64) * float(truth["period"]) / 20
    with torch.inference_mode():
        energy = henon_heiles_energy(rollout(field, starts, times, substeps=3, order=8).numpy())
    return float(np.median(np.nan_to_num(np.abs(energy - energy[..., :1]).max(-1), nan=np.inf)))


def test_a_hamiltonian_network_drifts_a_tenth_as_far_from_its_energy_as_a_perceptron(run):
    folder = run("conservative")
    drifts = {method: drift(folder, method) for method in ("mlp", "hamiltonian", "lagrangian", "cubic")}
    assert drifts["hamiltonian"] < 0.1 * drifts["mlp"], drifts
