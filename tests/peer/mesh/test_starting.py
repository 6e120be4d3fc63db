"""How a peer is called, and that it finds a port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket

import pytest

from meshwit.peer.control.options import UpError
from meshwit.peer.mesh.starting import called
from tests.peer.mesh.small_peers import alone_on_this_device, founded, in_a_lab


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    alone_on_this_device(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("wanted", "certified", "name"),
    [
        ("", "den", "den"), ("den", "den", "den"), ("den", "den-2", "den-2"), ("eve", "den", "eve"),
        ("den", "den-too", "den"), ("den", "eve-2", "den"), ("my laptop", "my-laptop-3", "my-laptop-3"),
        ("x" * 64, "x" * 58 + "-2", "x" * 58 + "-2"), ("den", "den-", "den"),
    ],
)  # fmt: skip
def test_a_member_is_called_as_its_owner_wants_with_the_number_that_tells_it_apart(wanted, certified, name):
    assert called(wanted, certified) == name


def test_a_port_that_is_taken_is_told_if_it_was_asked_for(tmp_path):
    async def test(lab):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(UpError, match=f"port {port} cannot be used"):
                await founded(lab, "ada", port=port)

    in_a_lab(tmp_path, test)


def test_a_port_used_before_is_given_up_if_it_is_taken_now(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        port = first.port
        await first.down()
        with socket.socket() as taken:
            if os.name == "posix":  # connections of before may linger
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):  # somebody else has it: as good
                taken.bind(("", port))
                taken.listen()
            await first.up()
            assert first.port != port

    in_a_lab(tmp_path, test)


def test_the_port_used_before_is_used_again(tmp_path):
    async def test(lab):
        port = next(each for each in range(random.randrange(20_000, 32_000), 32_700) if is_free(each))
        first = await founded(lab, "ada", port=port)
        await first.down()
        await first.up()
        assert first.port == port

    in_a_lab(tmp_path, test)


def is_free(port: int) -> bool:
    with socket.socket() as tried, contextlib.suppress(OSError):
        tried.bind(("", port))
        return True
    return False


def test_a_damaged_memory_of_the_last_start_is_no_reason_not_to_start(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        await first.down()
        (first.home / "peers" / "1" / "peer.json").write_bytes(b'{"port": 99999}')
        (first.home / "peers" / "1" / "address_book").write_bytes(b"\x00")
        await first.up()

    in_a_lab(tmp_path, test)


def test_a_start_that_is_called_off_leaves_nothing(tmp_path):
    """At any moment of it: the lab sees what is left."""

    async def test(lab):
        for turns in (0, 1, 5, 20, 60, 120):
            device = lab.device(f"ada{turns}").start()
            for _ in range(turns):
                await asyncio.sleep(0.002)
            await device.cancel()

    in_a_lab(tmp_path, test)
