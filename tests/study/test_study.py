"""A study is checked whole before anything runs, and each stage sees its slice of it."""

import ast
import copy
import inspect
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nearorbit.__main__ import main, stages
from nearorbit.evaluation.scores import COLLECTORS
from nearorbit.study.catalogue import StudyError, build, misfits, names
from nearorbit.study.digest import digests as digests_of
from nearorbit.study.digest import imports, looked_up, members, source, whole
from nearorbit.study.files import table
from nearorbit.study.places import LABELLED, RESULTS, paths, reserved
from nearorbit.study.schema import read
from nearorbit.study.slices import SLICES, runs
from nearorbit.study.study import load, parse

REPOSITORY = Path(__file__).parents[2]
FILES = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "workflow/studies").glob("*.yaml"))]
TEXT = (REPOSITORY / "tests/example.yaml").read_text()
EXAMPLE = yaml.safe_load(TEXT)
WHOLE = ("collect_truth", "collect", "tables", "figures")  # stages of the whole study
CELL = {
    "system": "Lorenz",
    "data": "noisy",
    "neighbors": "nearest",
    "method": "jacobian",
}


def changed(path: str, value):
    """The example with one value changed, or removed where the value is ``None``."""
    config = copy.deepcopy(EXAMPLE)
    *sections, key = path.split("|")
    section = config
    for name in sections:
        section = section[name]
    section[key] = value
    if value is None:
        del section[key]
    return config


