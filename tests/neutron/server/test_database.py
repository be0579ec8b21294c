"""Databases that networking-bagpipe made, on a MariaDB of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.neutron.server.runs import REFERENCE_PYTHON, ROOT, environment

pytestmark = pytest.mark.limit(400)
HEAD = "796580a58032"
OLD_TABLES = {"sfc_bagpipe_chain_hops", "sfc_bagpipe_ppg_rtnn_associations"}


class MariaDB:
    """A server that only this test reaches: a socket, no port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "socket"
        data = directory / "data"
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"]
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        options = [f"--datadir={data}", f"--socket={self.socket}", "--skip-networking"]
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["mariadbd", "--no-defaults", "--user=root", *options, "--innodb-flush-log-at-trx-commit=0"],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while not self.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def query(self, text: str, database: str = "") -> list[str]:
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--skip-column-names", "--execute", text]
        run = subprocess.run([*command, *([database] if database else [])], check=True, capture_output=True, text=True)
        return run.stdout.split("\n")[:-1]

    def make(self, name: str) -> Path:
        """A new database, and a configuration file for it."""
        self.query(f"create database {name} character set utf8mb3")
        configuration = self.directory / f"{name}.conf"
        url = f"mysql+pymysql://root@localhost/{name}?unix_socket={self.socket}"
        configuration.write_text(f"[DEFAULT]\ncore_plugin = ml2\n[database]\nconnection = {url}\n")
        return configuration


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def compat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compatibility distribution is installed."""
    where = tmp_path_factory.mktemp("compat")
    source = where / "source"
    subprocess.run(["cp", "-r", str(ROOT / "compat"), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(where / "installed")]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    return where / "installed"


def manage(python: str, configuration: Path, *arguments: str, paths: tuple[Path, ...] = ()) -> str:
    command = [python, str(Path(python).parent / "neutron-db-manage"), "--config-file", str(configuration), *arguments]
    run = subprocess.run(command, env=environment(*paths), capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    return run.stdout + run.stderr


def test_a_database_of_networking_bagpipe_is_at_its_head_with_the_compatibility_package_and_left_alone_without(
    mariadb: MariaDB, compat: Path
) -> None:
    configuration = mariadb.make("current")
    manage(REFERENCE_PYTHON, configuration, "upgrade", "heads")
    before = mariadb.query("show tables", "current")
    assert mariadb.query("select version_num from alembic_version_bagpipel2", "current") == [HEAD]

    source = ROOT / "src"
    without = manage(sys.executable, configuration, "upgrade", "heads", paths=(source,))
    assert "networking-bagpipe" not in without
    with_it = manage(sys.executable, configuration, "upgrade", "heads", paths=(source, compat))
    assert "Running upgrade for networking-bagpipe" in with_it
    assert mariadb.query("select version_num from alembic_version_bagpipel2", "current") == [HEAD]
    assert mariadb.query("show tables", "current") == before


def test_a_database_of_an_older_networking_bagpipe_loses_the_tables_of_its_service_chains(
    mariadb: MariaDB, compat: Path
) -> None:
    configuration = mariadb.make("older")
    for project, revision in (
        ("neutron", "heads"),
        ("networking-sfc", "heads"),
        ("networking-bagpipe", "d2c2dcb6c2d4"),
    ):
        manage(REFERENCE_PYTHON, configuration, "--subproject", project, "upgrade", revision)
    assert set(mariadb.query("show tables", "older")) >= OLD_TABLES

    arguments = ("--subproject", "networking-bagpipe", "upgrade", "heads")
    manage(sys.executable, configuration, *arguments, paths=(ROOT / "src", compat))

    assert not set(mariadb.query("show tables", "older")) & OLD_TABLES
    assert mariadb.query("select version_num from alembic_version_bagpipel2", "older") == [HEAD]


def test_networking_bagpipe_finds_nothing_to_do_in_a_database_that_the_compatibility_package_made(
    mariadb: MariaDB, compat: Path
) -> None:
    configuration = mariadb.make("fresh")
    arguments = ("--subproject", "networking-bagpipe", "upgrade", "heads")
    manage(sys.executable, configuration, *arguments, paths=(ROOT / "src", compat))
    made = mariadb.query("show create table ml2_route_target_allocations", "fresh")

    assert "Running upgrade start" not in manage(REFERENCE_PYTHON, configuration, *arguments)
    reference = mariadb.make("reference")
    manage(REFERENCE_PYTHON, reference, *arguments[:3], "d4d4d7f03b21")
    assert mariadb.query("show create table ml2_route_target_allocations", "reference") == made


def test_the_compatibility_package_beside_networking_bagpipe_says_so(compat: Path) -> None:
    run = subprocess.run(
        [REFERENCE_PYTHON, "-c", "import networking_bagpipe"],
        env={**os.environ, "PYTHONPATH": str(compat)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "networking-bagpipe 25.0.0 and bagpipe-bgpvpn-compat are both installed" in run.stderr
