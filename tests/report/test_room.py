from pathlib import Path

from nearorbit.evaluation.scores import Results
from nearorbit.report.room import cells_with, fitting, methods_of, rows_of_cells, there

STUDY = Results(Path("nowhere"), tuple("ABCDEF"), {"clean": 0.0, "noisy": 0.1}, ("x", "y", "z"))


def test_rows_are_all_that_is_there_as_long_as_it_has_room():
    cells = {("A", "clean", "x"), ("A", "noisy", "y"), ("C", "noisy", "x")}
    assert rows_of_cells(STUDY, None, height=1, cells=cells) == [("A", "clean"), ("A", "noisy"), ("C", "noisy")]
    assert rows_of_cells(STUDY, "noisy", height=1, cells=cells) == [("A", "noisy"), ("C", "noisy")]
    assert methods_of(STUDY, cells) == ["x", "y"] and methods_of(STUDY, cells, [("C", "noisy")]) == ["x"]


def test_without_room_the_data_of_most_cells_are_shown_and_of_equals_the_first():
    cells = {(system, "clean", "x") for system in "ABCDEF"} | {(s, "noisy", m) for s in "BCDE" for m in "xy"}
    assert rows_of_cells(STUDY, None, height=1, cells=cells) == [(system, "noisy") for system in "BCDE"]
    assert rows_of_cells(STUDY, None, height=1) == [(system, "clean") for system in "ABCDEF"]
    assert rows_of_cells(STUDY, None, height=4) == [("A", "clean"), ("B", "clean")]


def test_of_nothing_all_is_kept_as_places_of_what_will_be():
    assert there(STUDY, set()) == STUDY and methods_of(STUDY, set()) == ["x", "y", "z"]
    assert there(STUDY, {("B", "noisy", "z")}).systems == ("B",)
    assert there(STUDY, {("B", "noisy", "z")}).methods == STUDY.methods, "marks go by the place among all"
    assert fitting(STUDY, height=4).systems == ("A", "B")


def test_a_cell_is_there_by_its_file_or_its_rows_and_the_truth_is_none(tmp_path):
    results = Results(tmp_path, ("A",), {"clean": 0.0}, ("x", "y"))
    for method in ("x", "truth"):
        (tmp_path / "A" / "clean" / method).mkdir(parents=True)
        (tmp_path / "A" / "clean" / method / "forecast.nc").touch()
    (tmp_path / "scores.csv").write_text("system,data,method\nA,clean,truth\nA,clean,y\nB,clean,y\n")
    assert cells_with(results, "forecast.nc") == {("A", "clean", "x")}
    assert cells_with(results, "scores.csv") == {("A", "clean", "y")}
