"""A study of measured systems, and of states that are seen in part: what is refused before any job."""

import numpy as np
import pandas as pd
import pytest
from test_study import EXAMPLE

from nearorbit.study.catalogue import StudyError
from nearorbit.study.slices import SLICES, runs
from nearorbit.study.study import parse

RAW = {"noise": 0.0, "held_out": 0.2}


def recording(samples, start=0.0):
    times = start + 0.1 * np.arange(samples)
    return pd.DataFrame({"t": times, "angle": np.sin(times), "velocity": np.cos(times)})


def config(folder, *lengths, data=None, **changes):
    table = pd.concat([recording(n).assign(trial=k) for k, n in enumerate(lengths)])
    table.to_csv(folder / "a.csv", index=False)
    line = {"system": "measured", "file": str(folder / "a.csv"), "time": "t", "components": ["angle", "velocity"]}
    line |= {"orbit": "trial"}
    study = {**EXAMPLE, "systems": {"pendulum": line}, "data": {"raw": data or RAW}, "methods": {"baseline": {}}}
    return {**study, **changes}


def complaint(content) -> str:
    with pytest.raises(StudyError) as caught:
        parse(content).check_catalogues()
    return str(caught.value)


def test_a_measured_system_is_a_line_of_a_study(tmp_path, capsys):
    study = parse(config(tmp_path, 500))
    study.check_catalogues()
    assert study.measured == ("pendulum",) and study.fieldless == {("pendulum", "raw")}
    assert "systems.pendulum: 500 samples, at equal intervals of 0.1" in capsys.readouterr().err


def test_what_simulated_systems_need_is_asked_of_them_alone(tmp_path):
    mixed = config(tmp_path, 500)
    mixed["systems"] = {**mixed["systems"], "Lorenz": {}}
    assert "data.raw: missing orbits, samples, transient" in complaint(mixed)
    assert "data.raw.samples: all systems of this study are measured" in complaint(
        config(tmp_path, 500, data={**RAW, "samples": 100})
    )
    assert "data.clean.held_out: no system of this study is measured; leave this out" in complaint(
        {**EXAMPLE, "data": {"clean": {**EXAMPLE["data"]["clean"], "held_out": 0.2}}}
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {},
            "systems.pendulum: system 'measured' lacks file, time, components; it takes file, time, components, orbit",
        ),
        ({"file": "none.csv"}, "systems.pendulum: none.csv: no such file"),
        ({"components": ["angle", "velocty"]}, "no column 'velocty'; did you mean 'velocity'?"),
        ({"components": "angle"}, "'components' has to be a list (each a text), not 'angle'"),
        ({"components": []}, "'components' has to be a list of columns, [angle, velocity], not []"),
        ({"components": ["angle", "t"]}, "the column 't' is named twice"),
        ({"period": -1.0}, "'period' has to be a finite number above 0"),
        (
            {"period": 2000.0},
            "systems.pendulum.period: 2000 is in the unit of the times, of which two samples last 0.2",
        ),
        ({"period": 0.01}, "and the longest recording 39.9; take one between these, or leave it out"),
        ({"orbit": None}, "sort the rows by time, or name the column that tells recordings apart (orbit)"),
    ],
)
def test_a_line_that_is_wrong_is_told_with_its_place(tmp_path, line, message):
    content = config(tmp_path, 400, 100)
    content["systems"]["pendulum"] = {"system": "measured"} | (line and {**content["systems"]["pendulum"], **line})
    assert message in complaint(content)


def test_recordings_too_short_for_a_segment_are_told_by_name_and_number(tmp_path, capsys):
    content = config(tmp_path, 400, 12, 8)
    content["methods"] = {"long": {"method": "baseline", "segment": 20}}
    parse(content).check_catalogues()
    said = capsys.readouterr().err
    assert "methods.long.segment: 20 samples have to follow one without a gap" in said
    assert "have too few in a row: 1 (8), 2 (5); these 2 of 3 are not learned from" in said
    content["methods"]["long"]["segment"] = 300
    assert "methods.long.segment: 300 samples have to follow one" in complaint(content)


def test_validation_too_short_for_the_horizon_is_told(tmp_path):
    content = config(tmp_path, 60, 50)
    table = pd.read_csv(tmp_path / "a.csv")
    table[table.index % 5 > 0].to_csv(tmp_path / "a.csv", index=False)
    content["data"]["raw"] = {**RAW, "gap": 1.5}
    content["training"] = {**content["training"], "segment": 3, "horizon": 25}
    assert "training.horizon: 5 samples have to follow one without a gap, and what validates of systems.pendulum" in (
        complaint(content)
    )


def test_a_component_that_does_not_vary_in_what_is_learned_from_is_told(tmp_path):
    content = config(tmp_path, 400)
    table = pd.read_csv(tmp_path / "a.csv")
    table.loc[:350, "velocity"] = 0.3
    table.to_csv(tmp_path / "a.csv", index=False)
    assert "systems.pendulum, data.raw: component 'velocity' does not vary in what is learned from" in complaint(
        content
    )
    content["data"] = {"raw": {**RAW, "components": ["angle"]}}
    parse(content).check_catalogues()


