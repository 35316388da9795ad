"""Files of measurements: what is read of them, and what is refused with its row and the way out."""

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nearorbit.truth import series as module
from nearorbit.truth.columns import Columns
from nearorbit.truth.series import Series, parts, read

COLUMNS = Columns("t", ("x", "y"))
GROUPED = Columns("t", ("x", "y"), "trial")
ROWS = "0,1.5,2\n1,2.5,3\n2,3.1,5\n"


def written(folder, text, name="a.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("t,x,y\n0,1,2\n1,2,3\n0.5,3,4\n", COLUMNS, "line 4: 't' is 0.5 after 1; sort the rows by time, or name"),
        (
            "t,x,y\n0,1,2\n1,2,3\n1,3,4\n",
            COLUMNS,
            "line 4: 't' is 1 for the second time (first in 3); keep one, or name the column",
        ),
        ("t,x,y\n0,1,2\n1,foo,3\n", COLUMNS, "line 3: 'x' is 'foo', no number (1 such); leave it empty"),
        ("t,x,y\n1.2.2020,1,2\n", COLUMNS, "'t' is '1.2.2020', no number (1 such); write dates as 2024-12-31 23:59:59"),
        ("t,x,y\n0:01,1,2\n", COLUMNS, "line 2: 't' is '0:01', no number (1 such); write dates as 2024-12-31 23:59:59"),
        ("t,x,y\n2020-01-01,1,2\n5,2,3\n", COLUMNS, "line 3: 't' is '5', no date as the first one is (1 such); write"),
        (
            "t;x;y\n0;1,000.5;2\n",
            COLUMNS,
            "'x' is '1,000.5', no number (1 such); write decimals with a point, and numb",
        ),
        ("t;x;y\n0;1,000;2\n", COLUMNS, "no number (1 such); write decimals with a point, and numbers without separa"),
        ("t,x,y\ns,m,m\n" + ROWS, COLUMNS, "line 2: 't' is 's', no number (1 such); if it is a line of units, leave"),
        ("t,x,y,x\n0,1,2,3\n1,2,3,4\n", COLUMNS, "column 'x' is there 2 times; give each its own name"),
        ('t,x,y\n0,1,2\n1,"2,3\n2,3,4\n', COLUMNS, "line 3: a quotation mark is opened and not closed"),
        ("t,x,y\n0,1e300,2\n1,2,3\n", COLUMNS, "component 'x' reaches 1e+300, which has no square; take other units"),
        (
            "t,x,y\n0,1e9,2\n1,1000000000.01,3\n",
            COLUMNS,
            "component 'x' varies by 0.01 around 1e+09, which is rounding",
        ),
        ("t,x,y\n0,1,2\n", COLUMNS, "no recording has two samples"),
        (ROWS, COLUMNS, "no column 't'; it has 0, 1.5, 2, by its first line, which has to name the columns"),
        (
            "t,x,y\n".encode("utf-16"),
            COLUMNS,
            "not UTF-8 (byte 0xff); save it as UTF-8, or convert it: iconv -f utf-16",
        ),
        ("t;x;y\n0;1,5;2\n1;2,5;3\n", COLUMNS, "line 2: 'x' is '1,5', no number (2 such); write decimals with a point"),
        ("t,x,y\n0,1,5,2\n1,2,5,3\n", COLUMNS, "rows have more fields than the line of names"),
        ("t,x,y\n0,0,1,5,2,3\n", COLUMNS, "rows have more fields than the line of names"),
        ("t,x,y\n0,1,2\n,2,3\n", COLUMNS, "line 3: 't' is empty; a sample without a time is none"),
        ("t,x,y\n0,1,2\n1,inf,3\n", COLUMNS, "line 3: 'x' is infinite"),
        ("t,x,y\n0,1,2\n1,2,2\n2,3,2\n", COLUMNS, "component 'y' is 2 in every row; leave it out of components"),
        ("t,x,z\n" + ROWS, COLUMNS, "no column 'y'; it has t, x, z"),
        ("t,x,velocity\n" + ROWS, Columns("t", ("x", "velocty")), "no column 'velocty'; did you mean 'velocity'?"),
        ("t,x,y\n0,,2\n1,2,\n", COLUMNS, "no row has a number in every component (x, y)"),
        ("t,x,y\n", COLUMNS, "no row has a number in every component"),
        ("", COLUMNS, "it is empty; a line of column names and rows of numbers are expected"),
        ("t,x,y\n0,1,ü\n".encode("latin1"), COLUMNS, "not UTF-8 (byte 0xfc); save it as UTF-8, or convert it: iconv"),
        ("t,x,y,trial\n0,1,2,a\n1,2,3,\n", GROUPED, "line 3: 'trial' is empty; say which recording"),
        ("t,x,y,trial\n0,1,2,a\n0,2,3,b\n", GROUPED, "no recording has two samples; is 'trial' the column"),
        (
            "t,x,y,trial\n0,1,2,a\n0,2,3,b\n1,2,3,a\n1,3,3,a\n",
            GROUPED,
            "line 5: 't' of recording a is 1 for the second",
        ),
    ],
)
def test_what_is_no_series_is_refused_with_its_row_and_the_way_out(tmp_path, text, columns, message):
    file = written(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        read(file, columns)
    assert str(caught.value).startswith(str(file)) and message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_are_none_are_refused_by_name(tmp_path, monkeypatch):
    for name, content, message in (
        ("a.nc", "junk", "no NetCDF 4 file"),
        ("a.xlsx", "junk", "ends in one of .csv"),
        ("none.csv", None, "no such file"),
        (".", None, "a folder; name a file in it"),
    ):
        file = tmp_path / name if content is None else written(tmp_path, content, name)
        with pytest.raises(ValueError, match=message):
            read(file, COLUMNS)
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(ValueError, match=r"GiB, and files are read whole, up to .* every n-th sample"):
        read(written(tmp_path, "t,x,y\n" + ROWS), COLUMNS)


def test_a_file_that_nobody_may_read_is_told(tmp_path, monkeypatch):
    file = written(tmp_path, "t,x,y\n" + ROWS)
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(ValueError, match=r"a\.csv: it cannot be read \(Permission denied\); see who may read it"):
        read(file, COLUMNS)


def test_what_is_empty_is_a_gap_and_counted(tmp_path):
    series = read(written(tmp_path, "t,x,y\n0,1,2\n1,,3\n2,3,4\n\n3,5,6\n4,nan,6\n5,7,8\n6,9,1\n7,1,1\n"), COLUMNS)
    assert series.gaps == 2 and not series.regular and series.step == 1
    assert series.times[0].tolist() == [0, 2, 3, 5, 6, 7] and series.states[0][:3].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert "2 rows without a number in every component are gaps" in list(module.told(series))


def test_separators_spaces_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    expected = read(written(tmp_path, "t,x,y\n" + ROWS), COLUMNS).states[0]
    for name, text in {
        "b.csv": "t;x;y\n" + ROWS.replace(",", ";"),
        "B.CSV": "t , x,y\n" + ROWS,
        "c.tsv": "t\tx\ty\n" + ROWS.replace(",", "\t"),
        "d.csv": "\ufefft,x,y\n" + ROWS,
        "f.csv": "t, x, y\r\n" + ROWS.replace(",", ", ").replace("\n", "\r\n"),
        "g.txt": "t  x  y\n" + ROWS.replace(",", "   "),
        "e.csv": "note,y,t,x\n" + "".join(f"a,{y},{t},{x}\n" for t, x, y in (r.split(",") for r in ROWS.split())),
    }.items():
        assert np.array_equal(read(written(tmp_path, text, name), COLUMNS).states[0], expected), name


def test_the_same_table_is_the_same_series_in_every_format(tmp_path):
    table = pd.DataFrame({"trial": [0, 0, 0, 1, 1], "t": [0.0, 0.1, 0.2, 0, 0.1], "x": [1 / 3, 2, 3, 4, 5], "y": 1.0})
    table["y"] *= np.arange(5) ** 0.5
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_xarray().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    files = ["a.csv", "a.nc"]
    try:
        table.to_parquet(tmp_path / "a.parquet")
        files.append("a.parquet")
    except ImportError:
        pass
    for name in files:
        series = read(tmp_path / name, GROUPED)
        assert series.names == ("0", "1") and [len(times) for times in series.times] == [3, 2]
        assert np.array_equal(np.concatenate(series.states), table[["x", "y"]].to_numpy())  # to the bit


def test_dates_are_seconds_since_the_first_in_every_format(tmp_path):
    dates = pd.date_range("2024-02-28 23:59:59", periods=50, freq="250ms", name="t")
    table = pd.DataFrame({"x": np.sin(np.arange(50.0)), "y": np.arange(50.0)}, dates)
    table.to_csv(tmp_path / "a.csv")
    table.set_axis(dates.strftime("%Y-%m-%dT%H:%M:%S.%f+01:00").rename("t")).to_csv(tmp_path / "b.csv")
    table.to_xarray().to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    files = ["a.csv", "b.csv", "c.nc"]
    if find_spec("pyarrow"):
        table.to_parquet(tmp_path / "d.parquet")  # as its index
        files.append("d.parquet")
    for name in files:
        series = read(tmp_path / name, COLUMNS)
        np.testing.assert_allclose(series.times[0], 0.25 * np.arange(50), atol=1e-9, err_msg=name)
        assert series.regular


def test_a_file_that_changes_is_read_again(tmp_path):
    file = written(tmp_path, "t,x,y\n" + ROWS)
    first = read(file, COLUMNS)
    assert read(file, COLUMNS) is first
    written(tmp_path, "t,x,y\n" + ROWS + "3,4,4\n")
    assert len(read(file, COLUMNS).times[0]) == 4


@pytest.mark.parametrize("step", [0.02, 0.9056 / 60, 1 / 3, 1e-7, 86400.0])
def test_the_step_of_multiples_is_found_to_the_bit(step):
    times = step * np.arange(5000)
    series = Series(("0",), (times,), (np.sin(times)[:, None],))
    assert series.step == step and series.regular
    missing = np.delete(times, [17, 18, 900])
    series = Series(("0",), (missing,), (np.sin(missing)[:, None],))
    assert (
        series.step == step
        and not series.regular
        and (series.ticks[0] == np.delete(np.arange(5000), [17, 18, 900])).all()
    )
    late = 3.7 + times  # rounded, and still even
    series = Series(("0",), (late,), (np.sin(late)[:, None],))
    assert series.regular and np.isclose(series.step, step)


def test_uneven_times_stay_what_they_are():
    times = np.sort(np.random.default_rng(0).uniform(0, 5, 100))
    series = Series(("0",), (times,), (np.sin(times)[:, None],))
    assert not series.regular and series.step == np.median(np.diff(times))
    np.testing.assert_allclose(series.ticks[0] * series.step, times - times[0], atol=1e-12)


def recordings(*lengths):
    times = tuple(0.1 * np.arange(length) for length in lengths)
    return Series(tuple(map(str, range(len(lengths)))), times, tuple(np.sin(t)[:, None] for t in times))


def test_parts_are_validation_then_training_then_what_is_held_out():
    found = parts(recordings(120, 60), {"held_out": 0.25})
    spans = {name: [(p.recording, p.begin, p.end) for p in pieces] for name, pieces in found.items()}
    assert spans == {
        "validation": [(0, 0, 15), (1, 0, 8)],
        "train": [(0, 15, 90), (1, 8, 45)],
        "held_out": [(0, 90, 120), (1, 45, 60)],
    }
    found = parts(recordings(120, 60, 50), {"held_out": [2], "validation": ["1"]})
    assert {name: [(p.recording, len(p)) for p in pieces] for name, pieces in found.items()} == {
        "train": [(0, 120)],
        "validation": [(1, 60)],
        "held_out": [(2, 50)],
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"held_out": [7]}, "held_out: no recording '7'; there are 0, 1"),
        ({"held_out": [0], "validation": [0]}, "recording '0' cannot be both"),
        ({"held_out": [0], "validation": [1]}, "nothing is left of 180 samples for train"),
        ({"held_out": 0.001}, "nothing is left of 180 samples for held out"),
        ({"held_out": 0.9, "validation": 0.5}, "nothing is left of 180 samples for train"),
    ],
)
def test_parts_that_nothing_is_left_for_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        parts(recordings(120, 60), data)


def test_a_million_rows_are_read_in_seconds(tmp_path):
    times = 0.02 * np.arange(10**6)
    table = pd.DataFrame({"t": times, "x": np.sin(times), "y": np.cos(times)})
    table.to_csv(tmp_path / "a.csv", index=False)
    began = time.process_time()
    series = read(tmp_path / "a.csv", COLUMNS)
    assert series.regular and time.process_time() - began < 20  # it takes one or two, on an idle machine
    assert np.array_equal(series.states[0], table[["x", "y"]].to_numpy())
