"""The commands: what they are called, what they say of themselves, and what becomes of their output."""

import subprocess
import sys

import pytest

from nearorbit import __version__
from nearorbit.__main__ import _files, _settings, main, stages
from nearorbit.study import catalogue
from nearorbit.study.glossary import FILES, SETTINGS


def test_the_console_script_tells_its_version():
    done = subprocess.run([f"{sys.exec_prefix}/bin/nearorbit", "--version"], capture_output=True, text=True)
    assert done.stdout == f"nearorbit {__version__}\n", done.stderr


def test_every_file_and_setting_of_a_stage_is_described_and_nothing_else_is():
    files = {name for stage in stages().values() for name in _files(stage)}
    settings = {name for stage in stages().values() for name in _settings(stage)}
    assert files == FILES.keys() and settings == SETTINGS.keys()


@pytest.mark.parametrize("stage", stages())
def test_the_help_of_a_stage_describes_its_files_and_settings(stage, capsys):
    with pytest.raises(SystemExit):
        main([stage, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name in _files(stages()[stage]):
        assert FILES[name] in shown
    for name in _settings(stages()[stage]):
        assert SETTINGS[name] in shown


@pytest.mark.parametrize("package", catalogue.CATALOGUES)
def test_names_are_listed_with_a_line_of_description_each(package, capsys):
    assert main(["names", package]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == catalogue.names(package)
    assert not any("\\" in line or ":math:" in line for line in lines)
    assert all(len(line.split()) > 1 and ":math:" not in line for line in lines)


def test_names_may_be_cut_off_by_their_reader():
    command = f"{sys.executable} -m nearorbit names systems | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("Aizawa") and not done.stderr