def complaint(config) -> str:
    with pytest.raises(StudyError) as caught:
        parse(config, where="config.yaml").check_catalogues()
    return str(caught.value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_study_in_the_repository_is_sound(file):
    study = load(file)
    study.check_catalogues()
    assert study.study == (file.stem if file != FILES[0] else "quick")


def test_the_paper_study_is_as_large_as_it_says():
    study = load(REPOSITORY / "workflow/studies/paper.yaml")
    assert (len(study.systems), len(study.data), study.seeds) == (12, 3, 5)
    assert set(study.data["transients"].items()) >= {("orbits", 500), ("transient", 0)}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seeds", 0, "config.yaml: seeds: 0 is less than the minimum of 1"),
        ("seeds", 3.0, "config.yaml: seeds: expected a whole number, not 3.0"),
        ("seeds", True, "config.yaml: seeds: expected a whole number, not True"),
        ("systems", {}, "config.yaml: systems: at least one is needed"),
        ("methods", {}, "config.yaml: methods: at least one is needed"),
        ("networks", None, "config.yaml: missing networks"),
        ("systems|Lorentz", {}, "config.yaml: systems.Lorentz: no system 'Lorentz'; did you mean 'Lorenz'?"),
        ("systems|Lorenz96_N5|sise", 5, "system 'lorenz96' has no setting 'sise'; did you mean 'size'?"),
        ("systems|../x", {}, "config.yaml: systems: '../x' is not a plain name"),
        ("systems|a\n", {}, "is not a plain name"),
        ("study", "../quick", "config.yaml: study: '../quick' is not a plain name"),
        ("data|clean|noise", -0.1, "config.yaml: data.clean.noise: -0.1 is less than the minimum of 0"),
        ("data|clean|noise", math.nan, "config.yaml: data.clean.noise: expected a finite number, not nan"),
        ("data|clean|sampels", 9, "config.yaml: data.clean: no setting 'sampels'; did you mean 'samples'?"),
        ("data|clean|spacing", 0.1, "config.yaml: data.clean: give one of samples_per_period and spacing"),
        ("data|clean|samples_per_lyapunov_time", 50, "config.yaml: data.clean: give one of samples_per_period and sp"),
        ("data|clean|start", [1.0, 2.0], "data.clean.start: 2 numbers, but systems.Lorenz has 3 components, x, y, z;"),
        ("data|clean|start", 1.0, "config.yaml: data.clean.start: expected a list, not 1.0"),
        ("data|clean|start", [1.0, "a", 3.0], "data.clean.start.1: expected a finite number, not 'a'"),
        ("data|clean|start", [1.0, math.nan, 3.0], "data.clean.start.1: expected a finite number, not nan"),
        ("data|many", {**EXAMPLE["data"]["clean"], "orbits": 2, "start": [1.0] * 3}, "data.many.start: all 2 orbits"),
        ("data|few", {**EXAMPLE["data"]["clean"], "samples": 24, "smooth": "spline"}, "data.few.smooth: a spline nee"),
        ("data|clean|smooth", "kalman", "config.yaml: data.clean.smooth: expected one of spline, not 'kalman'"),
        ("data|clean|smooth", True, "config.yaml: data.clean.smooth: expected one of spline, not True"),
        ("data|clean|noise_in", "volts", "data.clean.noise_in: expected one of deviations, means, units, not 'volts'"),
        ("data|clean|shared", "yes", "config.yaml: data.clean.shared: expected true or false, not 'yes'"),
        ("data|clean|noiseless_start", 1, "data.clean.noiseless_start: expected true or false, not 1"),
        ("data|clean|missing", 1.0, "data.clean.missing: 1.0 is greater than or equal to the maximum of 1"),
        ("data|clean|missing", -0.1, "config.yaml: data.clean.missing: -0.1 is less than the minimum of 0"),
        ("data|clean|jitter", 1.5, "config.yaml: data.clean.jitter: 1.5 is greater than the maximum of 1"),
        ("data|clean|gap", 3.0, "data.clean.gap: no sample is missing or moved (missing, jitter), and there is no gap"),
        ("data|few", {**EXAMPLE["data"]["clean"], "jitter": 0.8, "gap": 1.5}, "data.few.gap: 1.5 sample intervals are"),
        ("data|few", {**EXAMPLE["data"]["clean"], "samples": 99, "missing": 0.9}, "training.segment: 5 is too long"),
        ("data|few", {**EXAMPLE["data"]["clean"], "samples": 500, "missing": 0.6}, "training.horizon: 25 is too"),
        ("evaluation|beyond", 0, "config.yaml: evaluation.beyond: 0 is less than the minimum of 1"),
        ("methods|homotopy|segment", 5000, "methods.homotopy.segment: 5000 is too long for the orbits of data.clean"),
        ("methods|sobolev", {}, "config.yaml: methods.sobolev: no method 'sobolev'"),
        ("methods|jacobian|wieght", 1, "'jacobian' has no setting 'wieght'; did you mean 'weight'?"),
        ("methods|jacobian|weight", math.inf, "methods.jacobian.weight: expected a finite number, not inf"),
        ("methods|jacobian|weight", -1.0, "methods.jacobian: method 'jacobian': weight must not be negative"),
        ("methods|neighborhood|count", 2.5, "method 'neighborhood': 'count' has to be an integer, not 2.5"),
        ("methods|jacobian|weight", "much", "method 'jacobian': 'weight' has to be a finite number, not 'much'"),
        ("methods|neighborhood|count", 26, "methods.neighborhood.count: 26 is more than neighbors.nearest.count, 25"),
        ("methods|neighborhood|neighbors", "nearst", "neighbors: no selection 'nearst'; did you mean 'nearest'?"),
        ("methods|neighborhood|instrument", 2, "raise neighbors.nearest.behind or lower this"),
        ("methods|neighborhood_mmd", {"count": 1}, "one neighbor is no cloud whose size widths could be relative to"),
        ("methods|neighborhood|residual", "cubed", "residual is one of squared, norm, huber, not 'cubed'"),
        ("methods|lyapunov", {"window": 5000}, "methods.lyapunov.window: 5000 is too long for the orbits of data.cl"),
        ("methods|collocation", {"trim": 2498}, "collocation.trim: 2498 samples at either end and a segment of 5"),
        ("methods|jacobian|smoothings", 3, "smoothings: it needs 'jacobians', which is known at the observed states"),
        ("methods|baseline", {"smoothings": -1}, "smoothings, a number of rounds, must not be negative, as -1 is"),
        ("methods|collocation", {"trim": -1}, "'collocation': trim must not be negative, as -1 is"),
        ("methods|weak_form", {"segment": 3}, "'weak_form': segment must be at least 4 samples, not 3"),
        ("methods|weak_form", {"orders": [1, 4]}, "'weak_form': orders is a list of whole numbers from 2 on"),
        ("methods|weak_form", {"orders": 4}, "'weak_form': 'orders' has to be a list (each an integer), not 4"),
        ("methods|weak_form", {"orders": []}, "'weak_form': orders is a list of whole numbers from 2 on"),
        ("methods|weak_form", {"orders": [2, True]}, "'orders' has to be a list (each an integer), not [2, True]"),
        ("methods|flow_direction", {"segment": 1}, "'flow_direction': segment must be at least 2 samples, not 1"),
        ("methods|propagator", {"over": "orbit"}, "'propagator': over is one of segment, sample, not 'orbit'"),
        ("methods|jacobian|directions", -1, "'jacobian': directions must not be negative, as -1 is"),
        ("methods|multiple_shooting", {"segment": 0}, "'multiple_shooting': segment must be at least 1, not 0"),
        ("methods|neighbors", {"method": "baseline"}, "methods.neighbors: 'neighbors' is the name of a file or folder"),
        ("training|device", "foo", "training.device: 'foo' is not one of auto, cpu, cuda and cuda:1"),
        ("training|device", "cuda:", "training.device: 'cuda:' is not one of auto, cpu, cuda and cuda:1"),
        ("training|device", "CPU", "training.device: 'CPU' is not one of auto, cpu, cuda and cuda:1"),
        ("training|device", False, "training.device: expected a text, not False; YAML reads this as no text unless"),
        ("training|substeps", "many", "training.substeps: 'many' is not a whole number or the text auto"),
        ("training|substeps", 0, "training.substeps: 0 is less than the minimum of 1"),
        ("training|substeps", 1.5, "training.substeps: expected a whole number or a text, not 1.5"),
        ("training|substeps", True, "training.substeps: expected a whole number or a text, not True"),
        ("training|accuracy", 0, "training.accuracy: 0 is less than the minimum of"),
        ("training|optimizer", "sgd", "training.optimizer: expected one of adam, adamw, adabelief, not 'sgd'"),
        ("training|decay", 0.1, "training.decay: adam has no use for it: leave it out, or take training.op"),
        ("training|rate", "cosine", "training.rate: expected one of one_cycle, constant, not 'cosine'"),
        ("training|clip", "no", "training.clip: 'no' is not a finite number or the text none"),
        ("training|clip", 0, "training.clip: 0 is less than or equal to the minimum of 0"),
        ("training|clip", False, "training.clip: expected a finite number or a text, not False"),
        ("training|coordinates", "system", "training.coordinates: expected one of standardized, raw, not 'system'"),
        ("training|keep", "first", "training.keep: expected one of best, training, last, not 'first'"),
        ("training|batch", "every", "training.batch: 'every' is not a whole number or the text all"),
        ("training|batch", 0, "training.batch: 0 is less than the minimum of 1"),
        ("methods|baseline", {"segment": 5000}, "methods.baseline.segment: 5000 is too long for the orbits of data.cl"),
        ("methods|baseline", {"segment": 0}, "method 'baseline': segment must be at least 1, not 0"),
        ("methods|baseline", {"segment": 2.5}, "method 'baseline': 'segment' has to be an integer or nothing, not 2.5"),
        ("methods|baseline", {"join": "config"}, "method 'baseline' has no setting 'join'; it takes segment"),
        ("methods|jacobian|join", "mean", "method 'jacobian': join is one of sum, config, not 'mean'"),
        ("methods|neighborhood|segment", 4999, "nearest.count: 25 is too many for data.clean: 1 states begin a seg"),
        ("networks|mlp|activation", False, "network 'mlp': 'activation' has to be a text, not False; YAML reads"),
        ("methods|baseline", {"network": "polynomal"}, "methods.baseline.network: no network 'polynomal'; did"),
        ("methods|baseline", {"network": 3}, "methods.baseline.network: expected a text, not 3; YAML reads this as"),
        ("study", 0.02, "study: expected a text, not 0.02; YAML reads this as no text unless it is in quotes"),
        ("systems|Lorenz|system", False, "YAML reads this as no text unless it is in quotes (python -m nearorbit"),
        ("methods|neighborhood|residual", False, "'residual' has to be a text, not False; YAML reads this as no text"),
        ("systems|Chua", {}, "methods.jacobian: it needs the true Jacobian (jacobians), and systems.Chua has none"),
        ("tables|jacobian_eror", {}, "tables.jacobian_eror: no table 'jacobian_eror'; did you mean 'jacobian_error'?"),
        ("tables|comparison", {"reference": "base"}, "tables.comparison.reference: no method 'base'; did you"),
        ("tables|comparison", {"reference_data": "cleen"}, "comparison.reference_data: no data 'cleen'; did you"),
        ("tables|signed_rank", {"method": "jacobean"}, "signed_rank.method: no method 'jacobean'; did you mean"),
        ("tables|signed_rank", {"without": ["Lorentz"]}, "tables.signed_rank.without: no system 'Lorentz'; did you"),
        ("tables|signed_rank", {"reference_data": "x"}, "tables.signed_rank.reference_data: no data 'x'; the study"),
        ("tables|published", {"sources": ["Park"]}, "tables.published: table 'published': no source 'Park'"),
        ("figures|overview", {"reference": "x"}, "figures.overview.reference: no method 'x'; the study has baseline"),
        ("training|segment", 5000, "config.yaml: training.segment: 5000 is too long for the orbits of data.clean"),
        ("training|learning_rate", "1e-3", "training.learning_rate: expected a finite number, not '1e-3'; write 0.001"),
        ("neighbors|nearest|count", 5000, "config.yaml: neighbors.nearest.count: 5000 is too many for data.clean"),
        ("neighbors|nearest|theiler", 63, "neighbors.nearest.count: 25 is too many for data.clean: 4995 states begin"),
        ("neighbors|nearest|behind", 4995, "neighbors.nearest.behind: no state has 4995 samples behind and the 5 of a"),
        ("neighbors|nearest|candidates", 9, "neighbors.nearest: selection 'nearest' has no use for candidates"),
        ("neighbors|nearest|selection", "shel", "neighbors.nearest: no selection 'shel'; did you mean 'shell'?"),
        ("neighbors|nearest|inner", 0.1, "neighbors.nearest: selection 'nearest' has no use for inner (0.1)"),
        ("neighbors|nearest|anchors", 4996, "nearest.anchors: 4996 are more than the 4995 states of data.clean"),
        ("neighbors|nearest|anchors", 0, "neighbors.nearest.anchors: 0 is less than the minimum of 1"),
        ("neighbors|nearest|anchors", 2.5, "neighbors.nearest.anchors: expected a whole number, not 2.5"),
        ("neighbors|nearest|inside", 0.1, "neighbors.nearest: no setting 'inside'"),
        ("neighbors|shell", {"count": 9, "theiler": 1, "selection": "shell", "inner": 2, "outer": 1}, "inner (2)"),
        ("neighbors|nearest|draw", "daily", "neighbors.nearest.draw: expected one of once, batch, not 'daily'"),
        ("neighbors|nearest|draw", "batch", "neighbors.nearest: draw 'batch' is from a ring: take selection 'shell'"),
        ("neighbors|nearest|one_per_pass", 1, "neighbors.nearest.one_per_pass: expected true or false, not 1"),
        ("methods|neighborhood_mmd", {"follow": 5000}, "methods.neighborhood_mmd.follow: 5000 is too long for the orb"),
        ("methods|neighborhood_mmd", {"widths": ["a"]}, "'widths' has to be a list (each a finite number), not ['a']"),
        ("methods|neighborhood_mmd", {"widths": [0.2, 0]}, "widths has to be a list of positive numbers, as [0.2, "),
        ("methods|invariant_measure", {"widths": []}, "'invariant_measure': widths has to be a list of positive num"),
        ("methods|jacobian|weight", 10**400, "methods.jacobian.weight: expected a finite number, not 1000"),
        ("study", math.inf, "config.yaml: study: expected a text, not inf; YAML reads this as no text unless"),
        ("networks|hamiltonian", {"pairs": [1]}, "has to be a list (each a list (each a text)) or nothing, not [1]"),
        ("networks|guess", {"network": "known", "parameters": 2}, "'parameters' has to be a section of `name: value`"),
        ("figures|critical_difference", {"methods": 2}, "'methods' has to be a list (each a text) or nothing, not 2"),
        ("figures|forecasts", {"methods": "baseline"}, "'methods' has to be a list (each a text), not 'baseline'"),
        ("figures|forecasts", {"component": 3}, "figures.forecasts.component: 3 has to be one of the 3 of this study"),
        ("figures|forecasts", {"seed": -1}, "figures.forecasts.seed: -1 has to be one of the 3 of this study, from 0"),
        ("figures|forecasts", {"start": 50}, "figures.forecasts.start: 50 has to be one of the 50 of this study"),
        ("figures|unseen", {"horizon": 0}, "config.yaml: figures.unseen.horizon: 0 has to be positive"),
        ("tables|signed_rank", {"without": "Lorenz"}, "'without' has to be a list (each a text), not 'Lorenz'"),
        ("tables|published", {"sources": "Park 2024"}, "'sources' has to be a list (each a text) or nothing, not"),
        ("tables|verdict", {"fits": 1}, "table 'verdict': 'fits' has to be a list (each a text), not 1"),
        ("tables|verdict", {"exponents": 0}, "exponents, a number of them, must be at least 1, not 0"),
        ("methods|homotopy|per", "sistem", "per is one of model, system, not 'sistem'; did you mean 'system'?"),
        ("methods|homotopy|penalty", 0.0, "method 'homotopy': penalty must be positive, and finite, as 0.0 is not"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_the_way_out(path, value, message):
    assert message in complaint(changed(path, value))


def test_a_method_may_name_a_network_of_the_catalogue_that_has_no_line():
    study = parse(changed("methods|cubic", {"method": "baseline", "network": "polynomial"}))
    assert study.settings("train", "Lorenz", "clean", "cubic")["network"] == {"network": "polynomial"}
    study.check_catalogues()
    assert study.networks_of["baseline"] == "mlp"


@pytest.mark.parametrize("axis", ["study", "system", "data", "method"])
def test_a_label_is_no_name_of_a_file_or_folder_beside_it(axis):
    names = RESULTS[axis][1]
    for name in {*names, *(f"{Path(name).stem}.log" for name in names)}:
        config = copy.deepcopy(EXAMPLE)
        if axis == "study":
            config["study"] = name
        else:
            section = next(section for section, kind in LABELLED.items() if kind == axis)
            config[section][name] = next(iter(config[section].values()))
        assert f"'{name}' is the name of a file or folder of results" in complaint(config)


def test_the_table_of_results_has_all_that_the_workflow_writes():
    text = "".join(file.read_text() for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")))
    found = re.findall(r"results/([\w{}./]+)", re.sub(r"\{+\w+\.(\w+)\}+", r"{\1}", text))
    paths = [tuple(path.replace("{{", "{").replace("}}", "}").replace("{name}", "scores").split("/")) for path in found]
    paths += [(path[0], *path[2:]) for path in paths if path[1:2] == ("logs",)]
    labels = ("{study}", "{system}", "{data}", "{method}")
    for axis, label in zip(("study", "system", "data", "method", ""), (*labels, ""), strict=True):
        above = labels[: labels.index(label)] if label else labels
        beside = {path[len(above)] for path in paths if path[: len(above)] == above and len(path) > len(above)}
        known = reserved(axis) if axis else {*RESULTS[""][1], "training.log", "forecast.log", "unseen.log"}
        assert beside <= {*known, label}, f"{sorted(beside - known)} beside the labels of {axis}"
    assert set(RESULTS["system"][1]) >= {f"{name}.csv" for name in COLLECTORS}


def with_fields(**names):
    return EXAMPLE | {"fields": {label: {"field": name} for label, name in names.items()}}


def test_a_field_that_is_brought_is_judged_and_not_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    study = parse(with_fields(mine="mine.py:{system}_{data}", installed="module:f"))
    study.check_catalogues()
    assert study.brought("mine", "Lorenz", "noisy") == "mine.py:Lorenz_noisy"
    labels = ["Lorenz", "clean", "mine"]
    for stage in ("forecast", "unseen"):
        assert study.settings(stage, *labels) == parse(EXAMPLE).settings(stage, *labels[:2], "baseline")
    cells = study.settings("score", "Lorenz")["cells"]
    assert [cell["method"] for cell in cells[:7]] == ["truth", *EXAMPLE["methods"], "mine", "installed"]
    with pytest.raises(StudyError, match="methods: no 'mine'"):
        study.settings("train", *labels)
    assert parse(study.content).fields == study.fields
    read = paths(Path("r"), study, {"forecast.nc", "history.csv", "unseen.nc"})
    assert {Path(f"r/Lorenz/clean/mine/{name}.nc") for name in ("forecast", "unseen")} <= {*read}
    assert Path("r/Lorenz/clean/truth/unseen.nc") not in read and Path("r/Lorenz/clean/mine/history.csv") not in read
    table = {"comparison": {"reference": "mine"}}
    parse(with_fields(mine="mine.py:f") | {"tables": table}).check_catalogues()


def test_a_study_without_fields_gives_its_jobs_what_it_did():
    assert "fields" not in parse(EXAMPLE).settings("tables")["study"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"baseline": "m:f"}, "fields.baseline: a method has this label, too; take another"),
        ({"truth": "m:f"}, "fields.truth: 'truth' is the name of a file or folder of results"),
        ({"../x": "m:f"}, "'../x' is not a plain name"),
        ({"mine": 3}, "fields.mine.field: expected a text, not 3"),
        ({"mine": "nowhere.py:f"}, "fields.mine: nowhere.py: no such file"),
        ({"mine": "models/{system}-{data}.pt"}, "fields.mine: models/Rossler-noisy.pt: no such file"),
    ],
)
def test_a_field_that_cannot_be_brought_is_told_with_its_place(names, message):
    assert message in complaint(with_fields(**names))


