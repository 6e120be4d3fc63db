"""Addresses: one spelling each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.wire.addresses import address_text, from_socket, normalised, parse_address
from meshwit.peer.wire.budget import Budget, Gate, host_group


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7:7000", ("10.0.0.7", 7000)),
        ("10.0.0.7", ("10.0.0.7", 5)),
        ("Den.local:7000", ("den.local", 7000)),
        ("[2001:DB8::0:1]:7000", ("2001:db8::1", 7000)),
        ("::1", ("::1", 5)),
        ("[::ffff:10.0.0.7]:7000", ("10.0.0.7", 7000)),
        ("[fe80::1%eth0]:7000", ("fe80::1%eth0", 7000)),
        ("2001:db8::1%3", ("2001:db8::1", 5)),
    ],
)
def test_every_spelling_of_an_address_becomes_one(text, address):
    assert parse_address(text, 5) == address
    assert parse_address(address_text(address)) == address


@pytest.mark.parametrize(
    "text", ["", ":7000", "host:", "host:x", "host:70000", "[::1", "[::1]7", "a b", "1::2::3", "a/b"]
)
def test_what_is_no_address_is_said(text):
    if text == "host:":
        assert parse_address(text, 5) == ("host", 5)
        return
    with pytest.raises(ValueError, match="is no"):
        parse_address(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text):
    try:
        host, port = parse_address(text)
    except ValueError:
        return
    assert normalised(host, port) == (host, port)


def test_what_sockets_tell():
    assert from_socket(("::ffff:127.0.0.1", 7000, 0, 0)) == ("127.0.0.1", 7000)
    assert from_socket(("fe80::1", 7000, 0, 2)) == ("fe80::1%2", 7000)
    assert from_socket(("10.0.0.7", 7000)) == ("10.0.0.7", 7000)


def test_a_gate_counts_in_all_by_host_and_over_time():
    gate = Gate(total_max=3, per_host_max=2, per_host_s=1.0)
    assert [gate.enter("a", 0), gate.enter("a", 0), gate.enter("a", 0)] == [True, True, False]
    assert [gate.enter("b", 0), gate.enter("c", 0)] == [True, False]
    gate.leave("a")
    gate.leave("nobody")
    assert gate.enter("c", 0)
    short = Gate(total_max=9, per_host_max=9, per_host_s=1.0)
    for _ in range(4):
        assert short.enter("a", 0)
        short.leave("a")
    assert not short.enter("a", 0), "four at once, then one a second"
    assert short.enter("a", 1)


def test_a_budget_comes_back_with_time():
    budget = Budget(per_s=2, burst=3)
    assert [budget.spend("a", 0) for _ in range(4)] == [True, True, True, False]
    assert budget.spend("b", 0)
    assert [budget.spend("a", 1.0) for _ in range(3)] == [True, True, False]
    assert budget.left("a", 1000) == 3


def test_an_ipv6_network_counts_as_one_host():
    assert host_group("2001:db8::1") == host_group("2001:db8::ffff:2")
    assert host_group("2001:db8:0:1::1") != host_group("2001:db8::1")
    assert host_group("fe80::1%2") != host_group("fe80::2%2")
    assert host_group("10.0.0.7") == "10.0.0.7"
