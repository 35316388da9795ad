import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from capturable import Capturable
from lorenz63 import Lorenz, observations, supervision
from safetensors.torch import load_file
from trainings import EVEN, METHODS, SIDES, KilledError, cell_of, files_of, fit, killed_after, member_of, resumed

from nearorbit.__main__ import main
from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.models import make
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import write
from nearorbit.training.batches import Data, stacked
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.devices import captured
from nearorbit.training.loop import Loop, train
from nearorbit.training.methods.base import inputs

INPUTS = ("observations", "neighbors")


@pytest.fixture(scope="module")
def data():
    return cell_of()


# A place in an ensemble, another for every method; the slow ones are all, and longer.
PLACES = [("baseline", 60, range(3)), *((method, 24, [number % 3]) for number, method in enumerate(METHODS))]
LONG = [("baseline", 300, range(3)), *((method, 60, range(3)) for method in METHODS)]
PLACES += [pytest.param(*of, marks=pytest.mark.slow) for of in LONG]


@pytest.mark.parametrize(("method", "steps", "places"), PLACES)
def test_a_member_of_an_ensemble_equals_its_seed_trained_alone_to_the_bit(data, method, steps, places):
    network = {"width": 32, "depth": 3}
    together, _, history, _ = fit(*data, method, network=network, steps=steps)
    for e in places:
        alone, _, own, _ = fit(*member_of(data, e), method, network=network, steps=steps)
        for a, b in zip(together.parameters(), alone.parameters(), strict=True):
            assert torch.equal(a[e : e + 1], b), f"member {e} differs by up to {(a[e] - b[0]).abs().max():.1e}"
        pd.testing.assert_frame_equal(history[history.seed == e].reset_index(drop=True), own, check_exact=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_resumes_to_the_same_bits(data, method, tmp_path, monkeypatch, capsys):
    short = {"steps": 18, "validate_every": 4}
    field, _, history, _ = fit(*data, method, **short)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    back, _, again, _ = resumed(partial(fit, *data, method, **short), monkeypatch, checkpoint, checkpoints=2)
    assert "resumed at step 12" in capsys.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), back.parameters(), strict=True))
    pd.testing.assert_frame_equal(history, again, check_exact=True)


