from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from lorenz63 import Lorenz, observations, orbits
from trainings import METHODS, cell_of, fit, member_of, resumed

from nearorbit.data.kalman import Levels, _System, smooth
from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import in_system_units
from nearorbit.dynamics.fields import Coordinates, Transformed, TrueField
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.study.study import parse
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.mending import KINDS, Mending
from nearorbit.training.methods.base import own_parameters
from nearorbit.training.smoothing import smoothed

CPU = torch.device("cpu")
EXAMPLE = Path(__file__).parents[1] / "example.yaml"


def of(name, **settings):
    return catalogue.build("methods", name, settings)


def is_free(name):
    """Whether a method knows nothing of the truth at the observed states."""
    needs = catalogue.entries("needs")
    return not any(needs[need].observed for need in of(name).needs)


FREE = [name for name in METHODS if is_free(name)]
CHEAP = ("baseline", "homotopy", "lyapunov")  # the others are slow tests: nothing of theirs is else than of these
SIDES = [name if name in CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in FREE]


@pytest.fixture(scope="module")
def data():
    return cell_of(0.05, seeds=2, samples=200)


@pytest.mark.parametrize("method", [*SIDES, "baseline, errors drawn"])
def test_a_member_equals_its_seed_alone_and_a_killed_training_resumes(data, method, tmp_path, monkeypatch):
    name, _, draws = method.partition(", ")
    line, short = of(name, smoothings=3, draw_errors=bool(draws)), {"steps": 12, "validate_every": 4}
    field, _, _, costs = fit(*data, line, **short)
    single, *_ = fit(*member_of(data, 1), line, **short)
    for together, one in zip(field.parameters(), single.parameters(), strict=True):
        assert torch.equal(together[1:], one)
    assert torch.isfinite(costs["by_seed"]["noise_estimate"]).all()
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    back, *_ = resumed(partial(fit, *data, line, **short), monkeypatch, checkpoint, checkpoints=1)
    for whole, again in zip(field.parameters(), back.parameters(), strict=True):
        assert torch.equal(whole, again)


def truth_of(observed):
    """The true flow of Lorenz' system, in model coordinates of two seeds."""
    coordinates = (torch.from_numpy(observed[name].to_numpy().reshape(2, -1)) for name in ("mean", "scale", "rate"))
    return Transformed(TrueField(Lorenz()), Coordinates(*coordinates))


def mending(noise, *, samples=400, count=3, draws=False):
    """The smoothing of noisy orbits of Lorenz' system by the true flow; with the true states, in model coordinates."""
    observed, true = (observations(level, seeds=2, samples=samples, count=count) for level in (noise, 0.0))
    field = truth_of(observed)
    settings = Training(batch=8, substeps=4)
    data = Data(observed, of("baseline"), settings, {}, device=CPU, dtype=torch.float64)
    states = (true["train"] - observed["mean"]) / observed["scale"]
    smoothing = Mending(field, data, [0, 1], steps=8, rounds=8, draws=draws)
    return smoothing, states.transpose("seed", "orbit", "time", ...).to_numpy()


UNITS = [(1, 1, 1), (1e6, 1e6, 1e6), (1e-6, 1e-6, 1e-6), (1, 1e6, 1e-6)]


@pytest.mark.parametrize("units", UNITS)
def test_in_the_units_of_the_system_smoothing_is_the_same_whatever_they_are(units):
    standard, _ = mending(0.05)
    observed, unit = observations(0.05, seeds=2, samples=400, count=3), xr.DataArray(np.array(units), dims="component")
    names = ("train", "validation", "mean", "scale")
    raw = in_system_units(observed.assign({name: observed[name] * unit for name in names}))
    one = torch.ones(2, 3, dtype=torch.float64)
    field = Transformed(TrueField(Lorenz()), Coordinates(0 * one, one / torch.from_numpy(unit.values), one[:, :1]))
    data = Data(raw, of("baseline"), Training(batch=8, substeps=4), {}, device=CPU, dtype=torch.float64)
    smoothing = Mending(field, data, [0, 1], steps=8, rounds=8)
    for step in range(4):
        for each in (standard, smoothing):
            each.before(step)
    states = smoothing.smoothed("train").numpy() / unit.values
    expected = standard._field.coordinates.undo(standard.smoothed("train")).numpy()
    assert left(states, expected).max() < 1e-6 * expected.std()
    for name, values in standard.found.items():
        torch.testing.assert_close(smoothing.found[name], values, rtol=1e-4, atol=1e-7)


def left(states, true):
    return np.sqrt(((states - true) ** 2).mean((1, 2, 3)))


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_through_the_true_flow_the_noise_is_found_and_less_is_left_than_by_the_spline(noise):
    smoothing, true = mending(noise)
    raw, spline = (left(states["train"], true) for states in (smoothing._observed, smoothing._splines))
    for step in range(8):
        smoothing.before(step)
    found = smoothing.found
    assert (left(smoothing._states["train"].numpy(), true) < 0.5 * spline).all()
    np.testing.assert_allclose(found["noise_estimate"], raw, rtol=0.1)
    assert not found["distrusted"].any()
    assert not found["given_up"].any()


