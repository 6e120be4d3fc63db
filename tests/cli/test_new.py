"""`meshwit new controller`: what it writes is installed and passes its own test."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_process import ROOT, environment

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.new import Names, controller_names


def install(package: Path, site: Path) -> dict[str, str]:
    """What an installer does with a pure Python package, without the network: its module, and its entry points.

    Gives the environment of a process that has it installed.
    """
    project = tomllib.loads((package / "pyproject.toml").read_text())
    (module,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    site.mkdir()
    (site / module).write_text((package / module).read_text())
    about = site / f"{project['project']['name'].replace('-', '_')}-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1.0\n")
    points = project["project"]["entry-points"]["meshwit.controllers"]
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[meshwit.controllers]\n{lines}")
    return environment() | {"PYTHONPATH": f"{site}:{ROOT}"}


def test_a_new_controller_is_installed_and_passes_its_own_test(cli, tmp_path: Path):
    done = cli("new", "controller", "prime-numbers")
    package = tmp_path / "meshwit-prime-numbers"

    assert done.returncode == 0
    assert done.stdout.strip() == "meshwit-prime-numbers"
    env = install(package, tmp_path / "site")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(package)],
        env=env,
        cwd=package,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr

    listed = cli("activities", "PrimeNumbers.*", env=env)
    assert "PrimeNumbers.CountPrimes(Int start, Int stop) -> Int" in listed.stdout


def test_the_controller_is_twenty_lines(cli, tmp_path: Path):
    cli("new", "controller", "Primes")

    text = (tmp_path / "meshwit-primes" / "meshwit_primes.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 20


def test_an_existing_folder_is_left_alone(cli, tmp_path: Path):
    (tmp_path / "meshwit-primes").mkdir()

    done = cli("new", "controller", "Primes")

    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert list((tmp_path / "meshwit-primes").iterdir()) == []


def test_a_folder_can_be_chosen(cli, tmp_path: Path):
    done = cli("new", "controller", "Primes", "--folder", "deep/er")

    assert done.returncode == 0
    assert (tmp_path / "deep/er/meshwit-primes/pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Primes", ("Primes", "meshwit_primes", "meshwit-primes", "primes")),
        ("prime-numbers", ("PrimeNumbers", "meshwit_prime_numbers", "meshwit-prime-numbers", "prime-numbers")),
        ("PrimeNumbers", ("PrimeNumbers", "meshwit_prime_numbers", "meshwit-prime-numbers", "prime-numbers")),
        ("OpenCV4", ("OpenCV4", "meshwit_open_cv_4", "meshwit-open-cv-4", "open-cv-4")),
        ("HTTPClient", ("HTTPClient", "meshwit_http_client", "meshwit-http-client", "http-client")),
    ],
)
def test_one_name_gives_all_names(name, names):
    assert controller_names(name) == Names(*names)


@pytest.mark.parametrize(
    "name", ["", "7up", "a b", "../x", "é", "a--b", "-a", "a.b", "x" * 61, "Controller", "none", "Int"]
)
def test_a_wrong_name_is_an_error(name):
    with pytest.raises(CommandError, match="cannot name a controller"):
        controller_names(name)


def test_a_name_that_scripts_know_already_is_an_error(cli, tmp_path: Path):
    done = cli("new", "controller", "parallel")

    assert done.returncode == 2
    assert "is an activity already" in done.stderr
    assert list(tmp_path.iterdir()) == []
