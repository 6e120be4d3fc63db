"""Steps and calls that no peer can run fail, and say what is lacking."""

from __future__ import annotations

import itertools

import pytest

import meshwit
from meshwit import events
from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.job.capable import PEERS_NAMED_MAX, nobody_can, required
from meshwit.peer.job.effects import Emit, PrepareStep
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.workers import Worker
from meshwit.plugins import Controller, Int, activity, requires_memory
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Special
from meshwit.plugins.variables import ProcessingOptions, Variables
from meshwit.plugins.variables.options import make_options

GIB = 2**30


class Heavy(Controller):
    """Needs memory."""

    @requires_memory("8GiB")
    @activity
    def Run(self, number: Int) -> Int:
        """Runs."""
        return number

    @activity
    def Walk(self, number: Int) -> Int:
        """Walks."""
        return number


REGISTRY = Registry([Variables(), Special(), Grid(), Heavy()])


def lead(body: str, capabilities):
    """Lead a job to its first step or its end: state, message of the failure, effects."""
    program = meshwit.compile(f"Job:Main()\n{{\n{body}\n}}", registry=REGISTRY)
    here = Worker(PeerId("here"), "here", 2, capabilities=capabilities, home=True)
    leader = JobLeader(program, "Main", [], workers=[here], numbers=itertools.count(1), peer="here")
    effects = leader.start(0.0)
    leader.check()
    return leader, effects


CALL = "Int:a = Heavy.Run(1);"
STEP = "IntCollection:a = Grid.ForEach(x in [1, 2]) => Heavy.Run(x);"
SKIP = 'IntCollection:a = Grid.ForEach(x in [1, 2], ProcessingOptions("Queued", OnError: "Skip")) => Heavy.Run(x);'


@pytest.mark.parametrize("body", [CALL, STEP, SKIP])
def test_what_the_peer_cannot_run_fails(body):
    leader, effects = lead(body, {"memory": 4 * GIB})
    assert leader.state is JobState.FAILED
    assert leader.failure.message == "no peer can run `Heavy.Run`: here has memory 4.0 GiB, 8 GiB are required"
    assert (leader.failure.activity, leader.failure.peer) == ("Heavy.Run", "here")
    assert leader.program.line_of(leader.failure.span) == 3
    assert not any(isinstance(each, PrepareStep) for each in effects)
    assert not any(isinstance(each, Emit) and isinstance(each.event, events.StepStarted) for each in effects)


@pytest.mark.parametrize("body", [CALL, STEP, SKIP])
@pytest.mark.parametrize("capabilities", [{"memory": 8 * GIB}, None])
def test_what_it_can_run_or_may_is_run(body, capabilities):
    leader, effects = lead(body, capabilities)
    assert leader.state is JobState.RUNNING
    (prepared,) = [each for each in effects if isinstance(each, PrepareStep)]
    assert str(prepared.settings.requires) == "memory >= 8 GiB"


def test_the_scripts_requirement_and_the_activities_join():
    task = "Heavy.Walk(Heavy.Run(x))"
    body = f'IntCollection:a = Grid.ForEach(x in [1], ProcessingOptions("Queued", Requires: "gpu.cuda")) => {task};'
    leader, _ = lead(body, {"memory": 4 * GIB})
    lacks = "lacks gpu.cuda and has memory 4.0 GiB, 8 GiB are required"
    assert leader.failure.message == f"no peer can run `Heavy.Run`: here {lacks}"
    leader, _ = lead(body, {"memory": 9 * GIB})
    assert leader.failure.message == "no peer can run `Heavy.Walk`: here lacks gpu.cuda"


def test_a_step_of_nothing_needs_nobody():
    leader, _ = lead("IntCollection:none = [];\nIntCollection:a = Grid.ForEach(x in none) => Heavy.Run(x);", {})
    assert leader.state is JobState.COMPLETED


def test_a_failure_that_a_script_can_catch():
    leader, _ = lead(f"Int:b = 0;\nTry()\n{{\n{CALL}\n}}\nCatch(String:e)\n{{\nTrace(e);\n}}", {})
    assert leader.state is JobState.COMPLETED
    assert "no peer can run `Heavy.Run`" in leader.trace[0]


# --- several peers -----------------------------------------------------------------------------------------------

RUN, WALK = (REGISTRY.offer.activities[f"Heavy.{name}"] for name in ("Run", "Walk"))


def test_each_peer_is_told_what_it_lacks_the_nearest_first():
    peers = {
        "cellar": {"memory": 2 * GIB},
        "den": {"memory": 16 * GIB},
        "attic": {"memory": 4 * GIB, "gpu.cuda": "12.4"},
    }
    wanted = required([RUN], "gpu.cuda")
    assert nobody_can([RUN], wanted, peers) == (
        "no peer can run `Heavy.Run`: den lacks gpu.cuda; attic has memory 4.0 GiB, 8 GiB are required; "
        "cellar lacks gpu.cuda and has memory 2.0 GiB, 8 GiB are required"
    )


def test_one_that_can_is_enough():
    peers = {"den": {}, "attic": {"memory": 9 * GIB}}
    assert nobody_can([RUN], required([RUN]), peers) == ""
    assert nobody_can([WALK], required([WALK]), {}) == "no peer can run `Heavy.Walk`: there is no peer"


def test_the_activity_at_fault_is_the_one_that_nobody_can_run():
    peers = {"den": {"memory": 4 * GIB}, "attic": {}}
    assert nobody_can([WALK, RUN], required([WALK, RUN]), peers).startswith("no peer can run `Heavy.Run`: ")
    each_alone = {"den": {"memory": 9 * GIB}}
    assert nobody_can([WALK, RUN], required([WALK, RUN], "gpu"), each_alone) == (
        "no peer can run `Heavy.Walk`: den lacks gpu"
    )
    assert nobody_can([], required([], "gpu"), each_alone) == "no peer can run this step: den lacks gpu"


def test_only_some_peers_are_named():
    peers = {f"peer{number}": {} for number in range(PEERS_NAMED_MAX + 12)}
    message = nobody_can([RUN], required([RUN]), peers)
    assert message.count("lacks memory, 8 GiB are required") == PEERS_NAMED_MAX
    assert message.endswith("; and 12 more")


def test_what_peers_say_cannot_steer_a_terminal_or_be_endless():
    peers = {"\x1b[31m" + "n" * 500: {"site": "\x1b[2J" + "s" * 5000}}
    message = nobody_can([], required([], " and ".join(f"site == 'a{number}'" for number in range(40))), peers)
    assert message.isprintable()
    assert len(message) < 600


def test_options_that_nobody_can_read():
    with pytest.raises(ValueError, match="at character 11"):
        make_options(Requires="memory >= and")
    with pytest.raises(ValueError, match="at character 11"):
        ProcessingOptions(requires="memory >= and")
    with pytest.raises(meshwit.ScriptError) as caught:
        lead('ProcessingOptions:o = ProcessingOptions("Queued", Requires: "memory >= and");', {})
    assert "at character 11" in caught.value.diagnostics[0].message
