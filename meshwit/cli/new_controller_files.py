"""The files of a new controller's package. `@controller@`, `@module@`, `@distribution@`, `@entry@` are filled in."""

from __future__ import annotations

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "@distribution@"
version = "0.1.0"
description = "The controller @controller@ for meshwit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["meshwit"]

[project.optional-dependencies]
test = ["pytest"]

# This makes the activities known to every script on devices where the package is installed.
[project.entry-points."meshwit.controllers"]
@entry@ = "@module@:@controller@"

[tool.hatch.build.targets.wheel]
only-include = ["@module@.py"]
"""

_MODULE = '''\
"""The controller @controller@: what its methods do, scripts can call."""

from math import isqrt

from meshwit.plugins import Bool, Controller, Int, activity


class @controller@(Controller):
    """Prime numbers."""

    @activity
    def IsPrime(self, number: Int) -> Bool:
        """Whether a number is prime."""
        return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))

    @activity(work=lambda start, stop: max(0, stop - start) * isqrt(max(0, stop)))
    def CountPrimes(self, start: Int, stop: Int) -> Int:
        """How many primes lie between start and stop, stop excluded."""
        if stop < start:
            raise ValueError(f"stop is {stop}, which lies before start, {start}")
        return sum(self.IsPrime(number) for number in range(start, stop))
'''

_TEST = '''\
"""Runs a script through the mesh, as a user would."""

import meshwit

SCRIPT = """
Job:Primes(IntCollection:starts)
{
    IntCollection:counts = Grid.ForEach(start in starts)
        => @controller@.CountPrimes(start, start + 100);
    Bool:prime = @controller@.IsPrime(97);
}
"""


def test_a_script_counts_primes():
    outcome = meshwit.run(SCRIPT, starts=[0, 100, 200])

    assert outcome.state == "completed", outcome.error
    assert outcome.variables["counts"] == [25, 21, 16]
    assert outcome.variables["prime"] is True


def test_a_wrong_argument_fails_with_its_reason():
    outcome = meshwit.run("Job:Wrong() { Return(@controller@.CountPrimes(10, 5)); }")

    assert outcome.state == "failed"
    assert "lies before start" in str(outcome.error)
'''

_README = """\
# @distribution@

A controller for meshwit: activities that `.wit` scripts can call.

```
pip install -e '.[test]'
pytest
meshwit activities '@controller@.*'
```

A script that uses it, `primes.wit`:

```
Job:Primes(IntCollection:starts)
{
    IntCollection:counts = Grid.ForEach(start in starts)
        => @controller@.CountPrimes(start, start + 1000);
}
```

```
meshwit run primes.wit --starts 0:9000:1000
```

Methods marked `@activity` in `@module@.py` are the activities. Their types come from the annotations
(`from meshwit.plugins import Int, Double, String, Blob, ...`), their documentation from the docstrings. What an
activity raises fails the item, with the message.
"""

FILES = {
    "pyproject.toml": _PYPROJECT,
    "@module@.py": _MODULE,
    "tests/test_@module@.py": _TEST,
    "README.md": _README,
    ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n.pytest_cache/\n",
}
