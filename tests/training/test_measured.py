"""Trainings on recordings: the same as on simulated orbits where the data are, and on recordings of any length."""

import numpy as np
import pytest
import torch
from lorenz63 import PERIOD, STEP, orbit, orbits
from recorded import cut, file_of, measured
from trainings import fit

from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import observe
from nearorbit.training.methods.homotopy import Homotopy
from nearorbit.training.methods.neighborhood import Neighborhood

METHODS = {"baseline": "baseline", "homotopy": Homotopy(segment=20), "neighborhood": Neighborhood(count=10)}


def cell(observed):
    return observed, neighbors(observed, count=10, theiler=0.5, ahead=5), None


def weights(trained):
    return [parameter.detach() for parameter in trained[0].parameters()]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_data_as_a_file_and_as_a_system_are_the_same_training_to_the_bit(tmp_path, method):
    simulated = orbits(seeds=1, samples=400).assign_coords(component=["x", "y", "z"])
    train, validation = (simulated[name].values[0, 0] for name in ("train", "validation"))
    after = orbit(train[-1], 21)[1:]  # is held out
    system = measured(file_of(tmp_path / "a.csv", np.concatenate([train, after]), validation), period=PERIOD)
    made, known = cut(system, held_out=20 / 420, validation=[1])
    by_system, by_file = (
        fit(*cell(observe(given, known, label="Lorenz")), METHODS[method], substeps=2) for given in (simulated, made)
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(by_system), weights(by_file), strict=True))
    assert by_system[2].equals(by_file[2]), "the same losses and validation errors"


@pytest.mark.parametrize("method", METHODS)
def test_ten_recordings_of_unequal_length_train_together(tmp_path, method):
    lengths = np.geomspace(100, 10000, 10).astype(int)
    whole = orbit(orbit(np.array([1.0, 1.0, 25.0]), 300)[-1], 10000, substeps=2)
    made, known = cut(measured(file_of(tmp_path / "a.csv", *(whole[:n] for n in lengths)), period=PERIOD), held_out=0.2)
    *_, history, _ = fit(*cell(observe(made, known, label="Lorenz")), METHODS[method], steps=10)
    assert made.sizes["orbit"] == 10 and np.isfinite(history["validation"]).all()


def test_two_recordings_of_a_hundred_uneven_samples_train(tmp_path):
    random = np.random.default_rng(0)
    fine = orbit(orbit(np.array([[1.0, 1.0, 25.0], [2.0, 0.0, 20.0]]), 300)[:, -1], 1000, step=STEP / 10, substeps=2)
    ticks = [np.sort(random.choice(1000, 100, replace=False)) for _ in range(2)]
    states = [of[at] + 0.05 * random.standard_normal((100, 3)) for of, at in zip(fine, ticks, strict=True)]
    file = file_of(tmp_path / "a.csv", *states, times=[STEP / 10 * at for at in ticks])
    made, known = cut(measured(file, period=PERIOD), seeds=2, held_out=0.2, gap=6.0)
    *_, history, _ = fit(*cell(observe(made, known, label="pendulum", smooth="spline")), horizon=4)
    assert np.isfinite(history["validation"]).all() and history["seed"].nunique() == 2
