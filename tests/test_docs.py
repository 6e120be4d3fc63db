"""What the documentation shows is so: its scripts compile, run and fail as it says, its Python and its commands run.

Blocks of docs/*.md, README.md and CONTRIBUTING.md are taken by the language of their fence; words behind it ask for
more. Lines of a script without a `Job` stand in the body of one.

===============  =====================================================================================================
`wit`            compiles without an error
`wit run`        is run besides; the comments `~ text ~` behind statements are the texts of `Trace`, in order
`wit-error`      gives exactly the diagnostics in its comments `~ WIT301: message ~`, each on its line; the message may
                 be missing. Codes behind the fence's language are given somewhere, besides
`python`         is executed; the blocks of a page share their names and one folder
`console run`    its lines `$ meshwit …` are run, as on a device in no mesh; each line shown below one is printed, in
                 this order. A line `…` stands for any number
`file=NAME`      the block is first written to that file of the page's folder; a Python file is imported
`whole`          a script that is not put into a job
`skip`           nothing more is done with the block
===============  =====================================================================================================
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import meshwit
from meshwit.bench import load, scores
from meshwit.cli.app import COMMANDS
from meshwit.cli.app import load as load_command
from meshwit.cli.up_join import approval_lines, meshes_text
from meshwit.dht.settings import DirectorySettings
from meshwit.gossip.config import GossipConfig
from meshwit.lang.diagnostics import CODES, Diagnostic
from meshwit.lang.limits import DEFAULT_LIMITS
from meshwit.lang.text import NESTING_MAX, TEXT_CHARS_MAX
from meshwit.lang.tokens import SourceLimits
from meshwit.lang.types import COLLECTION_ITEMS_MAX, STRING_CHARS_MAX
from meshwit.peer.mesh import address_book, advertising, belonging, neighbours, parts, reports
from meshwit.peer.trust import certificates, codes
from meshwit.peer.wire.frames import LIMITS, PAYLOAD_BYTES_MAX, Channel
from meshwit.peer.wire.sealing import DATAGRAM_BYTES_MAX
from meshwit.peer.wire.settings import LinkSettings
from meshwit.plugins.blender.controller import Render
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from simulations.scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(page for name in ("README.md", "CONTRIBUTING.md") if (page := ROOT / name).exists()),
]
FENCE = re.compile(r"^```([\w-]+)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
FAULT = re.compile(r"~ (WIT\d{3})(?:: (.*?))? ~")
TEXT = re.compile(r"~ (.*?) ~")
CODE = re.compile(r"WIT\d{3}")
HEADING = re.compile(r"^### (WIT\d{3}): (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str:
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")

    @property
    def script(self) -> str:
        return self.text if "Job:" in self.text or "whole" in self.words else f"Job:Main()\n{{\n{self.text}}}\n"

    @property
    def line_of_script(self) -> int:
        """The line of the script on which the block's text begins, less one."""
        return 0 if self.script == self.text else 2


@cache
def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match[1], tuple(match[2].split()), match[3]))
    return found


def of(*languages: str) -> list[Any]:
    chosen = [block for block in blocks() if block.language in languages and "skip" not in block.words]
    return [pytest.param(block, id=f"{block.page.name}:{block.line}") for block in chosen]


@cache
def registry() -> Registry:
    """All controllers, those of other distributions too; one extra is never there, for WIT405."""

    class Absent(Render):
        modules = ("no_such_module",)

    Absent.__name__, Absent.__qualname__, Absent.__module__ = "Render", "Render", Render.__module__
    return Registry([Absent() if type(one) is Render else one for one in installed().controllers.values()])


def diagnostics(script: str) -> list[Diagnostic]:
    try:
        return meshwit.compile(script, registry=registry()).warnings
    except meshwit.ScriptError as error:
        return error.diagnostics


def skip_without_extra(found: list[Diagnostic]) -> None:
    for one in found:
        if one.code == "WIT405":
            pytest.skip(one.message)