def test_segments_start_at_smoothed_states_and_are_compared_with_observed_ones():
    smoothing, _ = mending(0.05)
    data = smoothing._data
    start = next(data.starts([0, 1], [1]))[0]
    before = data.gather(start)
    assert smoothing.before(4)
    after = data.gather(start)
    assert torch.equal(before.states[:, :, 1:], after.states[:, :, 1:])
    assert not torch.equal(before.start, after.start)
    rows = smoothing._states["train"].flatten(1, 2)
    np.testing.assert_allclose(after.start, rows.gather(1, after.index.unsqueeze(-1).expand(-1, -1, 3)), rtol=1e-12)


@pytest.mark.parametrize(
    "line",
    [of("multiple_shooting"), of("multiple_shooting", partition=True), of("neighborhood", about="orbit", count=8)],
    ids=["joints", "joints of fixed segments", "displacements about the orbit"],
)
def test_what_is_smoothed_is_compared_with_what_is_smoothed(line):
    observed, true = (observations(noise, seeds=2, samples=400) for noise in (0.05, 0.0))
    files = {"neighbors": neighbors(observed, count=8, ahead=5)}
    data = Data(observed, line, Training(batch=32, substeps=4), files, device=CPU, dtype=torch.float64)
    states = [((true[name] - observed["mean"]) / observed["scale"]).transpose("seed", ...).to_numpy() for name in KINDS]
    own = tuple(module.double() for module in own_parameters(line, [0, 1], 400, 3))
    drawn = next(data.starts([0, 1], [1]))[0]

    def penalty(method):
        return method.terms(truth_of(observed), data.gather(drawn), torch.zeros(()), *own)[1]

    noisy = penalty(line)
    data.mend(*states)  # as well as could be
    if hasattr(line, "about"):  # along the true flow the orbit is the rollout
        torch.testing.assert_close(penalty(line), penalty(replace(line, about="rollout")), rtol=1e-3, atol=0)
    else:
        assert (penalty(line) < 1e-6 * noisy).all(), f"{penalty(line).tolist()} of {noisy.tolist()}"


def test_starts_by_a_flow_whose_errors_are_drawn_err_as_the_posterior_says():
    smoothing, _ = mending(0.05, draws=True)
    for step in range(1, 8):
        smoothing.before(step)
    drawn, likely = (smoothing.state[name].numpy() for name in ("drawn_train", "smoothed_train"))
    assert smoothing._data.gather(next(smoothing._data.starts([0, 1], [1]))[0]).states.isfinite().all()
    assert 0 < left(drawn, likely).max() < 0.01  # the true flow errs little
    (chain, *_), levels = smoothing._chains("train"), Levels(np.full(3, 0.05**2), np.full(3, 0.02**2))
    streams = np.random.default_rng(0), np.random.default_rng(1)
    most = smooth(chain, levels)
    added = np.stack([smooth(chain.erring(levels.error, streams[0]), levels) for _ in range(100)]) - most
    noise = np.sqrt(levels.noise) * streams[1].standard_normal((100, *chain.observed.shape))
    carried = np.stack([smooth(replace(chain, observed=chain.observed + each), levels) for each in noise]) - most
    posterior = np.stack([_System(chain, levels).draw(streams[0]) for _ in range(100)]) - most
    for tie in (lambda x: x[:, :, 50:-50] ** 2, lambda x: x[:, :, 50:-51] * x[:, :, 51:-50]):  # of one state, of two
        parts = [tie(each).mean((0, 1, 2)) for each in (added, carried, posterior)]
        np.testing.assert_allclose(parts[0] + parts[1], parts[2], rtol=0.03)
    assert (tie(added).mean((0, 1, 2)) > 0).all()


def test_errors_are_drawn_of_smoothed_orbits_alone():
    with pytest.raises(StudyError, match="draw_errors is of orbits that are smoothed: ask for smoothings"):
        of("baseline", draw_errors=True)


def test_without_noise_states_stay_where_they_are(data):
    observed, *files = cell_of(0.0, seeds=2, samples=200)
    *_, costs = fit(observed, *files, of("baseline", smoothings=5), steps=10)
    assert (costs["by_seed"]["distrusted"] == 1).all()  # a spline knows more than what has hardly been trained


def test_a_flow_that_leaves_the_data_is_not_followed():
    smoothing, _ = mending(0.05)
    truth = smoothing._field

    far = replace(truth.coordinates, rate=truth.coordinates.rate * 50)  # fifty times as fast
    smoothing._field = Transformed(truth.field, far)
    smoothing.before(4)
    states, splines = smoothing._states["train"].numpy(), smoothing._splines["train"]
    np.testing.assert_array_equal(states, splines)
    assert smoothing.found["distrusted"].tolist() == [1, 1]