@pytest.mark.parametrize("damage", ["foreign", "torn", "empty"])
def test_a_checkpoint_that_does_not_fit_is_refused_and_the_training_starts_afresh(
    data, damage, tmp_path, monkeypatch, capsys
):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=1)
        fit(*data, checkpoint=checkpoint)
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes({"foreign": content, "torn": content[: len(content) // 2], "empty": b""}[damage])
    if damage == "foreign":
        checkpoint = Checkpoint(checkpoint.path, "another key")
    refused, *_ = fit(*data, checkpoint=checkpoint)
    fresh, *_ = fit(*data)
    assert "starts afresh" in (said := capsys.readouterr().err) and str(checkpoint.path) in said
    assert all(torch.equal(a, b) for a, b in zip(refused.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize(
    "method", [m if m in ("baseline", "neighborhood") else pytest.param(m, marks=pytest.mark.slow) for m in METHODS]
)
def test_cells_of_equal_shape_train_together_as_they_would_apart(data, method):
    second = cell_of(0.05)
    together, coordinates, *_ = fit(*(stacked(pair) for pair in zip(data, second, strict=True)), method)
    for cell, members in ((data, slice(0, 3)), (second, slice(3, 6))):
        apart, own, *_ = fit(*cell, method)
        for a, b in zip(together[members].parameters(), apart.parameters(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(coordinates[members].mean, own.mean)


def test_cells_of_different_shapes_are_refused():
    with pytest.raises(StudyError, match="number 2 has"):
        stacked([observations(samples=600), observations(samples=500)])
    observed = observations()
    continued = observed.assign(continuation=observed["train"][:, :, :9].rename(time="continuation_time"))
    assert stacked([observed, continued]).identical(stacked([observed, observed]))  # what follows is not learned from
    with pytest.raises(StudyError, match="'behind': 2"):
        stacked([neighbors(observed, count=5, theiler=0.5, ahead=5, behind=behind) for behind in (0, 2)])
    with pytest.raises(StudyError, match="'anchors': 40"):
        stacked([anchored(observed), anchored(observed, None)])
    assert stacked([anchored(observed), anchored(observed)]).sizes == {"seed": 4, "point": 40, "neighbor": 25}


@pytest.mark.parametrize("method", METHODS)
def test_recomputing_changes_no_bit(data, method):
    kept, again = (fit(*data, method, steps=10, substeps=2, recompute=r)[0] for r in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), again.parameters(), strict=True))


def test_training_twice_gives_the_same_bits(data):
    first, second = (fit(*data)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_training_learns(data):
    _, _, history, _ = fit(*data, steps=300, validate_every=100)
    validation = history.pivot(index="step", columns="seed", values="validation")
    assert (validation.loc[300] < 0.5 * validation.loc[0]).all(), validation


def test_the_history_has_a_row_for_each_seed_and_validation(data):
    _, _, history, costs = fit(*data, steps=25)
    assert list(history.columns) == ["seed", "step", "loss", "validation", "skipped"]
    assert history.groupby("seed")["step"].apply(list).tolist() == [[0, 10, 20, 25]] * 3
    assert costs["samples_seen"] == 25 * 16 * 5 and costs["given"] == "data"


@pytest.mark.parametrize("method", [name for name in METHODS if hasattr(catalogue.build("methods", name, {}), "own")])
def test_a_method_with_parameters_of_its_own_trains_a_network_of_any_kind(data, method):
    training, network = {"steps": 20, "batch": 16, "device": "cpu"}, {"network": "known", "width": 16}
    built, files = catalogue.build("methods", method, {}), files_of(*data[1:])
    _, _, histories, _ = train(data[0], built, network=network, training=training, files=files, equations=Lorenz())
    for history in histories:
        assert history["validation"].iloc[-1] < history["validation"].iloc[0], history


def test_all_methods_see_as_many_samples(data):
    seen = {m: fit(*data, m, steps=2)[3]["samples_seen"] for m in METHODS}
    assert max(seen.values()) <= 1.25 * min(seen.values()), seen


def test_the_best_weights_on_validation_are_kept_or_the_last(data):
    # With a rate that is far too high the validation error gets worse again.
    settings = {"steps": 40, "validate_every": 5, "learning_rate": 0.3}
    best, _, history, _ = fit(*data, keep="best", **settings)
    last, _, other, _ = fit(*data, keep="last", **settings)
    pd.testing.assert_frame_equal(history, other)
    validation = history.pivot(index="step", columns="seed", values="validation")
    rose = (validation.idxmin() < 40).to_numpy()
    assert rose.any()
    same = np.array([torch.equal(best.weights[0][e], last.weights[0][e]) for e in range(3)])
    np.testing.assert_array_equal(same, ~rose)


def test_a_member_whose_loss_is_not_finite_is_counted_and_leaves_the_others_alone(data):
    observed, table, truth = data
    broken = observed.copy(deep=True)
    broken["train"][1] = np.nan
    field, _, history, _ = fit(broken, table, truth)
    healthy, *_ = fit(*data)
    assert history[history.seed == 1]["skipped"].max() == 30
    assert history[history.seed != 1]["skipped"].max() == 0
    assert all(p.isfinite().all() for p in field.parameters())
    for a, b in zip(field.parameters(), healthy.parameters(), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def test_a_table_of_neighbors_of_other_data_is_refused(data):
    observed, table, truth = data
    others = neighbors(observations(0.02, seeds=3), count=25, theiler=0.5, ahead=5)  # of the same shape
    with pytest.raises(StudyError, match="neighbors: the file is of other data"):
        fit(observed, others, truth, "neighborhood")
    with pytest.raises(StudyError, match="supervision: the file is of other data"):
        fit(observed, table, truth.isel(seed=[1, 0, 2]), "jacobian")


def test_a_missing_file_is_named(data):
    with pytest.raises(StudyError, match="give it with --supervision"):
        fit(data[0], None, None, "jacobian")


def test_segments_start_where_their_states_have_neighbors(data):
    observed, _, truth = data
    table = neighbors(observed, count=25, theiler=0.5, ahead=40, behind=30)
    method = catalogue.build("methods", "neighborhood", {})
    settings, files = Training(batch=512, substeps=1), files_of(table, truth)
    given = Data(observed, method, settings, files, device=torch.device("cpu"), dtype=torch.float32)
    index = given.gather(next(given.starts([0, 1, 2], [1]))[0]).index
    assert index.min() == 30 and index.max() == given.samples - 1 - 40
    assert max(seed.bincount().max() for seed in index) < 8, "starts are heaped on some states"


def anchored(observed, anchors=40):
    return neighbors(observed, count=25, theiler=0.5, ahead=5, behind=3, anchors=anchors)


@pytest.mark.parametrize("side", [side for side, method in SIDES.items() if "neighbors" in inputs(method)])
def test_with_anchors_segments_start_at_them_and_have_what_they_have_among_all_states(data, side):
    observed, table, truth = data
    few, settings = anchored(observed), Training(batch=64, substeps=1)
    some, every = (
        Data(observed, SIDES[side], settings, files_of(t, truth), device=torch.device("cpu"), dtype=torch.float32)
        for t in (few, table)
    )
    drawn = some.gather(next(some.starts([0, 1, 2], [1]))[0])
    full = every.gather(torch.arange(every.samples - every.segment).expand(3, -1))
    for e in range(3):
        assert set(drawn.index[e].tolist()) <= set(few["anchor"][e].to_numpy().tolist())
        at = torch.searchsorted(full.index[e].contiguous(), drawn.index[e].contiguous())
        assert torch.equal(drawn.states[e], full.states[e, at])
        for name, value in drawn.given.items():
            expected = full[name][e] if name == "noise" else full[name][e, at]
            assert value[e].isfinite().all() and torch.equal(value[e], expected), name
    assert min(len(torch.unique(seed)) for seed in drawn.index) > 25


def test_with_anchors_a_member_of_an_ensemble_equals_its_seed_trained_alone_to_the_bit(data):
    observed, _, truth = data
    together, _, history, _ = fit(observed, anchored(observed), truth, "neighborhood")
    for e in range(3):
        part, own = observed.isel(seed=[e]), truth.isel(seed=[e])
        alone, _, rows, _ = fit(part, anchored(part), own, "neighborhood")
        assert all(torch.equal(a[e : e + 1], b) for a, b in zip(together.parameters(), alone.parameters(), strict=True))
        pd.testing.assert_frame_equal(history[history.seed == e].reset_index(drop=True), rows, check_exact=True)


def test_who_needs_no_neighbors_draws_from_all_states_with_anchors_too(data):
    observed, table, truth = data
    ours, theirs = (fit(observed, t, truth)[0] for t in (anchored(observed), table))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_windows_begin_all_over_an_orbit_hardly_longer_than_they_are():
    observed = observations(0.01, count=4, samples=100)
    method = catalogue.build("methods", "lyapunov", {"window": 80, "share": 100.0})
    settings, truth = Training(batch=256, substeps=1), supervision(observed)
    given = Data(observed, method, settings, files_of(None, truth), device=torch.device("cpu"), dtype=torch.float32)
    windows, ticks = given.gather(next(given.starts([0, 1], [1]))[0])["windows"]
    assert windows.shape == (2, 256, 81, 3) and torch.equal(ticks, torch.arange(81.0).expand(2, 1, -1))
    firsts = torch.unique(windows[0, :, 0], dim=0)
    assert len(firsts) > 0.9 * 4 * (100 - 80), f"{len(firsts)} beginnings of 80"


def test_orbits_shorter_than_a_segment_are_refused(data):
    with pytest.raises(StudyError, match="a segment of 700 needs 701"):
        fit(*data, segment=700)


def test_the_door_trains_several_cells_and_resumes(data, tmp_path, monkeypatch, capsys):
    cells = {}
    for cell, observed in (("a", data[0]), ("b", observations(0.05, seeds=3))):
        found = neighbors(observed, count=25, theiler=0.5, ahead=5)
        for kind, file in (("observations", observed), ("neighbors", found)):
            write(file, tmp_path / f"{cell}.{kind}.nc", kind=kind)
        cells[cell] = observed
    network, training = {"width": 16, "depth": 2}, {"steps": 30, "batch": 16, "validate_every": 10, "device": "cpu"}
    settings = {
        "label": "n",
        "system": {},
        "method": {"method": "neighborhood"},
        "network": network,
        "training": training,
    }
    checkpoint = tmp_path / "checkpoints" / "n.safetensors"

    def command(*cells, **changed):
        files = {"model": "safetensors", "history": "csv", "costs": "csv"}
        options = [f"--{kind} {' '.join(str(tmp_path / f'{c}.{kind}.nc') for c in cells)}" for kind in INPUTS]
        options += [f"--{k} {' '.join(str(tmp_path / f'{c}.{k}.{end}') for c in cells)}" for k, end in files.items()]
        text = json.dumps(settings | changed)
        return ["train", "--settings", text, "--checkpoint", str(checkpoint), *" ".join(options).split()]

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=1)
        main(command("a", "b"))
    assert checkpoint.exists() and not (tmp_path / "a.model.safetensors").exists()
    assert main(command("a", "b")) == 0
    assert "resumed at step 20" in capsys.readouterr().err and not checkpoint.exists()
    assert set(pd.read_csv(tmp_path / "b.history.csv")["seed"]) == {0, 1, 2}
    assert (tmp_path / "a.model.safetensors").stat().st_mode == (tmp_path / "a.history.csv").stat().st_mode
    together = load_file(tmp_path / "b.model.safetensors")
    assert main(command("b")) == 0
    for name, tensor in load_file(tmp_path / "b.model.safetensors").items():
        assert torch.equal(tensor, together[name])
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=1)
        main(command("a"))
    assert main(command("a", method={"method": "neighborhood", "weight": 0.02})) == 0
    assert "other settings, sources or data" in capsys.readouterr().err


def test_the_door_refuses_lists_that_do_not_match(tmp_path, capsys):
    options = ["--observations", "a.nc", "b.nc", "--model", f"{tmp_path}/m", "--history", f"{tmp_path}/h",
               "--costs", f"{tmp_path}/c"]  # fmt: skip
    settings = json.dumps({"label": "baseline", "system": {}, "method": {}, "network": {}, "training": {}})
    assert main(["train", "--settings", settings, *options]) == 2
    assert "train: --model has 1 files, --observations 2" in capsys.readouterr().err


def test_a_graph_that_cannot_be_captured_is_the_function_itself():
    def function():
        pass

    assert captured(function, {"weights": torch.zeros(1)}) is function


def ask_nothing(method, field, observed, *given):
    settings = Training(steps=10, batch=16, validate_every=5, substeps=1)
    data = Data(observed, method, settings, files_of(*given), device=torch.device("cpu"), dtype=torch.float32)
    loop = Loop(field.float(), data, method, settings, range(3))
    with Capturable():
        loop.step()
        loop.validate()


@pytest.mark.parametrize("side", SIDES)
def test_a_step_asks_no_tensor_for_its_value(data, side):
    ask_nothing(SIDES[side], NeuralField(3, range(3), width=32), *data)


@pytest.mark.parametrize("network", catalogue.names("networks"))
@pytest.mark.parametrize("method", ["baseline", "neighborhood"])
def test_nor_does_it_with_any_network(data, method, network):
    observed, *given = (
        file.isel(component=slice(2)) if network in EVEN and "component" in file.dims else file for file in data
    )
    change = Coordinates(*(torch.from_numpy(observed[n].to_numpy().reshape(3, -1)) for n in ("mean", "scale", "rate")))
    field = make({"network": network}, ["x", "y", "z"][: observed.sizes["component"]], range(3), change, Lorenz())
    ask_nothing(catalogue.build("methods", method, {}), field, observed, *given)
