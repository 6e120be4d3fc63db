"""Random jobs for a mesh: loops, branches, grids and chains of them, parallel blocks, called jobs, failures and who
holds them, values of chance that must stay what they were.

Every call of an activity carries the number of its job (`tag`) and of its place. Numbers stay in 0 to 96. Every loop
ends. A grid that may fail has one item that does: which failure is told would be chance otherwise.
"""

from __future__ import annotations

import random

DEPTH_MAX = 3
JOBS = 3
MAIN_BUDGET = 14
OTHER_BUDGET = 4


def random_script(seed: int) -> str:
    """A script whose `Main` takes three integers, the first of them its tag."""
    rng = random.Random(seed)
    return "\n".join(_Writer(rng, index).job() for index in range(JOBS))


class _Writer:
    """Writes one job; it may call the jobs after it."""

    def __init__(self, rng: random.Random, index: int) -> None:
        self.rng = rng
        self.index = index
        self.count = 0
        self.sites = 100 * index
        self.lines: list[str] = []
        self.indent = 1
        self.ints = ["p", "q"]
        self.assignable: list[str] = []
        self.logs = index == 0
        self.budget = MAIN_BUDGET if self.logs else OTHER_BUDGET

    def job(self) -> str:
        """Its text."""
        if self.logs:
            self.line('String:log = "";')
        for _ in range(2):
            self.new("Int", self.number(0))
        while self.budget > 0:
            self.statement(0, in_loop=False)
        if self.index or self.rng.random() < 0.5:
            self.line(self.leave())
        name = "Main" if self.logs else f"Job{self.index}"
        return "\n".join([f"Job:{name}(Int:tag, Int:p, Int:q)", "{", *self.lines, "}"])

    # --- statements --------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def call(self, activity: str, *arguments: object) -> str:
        self.sites += 1
        return f"Exam.{activity}(tag, {', '.join(map(str, (self.sites, *arguments)))})"

    def new(self, type: str, value: str) -> str:
        name = self.name()
        self.line(f"{type}:{name} = {value};")
        if type == "Int":
            self.ints.append(name)
            self.assignable.append(name)
        return name

    def statement(self, depth: int, *, in_loop: bool) -> None:
        self.budget -= 1
        rng = self.rng
        plain = [self.assign, self.log, self.grid, self.grid, self.chain, self.fail, self.exit, self.pause, self.chance]
        nested = [self.choice, self.loop, self.loop, self.parallel, self.parallel, self.hold, self.hold, self.hold]
        if depth < DEPTH_MAX and self.budget > 0 and rng.random() < 0.45:
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

    def log(self, in_loop: bool) -> None:
        if self.logs:
            self.line(f'log = log + "{self.rng.choice("abcde")}" + {self.number(1)};')
        else:
            self.new("Int", self.number(0))

    def fail(self, in_loop: bool) -> None:
        unlikely = f"{self.number(1)} == {self.number(1)}"
        self.line(f'If({unlikely}) {{ Trace("boom {self.rng.randint(0, 99)}", true); }}')

    def exit(self, in_loop: bool) -> None:
        if not in_loop and self.rng.random() < 0.7:
            self.assign(in_loop)
            return
        ways = [self.leave()] + (["Break;", "Continue;"] * 3 if in_loop else [])
        self.line(f"If({self.condition()}) {{ {self.rng.choice(ways)} }}")

    def leave(self) -> str:
        second = "" if self.index else f", {self.number(1)}"
        return f"Return({self.number(1)}{second});"

    def pause(self, in_loop: bool) -> None:
        self.line(f"Pause({self.rng.choice([5, 40, 200])});")

    def grid(self, in_loop: bool) -> None:
        """A grid, its results counted into a variable."""
        rng, item = self.rng, self.name()
        size = rng.randint(2, 12)
        head, arrow, type = self.arrow(item, size)
        made = self.new(type, f"Grid.ForEach({item} in Int.Range(0, {size}){head}) => {arrow}")
        self.gather(made, type, size)

    def arrow(self, item: str, size: int) -> tuple[str, str, str]:
        """Its options, its call, and the type of its results."""
        rng = self.rng
        options = rng.choice(['"Queued"', '"Balanced"', '"Adaptive"'])
        kind = rng.randrange(7)
        if kind == 0 and self.index < JOBS - 1:
            return "", f"{self.job_name()}(tag, {item}, {rng.choice(self.ints)})", "Array"
        if kind == 1:
            skipping = f', ProcessingOptions({options}, Retries: {rng.randint(0, 1)}, OnError: "Skip")'
            return skipping, self.call("Half", item), "IntCollection"
        if kind == 2:
            return f", ProcessingOptions({options}, Retries: 1)", self.call("Second", item), "IntCollection"
        if kind == 3:
            bad = rng.randint(0, size * 3)  # mostly none of the items
            return f", {options}", self.call("Unless", item, bad), "IntCollection"
        if kind == 4:
            return "", self.call("Add", item, self.number(2)), "IntCollection"
        return f", {options}", self.call("Add", item, rng.choice(self.ints)), "IntCollection"

    def gather(self, made: str, type: str, size: int) -> None:
        target = self.rng.choice(self.assignable)
        if type == "Array":
            self.line(f"{target} = {made}[{self.rng.randrange(size)}];")
            return
        each = self.name()
        self.line(f"ForEach({each} in {made}) {{ If({each} != NULL) {{ {target} = ({target} * 3 + {each}) % 97; }} }}")

    def chain(self, in_loop: bool) -> None:
        """Grids over the results of grids."""
        rng, size = self.rng, self.rng.randint(2, 10)
        source = f"Int.Range({rng.randint(0, 5)}, {size + 5})"
        for _ in range(rng.randint(2, 3)):
            item = self.name()
            call = self.call("Add", item, rng.choice(self.ints))
            source = self.new("IntCollection", f"Grid.ForEach({item} in {source}) => {call}")
        self.gather(source, "IntCollection", size)

    def chance(self, in_loop: bool) -> None:
        """A value of chance: whoever leads the job on must go on with the same one."""
        guid, item, each, target = self.name(), self.name(), self.name(), self.rng.choice(self.assignable)
        self.line("Invoke()")
        self.line("{")
        self.indent += 1
        self.line(f"String:{guid} = String(NewGuid());")
        made = self.name()
        call = self.call("Echo", item, guid)
        items = f"Int.Range(0, {self.rng.randint(2, 6)})"
        self.line(f"StringCollection:{made} = Grid.ForEach({item} in {items}) => {call};")
        self.line(f"ForEach({each} in {made}) {{ If({each} == {guid}) {{ {target} = ({target} * 5 + 1) % 97; }} }}")
        self.indent -= 1
        self.line("}")

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
            counter = self.new("Int", "0")
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
            head = f"Parallel.ForEach({item} in Int.Range(0, {self.rng.randint(1, 4)}))"
            self.block(head, depth, in_loop=True, item=item)

    def hold(self, depth: int, in_loop: bool) -> None:
        self.block("Try", depth, in_loop=in_loop)
        if self.rng.random() < 0.9:
            error = self.name()
            first = f'log = log + " " + {error} + ";";' if self.logs else ""
            self.block(f"Catch(String:{error})", depth, in_loop=in_loop, first=first)

    # --- expressions -------------------------------------------------------------------------------------------------

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
            return self.call("Add", self.number(depth + 1), self.number(depth + 1))
        if kind == 4:
            return self.call("Half", f"{self.number(depth + 1)} * {rng.choice([1] + [2] * 15)}")
        if kind == 5 and self.index < JOBS - 1:
            return f"{self.job_name()}(tag, {self.number(depth + 1)}, {self.number(depth + 1)})"
        return f"({self.number(depth + 1)} {rng.choice('++*')} {self.number(depth + 1)}) % 97"

    def condition(self) -> str:
        rng = self.rng
        one = f"{self.number(1)} {rng.choice(['<', '=='])} {self.number(1)}"
        if rng.random() < 0.25:
            return f"{one} {rng.choice(['&&', '||'])} {self.number(1)} < {self.number(2)}"
        return one
