"""The documentation is built as `make docs` does it, from a clean slate, and nothing is warned about."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_pages_are_built_without_a_warning_and_lead_nowhere_outside(tmp_path: Path) -> None:
    # when they are built by the recipe of the Makefile
    recipe = re.search(r"^docs:.*\n\t@\$\(BIN\)/python (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe is not None
    words = recipe[1].replace("build/doctrees", str(tmp_path / "d")).replace("build/docs", str(tmp_path / "o")).split()
    assert "-W" in words
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    # then there is no warning, and each page of docs/ is there
    assert (done.returncode, done.stderr) == (0, "")
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    assert [str(page) for page in pages if not (tmp_path / "o" / page).exists()] == []

    # and no link in them leads to a file that the built pages do not have
    broken = []
    for page in pages:
        html = (tmp_path / "o" / page).read_text()
        for target in re.findall(r'<a [^>]*href="([^"#]+)', html):
            if "://" not in target and not (tmp_path / "o" / page.parent / target).exists():
                broken.append(f"{page}: {target}")
    assert broken == []