PLAIN = "study: s\nsystems:\n  Lorenz: {}\nmethods:\n  a: {method: baseline}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN + "study: t\n", "lines 1 and 6: 'study' stands there twice, and only the last would count"),
        (PLAIN.replace("methods", "  Lorenz: {rho: 32}\nmethods"), "lines 3 and 4: 'Lorenz' stands there twice"),
        (PLAIN.replace("methods", "  'Lorenz': {rho: 32}\nmethods"), "lines 3 and 4: 'Lorenz' stands there twice"),
        (PLAIN.replace("{method: baseline}", "{weight: 1, weight: 2}"), "lines 5 and 5: 'weight' stands there twice"),
        (PLAIN + "tables: [{a: 1}, {b: [{c: 1, c: 1}]}]\n", "lines 6 and 6: 'c' stands there twice"),
        ('{"study": "s", "seeds": 1,\n"study": "t"}', "lines 1 and 2: 'study' stands there twice"),
        (PLAIN.replace("Lorenz", "no"), "line 3: YAML reads 'no' as a truth value, False: put it in quotes, '\"no\"'"),
        (PLAIN.replace("Lorenz", "on"), "line 3: YAML reads 'on' as a truth value, True: put it in quotes"),
        (PLAIN.replace("  a:", "  0.02:"), "line 5: YAML reads '0.02' as a number, 0.02: put it in quotes"),
        (PLAIN.replace("  a:", "  007:"), "line 5: YAML reads '007' as a number, 7: put it in quotes"),
        (PLAIN.replace("  a:", "  1.0e+3:"), "line 5: YAML reads '1.0e+3' as a number, 1000.0: put it in quotes"),
        (PLAIN.replace("  a:", "  12:30:"), "line 5: YAML reads '12:30' as a number, 750: put it in quotes"),
        (PLAIN.replace("  a:", "  .nan:"), "line 5: YAML reads '.nan' as a number, nan: put it in quotes"),
        (PLAIN.replace("  a:", "  2024-01-01:"), "line 5: YAML reads '2024-01-01' as a date, 2024-01-01: put it in"),
        (PLAIN.replace("  a:", "  ~:"), "line 5: YAML reads '~' as nothing, None: put it in quotes"),
        (PLAIN.replace("{method: baseline}", "{yes: 1}"), "line 5: YAML reads 'yes' as a truth value, True: put it in"),
    ],
)
def test_a_key_that_counts_twice_or_is_no_text_is_refused_with_its_line(tmp_path, text, message):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {message}"), caught.value


