"""The software that a job goes by: the packages that bring its types and activities, and their versions. Core.

Devices may have a package in other versions, and those may give other results. All that is computed for one job comes
of versions compatible with those of the device where it began: its leader gives tasks to no other peer, a peer at work
refuses what wants others (what a leader knows of it may be old), and who lacks them does not lead the job on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

Software: TypeAlias = dict[str, str]
"""Versions by package."""


class Owner(msgspec.Struct, frozen=True):
    """The controller of an activity or type: how peers call it (`module:class`), and its version."""

    reference: str
    version: str

    @property
    def package(self) -> str:
        """Where it comes from; all of a package have one version."""
        return package_of(self.reference)


def package_of(reference: str) -> str:
    """The package of a controller or module by its reference."""
    return reference.partition(":")[0].partition(".")[0]


def compatible(version: str, wanted: str) -> bool:
    """Whether two versions of a controller give the same results: by semantic versioning, the first number above 0."""
    ours, theirs = wanted.split("."), version.split(".")
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            return False
        if one != "0":
            return True
    return ours == theirs


def installed(owners: Mapping[str, Owner]) -> Software:
    """The software of this device; `owners` by the activity, or `type` and the type, that is theirs."""
    return {owner.package: owner.version for owner in owners.values()}


def wanted_for(names: Iterable[str], owners: Mapping[str, Owner]) -> Software:
    """The software that these activities and types come from."""
    found = (owners.get(name) or owners.get(f"type {name}") for name in names)
    return installed({owner.reference: owner for owner in found if owner is not None})


def unlike(here: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Why software does not do where other is wanted, for people; empty if it does."""
    reasons = []
    for package, version in sorted(wanted.items()):
        there = here.get(package)
        if there is None:
            reasons.append(f"has no {package}")
        elif not compatible(there, version):
            reasons.append(f"has {package} {there}, the job wants {version}")
    return " and ".join(reasons)
