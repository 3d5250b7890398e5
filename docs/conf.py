"""Sphinx configuration; the pages are built against the test project on SQLite, so no server is needed."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))
os.environ |= {"DJANGO_SETTINGS_MODULE": "test_settings", "ENGINE": "sqlite"}

import django  # noqa: E402  # found on the path, and told of its settings, above

django.setup()

from program_intent import __version__  # noqa: E402  # models need Django set up
from program_intent.conf import (  # noqa: E402  # as above
    NEEDED,
    OF_EVENT,
    OF_EVENT_WITH_ROWS,
    OF_SOURCE,
    SETTINGS,
    Setting,
)


def row(key: str, setting: Setting) -> str:
    default = "Required" if setting.default is NEEDED else f"Default: ``{setting.default!r}``"
    return f"``{key}``\n    {setting.why} {default}, {setting.kind}.\n"


# A page includes what is written here anew by each build, so it cannot be out of date.
Path(DOCS, "_build").mkdir(exist_ok=True)
TABLES = {"settings": SETTINGS, "sources": OF_SOURCE, "event": OF_EVENT, "event_with_rows": OF_EVENT_WITH_ROWS}
for name, settings in TABLES.items():
    Path(DOCS, "_build", f"{name}.rst").write_text("\n".join(row(key, each) for key, each in settings.items()))

project = "program_intent"
copyright = "the program_intent authors"
release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx_copybutton"]
# What is copied has no prompts and no answers.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"program_intent {release}"
html_show_copyright = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80


def setup(app):
    """Every build reads every page: the search of an incremental one has lost the index entries of the others."""
    app.connect("env-get-outdated", lambda app, env, added, changed, removed: env.found_docs)
