"""The true field in a model's place: what the evaluation is wrong by, and what training at the truth would lose."""

import numpy as np
import pytest
import torch
import yaml
from repository import REPOSITORY
from scipy.stats import norm

from nearorbit.dynamics.fields import CompiledField, in_place_of_a_model
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.integration import least_steps
from nearorbit.evaluation.forecast import forecast
from nearorbit.evaluation.metrics.valid_prediction_time import prediction_times
from nearorbit.study import catalogue
from nearorbit.truth import attractors, integrators, simulation

OTHERS = (
    "Dadras Rucklidge SprottB SprottJerk GenesioTesi Chen ShimizuMorioka VallisElNino Lorenz84 Aizawa HindmarshRose "
    "HastingsPowell HyperJha Qi HyperLorenz HyperCai HyperPang"
)
RECORD = yaml.safe_load((REPOSITORY / "workflow/studies/paper.yaml").read_text())["systems"]
SYSTEMS = {name: {} for name in OTHERS.split()} | RECORD
QUICK = {"Lorenz": {}, "Rossler": {}, "Lorenz96_N5": {"system": "lorenz96", "size": 5, "forcing": 8}}
FIRST = {"starts": 16, "horizon": 80, "transient": 150}
EVALUATION = {"points": 128, "starts": 20, "horizon": 12, "longest": 100, "runs": 10, "samples": 500, "windows": 10}
DATA = {"orbits": 1, "samples": 2000, "samples_per_period": 50, "transient": 50}
KINDS = {"noise0": DATA, "transients": {**DATA, "orbits": 20, "samples": 100, "transient": 0}}
FAMILY = 0.01  # the chance that any of the exponents of a system is called wrong


def judged(label, spec):
    """The orbits of each kind of data, the table of the truth, and that of its forecast."""
    system = catalogue.build("systems", label, spec)
    spectrum = attractors.exponents(system, label=label, **FIRST)
    orbits = {
        kind: simulation.orbits(system, spectrum, label=label, seeds=2, data=data, window=2)
        for kind, data in KINDS.items()
    }
    truth = simulation.truth(system, orbits["noise0"], spectrum, label=label, evaluation=EVALUATION)
    field = in_place_of_a_model(CompiledField(integrators.compiled(system), system.dimension))
    settings = {"exponents": {**FIRST, "horizon": 160, "accuracy": 0.03}}
    return orbits, truth, field, forecast(field, None, truth, evaluation=settings)


def assert_the_truth_is_the_floor(label, spec):
    orbits, truth, field, table = judged(label, spec)
    assert not (table["diverged"] | table["collapsed"]).any()
    for name in ("field", "jacobian"):
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-11, atol=1e-11 * abs(truth[name]).max().item())
    # As many tests as there are exponents; the seeds share the truth, and differ in their orbits.
    found, error = table["exponents"].mean("seed"), (table["stderr"] ** 2).sum("seed") ** 0.5 / table.sizes["seed"]
    z = abs(found - truth["exponents"][0]) / np.hypot(error, truth["stderr"][0])
    limit = norm.isf(FAMILY / 2 / table.sizes["exponent"])
    assert (z < limit).all(), f"{label}: {found.values} against {truth['exponents'].values[0]}, z = {z.values}"
    assert (table["exponent_error"] <= table["stderr"].min("exponent") / 10).all()
    # Twelve Lyapunov times, or what the study asks for where that is less.
    times = prediction_times(truth, table).median("start")
    assert (times >= min(12 / truth["exponents"].values[0, 0], truth["lead"].max().item()) * 0.999).all(), times.values
    for kind, simulated in orbits.items():
        n = least_steps(simulated["integration_error"].values[0], 1e-4)
        states = torch.from_numpy(simulated["train"].values)
        segments = torch.stack([states[:, :, i : states.shape[2] - 5 + i] for i in range(6)], -2)
        times = float(simulated["step"]) * torch.arange(6, dtype=torch.float64)
        rolled = rollout(field, segments[..., 0, :], times, substeps=n)
        variance = states.var((1, 2), keepdim=True).unsqueeze(-2)
        loss = ((rolled - segments)[..., 1:, :].square() / variance).mean().item()
        assert loss < 1e-8, f"{label}, {kind}: {loss:.1e} with {n} steps"


@pytest.mark.parametrize(
    "label", [label if label != "Rossler" else pytest.param(label, marks=pytest.mark.slow) for label in QUICK]
)
def test_the_true_field_scores_the_floor_and_costs_training_nothing(label):
    assert_the_truth_is_the_floor(label, QUICK[label])


@pytest.mark.slow
@pytest.mark.parametrize("label", sorted(SYSTEMS.keys() - QUICK))
def test_the_true_field_of_many_systems_does(label):
    assert_the_truth_is_the_floor(label, SYSTEMS[label])
