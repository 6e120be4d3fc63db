"""The talk with the person in front of a device that is to join: what stands on the screen, line by line."""

from __future__ import annotations

import asyncio
import os

import pytest

from meshwit.cli import up_join
from meshwit.cli.up_join import PlainPrompt, TerminalPrompt


@pytest.fixture
def keyboard():
    """A descriptor that is read, and one that is typed at."""
    read, typed = os.pipe()
    yield read, typed
    os.close(typed)  # ends the thread that reads
    os.close(read)


def test_the_question_stands_once_below_all_that_is_told(keyboard, capsys, monkeypatch):
    monkeypatch.setattr(up_join, "QUESTION_AFTER_S", 0.01)
    read, typed = keyboard
    shown = ""

    async def until(text: str) -> None:
        nonlocal shown
        while not shown.endswith(text):
            await asyncio.sleep(0.005)
            shown += capsys.readouterr().err

    async def main() -> None:
        async with asyncio.timeout(20):
            prompt = TerminalPrompt(read)
            asking = asyncio.create_task(prompt.code())
            await asyncio.sleep(0)
            prompt.found(["anna@den"])
            prompt.words("otter violin", "anna@den")
            await until("code: ")
            prompt.found(["anna@den"])
            prompt.say("steals\x1b[2J the screen")
            await until("screen\ncode: ")
            os.write(typed, b"\n")
            await until("code: code: ")
            os.write(typed, b"41-otter-violin\n")
            assert await asking == "41-otter-violin"
            prompt.say("joined")
            await until("joined\n")
            await asyncio.sleep(0.03)

    asyncio.run(main())
    assert (shown + capsys.readouterr().err).splitlines() == [
        "found the mesh anna@den",
        "type the code that `meshwit invite` shows on one of its members",
        "or be let in without a code: this device shows: otter violin",
        "`meshwit approve` on a member of anna@den lets it in; only if that shows the same words",
        "code: ",
        "steals\ufffd[2J the screen",
        "code: code: joined",  # what was typed, and its line breaks, a terminal shows by itself
    ]


def test_a_member_that_lets_in_is_confirmed_while_a_code_might_be_typed(keyboard, capsys, monkeypatch):
    monkeypatch.setattr(up_join, "QUESTION_AFTER_S", 0.0)
    read, typed = keyboard
    question = "does it show `otter violin` there too? (y/n) "
    shown = ""

    async def main() -> list[object]:
        nonlocal shown
        async with asyncio.timeout(20):
            prompt = TerminalPrompt(read)
            asking = asyncio.create_task(prompt.code())
            await asyncio.sleep(0)
            confirming = asyncio.create_task(prompt.confirm("otter violin", "anna@den"))
            for answer, times in ((b"perhaps\n", 1), (b"y\n", 2)):
                while shown.count(question) < times:
                    await asyncio.sleep(0.005)
                    shown += capsys.readouterr().err
                os.write(typed, answer)
            confirmed = await confirming
            os.write(typed, b"41-otter-violin\n")
            return [confirmed, await asking]

    assert asyncio.run(main()) == [True, "41-otter-violin"]


def test_what_the_network_says_cannot_steer_the_terminal_where_nobody_types(capsys):
    prompt = PlainPrompt()
    prompt.found(["anna\x1b[2J"])
    prompt.found(["anna\x1b[2J"])
    prompt.found(["anna\x1b[2J", "ben"])
    prompt.words("otter\x1b[2J violin", "anna")

    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert len(said.splitlines()) == 4