@pytest.mark.parametrize("label", ["no", "0.02", "2024-01-01", "1e3", "NA", "null", "true"])
def test_a_label_in_quotes_stays_what_it_is(tmp_path, label):
    text = TEXT.replace("\n  Rossler: {}\n", f'\n  "{label}": {{system: Rossler}}\n')
    (tmp_path / "study.yaml").write_text(text)
    study = load(tmp_path / "study.yaml")
    assert study.systems[label] == {"system": "Rossler"}
    pd.DataFrame([{"system": label, "value": 1.0}]).to_csv(tmp_path / "scores.csv", index=False)
    assert list(table(tmp_path / "scores.csv")["system"]) == [label]


def test_equal_keys_of_different_lines_are_not_mistaken(tmp_path):
    (tmp_path / "study.yaml").write_text("a: &a {x: 1}\nb: {x: 2}\nc: [*a, *a]\nd: {<<: *a, x: 3}\n")
    assert read(tmp_path / "study.yaml").startswith("a:")


def test_an_instrument_needs_neighbors_that_no_spline_has_chosen():
    config = changed("methods|neighborhood|instrument", 1)
    config["neighbors"]["nearest"] |= {"behind": 2, "smoothed": True}
    assert "methods.neighborhood.instrument: neighbors.nearest are chosen among smoothing splines" in complaint(config)


