"""What the documentation says of options and files is what the source has."""

from __future__ import annotations

import re
from pathlib import Path

from bagpipe.daemon import options
from bagpipe.reflector.main import parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("rfc/*.md")])


def documented(section: str) -> set[str]:
    """The options in the first column of the tables under a heading of the configuration page."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    (body,) = [part for part in re.split(r"^## ", page, flags=re.MULTILINE) if section in part.splitlines()[0]]
    return set(re.findall(r"^\| `(\w+)`", body, flags=re.MULTILINE))


def test_every_option_of_bgp_conf_is_documented_and_no_other() -> None:
    for section in ("BGP", "API", "COMMON"):
        assert documented(f"[{section}]") == {opt.dest for opt in options.SECTIONS[section]}
    dataplanes = {opt.dest for section in (options.IPVPN, options.EVPN) for opt in options.SECTIONS[section]}
    assert documented(options.IPVPN) == dataplanes
    assert documented("[PEER address]") == {opt.dest for opt in options.PEER}
    assert documented("[DEFAULT]") == {opt.dest for opt in options.LOGGING}


def test_every_link_between_pages_leads_to_a_file() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_architecture_stays_short_enough_to_be_read() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 300


def test_the_readme_opens_with_the_commands_of_a_newcomer() -> None:
    opening = (ROOT / "README.md").read_text().splitlines()[:25]
    assert any("make lab" in line for line in opening)
    assert any("make test" in line for line in opening)


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert named <= targets
    assert named >= {"lab", "test", "lint"}


def test_every_option_of_the_reflector_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "reflector.md").read_text()
    options_there = {string for action in parser()._actions for string in action.option_strings}
    assert set(re.findall(r"^\| `(--[\w-]+)", page, flags=re.MULTILINE)) == options_there - {"-h", "--help"}
