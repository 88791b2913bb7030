"""Build the documentation site from docstrings: `python docs/build.py [FOLDER]`.

The default folder is `build/docs`; open `build/docs/index.html`. A warning, such as a link that
leads nowhere, fails the build.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]


def build(folder: Path) -> int:
    """Write the site into `folder`; what was there is replaced."""
    from pages import write_pages

    source = folder.with_name(f"{folder.name}-source")
    for old in (source, folder):
        shutil.rmtree(old, ignore_errors=True)
    write_pages(source)
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--conf-dir", str(HERE)]
    return int(sphinx([*options, "--builder", "html", str(source), str(folder)]))


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "build" / "docs")))
