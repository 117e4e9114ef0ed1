"""Build these pages as a site with Sphinx: `make docs`."""

from __future__ import annotations

from converters import __version__

project = "video-checkpoint-converters"
author = "the video-checkpoint-converters developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The same pages are read in the repository, so their code blocks may have words after the language.
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = True

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_js_files = ["filter.js"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
