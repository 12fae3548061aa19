"""How the documentation is built (`make docs`): nothing is fetched, not by the reader's browser either."""

from __future__ import annotations

import re
import runpy
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "evalkit"
author = "The evalkit developers"
project_copyright = author
version = release = installed_version("colorization-evalkit")

extensions = [
    "myst_nb",  # Markdown by myst_parser, and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "column_tables",
    "lint_table",
    "metric_table",
]
exclude_patterns = ["_build", "benchmarks/tables"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "tasklist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say types together with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them already
suppress_warnings = ["ref.citation"]  # a source in a References section need not be cited in the text

# Notebooks run while the documentation is built, each in a folder of its own; one that fails fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600

html_math_renderer = "mathml"
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "pydata_sphinx_theme"
html_title = "evalkit"
html_static_path = ["_static"]
html_css_files = ["evalkit.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "evalkit"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}


def _draw_figures(app: Sphinx) -> None:
    """Draw every figure of docs/figures with the project's own code, for both colour schemes."""
    folder = HERE / "_build" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for script in sorted((HERE / "figures").glob("[!_]*.py")):
        newest = max((folder.glob(f"{script.stem}-*.svg")), key=lambda path: path.stat().st_mtime, default=None)
        if newest is None or newest.stat().st_mtime < script.stat().st_mtime:
            runpy.run_path(str(script), run_name="figure")["main"](folder)


def _keep_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep ``|dL|`` in a docstring an absolute value; reStructuredText would look for a substitution."""
    lines[:] = [re.sub(r"(?<!`)\|(\w+)\|(?!`)", r"\|\1\|", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Hook the figures and the docstrings into the build."""
    app.connect("builder-inited", _draw_figures)
    app.connect("autodoc-process-docstring", _keep_bars, priority=900)  # after numpydoc
