"""How Sphinx builds the pages: ``sphinx-build -W --keep-going docs build/docs``, without a network."""

import sys
from pathlib import Path

from nearorbit import __version__

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "nearorbit"
author = "nearorbit contributors"
copyright = "nearorbit contributors"
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
extensions += ["formulas", "reference"]  # those of this folder
exclude_patterns = ["_static"]
root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}

myst_heading_anchors = 4
nb_execution_mode = "force"  # of pages that are notebooks; the others have nothing to execute
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 60
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "nearorbit"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"  # of formulas.py
copybutton_exclude = ".linenos, .gp, .go"
