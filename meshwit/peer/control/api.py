"""What the peer of this device tells and does for its owner: the seam between a peer and whoever controls it.

A peer implements `PeerApi`; `server.py` offers it on loopback, `client.py` calls it. The records cross as JSON: new
fields have defaults and unknown ones are ignored, so that an older command line reads a newer peer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from meshwit.peer.control.job_script import JobScript

if TYPE_CHECKING:  # every command imports this module, and few have to do with jobs
    from meshwit.codec import Codec
    from meshwit.events import JobEvent
    from meshwit.outcome import Outcome
    from meshwit.peer.control.job_messages import OpenStream
    from meshwit.peer.job.steps import TaskFault

InviteKind = Literal["code", "token"]
Sign = Literal["ok", "warn", "fail"]


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, as this device knows it. What a device does not tell is None.

    Attributes:
        me: whether it is this peer.
        state: `alive`, `suspect`, `dead` or `left`.
        score: throughput of its device; 100 is the reference device.
        share: its part of what all living peers can do together, 0 to 1.
        cores: logical cores that it may use.
        memory: bytes.
        gpus: their names.
        slots: tasks that it runs at the same time; `free_slots` of them are free.
        busy_cores: how many cores are busy, with whatever.
        battery: how full, 0 to 1.
        seen_s: seconds since it was last heard.
        version: of its meshwit.
        system: for people: `Linux 6.1, x86_64`.
        scores: by class: `cpu.single`, `memory`, `gpu`, ...
        controllers: the version of each.
        rates: what was measured by activity, with units, as texts.
        jobs: how many it leads or works for.
        note: what is worth a word about it: that it rests, that its version is older; empty otherwise.
    """

    id: str = ""
    name: str = ""
    me: bool = False
    state: str = "alive"
    score: float = 0.0
    share: float = 0.0
    cores: int = 0
    memory: int = 0
    gpus: list[str] = []
    slots: int = 0
    free_slots: int = 0
    busy_cores: float = 0.0
    battery: float | None = None
    plugged_in: bool | None = None
    temperature_c: float | None = None
    round_trip_s: float | None = None
    seen_s: float | None = None
    address: str = ""
    version: str = ""
    system: str = ""
    capabilities: dict[str, bool | int | float | str] = {}
    scores: dict[str, float] = {}
    controllers: dict[str, str] = {}
    rates: dict[str, str] = {}
    jobs: int = 0
    note: str = ""


class PendingView(msgspec.Struct, frozen=True, kw_only=True):
    """A device that asks to be let in. Its name is what it says of itself; the words are what tells it from another.

    Attributes:
        id: of the device key that it proved.
        words: the two that it shows too.
        since_s: how long it waits.
    """

    id: str = ""
    name: str = ""
    words: str = ""
    address: str = ""
    since_s: float = 0.0


