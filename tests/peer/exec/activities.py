"""Activities for the tests of worker processes; ``load`` maps names to them. Imported inside workers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from meshwit.codec import Codec
from meshwit.peer.blobs.store import BlobStore


def noop(item):
    return item


def double(item):
    return item * 2


def zeros(item):
    return bytes(item)


def pid(item):
    return os.getpid()


def slowly(item):
    time.sleep(item)
    return item


def when_there(item):
    """Ends as soon as there is a file of that path; the empty path is there."""
    while item and not Path(item).exists():
        time.sleep(0.002)
    return item


def segfault_on_3(item):
    if item == 3:
        ctypes.string_at(0)
    return item


def exit_on_3(item):
    if item == 3:
        os._exit(3)
    return item


def sys_exit_on_3(item):
    if item == 3:
        sys.exit("enough")
    if item == 4:
        raise KeyboardInterrupt
    return item


def killed_once(item):
    """Dies the first time that it gets the path of a file that is not there."""
    path = Path(item)
    if path.name == "fatal" and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def fork_and_die(item):
    """Leave a forked child that holds our pipes open, then die."""
    if os.fork() == 0:
        time.sleep(600)
    Path(item).write_text(f"{os.getpid()}\n")
    os._exit(5)


def forever_on_3(item):
    while item == 3:
        pass
    return item


def log_then_forever(item):
    """Notes that it ran, in the file that is the second half of the item."""
    number, path = item
    with open(path, "a") as log:
        log.write(f"{number}\n")
    while number == 3:
        time.sleep(1)
    return number


def hog_on_3(item):
    if item == 3:
        held = []
        while True:
            held.append(bytes(bytearray(os.urandom(1 << 20)) * 16))
            time.sleep(0.005)
    return item


def hog_in_child(item):
    code = "import os, time\nx = bytearray(os.urandom(1 << 20)) * 300\ntime.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=False)
    return item


def say(item):
    print("python", item)
    print("error", item, end="", file=sys.stderr)
    os.write(1, b" raw")
    return item


def say_from_c(item):
    ctypes.CDLL(None).printf(b"from C %d", item)
    return item


def say_on_even(item):
    if item % 2 == 0:
        print(item)
    return item


def say_much(item):
    print("x" * item)
    return item


def fail_on_3(item):
    if item == 3:
        inner(item)
    return item


def inner(item):
    raise ValueError(f"three is {item}")


class BadMessageError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def bad_message(item):
    raise BadMessageError


def recurse(item):
    return recurse(item) + 1


def unencodable_on_3(item):
    return object() if item == 3 else item


def with_grandchild(item):
    """Start a process that outlives us if nobody ends it, in our group and in one of its own; note their ids."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
    Path(item).write_text(" ".join(str(each.pid) for each in children) + "\n")
    for child in children:
        child.wait()


def hold_the_gil(item):
    """Note our id, then search in a way that never ends and never lets another thread run."""
    Path(item).write_text(f"{os.getpid()}\n")
    re.match(r"(a+)+$", "a" * 60 + "b")


def busy(item):
    Path(item).write_text(f"{os.getpid()}\n")
    while True:
        pass


def keep(item, kept=[]):  # noqa: B006 - kept on purpose, across calls
    kept.append(item)
    return float(sum(each.sum() for each in kept))


def array_sum(item):
    return float(item.sum())


def write_in_place(item):
    item += 1


ACTIVITIES = {name: each for name, each in globals().items() if callable(each) and not isinstance(each, type)}


def blob_codec(setup):
    """The codec of workers whose values may be blobs."""
    return Codec([BlobStore(Path(setup["folder"])).wire_type()])


def load(program):
    match program:
        case "unloadable":
            raise ImportError("no such controller")
        case "deadly":
            os._exit(9)
        case ["shared", array]:
            return lambda item: float(array[item])
        case ["when there", path]:
            when_there(path)
            return pid
        case ["codec", _]:
            return noop
    return ACTIVITIES[program]


with contextlib.suppress(KeyError):
    if os.environ["MESHWIT_TEST_START"] == "fail":
        print("the controller's library is broken", file=sys.stderr)
