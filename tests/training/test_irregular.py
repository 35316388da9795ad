"""Samples that are missing or moved: every method learns from them, or says why not."""

from functools import cache

import numpy as np
import pytest
import torch
from capturable import Capturable
from lorenz63 import Lorenz, moved, observations, supervision
from test_methods import fitted, now, own
from trainings import SIDES, fit

from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics.fields import Coordinates, Transformed, TrueField
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.training.batches import Data, stacked
from nearorbit.training.budget import Training
from nearorbit.training.draws import Draw
from nearorbit.training.loop import Loop, substeps
from nearorbit.training.mending import Mending
from nearorbit.training.methods.baseline import Baseline
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.source import Source

CPU = torch.device("cpu")
IRREGULAR = {"missing": 0.2, "jitter": 0.5, "gap": 6.0}
USABLE = {name: method for name, method in SIDES.items() if not getattr(method, "instrument", 0)}
# Whose last bits depend on the other members at equal intervals, too.
SCATTERED = ("clouds time by time",)
SHORT = [n for n in USABLE if n not in SCATTERED]


@cache
def cell(noise=0.0, *, samples=600, step=0.01, count=1, seeds=2, **irregular):
    observed = observations(noise, samples=samples, step=step, count=count, seeds=seeds, **(irregular or IRREGULAR))
    table = neighbors(observed, count=25, theiler=0.5, ahead=5)
    return observed, table, supervision(observed)


def files(table, truth):
    return {"neighbors": table, "supervision": truth, "propagators": truth}


def data_of(observed, method, table=None, truth=None, **training):
    given = {kind: file for kind, file in files(table, truth).items() if file is not None}
    settings = Training(**{"batch": 64, "substeps": 4, **training})
    return Data(observed, method, settings, given, device=CPU, dtype=torch.float64)


def true_field(observed):
    names = ("mean", "scale", "rate")
    coordinates = Coordinates(*(torch.from_numpy(observed[n].to_numpy().reshape(2, -1)) for n in names))
    return Transformed(TrueField(Lorenz()), coordinates)


def drawn(data, seeds=(0, 1)):
    return data.gather(next(data.starts(seeds, [1]))[0])


@pytest.mark.parametrize("side", USABLE)
def test_the_true_field_on_clean_data_is_nearly_perfect(side):
    method = USABLE[side]
    alone = not hasattr(method, "own")
    samples = 3000 if alone else 600
    observed, *given = cell(samples=samples)
    truth, batch = true_field(observed), drawn(data_of(observed, method, *given, batch=64 if alone else 8))
    at_truth = method.loss(truth, batch, now(0.99), *fitted(method, truth, batch))
    before = method.loss(NeuralField(3, [0, 1]), batch, now(0.99), *own(method, samples))
    # The map over an interval, which autoregression learns, is none of a field, the less the longer the interval.
    share = 5e-2 if side == "autoregressive" else 1e-2
    assert (at_truth.abs() < share * before).all(), f"{at_truth.tolist()} at the truth, {before.tolist()} untrained"


@pytest.mark.parametrize("side", SHORT)
def test_a_member_equals_its_seed_alone_to_the_bit(side):
    observed, table, truth = cell(0.01, samples=400, step=0.03, count=2, missing=0.2, jitter=0.5, gap=5.0)
    method = USABLE[side]
    if getattr(method, "window", 0) > 50:
        method = catalogue.build("methods", side, {"window": 40})
    together, _, history, _ = fit(observed, table, truth, method, steps=4, validate_every=2)
    for e in range(2):
        part = (file.isel(seed=[e]) for file in (observed, table, truth))
        alone, _, rows, _ = fit(*part, method, steps=4, validate_every=2)
        assert all(torch.equal(a[e : e + 1], b) for a, b in zip(together.parameters(), alone.parameters(), strict=True))
        np.testing.assert_array_equal(history[history.seed == e].to_numpy(), rows.to_numpy())
    assert history["skipped"].max() == 0