# --- scripts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of("wit"))
def test_a_script_compiles_and_does_what_it_says(block: Block) -> None:
    try:
        program = meshwit.compile(block.script)
    except meshwit.ScriptError as error:
        errors = [one for one in error.diagnostics if one.severity.value == "error"]
        skip_without_extra(errors)
        pytest.fail(f"{block.page.name}:{block.line}: {[(one.code, one.message) for one in errors]}")
    if "run" in block.words:
        outcome = meshwit.run(program)
        assert outcome.state == "completed", outcome.error
        assert outcome.trace == TEXT.findall(block.text)


@pytest.mark.parametrize("block", of("wit-error"))
def test_a_wrong_script_gives_its_diagnostics(block: Block) -> None:
    found = diagnostics(block.script)
    expected = []
    for number, line in enumerate(block.text.splitlines(), 1):
        expected += [(number, code, message) for code, message in FAULT.findall(line)]
    by_line = []
    for one in found:
        number = block.script.count("\n", 0, one.span[0]) + 1 - block.line_of_script
        message = next((m for n, code, m in expected if (n, code) == (number, one.code)), None)
        by_line.append((number, one.code, one.message if message else ""))
    anywhere = {word for word in block.words if CODE.fullmatch(word)}
    rest = [one for one in by_line if one[1] not in anywhere]
    assert sorted(rest) == sorted(expected)
    assert anywhere <= {one.code for one in found}


# --- Python and commands -------------------------------------------------------------------------------------------


def pages_with(*languages: str) -> list[Any]:
    pages = dict.fromkeys(param.values[0].page for param in of(*languages))
    return [pytest.param(page, id=page.name) for page in pages]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a page: current, and on the module path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    yield tmp_path
    for name in list(sys.modules):
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.update(before)


def hide_module(name: str) -> None:
    """What a page calls its module may be loaded already, from elsewhere; it comes back with the end of the page."""
    for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[loaded]


