"""All that crosses on Channel.JOB."""

from __future__ import annotations

from typing import TypeAlias

from meshwit.peer.succession.messages import SuccessionMessage
from meshwit.peer.watch.messages import WatchMessage
from meshwit.peer.work.messages import JobMessage

Letter: TypeAlias = JobMessage | SuccessionMessage | WatchMessage
