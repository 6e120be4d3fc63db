"""Which of two open meshes that were made at the same time gives way. Pure.

Devices that start together may found a mesh each before they see each other. Whoever is alone in one goes over to
another. Where several have met in both already, they go over one by one, all in the same direction, as long as both
meshes are new: to the one with the lowest hash.
"""

from __future__ import annotations

from typing import Final

from meshwit.peer.mesh.sightings import Sighting

STRANGERS_MAX: Final = 64
"""Other meshes that are remembered as near."""
NEW_S: Final = 60.0
"""How old a mesh may be, by the clocks of its founder and of this device, to be given up by more than one peer."""
GATHER_S: Final = 0.25
"""After a mesh was first seen others are waited for so long: each change of mesh is a new start."""
GIVE_WAY_S: Final = 3.0
"""How long a peer that is alone waits for a mesh with a higher hash to give way."""
PAUSES_S: Final = (2.0, 120.0)
"""After a mesh did not let us in: the first pause and the longest; it doubles."""


class _Stranger:
    """A mesh that was seen."""

    def __init__(self, sighting: Sighting, now: float) -> None:
        self.sighting = sighting
        self.since = now
        self.not_before = now + GATHER_S
        self.pause_s = PAUSES_S[0]


class Strangers:
    """The meshes that are near and not ours, open or not. Times are `now`, monotonic seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, _Stranger] = {}

    @property
    def sightings(self) -> list[Sighting]:
        """One member of each, the last that was seen."""
        return [each.sighting for each in self._seen.values()]

    def seen(self, sighting: Sighting, now: float) -> None:
        """A member of another mesh was seen."""
        known = self._seen.get(sighting.mesh_hash)
        if known is not None:
            known.sighting = sighting
        elif len(self._seen) < STRANGERS_MAX:
            self._seen[sighting.mesh_hash] = _Stranger(sighting, now)

    def refused(self, mesh_hash: str, now: float) -> None:
        """That mesh did not let us in: it is not open, or nobody is there any more."""
        known = self._seen.get(mesh_hash)
        if known is not None:
            known.not_before = now + known.pause_s
            known.pause_s = min(2 * known.pause_s, PAUSES_S[1])

    def better(self, own: str, now: float, *, alone: bool, new: bool) -> Sighting | None:
        """A member of the mesh to go over to; None if there is none, or not yet.

        Args:
            own: the hash of the own mesh.
            alone: whether this peer made that and is alone in it.
            new: whether it is so new that all who are in it may go over.
        """
        due = [each for each in self._seen.values() if each.not_before <= now]
        lower = [each for each in due if each.sighting.mesh_hash < own]
        if lower and (alone or new):
            return min(lower, key=lambda each: each.sighting.mesh_hash).sighting
        patient = [each for each in due if now - each.since >= GIVE_WAY_S]
        if patient and alone:
            return min(patient, key=lambda each: each.sighting.mesh_hash).sighting
        return None
