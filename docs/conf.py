"""How Sphinx builds the site; `docs/build.py` calls it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import to_rst
from pages import link

import graphcl

project = "graphcl"
copyright = "the graphcl contributors"
release = graphcl.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "mathml"]
html_theme = "furo"
html_title = f"graphcl {release}"
html_math_renderer = "mathml"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
highlight_language = "none"  # an indented block of a docstring is a formula as often as code
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_custom_sections = ["Shape", "Shapes"]
napoleon_use_rtype = False
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]


def _docstring(app, what, name, obj, options, lines):
    lines[:] = to_rst(lines, link)


def setup(app):
    """Hook the conversion of docstrings in."""
    # Before napoleon, which reads sections and writes fields.
    app.connect("autodoc-process-docstring", _docstring, priority=400)
