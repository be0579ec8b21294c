"""The rules of ARCHITECTURE.md that a machine can check, read from the source by its syntax tree."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "bagpipe"
LINES_PER_FILE = 650

# The floors, lowest first; a module may import its own room and any room on a lower floor.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"", "identifiers", "errors"}),
    frozenset({"wire"}),
    frozenset({"session", "rib", "dataplane"}),
    frozenset({"speaker", "vpn"}),
    frozenset({"daemon"}),
    frozenset({"reflector"}),
)
# The speaker is a room of a few modules that stand at the top of the package.
SPEAKER = frozenset({"speaker", "peer"})
# These stand apart: nothing of the house is theirs to import but the names below, and no room may import them.
APART: dict[str, frozenset[str]] = {
    "cli": frozenset({"", "identifiers", "errors"}),
    "lab": frozenset({"", "identifiers", "errors"}),
    "neutron": frozenset({"", "identifiers", "errors"}),
}
PURE_ROOMS = frozenset({"identifiers", "errors", "wire", "session", "rib", "speaker", "vpn"})
KNOWS_IO_OR_CLOCK = frozenset(
    {
        "asyncio",
        "datetime",
        "logging",
        "os",
        "oslo_config",
        "oslo_log",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "threading",
        "time",
    }
)
# One door per library: the only rooms that may import it.
DOORS: dict[str, frozenset[str]] = {
    "fastapi": frozenset({"daemon"}),
    "starlette": frozenset({"daemon"}),
    "pydantic": frozenset({"daemon"}),
    "uvicorn": frozenset({"daemon"}),
    "prometheus_client": frozenset({"daemon"}),
    "oslo_config": frozenset({"daemon", "neutron"}),
    "oslo_log": frozenset({"daemon", "neutron"}),
    "sqlite3": frozenset({"daemon"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli", "lab"}),
    "pyroute2": frozenset({"dataplane"}),
    "ovs": frozenset({"dataplane"}),
    "ovsdbapp": frozenset({"dataplane"}),
    "os_ken": frozenset({"dataplane"}),
    "neutron": frozenset({"neutron"}),
    "neutron_lib": frozenset({"neutron"}),
    "networking_bgpvpn": frozenset({"neutron"}),
    "oslo_messaging": frozenset({"neutron"}),
    "oslo_versionedobjects": frozenset({"neutron"}),
    "sqlalchemy": frozenset({"neutron"}),
    "httpx": frozenset({"neutron"}),
    "exabgp": frozenset(),
}

SKIPS = frozenset({"pytest.skip", "pytest.importorskip", "pytest.xfail"}) | frozenset(
    {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
)

Import = tuple[str, str]  # where ("wire/reader.py:3"), and the full name of the module


def room_of(path: Path) -> str:
    """The room of a source file: its directory below the package, or its own name at the top."""
    relative = path.relative_to(SOURCE)
    name = relative.parts[0] if len(relative.parts) > 1 else relative.stem.replace("__init__", "")
    return "speaker" if name in SPEAKER else name


def room_of_module(module: str) -> str:
    """The room of a dotted name below ``bagpipe``."""
    name = module.split(".")[1] if "." in module else ""
    return "speaker" if name in SPEAKER else name


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, wherever it stands in it, relative ones and ``from package import module`` resolved."""
    package = ["bagpipe", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"bagpipe.{alias.name}" for alias in node.names] if module == "bagpipe" else [module]
            for name in names:
                known = (SOURCE / name.removeprefix("bagpipe.").replace(".", "/")).with_suffix("")
                is_room = name == module or known.is_dir() or known.with_suffix(".py").is_file()
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", name if is_room else "bagpipe"


def source_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_of_the_source_has_a_floor_or_stands_apart() -> None:
    rooms = {room_of(path) for path in source_files()}
    assert rooms <= frozenset().union(*FLOORS) | set(APART)
    assert rooms >= {"", "wire", "session", "rib"}, "the source was not found where this test looks for it"


def test_a_lower_room_never_imports_a_higher_one_nor_its_neighbour() -> None:
    broken = []
    for path in source_files():
        room = room_of(path)
        for where, module in imports_of(path):
            if module.split(".")[0] != "bagpipe":
                continue
            target = room_of_module(module)
            if room in APART:
                allowed = target == room or target in APART[room]
            else:
                allowed = target not in APART and (target == room or floor_of(target) < floor_of(room) or target == "")
                if floor_of(room) == 0:
                    allowed = allowed or floor_of(target) == 0
            if not allowed:
                broken.append(f"{where} imports {module}")
    assert broken == []


def test_the_protocol_rooms_know_no_io_no_clock_no_log_and_no_configuration() -> None:
    broken = [
        f"{where} imports {module}"
        for path in source_files()
        if room_of(path) in PURE_ROOMS
        for where, module in imports_of(path)
        if module.split(".")[0] in KNOWS_IO_OR_CLOCK
    ]
    assert broken == []


def test_each_library_is_imported_in_its_own_room_only() -> None:
    broken = [
        f"{where} imports {module}"
        for path in source_files()
        for where, module in imports_of(path)
        if room_of(path) not in DOORS.get(module.split(".")[0], frozenset({room_of(path)}))
    ]
    assert broken == []


def test_no_string_is_handed_to_a_shell() -> None:
    broken = []
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            by_keyword = any(
                keyword.arg == "shell"
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                for keyword in node.keywords
            )
            if by_keyword or called in {"os.system", "os.popen", "asyncio.create_subprocess_shell"}:
                broken.append(f"{path.relative_to(SOURCE)}:{node.lineno} {called}")
    assert broken == []


def test_no_error_is_swallowed_without_a_word() -> None:
    broken = []
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, ast.ExceptHandler):
                continue
            catches_all = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            if catches_all and len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
                broken.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert broken == []


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_source_file_is_short_enough_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LINES_PER_FILE


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text(), str(path))
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def called_in(function: Function) -> set[str]:
    """The last names of all that is called in a function."""
    return {ast.unparse(node.func).split(".")[-1] for node in ast.walk(function) if isinstance(node, ast.Call)}


def asserts(node: ast.AST) -> bool:
    """Whether a statement is an assertion, in either of its two forms."""
    raises = isinstance(node, ast.Raise) and node.exc is not None and ast.unparse(node.exc).startswith("AssertionError")
    return raises or isinstance(node, ast.Assert)


@functools.cache
def checkers() -> frozenset[str]:
    """The functions of the tests that can fail: they assert, or call one that does."""
    functions = [
        node
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, Function)
    ]
    found = {"raises", "fail"}
    found |= {f.name for f in functions if any(asserts(node) for node in ast.walk(f))}
    while more := {f.name for f in functions if f.name not in found and called_in(f) & found}:
        found |= more
    return frozenset(found)


@pytest.mark.parametrize("where", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_no_test_asserts_nothing_and_none_is_skipped(where: Path) -> None:
    tree = ast.parse(where.read_text(), str(where))
    tests = [node for node in ast.walk(tree) if isinstance(node, Function) and node.name.startswith("test")]
    assert [test.name for test in tests if test.name not in checkers()] == []
    named = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert named & SKIPS == set()