@dataclass(frozen=True)
class Bursting(TrueField):
    """A flow that leaves beyond so much of the first component, and stays finite."""

    beyond: float

    def __call__(self, x):
        return super().__call__(x.clamp(-99, 99)) + 1e6 * (x[..., :1] - self.beyond).clamp(min=0)


def test_an_orbit_along_which_the_flow_leaves_is_given_up_and_the_others_are_smoothed():
    smoothing, true = mending(0.05)
    coordinates = smoothing._field.coordinates
    farthest = coordinates.undo(smoothing._states["train"])[..., 0].amax(2)
    beyond = float(farthest.max()) - 0.1  # not all orbits get there
    smoothing._field = Transformed(Bursting(Lorenz(), beyond), coordinates)
    for step in range(8):
        smoothing.before(step)
    found, splines = smoothing.found, smoothing._splines["train"]
    kept = (smoothing._states["train"].numpy() == splines).all((2, 3))
    assert 0 < kept.sum() < kept.size and found["given_up"].sum() > 0
    assert not found["distrusted"].any()
    away, spline = ((states - true)[~kept] for states in (smoothing._states["train"].numpy(), splines))
    assert (away**2).mean() < 0.25 * (spline**2).mean()
    np.testing.assert_allclose(found["noise_estimate"], left(smoothing._observed["train"], true), rtol=0.1)


def study(**changes):
    parse(yaml.safe_load(EXAMPLE.read_text()) | changes, where="config.yaml").check_catalogues()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in FREE])
def test_what_is_known_at_the_observed_states_cannot_be_smoothed(method):
    with pytest.raises(StudyError, match=r"methods\.it\.smoothings: it needs '.*', which is known at the observed"):
        study(methods={"it": {"method": method, "smoothings": 3}})


def test_splines_are_not_smoothed_again():
    data = {"noise": 0.05, "orbits": 50, "samples": 500, "samples_per_period": 40, "transient": 50, "smooth": "spline"}
    with pytest.raises(StudyError, match=r"smoothings: the states of data\.it are smoothing splines"):
        study(data={"it": data}, methods={"it": {"method": "baseline", "smoothings": 3}})


def test_the_best_weights_are_sought_anew_after_a_round(data, monkeypatch):
    """What is best from the states before it may be by luck of these."""
    errors = iter(range(1, 100))  # they only rise
    monkeypatch.setattr("nearorbit.training.loop.forecast_error", lambda *_: torch.full((2,), float(next(errors))))
    first, *_ = fit(*data, of("baseline"), steps=12, validate_every=4)
    later, *_ = fit(*data, of("baseline", smoothings=1), steps=12, validate_every=4)
    initial, *_ = fit(*data, of("baseline"), steps=1, learning_rate=0.0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), initial.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(later.parameters(), initial.parameters(), strict=True))


def test_orbits_are_smoothed_through_a_trained_network_and_what_is_left_is_told(tmp_path):
    observed, true = (observations(level, seeds=2, samples=400, count=3) for level in (0.05, 0.0))
    method = of("baseline", smoothings=4)
    size, settings = {"width": 32, "depth": 2}, {"steps": 800, "batch": 256, "segment": 5, "learning_rate": 0.01}
    field, change, *_ = fit(observed, None, None, method, network=size, substeps=2, **settings)
    learned = Transformed(field.double().requires_grad_(False), change.inverse)
    made = smoothed(learned, observed, Training(substeps=2), rounds=3, orbits=true)
    assert (made["noise_left"] < 0.5 * made["noise"]).all(), made
    np.testing.assert_allclose(made["noise_estimate"], made["noise"], rtol=0.2)
    with pytest.raises(StudyError, match="2 networks of 3 components, the observations 1 seeds"):
        smoothed(learned, observed.isel(seed=[0]), Training(substeps=2), rounds=3)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("irregular", [{}, {"missing": 0.2, "jitter": 0.5, "gap": 6.0}], ids=["even", "uneven"])
def test_noise_is_told_in_deviations_of_the_data_whenever_they_were_observed(irregular, raw):
    settings = {"seeds": 2, "samples": 400, "count": 3, **irregular}
    observed, true = observations(0.05, **settings), orbits(**settings)
    field = truth_of(in_system_units(observed) if raw else observed)
    learned = Transformed(field, field.coordinates.inverse)
    made = smoothed(learned, observed, Training(substeps=4), rounds=3, orbits=true)
    np.testing.assert_allclose(made["noise"], 0.05, rtol=0.05)
    np.testing.assert_allclose(made["noise_estimate"], made["noise"], rtol=0.1)
    assert (made["noise_left"] < 0.5 * made["noise"]).all(), made
    assert (made["fingerprint"] != observed["fingerprint"]).all()  # neighbors, say, of the one are not of the other
