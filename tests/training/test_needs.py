"""The contract of all needs; a new file in needs/ is tested as it lands, by a method that takes it."""

import pytest
import torch
from lorenz63 import observations, supervision
from trainings import files_of

from nearorbit.data.neighbors import neighbors
from nearorbit.data.smoothing import smoothed
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.methods.homotopy import Homotopy
from nearorbit.training.methods.jacobian import Jacobian
from nearorbit.training.methods.multiple_shooting import MultipleShooting
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.methods.neighborhood_mmd import NeighborhoodMMD
from nearorbit.training.needs.base import Source

NEEDS = catalogue.entries("needs")
TAKERS = [
    *(catalogue.build("methods", name, {}) for name in catalogue.names("methods")),
    Jacobian(directions=2),
    Neighborhood(instrument=1),
    Neighborhood(displacements="smoothed"),
    Neighborhood(weighting="noise"),
    NeighborhoodMMD(clouds="displacements"),
    MultipleShooting(partition=True, segment=2),
    Homotopy(per="system", toward="fixed_spline", penalty=1e-6),
    *(Homotopy(toward=name) for name, need in NEEDS.items() if need.stages),
]
METHODS = {name: next((method for method in TAKERS if name in method.needs), None) for name in NEEDS}
SUBSTEPS = 2
TRUE = ("supervision", "propagators")  # the files that the truth makes


@pytest.fixture(scope="module")
def observed():
    data = observations(0.02, samples=400, step=0.02)
    table = neighbors(data, count=64, theiler=0.5, ahead=25, behind=3)
    return data, files_of(table, supervision(data))


def gathered(observed, name, seeds, start):
    """What a need gives for starts with shape (E, B), of these seeds, as a list of tensors."""
    data, files = (observed[0].isel(seed=seeds), {k: file.isel(seed=seeds) for k, file in observed[1].items()})
    settings = Training(batch=8, substeps=SUBSTEPS)
    made = Data(data, METHODS[name], settings, files, device=torch.device("cpu"), dtype=torch.float64)
    batch = made.gather(start)
    given = batch[name]
    return [*given] if isinstance(given, tuple) else [given], batch


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method])
def test_a_member_is_given_what_its_seed_alone_is_given(observed, name):
    start = torch.tensor([[0, 7, 101, 20], [3, 60, 5, 99]])
    together, _ = gathered(observed, name, [0, 1], start)
    for e in range(2):
        alone, _ = gathered(observed, name, [e], start[e : e + 1])
        for ours, theirs in zip(together, alone, strict=True):
            assert ours.isfinite().all() and ours.dtype in (torch.float64, torch.int64)
            torch.testing.assert_close(ours[e : e + 1], theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, need in NEEDS.items() if need.stages])
def test_an_orbit_at_the_stages_goes_along_the_samples(observed, name):
    (orbit,), batch = gathered(observed, name, [0, 1], torch.tensor([[0, 7], [3, 60]]))
    samples = batch.states.shape[-2]
    assert orbit.shape == (2, 2, 2 * SUBSTEPS * (samples - 1) + 1, 3)
    assert (orbit[..., :: 2 * SUBSTEPS, :] - batch.states).abs().max() < 0.2  # noise of 0.02, smoothed or not
    assert orbit.diff(dim=-2).abs().max() < batch.states.diff(dim=-2).abs().max()


@pytest.mark.parametrize("name", NEEDS)
def test_a_need_says_where_it_comes_from(name):
    need = NEEDS[name]
    assert need.file in ("observations", "neighbors", *TRUE) and isinstance(need.privilege, str)
    assert (need.privilege != "") == (need.file in TRUE), "what goes beyond the data comes from the truth"


def test_slopes_are_the_derivative_of_the_spline_away_from_the_ends(observed):
    data, settings = observed[0], Training(batch=8, substeps=1)
    sources = [Source(data, {}, METHODS["slopes"], settings, 5, 8, torch.device("cpu"), torch.float64)]
    fine = smoothed(sources[0].orbits, refinement=1000)
    interval = float(data["step"]) * data["rate"].to_numpy().reshape(-1, 1, 1, 1)
    expected = torch.from_numpy((fine[:, :, 1001::1000] - fine[:, :, 999:-1000:1000]) / (0.002 * interval))
    (slopes,), batch = gathered(observed, "slopes", [0, 1], torch.arange(395).expand(2, -1))
    assert batch.index.min() == 4 and batch.index.max() == 400 - 1 - 5 - 4
    for e in range(2):
        torch.testing.assert_close(slopes[e, :, 0], expected[e, 0, batch.index[e] - 1], rtol=1e-4, atol=1e-4)


def test_orbits_that_are_trimmed_away_are_refused(observed):
    short = observed[0].isel(time=slice(13))
    with pytest.raises(StudyError, match="have 13 samples, a segment of 5 and 4 at either end take 14: ask for more"):
        gathered((short, {}), "slopes", [0, 1], torch.tensor([[0], [0]]))


def test_directions_are_unit_vectors_everywhere_that_change_with_the_place_in_a_batch(observed):
    (directions,), _ = gathered(observed, "directions", [0, 1], torch.full((2, 2000), 7))
    assert directions.shape == (2, 2000, 2, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, 2000, 2, dtype=torch.float64))
    every = directions.flatten(0, 2)
    assert len(torch.unique(every, dim=0)) == len(every)
    spread = every.T @ every / len(every)
    torch.testing.assert_close(spread, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=0.02)
    assert (every.mean(0).abs() < 0.02).all()


@pytest.mark.parametrize("toward", ["splines", "neighbors", "nothing"])
def test_a_rollout_is_coupled_to_orbits_alone(toward):
    with pytest.raises(ValueError, match=f"toward: '{toward}' is no orbit to be coupled to"):
        Homotopy(toward=toward)