@pytest.mark.parametrize(
    "side", ["baseline", "autoregressive", "homotopy", "collocation", "teacher_forcing", "jacobian"]
)
@pytest.mark.parametrize("count", [1, 3])
def test_equal_intervals_that_are_given_one_by_one_train_to_the_same_bits(side, count):
    observed = observations(0.01, samples=300, count=count)
    times = observed["step"].item() * np.arange(300)
    given = observed.assign(gap=3 * observed["step"])
    for prefix, name in (("", "train"), ("validation_", "validation")):
        shape = observed[name].shape[:3]
        given[f"{prefix}instants"] = observed[name].dims[:3], np.broadcast_to(times[: shape[2]], shape)
        given[f"{prefix}counts"] = observed[name].dims[:2], np.full(shape[:2], shape[2])
    assert not Clock.of(given).even
    truth = supervision(observed)
    (ours, _, history, _), (theirs, _, rows, _) = (
        fit(of, None, truth, side, steps=6, validate_every=3) for of in (given, observed)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    np.testing.assert_array_equal(history.to_numpy(), rows.to_numpy())


def test_rollouts_go_to_the_times_of_the_samples():
    observed, *_ = cell(samples=600, step=0.03)
    data = data_of(observed, Baseline(), substeps=16)
    batch = drawn(data)
    assert batch.times.shape == (2, 64, 6) and batch.times.diff(dim=-1).std() > 0.1 * batch.interval.mean()
    rate, scale, mean = (observed[name].to_numpy() for name in ("rate", "scale", "mean"))
    starts, times = batch.start.numpy() * scale[:, None] + mean[:, None], batch.times.numpy() / rate[:, None, None]
    expected = np.stack([moved(starts, times[..., k], substeps=100) for k in range(6)], 2)
    rolled = batch.rollout(true_field(observed)).numpy() * scale[:, None, None] + mean[:, None, None]
    np.testing.assert_allclose(rolled, expected, atol=1e-5)
    np.testing.assert_allclose(batch.states.numpy() * scale[:, None, None] + mean[:, None, None], expected, atol=1e-5)
    torch.testing.assert_close(batch.intervals, batch.times.diff(dim=-1))


def test_no_segment_goes_over_a_gap():
    observed, *_ = cell(samples=600, step=0.03, missing=0.4, jitter=0.5)
    data, clock = data_of(observed, Baseline(), batch=2000), Clock.of(observed)
    for batch in (drawn(data), data.validation(), data.training()):
        assert (batch.ticks.diff(dim=-1) <= clock.gaps[0] + 1e-9).all()
        assert batch.ticks.diff(dim=-1).max() > 0.9 * clock.gaps[0]


def test_steps_are_such_that_the_longest_bridge_is_accurate():
    observed, *_ = cell(samples=600, step=0.01, missing=0.2, jitter=0.5, gap=4.0)
    settings = Training(accuracy=1e-4)
    made = substeps(observed, settings)
    assert made > substeps(observations(samples=600, step=0.01), settings)
    batch = drawn(data_of(observed, Baseline(), batch=1000, substeps=made))
    wrong = (batch.step(true_field(observed), batch.start, batch.intervals[..., 0]) - batch.states[..., 1, :]).abs()
    assert wrong.max() < 1e-4 and wrong.max() > 1e-7
    # Without a truth, of a field that is fitted to the data.
    assert substeps(observed.drop_vars("integration_error"), settings) in range(made - 1, made + 2)


def test_neighbors_are_where_they_were_at_the_times_of_the_start():
    observed, table, _ = cell(samples=3000, missing=0.1, jitter=0.5)
    batch = drawn(data_of(observed, Neighborhood(), table))
    rate, scale, mean = (observed[name].to_numpy().reshape(2, 1, 1, -1) for name in ("rate", "scale", "mean"))
    near, times = batch["neighbors"].numpy(), batch.times.numpy()[:, :, None] / rate
    assert near.shape == (2, 64, 25, 6, 3)
    begin, wrong = near[..., 0, :] * scale + mean, []
    for k in range(1, 6):
        later = moved(begin, np.broadcast_to(times[..., k], begin.shape[:-1]))
        wrong.append(abs(near[..., k, :] * scale + mean - later))
    # What splines leave; the attractor's deviation is 8, and it moves by 1.4 in a sample interval.
    assert np.median(wrong) < 1e-3 and np.quantile(wrong, 0.99) < 0.1, np.quantile(wrong, [0.5, 0.99])
    index, clock = batch.index.numpy(), Clock.of(observed)
    last = clock.times[:, 0]
    for e in range(2):
        at = table["index"].to_numpy()[e, index[e]]
        end = last[e, at + clock.ahead[e, 0, at]] - last[e, at]
        assert (end >= (last[e, index[e] + 5] - last[e, index[e]])[:, None]).all()


def test_a_spline_is_read_between_samples_as_scipy_reads_it():
    from scipy.interpolate import CubicHermiteSpline

    observed, *_ = cell(0.02, samples=300, step=0.03)
    source = Source(observed, {}, Baseline(), Training(substeps=1), 5, 8, CPU, torch.float64)
    start, near = torch.tensor([[3, 40, 100]] * 2), torch.tensor([[[20, 60], [7, 90], [1, 150]]] * 2)
    draw = Draw(source.smoothed, start, start, 300, 5, line=source.line)
    found = draw.beside(source.smoothed, near, 5, source.curve)
    for e in range(2):
        times, values, rates = source.clock.times[e, 0], source.smoothed[e].numpy(), source.slopes[e, 0]
        begin, there = start[e].numpy(), near[e].numpy()
        count = source.clock.counts[e, 0]
        spline = CubicHermiteSpline(times[:count], values[:count], rates[:count])
        later = times[begin[:, None] + np.arange(6)] - times[begin][:, None]
        np.testing.assert_allclose(found[e], spline(times[there][..., None] + later[:, None]), atol=1e-9)


def test_smoothing_through_the_true_flow_leaves_less_noise_than_the_spline():
    irregular = {"missing": 0.2, "jitter": 0.5, "gap": 4.0}
    noisy, clean = (observations(level, samples=400, count=3, **irregular) for level in (0.05, 0.0))
    data = data_of(noisy, Baseline(), batch=8)
    mending = Mending(true_field(noisy), data, [0, 1], steps=8, rounds=8)
    true = ((clean["train"] - noisy["mean"]) / noisy["scale"]).transpose("seed", "orbit", "time", ...).to_numpy()
    known = Clock.of(noisy).known
    raw, spline = (
        np.sqrt(((states["train"] - true) ** 2).mean((1, 2, 3), where=known))
        for states in (mending._observed, mending._splines)
    )
    for step in range(8):
        mending.before(step)
    left = np.sqrt(((mending._states["train"].numpy() - true) ** 2).mean((1, 2, 3), where=known))
    assert (left < 0.6 * spline).all(), (left, spline, raw)
    np.testing.assert_allclose(mending.found["noise_estimate"], raw, rtol=0.1)
    assert not mending.found["distrusted"].any()


def test_what_cannot_be_had_is_refused_with_the_way_out():
    few = observations(samples=100, count=2, missing=0.6)
    with pytest.raises(StudyError, match=r"have \d+ samples in a row, a segment of 40 needs 41: .* longer gaps"):
        data_of(few, Baseline(), segment=40)
    with pytest.raises(StudyError, match=r"errors are computed over 24 samples .* a seed has at most \d+ in a row"):
        data_of(few, Baseline(), segment=2)
    with pytest.raises(StudyError, match=r"training\.batch: 'all' are the segments that orbits are cut into"):
        data_of(few, Baseline(), segment=2, horizon=2, batch="all")
    with pytest.raises(StudyError, match="neighbors: states some samples behind are as long before at equal interv"):
        neighbors(few, count=2, theiler=0.5, ahead=2, behind=1)


def test_a_method_that_asks_for_equal_intervals_is_refused_by_its_reason():
    class Differences(Baseline):
        evenly = "differences are those of samples at equal intervals"

    with pytest.raises(StudyError, match="cannot do with them: differences are those of samples at equal intervals"):
        data_of(cell()[0], Differences())


@pytest.mark.slow
@pytest.mark.parametrize("irregular", [{"missing": 0.3, "gap": 5.0}, {"jitter": 0.5}])
def test_a_training_on_irregular_samples_ends_about_where_a_regular_one_does(irregular):
    settings = {"steps": 600, "batch": 64, "validate_every": 100, "network": {"width": 32, "depth": 2}}
    errors = []
    for kind in ({}, irregular):
        observed = observations(0.01, samples=3000, step=0.02, **kind)
        field, coordinates, *_ = fit(observed, None, None, "baseline", **settings)
        learned = Transformed(field.double(), coordinates.inverse)
        states = torch.from_numpy(observations(samples=3000, step=0.02)["validation"].to_numpy()[:, 0, ::7])
        with torch.no_grad():
            errors.append(
                ((learned(states) - torch.from_numpy(Lorenz()(states.numpy()))).norm(dim=-1)).median(1).values
            )
    assert (errors[1] < 1.6 * errors[0]).all(), errors


@pytest.mark.parametrize("side", ["baseline", "homotopy", "neighborhood", "lyapunov", "weak_form", "fixed segments"])
def test_a_step_can_be_captured_as_a_graph(side):
    method = SIDES[side] if side != "lyapunov" else catalogue.build("methods", side, {"window": 40})
    observed, table, truth = cell(0.01, samples=400, step=0.03, count=2, missing=0.2, jitter=0.5, gap=5.0)
    data = data_of(observed, method, table, truth, batch=16, substeps=1)
    field = NeuralField(3, [0, 1], width=16)
    loop = Loop(field, data, method, Training(batch=16, substeps=1, steps=4), [0, 1])
    loop.phase.starts.copy_(next(data.starts([0, 1], [len(loop.phase.starts)])))
    with Capturable():
        loop.step()


def test_cells_that_are_trained_together_are_what_they_are_alone():
    kinds = [{"missing": 0.2, "gap": 5.0}, {"jitter": 0.5}]
    cells = [observations(0.01, samples=300, **kind) for kind in kinds]
    both, *_ = fit(stacked(cells), None, None, "homotopy", substeps=2, steps=4)
    for number, one in enumerate(cells):
        alone, *_ = fit(one, None, None, "homotopy", substeps=2, steps=4)
        mine = slice(2 * number, 2 * number + 2)
        assert all(torch.equal(a[mine], b) for a, b in zip(both.parameters(), alone.parameters(), strict=True))