def test_an_instrument_needs_states_that_nothing_has_smoothed():
    config = changed("methods|neighborhood|instrument", 1)
    config["neighbors"]["nearest"] |= {"behind": 2}
    config["data"]["noisy"]["smooth"] = "spline"
    assert "methods.neighborhood.instrument: the states of data.noisy are smoothing splines" in complaint(config)
    del config["data"]["noisy"]["smooth"]
    config["methods"]["neighborhood"]["smoothings"] = 2
    assert "methods.neighborhood.instrument: smoothings make states" in complaint(config)


RING = {"count": 25, "theiler": 0.5, "selection": "shell", "draw": "batch", "inner": 0.6, "outer": 0.8}


def test_fits_are_not_made_to_neighbors_that_are_drawn_anew():
    config = changed("methods|local_jacobian", {"neighbors": "ring"})
    config["neighbors"]["ring"] = RING
    assert "methods.local_jacobian.neighbors: neighbors.ring is a ring: fits are made once" in complaint(config)


def test_neighbors_are_followed_for_as_long_as_any_method_of_their_selection_asks():
    config = changed("neighbors|ring", RING)
    lines = {"a": {"neighbors": "ring", "follow": 9}, "b": {"neighbors": "ring", "follow": 7}, "c": {"follow": 3}}
    config["methods"] |= {label: {"method": "neighborhood_mmd", **line} for label, line in lines.items()}
    study = parse(config)
    ahead = {name: study.settings("neighbors", "Lorenz", "clean", name)["ahead"] for name in ("ring", "nearest")}
    assert ahead == {"ring": 9, "nearest": 5}


