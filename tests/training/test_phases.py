"""The last steps of a training may have segments of another length: nothing else changes, and nothing is lost."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trainings import METHODS, cell_of, fit, member_of, resumed

from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.study.study import parse
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.loop import Loop
from nearorbit.training.phases import LAST

EXAMPLE = Path(__file__).parents[1] / "example.yaml"
CHEAP = ("baseline", "neighborhood")
SIDES = [name if name in CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


def of(name, **settings):
    return catalogue.build("methods", name, settings)


@pytest.fixture(scope="module")
def data():
    return cell_of(0.05, seeds=2, samples=200)


@pytest.mark.parametrize("method", SIDES)
def test_a_member_equals_its_seed_alone_and_a_killed_training_resumes(data, method, tmp_path, monkeypatch):
    line = of(method, last_segment=4)
    short = {"steps": 20, "validate_every": 3}
    field, _, history, _ = fit(*data, line, **short)
    single, *_ = fit(*member_of(data, 1), line, **short)
    for together, one in zip(field.parameters(), single.parameters(), strict=True):
        assert torch.equal(together[1:], one)
    for kills in (2, 5):  # in the first phase, and in the last
        checkpoint = Checkpoint(tmp_path / f"{kills}.safetensors", "key")
        again, _, told, _ = resumed(partial(fit, *data, line, **short), monkeypatch, checkpoint, checkpoints=kills)
        for whole, part in zip(field.parameters(), again.parameters(), strict=True):
            assert torch.equal(whole, part)
        assert history.equals(told)


def seen(monkeypatch, data, line, **settings):
    """The lengths and the numbers of the segments of all steps, the history of the first member, and the costs."""
    batches, step = [], Loop.step

    def watched(self):
        shape = self.phase.data.gather(self.phase.starts[0]).states.shape
        batches.append((shape[2] - 1, shape[1]))
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "step", watched)
        _, _, history, costs = fit(*data, line, **settings)
    return batches, history[history["seed"] == 0], costs


@pytest.mark.parametrize("every", [1, 4, 5, 100])
def test_the_last_steps_see_as_many_samples_in_segments_of_their_own(data, monkeypatch, every):
    line = of("baseline", segment=5, last_segment=10)
    batches, history, costs = seen(monkeypatch, data, line, steps=20, validate_every=every, batch=12, segment=5)
    turn = round((1 - LAST) * 20)
    assert batches == [(5, 12)] * turn + [(10, 6)] * (20 - turn)
    assert costs["samples_seen"] == 20 * 60
    assert history["step"].tolist() == [*range(0, 20, every), 20]
    assert np.isfinite(history["loss"][1:]).all()


@pytest.mark.parametrize("every", [3, 7, 20])
def test_losses_between_two_validations_are_means_over_both_lengths(data, every):
    line = of("baseline", segment=5, last_segment=10)
    fine, coarse = (
        table[table["seed"] == 0] for table in (fit(*data, line, steps=20, validate_every=n)[2] for n in (1, every))
    )
    each, ends = fine["loss"].to_numpy()[1:], coarse["step"].tolist()
    means = [each[a:b].mean() for a, b in pairwise(ends)]
    np.testing.assert_allclose(coarse["loss"][1:], means, rtol=1e-5)


def test_until_then_it_is_the_training_without(data):
    lines = of("baseline", segment=5), of("baseline", segment=5, last_segment=10)
    plain, grown = (fit(*data, line, steps=20, validate_every=3)[2] for line in lines)
    same = plain["step"] <= int((1 - LAST) * 20)
    for column in ("loss", "validation"):
        assert plain[column][same].equals(grown[column][same])
    assert plain["loss"].iloc[-1] != grown["loss"].iloc[-1]


def test_one_step_is_one_of_the_last(data, monkeypatch):
    batches, *_ = seen(monkeypatch, data, of("baseline", segment=5, last_segment=10), steps=1)
    assert [length for length, _ in batches] == [10]


def test_what_is_mended_is_mended_for_both(data):
    observed, *_ = data
    line, settings = of("baseline", segment=5, last_segment=10), Training(batch=8, substeps=1)
    made = Data(observed, line, settings, device=torch.device("cpu"), dtype=torch.float64)
    states = made.observed("train") + 1, made.observed("validation")
    start = next(made.last.starts([0, 1], [1]))[0]
    before = made.last.gather(start).states
    made.mend(*states)
    after = made.last.gather(start).states
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0] + 1)
    assert torch.equal(after[:, :, 1:], before[:, :, 1:])


def study(**line):
    parse(yaml.safe_load(EXAMPLE.read_text()) | {"methods": {"it": line}}, where="config.yaml").check_catalogues()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"method": "baseline", "last_segment": 0}, "last_segment: segment must be at least 1, not 0"),
        ({"method": "weak_form", "last_segment": 3}, "last_segment: segment must be at least 4 samples, not 3"),
        ({"method": "baseline", "last_segment": 5000}, r"methods\.it\.last_segment: 5000 is too long for the orbits"),
        ({"method": "baseline", "last_segment": 2.5}, "'last_segment' has to be an integer"),
        (
            {"method": "collocation", "last_segment": 4997},
            r"methods\.it\.trim: 4 samples at either end and a segment of",
        ),
    ],
)
def test_a_length_that_cannot_be_is_told_before_anything_runs(line, told):
    with pytest.raises(StudyError, match=told):
        study(**line)


def test_neighbors_are_followed_as_long_as_the_longest_segments():
    config = yaml.safe_load(EXAMPLE.read_text())
    lines = {"it": {"method": "neighborhood", "segment": 5, "last_segment": 9}}
    selection = next(iter(config["neighbors"]))
    assert parse(config | {"methods": lines}, where="config.yaml").ahead(selection) == 9
