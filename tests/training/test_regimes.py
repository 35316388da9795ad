"""Trainings as others make them: other optimizers, coordinates, batches, lengths, and rules for what is kept."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from capturable import Capturable
from lorenz63 import Lorenz, observations, supervision
from safetensors import safe_open
from trainings import METHODS, cell_of, files_of, member_of, resumed
from trainings import fit as trained

from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import in_system_units
from nearorbit.dynamics.fields import TrueField, jacobian
from nearorbit.dynamics.models import load, save
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.loop import Loop, forecast_error
from nearorbit.training.methods.base import segment

CPU = torch.device("cpu")
COUNTS = {"neighborhood": {"count": 5}, "multiple_shooting": {}}
NETWORK = {"width": 8, "depth": 1}
KO = {"optimizer": "adamw", "rate": "constant", "clip": "none", "coordinates": "raw", "keep": "training"}
REGIMES = {
    "Ko's": ("multiple_shooting", {**KO, "batch": "all", "learning_rate": 1e-3}),
    "of the question": ("neighborhood", {"optimizer": "adabelief", "rate": "constant", "keep": "training"}),
}


def line(method, **settings):
    return catalogue.build("methods", method, settings)


def fit(*given, **settings):
    """Train, quickly."""
    return trained(*given, network=NETWORK, **{"batch": 4, "substeps": 1, "steps": 8, "validate_every": 2, **settings})


@pytest.fixture(scope="module")
def data():
    return cell_of(samples=120, count=5)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("join", ["sum", "config"])
def test_a_member_of_an_ensemble_equals_its_seed_alone_and_a_killed_training_resumes(
    data, regime, join, tmp_path, monkeypatch
):
    name, settings = REGIMES[regime]
    method = line(name, join=join, **COUNTS[name])
    together, _, history, _ = fit(*data, method, **settings)
    alone, _, own, _ = fit(*member_of(data, 1), method, **settings)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    back, _, again, _ = resumed(partial(fit, *data, method, **settings), monkeypatch, checkpoint, checkpoints=2)
    for a, b, c in zip(*(f.parameters() for f in (together, alone, back)), strict=True):
        assert torch.equal(a[1:2], b) and torch.equal(a, c)
    pd.testing.assert_frame_equal(history[history.seed == 1].reset_index(drop=True), own, check_exact=True)
    pd.testing.assert_frame_equal(history, again, check_exact=True)
    assert (history["skipped"] == 0).all()


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_asks_no_tensor_for_its_value(data, regime):
    name, settings = REGIMES[regime]
    method, settings = line(name, **COUNTS[name]), Training(steps=4, substeps=1, **{"batch": 4, **settings})
    observed = in_system_units(data[0]) if settings.coordinates == "raw" else data[0]
    given = Data(observed, method, settings, files_of(*data[1:]), device=CPU, dtype=torch.float32)
    loop = Loop(NeuralField(3, range(3), width=8).float(), given, method, settings, range(3))
    with Capturable():
        loop.step()
        loop.validate()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("optimizer", "adamw"),
        ("optimizer", "adabelief"),
        ("rate", "constant"),
        ("clip", "none"),
        ("coordinates", "raw"),
    ],
)
def test_every_setting_makes_another_network(data, setting, value):
    usual, other = (fit(*data, steps=4, **settings)[0] for settings in ({}, {setting: value}))
    assert not torch.equal(usual.weights[0], other.weights[0])


def test_joining_otherwise_makes_another_network(data):
    usual, other = (fit(*data, line("jacobian", join=join), steps=4)[0] for join in ("sum", "config"))
    assert not torch.equal(usual.weights[0], other.weights[0])


def test_a_penalty_of_weight_zero_joins_to_the_baseline(data):
    joined, _, history, _ = fit(*data, line("jacobian", join="config", weight=0.0), steps=4)
    plain, _, other, _ = fit(*data, steps=4)
    torch.testing.assert_close(joined.weights[0], plain.weights[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.tensor(history["loss"]), torch.tensor(other["loss"]), equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_segments_of_a_length_of_its_own_and_sees_as_many_samples(method):
    settings, shape = Training(batch=64, segment=5), {"orbits": 1, "samples": 600}
    least = {"flow_direction": 2, "weak_form": 4}.get(method, 1)  # samples that their penalties take
    for length in (least, 4, 20):
        assert (found := segment(line(method, segment=length), settings.segment)) == length
        assert settings.segments(found, **shape) * length == 320
    assert segment(line(method), 5) == {"homotopy": 25, "teacher_forcing": 25, "weak_form": 10}.get(method, 5)


def test_segments_of_a_length_of_its_own_are_trained_on(data):
    own, _, history, costs = fit(*data, line("baseline", segment=10))
    study, _, expected, _ = fit(*data, "baseline", segment=10, batch=2)
    assert costs["samples_seen"] == 8 * 2 * 10
    assert torch.equal(own.weights[0], study.weights[0])
    pd.testing.assert_frame_equal(history, expected)


def test_neighbors_that_are_not_followed_for_a_segment_are_refused(data):
    with pytest.raises(StudyError, match="5 samples follow those of the table, the method asks for 6"):
        fit(*data, line("neighborhood", segment=6, count=5))


def gathered(observed, method, dtype=torch.float64, **settings):
    data = Data(observed, method, Training(substeps=1, **settings), {}, device=CPU, dtype=dtype)
    seeds = [int(seed) for seed in observed["seed"]]
    return data, next(data.starts(seeds, [3]))


def test_a_batch_may_hold_all_segments_into_which_the_orbits_are_cut():
    observed = observations(count=2, samples=33)
    data, starts = gathered(observed, line("multiple_shooting", segment=5), batch="all", segment=30)
    assert data.batch == 12 and starts.shape == (3, 2, 12)
    batch = data.gather(starts[0])
    assert (batch.index == torch.tensor([*range(0, 30, 5), *range(33, 63, 5)])).all() and (
        starts[1:] == starts[0]
    ).all()
    assert torch.equal(batch.states[:, :5, -1], batch.states[:, 1:6, 0])


def test_one_rollout_over_an_orbit_is_a_batch_of_one_and_of_all():
    cell = observations(samples=31), None, None
    one, all_ = (fit(*cell, segment=30, batch=batch, steps=2, keep="last")[0] for batch in (1, "all"))
    assert torch.equal(one.weights[0], all_.weights[0])
    _, starts = gathered(cell[0], line("baseline"), batch=1, segment=30)
    assert starts.shape == (3, 2, 1) and (starts == 0).all()


def test_a_batch_of_all_has_every_start_that_a_need_restricts_them_to(data):
    anchored = neighbors(data[0], count=5, theiler=0.5, ahead=5, anchors=40)
    settings, method = Training(batch="all", substeps=1), line("neighborhood", count=5)
    made = Data(data[0], method, settings, files_of(anchored, None), device=CPU, dtype=torch.float64)
    batch = made.gather(next(made.starts([0, 1, 2], [2]))[1])
    assert made.batch == 40 and torch.equal(batch.index, torch.from_numpy(anchored["anchor"].to_numpy()))


def test_windows_of_a_batch_of_all_come_from_all_of_the_data():
    observed = observations(count=4, samples=100)
    settings = Training(batch="all", segment=5, substeps=1)
    files = files_of(None, supervision(observed))
    data = Data(observed, line("lyapunov", window=20), settings, files, device=CPU, dtype=torch.float64)
    windows, _ = data.gather(next(data.starts([0, 1], [1]))[0])["windows"]
    firsts = torch.cdist(windows[0, :, 0], data._states[0]).argmin(-1)
    assert set((firsts // 100).tolist()) == {0, 1, 2, 3}


def test_the_training_error_of_the_baseline_is_its_loss(data):
    _, _, history, _ = fit(*data, batch="all", keep="training", steps=6, validate_every=1)
    assert list(history.columns) == ["seed", "step", "loss", "validation", "training", "skipped"]
    for _, rows in history.groupby("seed"):
        np.testing.assert_allclose(rows["loss"].to_numpy()[1:], rows["training"].to_numpy()[:-1], rtol=1e-5)


@pytest.mark.parametrize(
    "method", [line("homotopy", segment=20), line("jacobian"), line("multiple_shooting", segment=2)]
)
def test_the_training_error_is_that_of_plain_rollouts_whatever_the_method(data, method):
    settings = {"steps": 2, "keep": "training", "validate_every": 1}
    at_first = [fit(*data, m, **settings)[2].query("step == 0")["training"].to_numpy() for m in (method, "baseline")]
    np.testing.assert_array_equal(*at_first)


def test_the_weights_of_the_least_training_error_are_kept(data):
    settings = {"rate": "constant", "learning_rate": 0.3, "steps": 20}  # far too high: it gets worse again
    observed = data[0].isel(validation_time=slice(None, None, -1))  # against time: no field is right for both
    kept, _, history, _ = fit(observed, None, None, keep="training", **settings)
    least, other = (history.pivot(index="step", columns="seed", values=name) for name in ("training", "validation"))
    assert (least.idxmin() != other.idxmin()).any() and (least.idxmin() < 20).any(), (least, other)
    made, _ = gathered(data[0], line("baseline"), dtype=torch.float32)
    np.testing.assert_allclose(forecast_error(kept, made.training()).numpy(), least.min().to_numpy(), rtol=1e-5)


@pytest.mark.parametrize(("length", "count"), [(2, 200), (100, 11)])
def test_many_segments_are_thinned_evenly_and_few_are_all(length, count):
    states = np.linspace(0, 1, 1197)[None, None, :, None] * [1.0, 2.0, 3.0]
    observed = observations(samples=20, seeds=1).isel(time=[0] * 1197)
    observed["train"] = observed["train"].dims, states
    made, _ = gathered(observed, line("baseline"), segment=length)
    found = made.training().states
    assert found.shape == (1, count, length + 1, 3)
    apart = found[0, :, 0, 0].diff()
    torch.testing.assert_close(apart, apart[:1].expand_as(apart))


def test_raw_coordinates_are_system_units_and_system_time():
    observed = observations(samples=300)
    truth, raw = supervision(observed), in_system_units(observed)
    settings, method = Training(batch=8, substeps=4), line("jacobian")
    data = Data(raw, method, settings, files_of(None, truth), device=CPU, dtype=torch.float64)
    batch = data.gather(next(data.starts([0, 1], [1]))[0])
    field = TrueField(Lorenz())
    torch.testing.assert_close(batch["jacobians"], jacobian(field, batch.start))
    torch.testing.assert_close(batch.interval, torch.full_like(batch.interval, float(observed["step"])))
    torch.testing.assert_close(batch.rollout(field), batch.states, rtol=0, atol=1e-3)
    assert (method.loss(field, batch, torch.zeros(())) < 1e-6).all()


def test_a_raw_model_is_a_field_in_system_units_as_it_is(data, tmp_path):
    field, coordinates, history, _ = fit(*data, coordinates="raw", precision="float64")
    save(path := tmp_path / "model.safetensors", field, coordinates, network=NETWORK,
         components=["x", "y", "z"])  # fmt: skip
    with safe_open(path, framework="pt") as file:
        values = {name: file.get_tensor(f"coordinates.{name}") for name in ("mean", "scale", "rate")}
    assert (values["mean"] == 0).all() and (values["scale"] == 1).all() and (values["rate"] == 1).all()
    x = torch.tensor([[1.0, 2.0, 20.0]], dtype=torch.float64).expand(3, 1, 3)
    torch.testing.assert_close(load(path)(x), field(x))
    # Errors are in system units: those of a state at rest are about the variance of the data, some 60.
    assert history["validation"].min() > 5


def test_a_raw_network_that_overflows_is_counted_and_told(data, capsys):
    observed = data[0].copy(deep=True)
    for name in ("train", "validation"):
        observed[name] *= 1e25
    field, _, history, _ = fit(observed, None, None, coordinates="raw")
    assert (history.groupby("seed")["skipped"].max() == 8).all()
    assert all(p.isfinite().all() for p in field.parameters())
    said = capsys.readouterr().err
    assert "skipped of 8 steps, since their gradients were not finite: 8 of seed 0, 8 of seed 1, 8 of seed 2" in said


def test_nothing_is_told_where_nothing_was_skipped(data, capsys):
    fit(*data, steps=3)
    assert "skipped" not in capsys.readouterr().err
