"""The contract of all needs; a new file in needs/ is tested as it lands, by a method that takes it."""

import pytest
import torch
from lorenz63 import observations, supervision

from nearorbit.data.neighbors import neighbors
from nearorbit.study import catalogue
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.methods.homotopy import Homotopy
from nearorbit.training.methods.multiple_shooting import MultipleShooting
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.methods.neighborhood_mmd import NeighborhoodMMD

NEEDS = catalogue.entries("needs")
TAKERS = [
    *(catalogue.build("methods", name, {}) for name in catalogue.names("methods")),
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


@pytest.fixture(scope="module")
def observed():
    data = observations(0.02, samples=400, step=0.02)
    table = neighbors(data, count=64, theiler=0.5, ahead=25, behind=3)
    return data, {"neighbors": table, "supervision": supervision(data)}


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
    assert need.file in ("observations", "neighbors", "supervision") and isinstance(need.privilege, str)
    assert need.privilege == "" or need.file == "supervision", "what goes beyond the data comes from the truth"


@pytest.mark.parametrize("toward", ["splines", "neighbors", "nothing"])
def test_a_rollout_is_coupled_to_orbits_alone(toward):
    with pytest.raises(ValueError, match=f"toward: '{toward}' is no orbit to be coupled to"):
        Homotopy(toward=toward)