@dataclass
class Demanding:
    """A method that asks for what nobody brings."""

    needs: set
    neighbors: str = "nearest"


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"neighbours"}, "methods.x: nothing brings 'neighbours', which it needs; did you mean 'neighbors'?"),
        ({"neighbors"}, "methods.x: it needs 'neighbors', and has no setting 'count' to make it by"),
        ({"windows"}, "methods.x: it needs 'windows', and has no setting 'share' to make it by"),
    ],
)
def test_a_need_that_nothing_brings_is_told(needs, message):
    assert any(message in misfit for misfit in misfits("methods", parse(EXAMPLE), "methods.x", Demanding(needs)))


def test_a_system_with_kinks_has_no_propagators():
    config = changed("methods|propagator", {})
    config["systems"]["Chua"] = {}
    assert "methods.propagator: it needs the true Jacobian (propagators), and systems.Chua has" in complaint(config)


@pytest.mark.parametrize(("batch", "segment"), [(1, 5), (64, 320), ("all", 3000)])
def test_a_mean_over_windows_needs_two_of_them(batch, segment):
    config = changed("methods|lyapunov", {"segment": segment})
    config["training"]["batch"] = batch
    assert "methods.lyapunov: it needs two windows or more in a step; raise training.batch" in complaint(config)


def test_neighbors_are_followed_for_the_longest_segment_of_the_methods_that_use_them():
    def ahead(**segments):
        config = changed("neighbors|other", {"count": 25, "theiler": 0.5})
        config["methods"] |= {"second": {"method": "neighborhood"}, "third": {"method": "neighborhood_mmd"}}
        config["methods"]["third"]["neighbors"] = "other"
        for label, segment in segments.items():
            config["methods"][label]["segment"] = segment
        study = parse(config)
        study.check_catalogues()
        return tuple(study.settings("neighbors", "Lorenz", "clean", name)["ahead"] for name in ("nearest", "other"))

    assert ahead() == ahead(homotopy=50, baseline=9) == (5, 5)
    assert ahead(neighborhood=9) == (9, 5)
    assert ahead(neighborhood=1, third=2) == (5, 2)
    assert ahead(neighborhood=1, second=3) == (3, 5)


def test_a_batch_of_all_segments_begins_at_no_anchors():
    config = changed("neighbors|nearest|anchors", 100)
    config["training"]["batch"] = "all"
    assert "neighbors.nearest.anchors: segments begin at them, and with training.batch 'all' elsewhere" in complaint(
        config
    )


def test_all_mistakes_are_told_at_once():
    config = changed("seeds", 0)
    config["data"]["clean"]["noise"] = -1
    config["sytems"] = config.pop("systems")
    assert len(complaint(config).splitlines()) == 4  # a misspelt section is also a missing one