@pytest.mark.parametrize("page", pages_with("python", "console"))
def test_a_page_of_python_and_commands_runs(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in (one for one in blocks() if one.page == page):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
            if block.file.endswith(".py") and "/" not in block.file:
                hide_module(block.file.removesuffix(".py"))
        if "skip" in block.words:
            continue
        if block.language == "python" and block.file:
            importlib.invalidate_caches()
            importlib.import_module(block.file.removesuffix(".py"))
        elif block.language == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
        elif block.language == "console" and "run" in block.words:
            for command, shown in commands(block.text):
                assert_prints(command, shown, folder)


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines shown below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for part in parts:
        command, *shown = part.rstrip().splitlines()
        yield command, shown


def assert_prints(command: str, shown: list[str], folder: Path) -> None:
    program, *arguments = shlex.split(command)
    assert program == "meshwit", command
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    home = str(folder / "home")
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "NO_COLOR": "1", "MESHWIT_HOME": home}
    ran = subprocess.run(
        [sys.executable, "-m", "meshwit", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = [line.rstrip() for line in (ran.stdout + ran.stderr).splitlines()]
    rest = iter(printed)
    for line in shown:
        if line.strip() and line.strip() != "…":
            assert any(line.rstrip() == one for one in rest), f"{command}: no line `{line}` in {printed}"


# --- diagnostics.md ------------------------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    text = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    parts = HEADING.split(text)[1:]
    return {code: body for code, _, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def test_every_code_is_explained_under_its_title() -> None:
    text = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert HEADING.findall(text) == list(CODES.items())


def test_every_code_that_is_used_is_registered() -> None:
    used = {code for file in (ROOT / "meshwit").rglob("*.py") for code in CODE.findall(file.read_text("utf-8"))}
    assert used == CODES.keys()


TOO_LARGE = {
    "WIT150": "Job:Main() { } " + " " * SourceLimits().source_chars,
    "WIT151": "Job:Main() { Int:n = " + "(" * 150 + "1" + ")" * 150 + "; }",
    "WIT153": "Job:Main() { " + "x = ; " * (SourceLimits().diagnostics + 10) + "}",
}
"""Wrong scripts that no page has room for."""


@pytest.mark.parametrize("code", list(CODES))
def test_every_code_has_a_wrong_example_that_gives_it_and_a_right_one(code: str) -> None:
    shown = [(match[1], match[2].split(), match[3]) for match in FENCE.finditer(sections()[code])]
    if code in TOO_LARGE:
        assert code in {one.code for one in diagnostics(TOO_LARGE[code])}
        return
    assert "wit" in [language for language, _, _ in shown]
    if code == "WIT500":
        wrong = next(text for _, _, text in shown)
        assert meshwit.run(f"Job:Main() {{ {wrong} }}").state == "failed"
        return
    wrong = [([one for one, _ in FAULT.findall(text)], words) for language, words, text in shown if language != "wit"]
    assert any(code in (*in_comments, *words) for in_comments, words in wrong)


# --- what is counted or generated ----------------------------------------------------------------------------------


def test_the_limits_of_the_language_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    text = page[page.index("## Limits") : page.index("## Diagnostics")]
    source, run = SourceLimits(), DEFAULT_LIMITS
    for row in (
        f"| length | {source.source_chars:,} characters |",
        f"| a text literal | {source.string_chars:,} characters |",
        f"| an array literal | {source.array_items:,} items |",
        f"| {source.integer_digits} digits · {source.decimal_chars} characters |",
        f"| blocks in blocks | {source.block_depth} |",
        f"| expressions in expressions | {source.expression_depth} |",
        f"| faults reported | {source.diagnostics:,} |",
        f"| steps (statements, rounds) at the leader | {run.steps:,} |",
        f"| jobs calling jobs | {run.job_depth} deep |",
        f"| branches of a parallel block at a time | {run.branches} |",
        f"| texts of `Trace` kept for the outcome | {run.trace_texts:,} |",
        f"| a `String` | {STRING_CHARS_MAX:,} characters |",
        f"| the text of a value | {TEXT_CHARS_MAX:,} characters, {NESTING_MAX} levels deep |",
        f"| a collection, range or array | {COLLECTION_ITEMS_MAX:,} items |",
    ):
        assert row in text


def test_the_reference_of_activities_is_up_to_date() -> None:
    file = ROOT / "docs" / "generate_activities.py"
    spec = importlib.util.spec_from_file_location("generate_activities", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / "activities.md").read_text(encoding="utf-8")
    assert module.reference() == written, "run: python docs/generate_activities.py"


def mesh_page() -> str:
    return " ".join((ROOT / "docs" / "mesh.md").read_text(encoding="utf-8").split())


def test_the_numbers_of_the_mesh_are_those_of_the_code() -> None:
    page, gossip, links, directory = mesh_page(), GossipConfig(), LinkSettings(), DirectorySettings()
    assert LIMITS[Channel.HANDSHAKE] == LIMITS[Channel.JOIN]
    for text in (
        f"at most {certificates.DEPTH_MAX} long",
        f"It looks for {belonging.BROWSE_S:g} seconds",
        f"within {in_words(codes.CODE_LIFETIME_S / 60)} minutes",
        f"{in_words(codes.WRONG_MAX).capitalize()} wrong tries, over whatever connections, close all codes of",
        f"At most {in_words(codes.CODES_MAX)} are open at a time",
        f"Peers listen on port {address_book.DEFAULT_PORT}, TCP and UDP; if it is taken on one of the next "
        f"{address_book.PORTS_TRIED - 1}",
        f"up to {address_book.ADDRESSES_MAX} addresses each",
        f"in meshes of more than {neighbours.LINKS_MAX} others",
        f"| a frame | {PAYLOAD_BYTES_MAX >> 20} MiB; handshake and joining {LIMITS[Channel.JOIN] >> 10} KiB, gossip "
        f"{LIMITS[Channel.GOSSIP] >> 10} KiB |",
        f"| a connection that has proved nothing | {links.handshake_s:g} s |",
        f"| {links.unproven_max} in all, {links.unproven_per_host_max} of one address, {links.accepts_per_host_s:g}",
        f"| devices that ask to be let in | {links.join_streams_max} at a time |",
        f"| {links.output_bytes_max >> 20} MiB; a link that takes nothing for {links.stalled_s:g} s ends |",
        f"the handshake together | {links.connect_s:g} s |",
        f"| {links.redial_first_s:g} s, doubled up to {links.redial_longest_s:g} s,",
        f"| a datagram | {DATAGRAM_BYTES_MAX:,} bytes, sealed |",
        f"the next is tried {links.attempt_delay_s:g} s after the one before",
        f"| `probe_period_s` | {gossip.probe_period_s} | between two probes; `probe_period_large_s` "
        f"{gossip.probe_period_large_s} in meshes of {gossip.large} and more |",
        f"| `ping_timeout_s` | {gossip.ping_timeout_s} |",
        f"| `indirect` | {gossip.indirect} |",
        f"| `suspicion_min_s` | {gossip.suspicion_min_s} | times log10 of the members, for a suspect that "
        f"{gossip.confirmations} others confirm |",
        f"| `suspicion_max_s` | {gossip.suspicion_max_s} |",
        f"| `gossip_period_s` | {gossip.gossip_period_s} | between two pushes of news, to `fanout` {gossip.fanout}",
        f"| `sync_period_s` | {gossip.sync_period_s} |",
        f"| `revive_period_s` | {gossip.revive_period_s} |",
        f"| `view_max` | {gossip.view_max} |",
        f"A record of at most {gossip.push_bytes_max} bytes",
        f"It is called for {in_words(gossip.dead_s / 3600)} hours",
        f"at the latest after {reports.REFRESH_S:g} s",
        f"on the {directory.k} peers whose ids are nearest",
        f"in meshes of {advertising.WIDE} and more",
        f"Each peer looks at its device every {parts.LOOK_EVERY_S:g} seconds",
        f"after {load.IDLE_AFTER_S / 60:g} minutes without keyboard and mouse",
        f"| `single` | {scores.SINGLE_PER_S:g} units/s |",
        f"| `all` | {scores.ALL_PER_S:g} units/s |",
        f"| `memory` | {scores.MEMORY_GB_S:g} GB/s |",
        f"| `disk` | {scores.DISK_MB_S:g} MB/s |",
        f"| `gpu` | {scores.GPU_TFLOPS:g} TFLOPS |",
    ):
        assert text in page, text


def in_words(number: float) -> str:
    return {3: "three", 6: "six", 8: "eight", 10: "ten"}[int(number)]


def test_the_page_of_the_mesh_has_every_command_with_its_options() -> None:
    page = mesh_page()
    table = page[page.index("## Commands") : page.index("## When devices")]
    said_once = {"--json", "--on", "--home", "--help"}
    assert said_once - {"--help"} <= set(re.findall(r"--[a-z]+", table))
    for name in ("up", "down", "peers", "peer", "invite", "approve", "expel", "leave", "forget", "bench", "doctor"):
        assert f"`meshwit {name}" in table
        shown = table[table.index(f"`meshwit {name}") :]
        for parameter in load_command(name).params:
            options = [one for one in (*parameter.opts, *parameter.secondary_opts) if one.startswith("--")]
            for option in () if getattr(parameter, "hidden", False) else options:
                assert option in said_once or re.search(rf"`{option}[ `]", shown), f"meshwit {name} {option}"
    for name in ("install", *(one for one in load_command("service").commands if one != "install")):
        assert re.search(rf"`(meshwit service )?{name}`", table), name


def test_every_command_stands_in_the_readme() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert name == "version" or f"meshwit {name}" in page, name


def test_what_a_new_device_says_stands_in_the_readme() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\nfound {meshes_text(['anna@vm'])}\n" in page
    for line in approval_lines("almond oracle", "anna@vm"):
        assert f"{line}\n" in page, line


def test_every_simulation_stands_on_the_page_of_the_mesh_with_its_targets() -> None:
    page = (ROOT / "docs" / "mesh.md").read_text(encoding="utf-8")
    rows = page[page.index("## Simulations") :].splitlines()
    for name, scenario in SCENARIOS.items():
        row = next((each for each in rows if each.startswith("|") and f"`{name}`" in each), "")
        assert row, name
        for figure in scenario.figures:
            if figure.limit is not None and figure.unit in ("s", "B/s", "round trips"):
                told = f" {figure.limit / 1024:g} KiB/s" if figure.unit == "B/s" else f" {figure.limit:g} "
                assert told in row, f"{name}: {told}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_into_pages_lead_to_headings() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            aim = page.parent / target if target else page
            headings = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"


def test_files_that_pages_name_exist() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`((?:meshwit|tests|examples|benchmarks|simulations|docs)/[\w/.-]+)`", page.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
