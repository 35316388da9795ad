import json
from pathlib import Path

import numpy as np
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


WHOLE = yaml.safe_load((Path(__file__).parents[1] / "example.yaml").read_text())
LINES = {section: WHOLE[section] for section in ("systems", "methods")}
WHOLE |= {
    "systems": {label: LINES["systems"][label] for label in synthetic.SPECTRA},
    "methods": {label: LINES["methods"][label] for label in synthetic.GIVEN},
}


def part(into, *, without, content=WHOLE, factor=1.0):
    """A record without cells of which a label is one of some, its scores larger by a factor."""
    whole = synthetic.study()
    known = {name: whole.table(name) for name in LONG}

    class Part(Results):
        def table(self, name):
            rows = known[name]
            rows = rows[~rows[rows.columns.intersection(["system", "data", "method"])].isin(without).any(axis=1)]
            return rows.assign(value=rows["value"] * factor) if name == "scores.csv" else rows

        def trained(self):
            return (cell for cell in super().trained() if not set(cell.values()) & set(without))

    records.keep(Part(whole.folder, whole.systems, whole.data, whole.methods), into, content)
    return into


def test_a_record_joined_of_parts_is_that_of_the_whole(tmp_path):
    whole = part(tmp_path / "whole", without=[])
    parts = [part(tmp_path / name, without=[name]) for name in ("Lorenz", "Lorenz96_N5", "noisy", "jacobian")]
    for some in (parts[:2], parts, [whole], [parts[0], whole], [whole, parts[0]]):
        assert records.join(some, tmp_path / "joined") == "16 of 16 cells"
        for name in (file.name for file in whole.iterdir()):
            assert (tmp_path / "joined" / name).read_bytes() == (whole / name).read_bytes(), name
    assert records.join(parts[:1], tmp_path / "less") == "8 of 16 cells"
    assert records.join([tmp_path / "less", parts[1]], tmp_path / "less") == "16 of 16 cells"
    assert (tmp_path / "less/scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_of_a_cell_that_two_records_have_the_later_counts(tmp_path):
    first, second = part(tmp_path / "first", without=[]), part(tmp_path / "second", without=["noisy"], factor=2.0)
    records.join([first, second], tmp_path / "joined")
    tables = [files.table(folder / "scores.csv") for folder in (first, tmp_path / "joined")]
    ratio = (tables[1]["value"] / tables[0]["value"])[tables[0]["value"] > 0]
    np.testing.assert_allclose(ratio, np.where(tables[0]["data"] == "clean", 2.0, 1.0)[ratio.index], rtol=1e-5)


def test_joined_records_say_what_made_the_others(tmp_path):
    parts = [part(tmp_path / name, without=[name]) for name in ("Lorenz", "Lorenz96_N5", "noisy")]
    here = json.loads((parts[0] / "made.json").read_text())
    for folder in parts[:2]:
        (folder / "made.json").write_text(json.dumps(here | {"machine": {"processor": folder.name}}))
    records.join(parts[:2], tmp_path / "joined")
    records.join([tmp_path / "joined", parts[0], parts[2]], tmp_path / "joined")
    made = json.loads((tmp_path / "joined/made.json").read_text())
    assert [other["machine"]["processor"] for other in made.pop("others")] == ["Lorenz", "Lorenz96_N5"]
    assert made == here


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seeds": 4}, r"first: another study than that of .*second: seeds$"),
        ({"methods": WHOLE["methods"] | {"baseline": {"segment": 4}}}, r"methods\.baseline$"),
        ({"methods": WHOLE["methods"] | {"propagator": {}}}, r"methods\.propagator$"),
        ({"training": WHOLE["training"] | {"steps": 50}}, r": training$"),
    ],
)
def test_records_of_different_studies_are_not_joined(tmp_path, change, told):
    first = part(tmp_path / "first", without=[], content=WHOLE | change)
    with pytest.raises(StudyError, match=told):
        records.join([first, part(tmp_path / "second", without=[])], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    with pytest.raises(StudyError, match=r"nothing: no record, as snakemake record makes one: no study\.yaml"):
        records.join([first, tmp_path / "nothing"], tmp_path / "joined")


def test_a_study_that_has_grown_is_joined_with_what_there_was(tmp_path):
    less = WHOLE | {
        "methods": {label: LINES["methods"][label] for label in ("baseline", "jacobian")},
        "tables": {"costs": {}},
    }
    parts = (
        part(tmp_path / "less", without=["neighborhood"], content=less),
        part(tmp_path / "more", without=["jacobian"]),
    )
    assert records.join(parts, tmp_path / "joined") == "16 of 16 cells"
    assert (tmp_path / "joined/study.yaml").read_bytes() == (tmp_path / "more/study.yaml").read_bytes()
