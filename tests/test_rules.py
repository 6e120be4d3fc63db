"""The rules of the house, as tests: who imports whom, what cores may not use, how large a module may be.

Sources are read, not imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "meshwit"
LINES_MAX = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

SHARED = {
    "meshwit.codec", "meshwit.blob", "meshwit.lazy", "meshwit.events", "meshwit.outcome", "meshwit.ids",
    "meshwit.records",
}  # fmt: skip
"""Names that every part may use."""
FLOORS = {
    "meshwit.lang": SHARED,
    "meshwit.bench": SHARED,
    "meshwit.gossip": SHARED,
    "meshwit.dht": SHARED,
    "meshwit.plugins": SHARED | {"meshwit.lang", "meshwit.bench"},
    "meshwit.peer": SHARED | {"meshwit.lang", "meshwit.bench", "meshwit.gossip", "meshwit.dht", "meshwit.plugins"},
    "meshwit.peer.sched": SHARED,
    "meshwit.peer.job": SHARED | {"meshwit.lang", "meshwit.bench", "meshwit.peer.sched"},
    "meshwit.cli": {"meshwit"},
}
"""What each part may import besides itself. A part that is not built yet has its floor already."""
SHARED_MAY = {"meshwit.lang.control", *SHARED}
"""What the shared names may import: `Failure` crosses between peers."""

CORES = ("meshwit/lang", "meshwit/peer/job", "meshwit/peer/sched", "meshwit/gossip")
CORE_MODULES = (
    "meshwit/peer/exec/pool_core.py",
    "meshwit/peer/exec/pool_deaths.py",
    "meshwit/peer/exec/pool_ledger.py",
    "meshwit/peer/exec/pool_effects.py",
    *(
        f"meshwit/peer/blobs/{name}.py"
        for name in (
            "messages", "effects", "manifest", "settings", "sources", "picking", "fetching", "giving", "exchange",
        )
    ),
    "meshwit/peer/device/messages.py",
    *(
        f"meshwit/peer/work/{name}.py"
        for name in (
            "messages", "effects", "host", "hosted", "awaited", "granting", "retained", "orphans", "inheriting",
            "sharing", "speeds", "lengths", "planning", "transfer",
        )
    ),
    *(
        f"meshwit/peer/succession/{name}.py"
        for name in (
            "records", "messages", "effects", "settings", "known", "succession", "history", "writing", "carrying",
            "durability",
        )
    ),
    *(
        f"meshwit/peer/trust/{name}.py"
        for name in (
            "certificates", "expulsions", "membership", "invites", "codes", "words", "joiner", "admitter",
            "join_effects", "join_messages", "join_proofs", "joining",
        )
    ),
    *(
        f"meshwit/peer/wire/{name}.py"
        for name in (
            "addresses", "frames", "handshake", "handshake_messages", "session", "sealing", "budget", "stats",
            "endings", "settings",
        )
    ),
    *(
        f"meshwit/peer/mesh/{name}.py"
        for name in ("roster", "view", "profile", "reports", "neighbours", "sightings", "needs", "merging", "diagnosis")
    ),
)  # fmt: skip
NOT_IN_CORES = {
    "time", "random", "secrets", "os", "socket", "subprocess", "threading", "asyncio", "anyio", "trio", "psutil",
    "multiprocessing", "tempfile", "shutil", "platform",
}  # fmt: skip
NOW = {"now", "utcnow", "today", "uuid1", "uuid4", "monotonic", "perf_counter"}


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def statements_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """What runs when a module is imported: its own level, `if` and `try` included, `TYPE_CHECKING` not."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop(0)
        yield node
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pending += node.orelse
            case ast.If():
                pending += node.body + node.orelse
            case ast.Try():
                pending += node.body + node.orelse + node.finalbody + [one for h in node.handlers for one in h.body]
            case ast.With() | ast.ClassDef():
                pending += node.body


def imported(name: str) -> set[str]:
    """The modules of ours that a module imports when it is imported."""
    found: set[str] = set()
    for node in statements_at_import(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= {each for each in inner if each in MODULES}
            if not inner <= set(MODULES):
                found.add(node.module)
    return {each for each in found if each in MODULES}


def inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def modules_of(part: str) -> list[str]:
    """The modules of a part, without those of a part of it that has a floor of its own."""
    own = [each for each in FLOORS if each != part and inside(each, part)]
    return [name for name in MODULES if inside(name, part) and not any(inside(name, each) for each in own)]


# --- imports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", FLOORS)
def test_each_part_imports_only_what_lies_below_it(part):
    wrong = [
        f"{name} imports {other}"
        for name in modules_of(part)
        for other in imported(name)
        if not inside(other, part) and other != "meshwit" and not any(inside(other, each) for each in FLOORS[part])
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(SHARED))
def test_the_shared_names_import_nothing_of_the_parts(name):
    assert {other for other in imported(name) if other not in SHARED_MAY} == set()


def test_what_the_shared_names_stand_on_stands_on_nothing():
    assert imported("meshwit.lang.control") == set()


def test_no_import_cycle():
    """Depth first: a module met again while it is being imported closes a cycle."""
    done: set[str] = set()
    cycles: list[str] = []

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            cycles.append(" -> ".join([*trail[trail.index(name) :], name]))
            return
        if name in done:
            return
        for other in sorted(imported(name)):
            visit(other, [*trail, name])
        done.add(name)

    for name in MODULES:
        visit(name, [])
    assert cycles == []


def test_no_import_inside_a_function():
    """`importlib` says aloud that a module is loaded late; an `import` there hides it."""
    wrong = []
    for name, tree in TREES.items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
                wrong += [f"{name}:{node.lineno}" for node in inner]
    assert wrong == []


# --- cores -------------------------------------------------------------------------------------------------------


def core_modules() -> list[str]:
    places = [ROOT / each for each in CORES]
    return [
        name
        for name, path in MODULES.items()
        if any(path.is_relative_to(place) for place in places) or str(path.relative_to(ROOT)) in CORE_MODULES
    ]


def test_there_are_cores():
    assert len(core_modules()) > 30


@pytest.mark.parametrize("name", core_modules())
def test_a_core_has_no_clock_no_chance_and_no_io(name):
    wrong = []
    for node in ast.walk(TREES[name]):
        match node:
            case ast.Import(names=names):
                wrong += [each.name for each in names if each.name.split(".")[0] in NOT_IN_CORES]
            case ast.ImportFrom(module=str(module)):
                wrong += [module] if module.split(".")[0] in NOT_IN_CORES else []
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in NOW:
                wrong.append(f"{attr}() on line {node.lineno}")
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as called)):
                wrong.append(f"{called}() on line {node.lineno}")
            case ast.AsyncFunctionDef():
                wrong.append(f"async def {node.name}")
    assert wrong == []


# --- shape -------------------------------------------------------------------------------------------------------


def test_no_module_is_too_long():
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_every_module_says_what_it_is():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []


def public_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes of a module whose names have no underscore in front."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def test_public_functions_and_classes_have_docstrings():
    wrong = []
    for name, tree in TREES.items():
        for node in public_definitions(tree):
            overloaded = any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
            if not ast.get_docstring(node) and not overloaded:
                wrong.append(f"{name}.{node.name}")
    assert wrong == []


def test_names_of_modules_say_something():
    assert [name for name in MODULES if name.split(".")[-1].strip("_") in VAGUE_NAMES] == []
