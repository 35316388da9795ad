import json

import pandas as pd
import pytest
import synthetic
import yaml

from nearorbit.evaluation.scores import Results
from nearorbit.report import records
from nearorbit.study import files
from nearorbit.study.catalogue import StudyError
from nearorbit.study.places import LONG, STUDIES, recorded

TABLES = {"costs": {"table": "costs"}, "steps": {"table": "steps_below"}, "jacobian_error": {"table": "jacobian_error"}}
FIGURES = {"training_curves": {"figure": "training_curves"}, "attractors": {"figure": "attractors"}}
CONTENT = {"study": "known", "seeds": 3, "systems": {"Lorenz": {"beta": 2.5}}}


def keep(into):
    records.keep(synthetic.study(), into, CONTENT)
    return into


def of(folder):
    whole = synthetic.study()
    return Results(folder, whole.systems, whole.data, whole.methods)


def test_a_record_tells_what_its_results_tell(tmp_path):
    kept, whole = of(keep(tmp_path / "record")), synthetic.study()
    for name in LONG:
        pd.testing.assert_frame_equal(kept.table(name), whole.table(name), rtol=1e-5, check_dtype=False)
    for cell in whole.trained():
        labels = cell["system"], cell["data"], cell["method"]
        made, known = (results.read("history.csv", *labels) for results in (kept, whole))
        pd.testing.assert_frame_equal(made, known, rtol=1e-5, check_dtype=False)
    assert kept.read("history.csv", "nowhere", "clean", "baseline") is None
    assert yaml.safe_load((tmp_path / "record/study.yaml").read_text()) == CONTENT
    made = json.loads((tmp_path / "record/made.json").read_text())
    assert made["packages"].keys() >= {"torch", "numpy"} and made["machine"]["processor"]


def test_the_same_results_give_the_same_bytes(tmp_path):
    first, second = keep(tmp_path / "first"), keep(tmp_path / "second")
    names = {file.name for file in first.iterdir()}
    assert names == {*LONG, "study.yaml", "made.json", "cells.zip"}
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_large_table_is_compressed_and_read_all_the_same(tmp_path, monkeypatch):
    plain = keep(tmp_path / "plain")
    monkeypatch.setattr(records, "LARGE", 100)
    packed = keep(plain)
    assert {*LONG} == {file.name.removesuffix(".gz") for file in packed.glob("*.csv.gz")}
    assert not list(packed.glob("*.csv"))
    assert len(of(packed).table("scores.csv")) == len(synthetic.study().table("scores.csv"))
    broken = packed / "scores.csv.gz"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(StudyError, match=r"scores\.csv\.gz: not a whole CSV file"):
        files.table(broken)


def test_what_a_record_can_tell_is_shown_and_the_rest_is_told(tmp_path):
    told = records.show(of(keep(tmp_path / "record")), tmp_path / "shown", tables=TABLES, figures=FIGURES)
    assert told == "3 tables and 1 figures; a record has too little for attractors"
    assert {file.name for file in (tmp_path / "shown/figures").glob("*.png")} == {"training_curves.png"}
    assert {file.stem for file in (tmp_path / "shown/tables").glob("*.md")} == {*TABLES}


def test_where_there_is_no_record_that_is_said(tmp_path):
    with pytest.raises(StudyError, match="no record of a study, as snakemake record makes one"):
        records.show(of(tmp_path), tmp_path / "shown", tables=TABLES, figures=FIGURES)
    with pytest.raises(StudyError, match=r"from: no record in .*which has a study\.yaml"):
        recorded(tmp_path)


def test_a_record_without_a_study_file_is_of_the_shipped_study_of_its_name(tmp_path):
    (tmp_path / "noise").mkdir()
    assert recorded(tmp_path / "noise") == STUDIES["noise"]
    assert recorded(keep(tmp_path / "noise")) == tmp_path / "noise/study.yaml"
