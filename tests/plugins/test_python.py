"""Which functions may be called by name, and which may not, on a device that allows some packages."""

from __future__ import annotations

import math
import os
import pickle

import numpy
import pytest

from meshwit.bench.allowances import allowances, needed_for
from meshwit.bench.requirements import parse_requirement
from meshwit.cli.exit_codes import CommandError
from meshwit.cli.up_options import as_arguments, read_functions
from meshwit.peer.control.options import UpOptions
from meshwit.plugins.context import Context
from meshwit.plugins.python import Python, find_function, pickled
from tests import importable

ALLOWED = ("tests.importable", "numpy", "math")


@pytest.mark.parametrize(("name", "function"), [
    ("tests.importable:double", importable.double), ("tests.importable:Point.moved", importable.Point.moved),
    ("numpy:sqrt", numpy.sqrt), ("numpy.linalg:norm", numpy.linalg.norm), ("math:sqrt", math.sqrt),
    ("numpy:ndarray.sum", numpy.ndarray.sum),
])  # fmt: skip
def test_what_an_allowed_package_defines_can_be_called(name, function):
    assert find_function(name, ALLOWED) == function


@pytest.mark.parametrize("name", [
    "os:system", "subprocess:run", "builtins:exec", "tests.mischief:Mischief", "mathematics:sqrt",
    "tests.importable:Path.unlink", "tests.importable:time.sleep", "tests.importable:borrowed",
    "tests.importable:double.__globals__", "tests.importable:Point.__init__",
    "tests:importable.double", "numpy:__builtins__", "numpy:linalg.norm",
])  # fmt: skip
def test_nothing_else_can(name):
    with pytest.raises(PermissionError):
        find_function(name, ALLOWED)


@pytest.mark.parametrize("name", ["numpy", ":sqrt", "numpy:", "numpy:no_such_thing", "numpy.nothing:x", "math:pi"])
def test_what_is_no_function_is_said(name):
    with pytest.raises((ValueError, PermissionError)):
        find_function(name, ALLOWED)


def test_everything_can_be_called_for_the_owner_himself():
    assert find_function("os:getpid", None) is os.getpid


def test_nothing_is_imported_that_is_not_allowed():
    with pytest.raises(PermissionError, match="--functions antigravity"):
        find_function("antigravity:fly", ())


def test_pickles_are_not_even_read_unless_allowed(tmp_path):
    call, buffers = pickled((importable.double, (2,), {}))
    with pytest.raises(PermissionError, match="--allow-pickle"):
        Python().CallPickled(Context(None, [], tmp_path), call, buffers)
    good, head, _ = Python().CallPickled(Context(None, [], tmp_path, pickles=True), call, buffers)
    assert good and pickle.loads(head) == 4


def test_a_device_tells_what_it_allows():
    told = allowances(("numpy", "scipy.signal"), pickle=False)
    assert parse_requirement(needed_for("numpy.linalg")).met_by(told)
    assert parse_requirement(needed_for("scipy.signal")).met_by(told)
    assert not parse_requirement(needed_for("scipy")).met_by(told)
    assert not parse_requirement("python.pickle").met_by(told)
    assert parse_requirement("python.pickle").met_by(allowances((), pickle=True))


def test_options_of_up_are_read_and_written_back():
    assert read_functions("numpy, my.package,,numpy") == ("numpy", "my.package")
    with pytest.raises(CommandError, match="no name of a package"):
        read_functions("numpy;rm")
    options = UpOptions(functions=("numpy", "scipy"), allow_pickle=True)
    assert as_arguments(options) == ["--functions", "numpy,scipy", "--allow-pickle"]
