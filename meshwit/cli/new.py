"""`meshwit new controller NAME`: a package with a controller that installs and passes its own test."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.new_controller_files import FILES
from meshwit.plugins import __all__ as sdk_names

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Start something of your own.")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")
_NAME_CHARS = 60


class Names(NamedTuple):
    """The names that one name gives: `prime-numbers` is class `PrimeNumbers` in `meshwit_prime_numbers`."""

    controller: str
    module: str
    distribution: str
    entry: str


@app.callback()
def new() -> None:
    """Start something of your own."""


@app.command()
def controller(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As scripts will write it: Primes gives Primes.Count.")],
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the folder of the package is made.")] = Path(),
) -> None:
    """Write a package with a controller: its activities are then known to every script."""
    names = controller_names(name)
    target = folder / names.distribution
    if target.exists():
        raise CommandError(f"{target} exists already", "choose another name, or another --folder")
    _check_free(names.controller)
    try:
        for path, text in FILES.items():
            file = target / filled(path, names)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(filled(text, names), encoding="utf-8")
    except OSError as reason:
        raise CommandError(f"cannot write {reason.filename}: {reason.strerror}", code=ExitCode.FAILED) from None
    print(target)
    print(f"next: pip install -e '{target}[test]' && pytest {target}", file=sys.stderr)
    print(f"then: meshwit activities '{names.controller}.*'", file=sys.stderr)


def controller_names(name: str) -> Names:
    """The names made of one. Raises CommandError if it cannot be the name of a controller."""
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS:
        raise CommandError(
            f"`{name}` cannot name a controller",
            f"letters, digits, - and _, {_NAME_CHARS} at most, the first a letter: PrimeNumbers",
        )
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    camel = "".join(word[:1].upper() + word[1:] for word in words)
    if camel in sdk_names or keyword.iskeyword(camel):
        raise CommandError(f"`{camel}` cannot name a controller: it has a meaning already", "choose another name")
    snake = "_".join(word.lower() for word in words)
    return Names(camel, f"meshwit_{snake}", f"meshwit-{snake.replace('_', '-')}", snake.replace("_", "-"))


def _check_free(name: str) -> None:
    """Raises CommandError if scripts already know activities of that name."""
    for known in installed_registry().offer.activities:
        if known.partition(".")[0].casefold() == name.casefold():
            raise CommandError(f"`{known}` is an activity already: `{name}` would clash", "choose another name")


def filled(template: str, names: Names) -> str:
    """The template with `@controller@` and so on replaced."""
    for field, value in names._asdict().items():
        template = template.replace(f"@{field}@", value)
    return template
