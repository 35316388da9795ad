"""Neighbors that are drawn anew for every batch, and starts that have too few."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from capturable import Capturable
from lorenz63 import observations
from trainings import KilledError, fit, killed_after

from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import StudyError
from nearorbit.training.batches import Data, stacked
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.draws import Draw
from nearorbit.training.loop import Loop
from nearorbit.training.methods.baseline import Baseline
from nearorbit.training.methods.local_jacobian import LocalJacobian
from nearorbit.training.methods.multiple_shooting import MultipleShooting
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.methods.neighborhood_mmd import NeighborhoodMMD

METHODS = [
    Neighborhood(count=6),
    Neighborhood(count=6, residual="norm", weighting="distance"),
    Neighborhood(count=6, displacements="smoothed"),
    Neighborhood(count=6, instrument=1),
    NeighborhoodMMD(count=6),
    NeighborhoodMMD(count=6, order=1, clouds="displacements", follow=7),
]


def ringed(observed, outer=0.5, **settings):
    """A ring so narrow that some starts have too few members."""
    ring = {"selection": "shell", "draw": "batch", "inner": 0.4, "outer": outer, "count": 6, "candidates": 2}
    return neighbors(observed, **ring, theiler=0.5, ahead=7, **{"behind": 3, **settings})


@pytest.fixture(scope="module")
def data():
    observed = observations(0.01, seeds=3)
    return observed, ringed(observed)


def given(data, method, batch=64, dtype=torch.float64):
    settings, files = Training(batch=batch, substeps=1), {"neighbors": data[1]}
    return Data(data[0], method, settings, files, device=torch.device("cpu"), dtype=dtype)


def draw(numbers):
    nothing = torch.zeros(1, 1, 1)
    return Draw(nothing, nothing, nothing, 1, 1, numbers)


def test_neighbors_are_drawn_among_those_that_there_are_each_once_and_as_often():
    numbers = torch.from_numpy(np.random.default_rng(0).integers(0, 2**31, (2, 5000)))
    candidates = torch.arange(100, 120).expand(2, 5000, -1).clone()
    candidates[1, :, 12:] = -1
    drawn = draw(numbers).among(candidates, 6)
    assert drawn.shape == (2, 5000, 6) and all(len(set(row)) == 6 for row in drawn.flatten(0, 1)[::37].tolist())
    for member, there in ((0, 20), (1, 12)):
        counts = torch.bincount(drawn[member].flatten() - 100, minlength=20).double()
        chance = 6 / there
        scatter = (counts[:there] - 5000 * chance) / (5000 * chance * (1 - chance)) ** 0.5
        assert scatter.abs().max() < 4 and counts[there:].sum() == 0, scatter
    # Pairs, too: a start is not told by its first neighbor which the second is.
    together = sum(({100, 101} <= set(row)) for row in drawn[0].tolist()) / 5000
    assert together == pytest.approx(6 * 5 / 20 / 19, abs=0.015)
    few = candidates[1:].clone()
    few[..., 4:] = -1
    assert ((draw(numbers[1:]).among(few, 6) >= 0).sum(-1) == 4).all()


def test_a_draw_follows_from_the_number_of_its_start_alone():
    numbers = torch.tensor([[3, 2**31 - 1, 3, 4]])
    drawn = draw(numbers).among(torch.arange(40).expand(1, 4, -1), 9)
    assert torch.equal(drawn[0, 0], drawn[0, 2]) and not torch.equal(drawn[0, 0], drawn[0, 3])
    assert torch.equal(drawn[:, 1:2], draw(numbers[:, 1:2]).among(torch.arange(40).expand(1, 1, -1), 9))


def test_every_batch_has_neighbors_of_its_own_that_are_members_of_the_ring(data):
    made = given((data[0], ringed(data[0], behind=0)), Neighborhood(count=6))
    first, second = next(made.starts([0, 1, 2], [2]))
    one, other = made.gather(first), made.gather((first & (2**32 - 1)) + (second >> 32 << 32))
    assert torch.equal(one.index, other.index) and torch.equal(one.covered, other.covered)
    assert (one["neighbors"] != other["neighbors"]).flatten(2).any(-1)[one.covered].double().mean() > 0.9
    distance = (one["neighbors"][..., 0, :] - one.start.unsqueeze(-2)).norm(dim=-1)
    assert ((distance[one.covered] >= 0.4) & (distance[one.covered] <= 0.5)).all()
    assert 0.05 < made.masked.mean() < 0.8, made.masked


def test_the_starts_are_those_of_all_methods(data):
    table = neighbors(data[0], count=6, theiler=0.5, ahead=7, behind=3)
    ours, theirs = (given((data[0], t), Neighborhood(count=6)) for t in (data[1], table))
    a, b = (made.gather(next(made.starts([0, 1, 2], [1]))[0]).index for made in (ours, theirs))
    assert torch.equal(a, b)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_terms_of_starts_with_too_few_do_not_count(data, method):
    made = given(data, method)
    batch = made.gather(next(made.starts([0, 1, 2], [1]))[0])
    field = NeuralField(3, [0, 1, 2], width=16)
    penalty = method.loss(field, batch, torch.zeros(())) - Baseline().loss(field, batch, torch.zeros(()))
    for e in range(3):
        rows = batch.covered[e].nonzero().squeeze(-1)
        assert 0 < len(rows) < 64

        def some(x, e=e, rows=rows):
            return x[e : e + 1, rows] if x.dim() > 2 else x[e : e + 1]

        alone = replace(
            batch, times=batch.times[e : e + 1], states=some(batch.states), covered=None,
            given={name: some(value) for name, value in batch.given.items()}, interval=batch.interval[e : e + 1],
        )  # fmt: skip
        expected = method.loss(field[e : e + 1], alone, torch.zeros(())) - Baseline().loss(
            field[e : e + 1], alone, torch.zeros(())
        )
        torch.testing.assert_close(penalty[e : e + 1], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", METHODS[:5:2], ids=str)
def test_where_no_start_has_enough_the_rest_of_the_loss_is_left(data, method):
    made = given(data, method)
    batch = made.gather(next(made.starts([0, 1, 2], [1]))[0])
    field = NeuralField(3, [0, 1, 2], width=16)
    none = replace(batch, covered=torch.zeros_like(batch.covered))
    loss = method.loss(field, none, torch.zeros(()))
    torch.testing.assert_close(loss, Baseline().loss(field, batch, torch.zeros(())))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss.sum(), list(field.parameters())))


@pytest.mark.parametrize("method", METHODS[::4], ids=str)
@pytest.mark.parametrize("anchors", [None, 80])
def test_a_member_of_an_ensemble_draws_what_its_seed_alone_draws_to_the_bit(data, method, anchors, capsys):
    observed, table = data[0], data[1] if anchors is None else ringed(data[0], anchors=anchors)
    together, _, history, costs = fit(observed, table, None, method, steps=12)
    told = capsys.readouterr().err
    assert (
        "starts without enough neighbors, whose terms of neighbors do not count: " in told
        and 0 < costs["by_seed"]["masked"].mean() < 1
    )
    for e in range(2):
        alone, _, own, _ = fit(observed.isel(seed=[e]), table.isel(seed=[e]), None, method, steps=12)
        assert all(torch.equal(a[e : e + 1], b) for a, b in zip(together.parameters(), alone.parameters(), strict=True))
        pd.testing.assert_frame_equal(history[history.seed == e].reset_index(drop=True), own, check_exact=True)


def test_a_training_that_was_killed_draws_on_to_the_same_bits(data, tmp_path, monkeypatch, capsys):
    method = NeighborhoodMMD(count=6, order=1)
    field, *_ = fit(*data, None, method, steps=25)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=0)
        fit(*data, None, method, steps=25, checkpoint=checkpoint)
    resumed, *_ = fit(*data, None, method, steps=25, checkpoint=checkpoint)
    assert "resumed at step 10" in capsys.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("method", METHODS[1::3], ids=str)
def test_a_step_that_draws_can_be_captured(data, method):
    settings = Training(steps=10, batch=16, validate_every=5, substeps=1)
    loop = Loop(
        NeuralField(3, range(3), width=16).float(), given(data, method, 16, torch.float32), method, settings, range(3)
    )
    with Capturable():
        loop.step()


def test_what_is_made_once_refuses_neighbors_that_are_not(data):
    with pytest.raises(StudyError, match="fits are made once, and neighbors of a ring are drawn anew"):
        given(data, LocalJacobian(count=6))


def test_more_neighbors_than_the_selection_draws_are_refused(data):
    with pytest.raises(StudyError, match="the table has 6 neighbors, the method asks for 7"):
        given(data, Neighborhood(count=7))
    with pytest.raises(StudyError, match="7 samples follow those of the table, the method asks for 8"):
        given(data, NeighborhoodMMD(count=6, follow=8))


def test_a_ring_and_a_shell_are_no_cells_of_one_training(data):
    shell = neighbors(data[0], count=12, selection="shell", theiler=0.5, ahead=7, behind=3)
    with pytest.raises(StudyError, match="'draw': 'once'"):
        stacked([data[1], shell])


def test_one_step_takes_every_fixed_segment_of_every_orbit():
    observed = observations(0.01, count=2, samples=31)
    made = Data(
        observed,
        MultipleShooting(partition=True),
        Training(batch=16, substeps=1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    first, second = next(made.starts([0, 1], [2]))
    assert torch.equal(first, second) and made.batch == 12
    assert made.gather(first).index[1].tolist() == [0, 5, 10, 15, 20, 25, 31, 36, 41, 46, 51, 56]
