"""Membership by SWIM with Lifeguard's health awareness; signed records ride on it."""

from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import (
    Connect,
    Effect,
    Evidence,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Misbehaved,
    RecordChanged,
    Send,
    Why,
)
from meshwit.gossip.members import Member, State
from meshwit.gossip.swim import Gossip

__all__ = [
    "Connect",
    "Effect",
    "Evidence",
    "Gossip",
    "GossipConfig",
    "Member",
    "MemberDied",
    "MemberForgotten",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberSuspected",
    "Misbehaved",
    "RecordChanged",
    "Send",
    "State",
    "Why",
]
