"""How Sphinx builds the site: `make docs`, which needs no network."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from qdeq_qiskit import __version__

project = "qdeq_qiskit"
author = "The qdeq_qiskit developers"
copyright = author
release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "docstrings",
    "generated_pages",
]
exclude_patterns = ["_build", "extensions"]

# Pages are Markdown as GitHub reads it, with formulas; notebooks are shown as they were committed, executed.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
html_math_renderer = "mathml"

# A name in single backticks is a link where there is such a name, and code where there is none.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_type_aliases = {
    "AnyBackend": "qdeq_qiskit.backends.Backend",
    "AnySource": "qdeq_qiskit.noise.Source",
    "ArrayLike": "ArrayLike",
}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autosummary_generate = False
toc_object_entries_show_parents = "hide"
napoleon_use_ivar = False
napoleon_attr_annotations = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"qdeq_qiskit {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# With QDEQ_DOCS_INTERSPHINX=1 names of other libraries become links, too; that asks the network.
if os.environ.get("QDEQ_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "qiskit": ("https://quantum.cloud.ibm.com/docs/api/qiskit", None),
    }
