"""Who of several peers meets a requirement, and what the others lack."""

from __future__ import annotations

from meshwit.bench.requirements import parse_requirement
from meshwit.peer.job.capable import capable

GIB = 2**30
PEERS = {
    "den": {"gpu.cuda": "12.4", "memory": 32 * GIB, "site": "berlin"},
    "ott": {"gpu": False, "memory": 4 * GIB, "site": "berlin"},
    "attic": {},
}


def test_the_able_and_what_the_others_lack():
    able, lacks = capable(parse_requirement("gpu.cuda and memory >= 8GiB"), PEERS)

    assert able == ["den"]
    assert lacks == {
        "ott": ["lacks gpu.cuda", "has memory 4.0 GiB, 8 GiB are required"],
        "attic": ["lacks gpu.cuda", "lacks memory, 8 GiB are required"],
    }


def test_whoever_is_asked_of_nothing_is_able():
    assert capable(parse_requirement(""), PEERS) == (["den", "ott", "attic"], {})


def test_no_peer_is_no_peer():
    assert capable(parse_requirement("gpu"), {}) == ([], {})