def test_a_file_that_is_no_study_is_refused_by_name(tmp_path):
    for text, message in {"a: [1": "not a YAML file", "- 1": "a section of", "": "a section of"}.items():
        file = tmp_path / "study.yaml"
        file.write_text(text)
        with pytest.raises(StudyError, match=message) as caught:
            load(file)
        assert str(file) in str(caught.value)
    with pytest.raises(StudyError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_a_bare_line_names_its_entry():
    study = parse(EXAMPLE)
    assert study.systems["Lorenz"] == {"system": "Lorenz"}
    assert study.systems["Lorenz96_N5"]["system"] == "lorenz96"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_study_can_be_handed_on_as_content(file):
    study = load(file)
    assert parse(json.loads(json.dumps(study.content)), where=study.where) == study


ASKED = {"estimate", "partial", "report", "record", "models", "redraw"}  # of the whole study; no job depends on them
FIELDLESS = {"measure", "cut", "partial_truth", "hold_out", "twin"}  # they run where there is no true field


def slices(config) -> dict[str, str]:
    study = parse(config)
    return {
        stage: json.dumps(study.settings(stage, *(CELL[axis] for axis in axes)), allow_nan=False)
        for stage, (axes, _) in SLICES.items()
        if stage not in FIELDLESS | ASKED
    }


def test_a_slice_has_the_settings_that_its_stage_takes():
    study, functions = parse(EXAMPLE), stages()
    assert list(functions) == list(SLICES)
    for stage, (axes, _) in SLICES.items():
        parameters = inspect.signature(functions[stage]).parameters.values()
        expected = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
        assert set(study.settings(stage, *(CELL[axis] for axis in axes))) == expected


@pytest.mark.parametrize(
    ("path", "value", "stages"),
    [
        ("methods|jacobian|weight", 0.5, {"train"}),
        ("methods|baseline", None, {"score", "landscape", *WHOLE}),
        ("methods|homotopy|segment", 20, set()),
        ("methods|neighborhood|segment", 9, {"neighbors"}),
        ("methods|jacobian|segment", 9, {"train"}),
        ("data|noisy|noise", 0.5, {"observe", "score", *WHOLE}),
        ("data|clean|samples", 900, {"figures"}),
        ("data|noisy|noise_in", "units", {"observe"}),
        ("data|noisy|noiseless_start", True, {"observe"}),
        ("data|noisy|smooth", "spline", {"observe", *WHOLE}),
        ("data|noisy|shared", True, {"orbits", "observe"}),
        ("data|noisy|start", [1.0, 2.0, 3.0], {"orbits"}),
        ("evaluation|beyond", 9, {"orbits", "truth"}),
        ("data|noisy|samples", 900, {"orbits", "figures"}),
        ("networks|mlp|width", 8, {"train"}),
        ("evaluation|points", 8, {"covariant_vectors", "truth"}),
        ("evaluation|exponents|starts", 2, {"exponents", "truth", "forecast"}),
        ("neighbors|nearest|theiler", 1.0, {"neighbors", "estimators", "structure"}),
        ("seeds", 4, {"orbits", "figures"}),
    ],
)
def test_a_change_reaches_only_the_stages_that_read_it(path, value, stages):
    before, after = slices(EXAMPLE), slices(changed(path, value))
    assert {stage for stage in before if before[stage] != after[stage]} == stages


def test_the_digest_of_a_training_depends_on_its_method_and_on_no_other(monkeypatch):
    def digests():
        trainings = {m: digests_of("train", [f"nearorbit.training.methods.{m}"]) for m in ("baseline", "homotopy")}
        return trainings | {"score": digests_of("score"), "neighbors": digests_of("neighbors")}

    def changed_by_editing(module):
        edited = lambda name: source(name) + "# edited" * (name == f"nearorbit.{module}")  # noqa: E731
        monkeypatch.setattr("nearorbit.study.digest.source", edited)
        return {name for name, value in digests().items() if value != before[name]}

    before = digests()
    assert changed_by_editing("training.methods.homotopy") == {"homotopy"}
    assert changed_by_editing("training.loop") == {"baseline", "homotopy"}
    assert changed_by_editing("evaluation.scores") == {"score"}
    assert changed_by_editing("study.files") == set(before)
    assert changed_by_editing("data.local_fits") == set()


def test_behind_an_entry_that_builds_others_of_its_catalogue_stands_all_of_it_and_its_table():
    lorenz96, nearest = (f"nearorbit.truth.systems.{name}" for name in ("lorenz96", "nearest"))
    assert looked_up("systems", lorenz96) == (lorenz96,)
    assert {lorenz96, nearest} <= set(looked_up("systems", nearest)) == set(members("systems"))
    text = whole("nearorbit.truth.spectra")
    assert text.startswith(source("nearorbit.truth.spectra")) and "\nRossler," in text


@pytest.mark.parametrize("line", ["from . import base", "from .base import Method"])
def test_a_relative_import_which_no_digest_would_follow_is_refused(line):
    with pytest.raises(ValueError, match=line):
        list(imports(ast.parse(line)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["observe", "--settings", "{"], "not JSON"),
        (["observe", "--settings", "none.json"], "neither JSON nor a file"),
        (["observe"], "give one of --settings and --study"),
        (["observe", "--settings", '{"label": "Lorenz", "niose": 0}'], "no setting 'niose'; did you mean 'noise'?"),
        (["observe", "--settings", '{"label": "Lorenz"}'], "missing settings: noise"),
        (["observe", "--settings", '{"label": "Lorenz", "noise": 0}'], "no such file"),
    ],
)
def test_the_door_answers_a_mistake_in_one_message(arguments, message, tmp_path, capsys):
    paths = [f"--{name}={tmp_path / name}.nc" for name in ("orbits", "exponents", "observations")]
    assert main(arguments + paths) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_a_stage_names_the_place_within_a_study_of_a_setting_that_is_wrong():
    with pytest.raises(StudyError, match=r"^methods\.mine: method 'jacobian': 'weight' has to be a finite number"):
        build("methods", "mine", {"method": "jacobian", "weight": "much"})


def test_a_file_that_is_cut_short_or_foreign_is_refused_and_kept(tmp_path, capsys):
    import xarray as xr

    from nearorbit.study.files import write

    settings = ["observe", "--settings", '{"label": "Lorenz", "noise": 0}']
    paths = {name: tmp_path / f"{name}.nc" for name in ("orbits", "exponents", "observations")}
    options = [f"--{name}={path}" for name, path in paths.items()]
    write(xr.Dataset({"a": ("x", range(1000))}), paths["orbits"], kind="truth")
    assert main(settings + options) == 2
    said = capsys.readouterr().err
    assert "expected orbits, it holds truth; give a file that the stage for orbits has written" in said
    assert f"if the workflow made it: snakemake --cores 1 --force {paths['orbits']}" in said and "delete" not in said
    paths["orbits"].write_bytes(paths["orbits"].read_bytes()[:2000])
    assert main(settings + options) == 2
    assert "not a whole NetCDF file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["orbits.nc"]


