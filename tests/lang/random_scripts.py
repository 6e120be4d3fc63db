"""Random scripts that compile: loops, branches, parallel blocks, grids, calls of jobs, failures and who holds them.

Numbers stay in 0 to 96. Every loop ends. The text variable `log` gathers what happened, in order.
"""

from __future__ import annotations

import random

DEPTH_MAX = 4
JOBS = 3


def random_script(seed: int) -> str:
    """A script whose `Main` takes two integers."""
    rng = random.Random(seed)
    jobs = [_Writer(rng, index).job() for index in range(JOBS)]
    return "\n".join(jobs)


class _Writer:
    """Writes one job; it may call the jobs after it."""

    def __init__(self, rng: random.Random, index: int) -> None:
        self.rng = rng
        self.index = index
        self.count = 0
        self.lines: list[str] = []
        self.indent = 1
        self.ints = ["p", "q"]
        self.assignable: list[str] = []
        self.logs = index == 0
        self.budget = 20 if index == 0 else 7

    def job(self) -> str:
        name = "Main" if self.index == 0 else f"Job{self.index}"
        if self.logs:
            self.line('String:log = "";')
        for _ in range(3):
            self.declare("Int", self.number(0))
        while self.budget > 0:
            self.statement(0, in_loop=False)
        if self.index or self.rng.random() < 0.5:
            self.line(self.leave())
        return "\n".join([f"Job:{name}(Int:p, Int:q)", "{", *self.lines, "}"])

    # --- statements ------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def declare(self, type: str, value: str) -> str:
        name = self.name()
        self.line(f"{type}:{name} = {value};")
        if type == "Int":
            self.ints.append(name)
            self.assignable.append(name)
        return name

    def statement(self, depth: int, *, in_loop: bool) -> None:
        self.budget -= 1
        rng = self.rng
        plain = [self.assign, self.assign, self.assign, self.log, self.new, self.grid, self.fail, self.exit, self.pause]
        nested = [self.choice, self.loop, self.loop, self.parallel, self.parallel, self.hold, self.hold, self.group]
        if depth < DEPTH_MAX and self.budget > 0 and rng.random() < 0.5:
            rng.choice(nested)(depth, in_loop)
        else:
            rng.choice(plain)(in_loop)

    def block(self, head: str, depth: int, *, in_loop: bool, item: str = "", first: str = "") -> None:
        """A composite and its body; what the body declares ends with it."""
        ints, assignable = len(self.ints), len(self.assignable)
        self.line(head)
        self.line("{")
        self.indent += 1
        if item:
            self.ints.append(item)
        if first:
            self.line(first)
        for _ in range(self.rng.randint(1, 3)):
            self.statement(depth + 1, in_loop=in_loop)
        self.indent -= 1
        self.line("}")
        del self.ints[ints:], self.assignable[assignable:]

    def assign(self, in_loop: bool) -> None:
        self.line(f"{self.rng.choice(self.assignable)} = {self.number(0)};")

    def new(self, in_loop: bool) -> None:
        self.declare("Int", self.number(0))

    def log(self, in_loop: bool) -> None:
        if self.logs:
            self.line(f'log = log + "{self.rng.choice("abcde")}" + {self.number(1)};')
        else:
            self.assign(in_loop)

    def fail(self, in_loop: bool) -> None:
        unlikely = f"{self.number(1)} == {self.number(1)}"
        self.line(f'If({unlikely}) {{ Trace("boom {self.rng.randint(0, 99)}", true); }}')

    def exit(self, in_loop: bool) -> None:
        if not in_loop and self.rng.random() < 0.6:
            self.new(in_loop)
            return
        ways = [self.leave()] + (["Break;", "Continue;"] * 3 if in_loop else [])
        self.line(f"If({self.condition()}) {{ {self.rng.choice(ways)} }}")

    def leave(self) -> str:
        second = "" if self.index else f", {self.number(1)}"
        return f"Return({self.number(1)}{second});"

    def pause(self, in_loop: bool) -> None:
        self.line("Pause(5);")

    def grid(self, in_loop: bool) -> None:
        rng, item = self.rng, self.name()
        head = rng.choice(["Grid.ForEach", "Grid.ForEach", "Transform.ForEach", "ForEach"])
        arrows = [
            f"Work.Add({item}, {self.number(2)})",
            f"Work.Half({item} * {rng.choice([1, 2, 2])})",
            f"Int({item} * 2)",
        ]
        type = "IntCollection"
        if self.index < JOBS - 1 and rng.random() < 0.4:
            arrows, type = [f"{self.job_name()}({item}, {rng.choice(self.ints)})"], "Array"
        size = rng.randint(1, 4)
        made = self.declare(type, f"{head}({item} in Int.Range(0, {size})) => {rng.choice(arrows)}")
        target = rng.choice(self.assignable)
        if type == "Array":
            self.line(f"{target} = {made}[{rng.randrange(size)}];")
        else:
            self.line(f"ForEach({self.name()} in {made}) {{ {target} = ({target} * 3 + v{self.count}) % 97; }}")

    def choice(self, depth: int, in_loop: bool) -> None:
        self.block(f"If({self.condition()})", depth, in_loop=in_loop)
        if self.rng.random() < 0.4:
            self.block(f"ElseIf({self.condition()})", depth, in_loop=in_loop)
        if self.rng.random() < 0.5:
            self.block("Else", depth, in_loop=in_loop)

    def loop(self, depth: int, in_loop: bool) -> None:
        rng = self.rng
        kind = rng.choice(["Loop", "ForEach", "While", "Timer"])
        if kind == "ForEach":
            item = self.name()
            self.block(f"ForEach({item} in Int.Range(0, {rng.randint(0, 3)}))", depth, in_loop=True, item=item)
        elif kind == "While":
            counter = self.declare("Int", "0")
            self.assignable.remove(counter)
            more = f"{counter} < {rng.randint(1, 3)}"
            self.block(f"While({more})", depth, in_loop=True, first=f"{counter} = {counter} + 1;")
        else:
            self.block(rng.choice(["Loop(2)", f"Timer(10, {rng.choice([15, 30])})"]), depth, in_loop=True)

    def parallel(self, depth: int, in_loop: bool) -> None:
        if self.rng.random() < 0.5:
            self.block("Parallel.Invoke", depth, in_loop=in_loop)
        else:
            item = self.name()
            head = f"Parallel.ForEach({item} in Int.Range(0, {self.rng.randint(0, 4)}))"
            self.block(head, depth, in_loop=True, item=item)

    def hold(self, depth: int, in_loop: bool) -> None:
        self.block("Try", depth, in_loop=in_loop)
        if self.rng.random() < 0.9:
            error = self.name()
            first = f'log = log + " " + {error} + ";";' if self.logs else ""
            self.block(f"Catch(String:{error})", depth, in_loop=in_loop, first=first)

    def group(self, depth: int, in_loop: bool) -> None:
        self.block(self.rng.choice(["Invoke", "Delay(5)"]), depth, in_loop=in_loop)

    # --- expressions -----------------------------------------------------------------------------------------

    def job_name(self) -> str:
        return f"Job{self.rng.randint(self.index + 1, JOBS - 1)}"

    def number(self, depth: int) -> str:
        """An expression in 0 to 96."""
        rng = self.rng
        kind = rng.randrange(9 if depth < 2 else 2)
        if kind == 0:
            return str(rng.randint(0, 20))
        if kind <= 2 or depth >= 2:
            return rng.choice(self.ints)
        if kind == 3:
            return f"Work.Add({self.number(depth + 1)}, {self.number(depth + 1)})"
        if kind == 4:
            return f"Work.Half({self.number(depth + 1)} * {rng.choice([1] + [2] * 15)})"
        if kind == 5 and self.index < JOBS - 1:
            return f"{self.job_name()}({self.number(depth + 1)}, {self.number(depth + 1)})"
        return f"({self.number(depth + 1)} {rng.choice('++*')} {self.number(depth + 1)}) % 97"

    def condition(self) -> str:
        rng = self.rng
        one = f"{self.number(1)} {rng.choice(['<', '=='])} {self.number(1)}"
        if rng.random() < 0.25:
            return f"{one} {rng.choice(['&&', '||'])} {self.number(1)} < {self.number(2)}"
        return one