class MeshView(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh, and this peer in it.

    Attributes:
        peers_known: dead ones and those only heard of included.
        open: whether it lets everybody in (`--open`).
        pending: who waits for `meshwit approve`.
        other_meshes: names of meshes seen nearby that are not this one.
        up_s: how long this peer runs.
        port: at which other peers reach it.
        home: the folder of its configuration.
        when: `always`, `idle` or `plugged-in`: when it works for others.
    """

    name: str = ""
    id: str = ""
    me: PeerView = PeerView()
    peers_alive: int = 0
    peers_known: int = 0
    open: bool = False
    pending: list[PendingView] = []
    other_meshes: list[str] = []
    up_s: float = 0.0
    port: int = 0
    home: str = ""
    when: str = "always"


class InviteView(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation: a short code for one device, or a long token for many.

    Attributes:
        text: the code or the token.
        mesh: the name of the mesh that it lets into.
    """

    kind: InviteKind = "code"
    text: str = ""
    expires_in_s: float = 0.0
    mesh: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What `meshwit doctor` found at one point.

    Attributes:
        what: was looked at, and how it is: `multicast: nobody answers on eth0`.
        why: the reason, or what follows from it.
        do: what the person can do; empty where nothing is needed.
    """

    state: Sign = "ok"
    what: str = ""
    why: str = ""
    do: str = ""


class RateView(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one worker process of this device is at an activity.

    Attributes:
        unit: `tasks/s` or `work/s`.
        version: of its controller.
        measured_at: seconds since 1970.
    """

    activity: str = ""
    per_s: float = 0.0
    unit: str = ""
    version: str = ""
    measured_at: float = 0.0


class MeshEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened in the mesh.

    Attributes:
        kind: `joined`, `suspected`, `recovered`, `died`, `left`, `pending`, `admitted`, `expelled`, ...
        peer: the id of the peer concerned; empty if it is none.
        text: the same for people.
        time: seconds since 1970.
    """

    kind: str = ""
    peer: str = ""
    text: str = ""
    time: float = 0.0


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as the peer that tells it knows it.

    Attributes:
        name: in its script, `file`.
        state: `running`, `paused`, `completed`, `failed` or `cancelled`; `interrupted` if it has not ended and nobody
            leads it; `held` if it has stopped with a question.
        started: seconds since 1970; `elapsed_s` ago, or until it ended.
        done: items of the Grid step that it is in, of `total`; both 0 where it is in none.
        leader: the name of the peer that leads it, or led it last.
        peers: by name of a peer: items that it has done.
        standbys: the names of the peers that would lead it on.
        submitter: the name of the peer that was asked to run it.
        held_question: why it is held: what somebody has to do, or to decide (`to_decide`), before it goes on.
    """

    id: str = ""
    name: str = ""
    state: str = "running"
    file: str = ""
    started: float = 0.0
    done: int = 0
    total: int = 0
    leader: str = ""
    peers: dict[str, int] = {}
    elapsed_s: float = 0.0
    standbys: list[str] = []
    submitter: str = ""
    held_question: str = ""
    to_decide: bool = False


class PeerError(Exception):
    """The peer could not do what it was asked to.

    Attributes:
        message: what happened, with the values.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PeerApi(Protocol):
    """A running peer. All methods are called in its event loop; names may be names, ids or short ids of peers.

    What cannot be done raises PeerError. `down` and `leave` return before the peer has stopped: the answer is still
    to be sent.
    """

    def mesh(self) -> MeshView:
        """How the mesh is."""

    def peers(self) -> list[PeerView]:
        """All known peers, this one first."""

    def subscribe(self) -> AsyncIterator[MeshEvent]:
        """Events from now on; bounded, so that the iterator ends if nobody takes them."""

    async def invite(self, kind: InviteKind, hours: float) -> InviteView:
        """A new invitation; a code is valid for ten minutes, a token for `hours`."""

    async def approve(self, name: str) -> str:
        """Let a waiting device in, by its name, id or words; the text tells it."""

    async def expel(self, name: str) -> str:
        """Shut a member out for good, on all peers."""

    async def forget(self, name: str) -> str:
        """Drop a peer that is gone from the table and the address book."""

    async def leave(self) -> str:
        """Leave the mesh for good: say goodbye, delete the membership, then stop."""

    async def down(self) -> None:
        """Stop this peer; it stays a member."""

    async def bench(self) -> PeerView:
        """Measure this device again, and tell all peers."""

    async def rate(self, activity: str, refresh: bool) -> RateView:
        """How fast this device is at an activity: as it is known, or measured now. All peers are told."""

    async def need(self, activities: list[str]) -> None:
        """A job uses these activities: all peers measure, in the background, what they have not measured yet."""

    async def doctor(self) -> list[Finding]:
        """What keeps devices from seeing each other, looked at from inside."""


# --- jobs --------------------------------------------------------------------------------------------------------


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a program of the owner wants led.

    Attributes:
        text: of the script; `filename` is what messages call it.
        job: its name in the script.
        arguments: the values of its parameters, in order. They were bound by whoever submits, against what is
            installed there; blobs among them are in the user's blob store.
        roots: absolute folders that activities may read and write.
        time_limit_s: for one item.
        memory_max_bytes: for one worker process.
        keep_s: how long its outcome is kept after its end.
        standbys: how many peers stand by to lead it on.
    """

    text: str
    filename: str
    job: str
    arguments: list[Any] = []
    roots: tuple[Path, ...] = ()
    time_limit_s: float | None = None
    memory_max_bytes: int | None = None
    keep_s: float = 86400.0
    standbys: int = 2


class JobRun(Protocol):
    """A job of the mesh, led here or by another peer, as long as somebody follows it.

    Called in the event loop of the peer. What changes a job may have to be asked of the peer that leads it: it raises
    PeerError where the owner may not, or nobody leads the job. After the job's end it does nothing.
    """

    @property
    def id(self) -> str:
        """Tells it from all others of the mesh."""

    @property
    def script(self) -> JobScript:
        """What it runs."""

    async def pause(self) -> None:
        """Start no new task."""

    async def resume(self) -> None:
        """Start tasks again."""

    async def cancel(self) -> None:
        """End it; `outcome` returns soon."""

    def detach(self) -> None:
        """Be told nothing more; the job goes on."""

    async def outcome(self) -> Outcome:
        """What it came to, once it has ended. May be cancelled, which does not concern the job.

        Raises:
            PeerError: nobody has it any more.
        """


class StreamRun(Protocol):
    """A stream that is led. Called in the event loop of the peer; asked for something after its end it does nothing."""

    @property
    def id(self) -> str:
        """Tells it from all others."""

    @property
    def slots(self) -> int:
        """Tasks of it that may run at the same time."""

    def append(self, items: list[Any]) -> None:
        """More items, numbered on from those before."""

    def close(self) -> None:
        """No more will come."""

    def cancel(self) -> None:
        """End it."""

    async def ended(self) -> str:
        """Wait for its end; why items are left without an outcome, empty if none are."""


class JobsApi(Protocol):
    """What a peer does about jobs. Called in its event loop.

    Attributes:
        codec: knows the types of all installed controllers, and binds blobs to the user's store.
    """

    @property
    def codec(self) -> Codec:
        """See above."""

    def submit(self, asked: Submission, on_event: Callable[[JobEvent], None]) -> JobRun:
        """Lead a job. Raises PeerError, ScriptError, and ValueError for a parameter that is wrong.

        Args:
            asked: the job.
            on_event: called in the event loop with every event, perhaps before this returns, never after `outcome`
                has returned; it does not block and does not raise.
        """

    def open_stream(
        self, asked: OpenStream, on_outcomes: Callable[[list[tuple[int, Any | TaskFault]]], None]
    ) -> StreamRun:
        """Lead a stream. Raises PeerError, and ValueError for what cannot be called so.

        Args:
            asked: which call.
            on_outcomes: called in the event loop, never after `ended` has returned; does not block nor raise.
        """

    def plan(self, asked: Submission) -> list[str]:
        """How each Grid step would be shared out, for people; nothing is run. Raises what `submit` raises."""

    async def jobs(self, like: str = "") -> list[JobView]:
        """Those of the whole mesh that have not ended and the last that have, the newest first. Never raises: peers
        that do not answer are left out.

        Args:
            like: how an id begins, or a name: then the last of those, however many have ended since.
        """

    async def attach(self, job: str, on_event: Callable[[JobEvent], None]) -> JobRun:
        """Follow a job of the mesh. Raises PeerError.

        Args:
            job: its whole id.
            on_event: as for `submit`. Of a job that runs it is told first what its watcher needs to know:
                `JobStarted`, and `StepStarted` for each Grid step that has not ended.
        """

    async def resume(self, job: str, again: bool | None) -> str:
        """Lead a job on that is interrupted or held; gives its id. Raises PeerError.

        Args:
            job: its whole id.
            again: whether what must not run twice, and may have run, is run again; if not, it has failed. None where
                that was not decided: a job that is held stays so.
        """

    async def abandon(self, job: str) -> bool:
        """End a job that is interrupted or held, for good; whether it did: not where somebody leads it now. Raises
        PeerError.

        Args:
            job: its whole id.
        """

    async def explain(self, job: str, item: int | None) -> list[str]:
        """Why a job, or one item of its Grid step, is where it is, for people. Raises PeerError.

        Args:
            job: its whole id.
            item: the position in the step; None for the whole job.
        """