def test_fewer_rows_than_neighbors_need_are_told(tmp_path):
    content = config(tmp_path, 120, methods={"neighborhood": {"count": 20}})
    content["neighbors"] = {"nearest": {"count": 20, "theiler": 0.5}}
    said = complaint(content)
    assert "neighbors.nearest: 20 neighbors outside a Theiler window of " in said
    assert "a state of systems.pendulum, data.raw, has at most " in said and "(count) or a shorter window" in said
    content["neighbors"]["nearest"]["theiler"] = 0.1
    parse(content).check_catalogues()
    content["neighbors"]["nearest"]["theiler"] = 0.5
    parse({**content, "methods": {"baseline": {}}}).check_catalogues()  # which asks for none


@pytest.mark.parametrize("method", ["jacobian", "lyapunov", "propagator", "random_jacobian"])
def test_methods_that_need_a_truth_are_refused_by_name_with_the_reason(tmp_path, method):
    content = config(tmp_path, 400, methods={method: {}})
    assert f"methods.{method}: it needs '" in complaint(content)
    assert "systems.pendulum is measured: no truth is known; leave out the method, or the system" in complaint(content)
    delayed = {**EXAMPLE["data"]["clean"], "delay": {"dimension": 3, "lag": 4}}
    said = complaint({**EXAMPLE, "data": {"delayed": delayed}, "methods": {method: {}}})
    assert "data.delayed show states in part (components, delay): no true field is known of these" in said


def test_networks_that_build_upon_equations_are_refused(tmp_path):
    content = config(tmp_path, 400, networks={"nearly": {"network": "known"}})
    assert "network nearly builds upon the true equations, and systems.pendulum is measured" in complaint(content)


def test_unequal_recordings_are_not_for_batches_of_all_nor_for_what_looks_behind(tmp_path):
    content = config(tmp_path, 400, 300)
    content["training"] = {**content["training"], "batch": "all"}
    content["neighbors"] = {"nearest": {"count": 5, "theiler": 0.5, "behind": 2}}
    said = complaint(content)
    assert "training.batch: 'all' are the segments" in said and "neighbors.nearest.behind: it is not for" in said


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"components": ["angel"]}, "data.raw.components: systems.pendulum has no 'angel'; did you mean 'angle'?"),
        ({"delay": {"dimension": 2}}, "data.raw.delay: missing lag"),
        (
            {"delay": {"dimension": 2, "lag": "otto"}},
            "data.raw.delay.lag: 'otto' is not a whole number or the text auto",
        ),
        ({"held_out": 1.5}, "1.5"),
        ({"held_out": [7]}, "systems.pendulum, data.raw: held_out: no recording '7'; there are 0"),
        (
            {"delay": {"dimension": 40, "lag": 40}},
            "data.raw.delay: states look 1560 samples back, and what is learned from of systems.pendulum",
        ),
        ({"resample": 1000.0}, "data.raw.resample: all there is to train on of systems.pendulum is one block"),
    ],
)
def test_data_that_are_wrong_are_told_with_their_place(tmp_path, data, message):
    assert message in complaint(config(tmp_path, 400, data={**RAW, **data}))


def test_stages_that_take_a_true_field_do_not_run_without(tmp_path):
    content = config(tmp_path, 400)
    content["systems"] = {**content["systems"], "Lorenz": {}}
    clean = {**EXAMPLE["data"]["clean"], "held_out": 0.2}
    content["data"] = {"clean": clean, "x": {**clean, "delay": {"dimension": 3, "lag": 4}}}
    study = parse(content)
    cells = {"measured": ("pendulum", "clean"), "partial": ("Lorenz", "x"), "whole": ("Lorenz", "clean")}
    stages = {
        name: {s for s, (axes, _) in SLICES.items() if 0 < len(axes) < 3 and runs(study, s, *labels[: len(axes)])}
        for name, labels in cells.items()
    }
    always = {"observe", "estimators", "structure", "score"}
    true = {"exponents", "covariant_vectors", "orbits"}
    assert stages["measured"] == always | {"measure", "cut", "hold_out"}
    assert stages["partial"] == always | true | {"partial_truth"}
    assert stages["whole"] == always | true | {"truth", "supervise", "propagate"}
    assert ["truth" in {c["method"] for c in study.settings("score", system)["cells"]} for system in study.systems] == [
        False,
        True,
    ]


@pytest.mark.parametrize("twin", ["Lorenz", "auto"])
def test_a_twin_shows_as_many_components_as_are_seen_whatever_they_are_called(tmp_path, twin):
    content = config(tmp_path, 500, data={**RAW, "components": ["velocity"], "delay": {"dimension": 3, "lag": 5}})
    content["systems"]["pendulum"]["twin"] = twin
    study = parse(content)
    study.check_catalogues()
    assert study.settings("observe", "pendulum_twin", "raw")["data"]["components"] == 1
