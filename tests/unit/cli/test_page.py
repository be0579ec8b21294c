"""The page about the commands names every command and every option of the old ones, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from bagpipe.cli.main import command
from bagpipe.cli.rest_attach import parser

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def test_every_command_has_a_row_and_no_other() -> None:
    assert set(re.findall(r"^\| `bagpipe (\w+)`", PAGE, flags=re.MULTILINE)) == set(command.commands)


def test_every_option_of_bagpipe_rest_attach_is_documented_and_no_other() -> None:
    table = PAGE.partition("## bagpipe-rest-attach")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`--[^|]*) \|", table, flags=re.MULTILINE)
    named = {option for cell in first_cells for option in re.findall(r"--[\w-]+", cell)}
    options = {string for action in parser()._actions for string in action.option_strings}
    assert named == options - {"-h", "--help"}
