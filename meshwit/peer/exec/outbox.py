"""What a pool sends to its worker processes: messages as frames, values in segments or inline.

The programs of steps are placed once for all workers. What is sent to a worker leaves with the next `flush`, in one
piece: a worker that is waiting wakes once. Nothing here decides or waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.codec import Buffer
from meshwit.peer.exec.frames import frame, split_inline
from meshwit.peer.exec.messages import Encoded, Freed, Prepare, Run, ToWorker, write_message
from meshwit.peer.exec.pool_effects import SendRun
from meshwit.peer.exec.segments import Segments
from meshwit.peer.exec.worker_process import WorkerProcess


class Outbox:
    """Messages to the workers of a pool, by slot; an empty slot gets none.

    Attributes:
        programs: of the steps known, by id.
    """

    def __init__(self, workers: Sequence[WorkerProcess | None], segments: Segments) -> None:
        """Look for the worker of a slot in ``workers``, at each message anew."""
        self._workers = workers
        self._segments = segments
        self.programs: dict[int, tuple[Encoded, list[memoryview]]] = {}
        self._unsent: dict[WorkerProcess, list[bytes | memoryview]] = {}

    def keep(self, step_id: int, header: bytes, buffers: Sequence[Buffer]) -> None:
        """Place the program of a step, for all workers."""
        places, inline = self._segments.place_all([memoryview(buffer) for buffer in buffers], f"step{step_id}")
        self.programs[step_id] = (Encoded(header, places), inline)

    def forget(self, step_id: int) -> None:
        """Let the program of a step go."""
        if self.programs.pop(step_id, None) is not None:
            self._segments.let_go(f"step{step_id}")
            self._segments.trim()

    def send(self, slot: int, message: ToWorker, inline: Sequence[memoryview] = ()) -> None:
        """Send a message. Raises FrameError if it is too large."""
        worker = self._workers[slot]
        if worker is not None:
            pieces = self._unsent.setdefault(worker, [])
            pieces += frame(write_message(message), inline)
            dropped = self._segments.take_dropped(worker.name)
            if dropped:
                pieces += frame(write_message(Freed(dropped)))

    def flush(self) -> None:
        """Have everything sent."""
        unsent, self._unsent = self._unsent, {}
        for worker, pieces in unsent.items():
            worker.send(pieces)

    def send_program(self, slot: int, step_id: int) -> None:
        """Send the program of a step. Raises FrameError if it is too large."""
        worker = self._workers[slot]
        if worker is not None:
            program, inline = self.programs[step_id]
            self._segments.share(program.places, worker.name)
            self.send(slot, Prepare(step_id, program), inline)

    def send_run(self, run: SendRun, header: bytes, buffers: Sequence[memoryview]) -> None:
        """Send items, encoded as one list. Raises FrameError if they are too large."""
        worker = self._workers[run.slot]
        if worker is not None:
            places, inline = self._segments.place_all(buffers, worker.name)
            message = Run(run.serial, run.step_id, len(run.positions), Encoded(header, places))
            self.send(run.slot, message, inline)

    def arrived(self, values: Encoded, inline: memoryview, sender: str) -> list[Buffer]:
        """The buffers of a value that a worker sent. Raises FrameError, SegmentError where there are none such."""
        here = split_inline(values.places, inline)
        return [next(here) if isinstance(p, int) else self._segments.view(p, sender) for p in values.places]