def test_a_stage_finds_its_settings_in_a_study(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    paths = [f"--{name}={tmp_path / name}.nc" for name in ("orbits", "exponents", "observations")]
    assert main(["observe", "--study", "config.yaml", "--cell", "Arneodo/niosy", *paths]) == 2
    assert "config.yaml: data: no 'niosy'; did you mean 'noisy'?" in capsys.readouterr().err
    assert main(["observe", "--study", "config.yaml", "--cell", "Arneodo", *paths]) == 2
    assert "observe: its cell is system/data, not 'Arneodo'" in capsys.readouterr().err
    assert main(["observe", "--study", "config.yaml", "--cell", "Arneodo/noisy", *paths]) == 2
    assert "orbits.nc: no such file" in capsys.readouterr().err


def test_the_environment_of_conda_has_the_versions_of_pip():
    pins = {line.strip() for line in (REPOSITORY / "envs/constraints.txt").read_text().splitlines()}
    environment = yaml.safe_load((REPOSITORY / "envs/environment.yaml").read_text())
    assert set(environment["dependencies"][-1]["pip"]) <= pins


GAPPY = EXAMPLE["data"]["clean"] | {"missing": 0.2, "jitter": 0.5}


def with_gaps(**sections):
    config = changed("data", {"clean": EXAMPLE["data"]["clean"], "gappy": GAPPY})
    return config | {name: {**config[name], **section} for name, section in sections.items()}


def test_every_method_may_be_asked_of_samples_that_are_missing_or_moved():
    methods = {name: {} for name in names("methods")} | {"lyapunov": {"window": 40}}
    parse(with_gaps(methods=methods)).check_catalogues()


def test_a_spline_of_an_orbit_that_few_samples_are_left_of_is_refused_before_any_work():
    config = changed("data|few", {**EXAMPLE["data"]["clean"], "orbits": 40, "samples": 12, "missing": 0.5})
    config["training"] |= {"segment": 1, "horizon": 1}
    config["neighbors"]["nearest"] |= {"theiler": 0}
    config["methods"] = {"baseline": {}, "homotopy": {"segment": 2}, "neighborhood": {}}
    told = complaint(config)
    assert "methods.homotopy: it needs 'spline', in which there are smoothing splines, and these need at " in told
    assert "methods.neighborhood: it needs 'neighbors'" in told and "one of data.few has " in told
    assert "methods.baseline" not in told
    config["data"]["few"] |= {"smooth": "spline"}
    assert "data.few.smooth: a spline needs at least 5 samples of an orbit, and the shortest has " in complaint(config)


def test_what_cannot_do_with_such_samples_is_named_with_the_reason():
    earlier = {"earlier": {"count": 25, "theiler": 0.5, "behind": 2}}
    methods = {"instrument": {"method": "neighborhood", "neighbors": "earlier", "instrument": 1}}
    told = complaint(with_gaps(neighbors=earlier, methods=methods))
    assert "methods.instrument.neighbors: neighbors.earlier is not for data.gappy: states some samples behind" in told
    assert "training.batch: 'all' are the segments that" in complaint(with_gaps(training={"batch": "all"}))
    long = complaint(with_gaps(methods={"lyapunov": {"window": 500}}))
    assert re.search(r"lyapunov.window: 500 is too long for the orbits of data.gappy, at most \d+ samples in", long)


def test_a_regular_kind_of_data_beside_an_irregular_one_is_what_it_was():
    alone, beside = parse(changed("seeds", 3)), parse(with_gaps())
    for stage in ("orbits", "observe", "truth"):
        assert alone.settings(stage, "Lorenz", "clean") == beside.settings(stage, "Lorenz", "clean")
    assert "missing" not in json.dumps(alone.settings("orbits", "Lorenz", "clean"))
    assert beside.settings("orbits", "Lorenz", "gappy")["data"]["missing"] == 0.2


def test_a_twin_is_a_system_of_its_own_after_the_one_that_it_is_like():
    twins = {"Lorenz": {"twin": "Rossler"}, "Halvorsen": {"twin": {"system": "lorenz96", "size": 5}}}
    study = parse(changed("systems", twins))
    assert list(study.systems) == ["Lorenz", "Lorenz_twin", "Halvorsen", "Halvorsen_twin"]
    assert study.twins == {"Lorenz_twin": "Lorenz", "Halvorsen_twin": "Halvorsen"}
    assert study.systems["Lorenz_twin"] == {"system": "Rossler"} and "twin" not in study.systems["Lorenz"]
    assert study.systems["Halvorsen_twin"] == {"system": "lorenz96", "size": 5}
    study.check_catalogues()
    again = parse(study.content)
    assert (again.systems, again.twins) == (study.systems, study.twins)
    assert runs(study, "twin", "Lorenz_twin", "clean") and not runs(study, "orbits", "Lorenz_twin", "clean")
    assert runs(study, "orbits", "Lorenz", "clean") and not runs(study, "twin", "Lorenz", "clean")


@pytest.mark.parametrize(
    ("systems", "words"),
    [
        ({"Lorenz": {"twin": "Rossler"}, "Lorenz_twin": {"system": "Rossler"}}, "it would be called 'Lorenz_twin'"),
        ({"Lorenz": {"twin": 3}}, "expected a known system or its line, not 3"),
        ({"Lorenz": {"twin": "Rosler"}}, "did you mean 'Rossler'"),
    ],
)
def test_a_twin_that_is_none_is_refused(systems, words):
    with pytest.raises(StudyError, match=words):
        parse(changed("systems", systems)).check_catalogues()
