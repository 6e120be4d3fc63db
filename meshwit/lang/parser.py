"""The parser: source text to syntax tree and diagnostics.

`parse` takes any text: it raises nothing, it ends, and it reports every fault once. Jobs are read here, statements and
expressions in the modules of those names; how reading goes on after a fault is in `recovery.py`. A statement that
cannot be read is missing from the tree, but a declaration whose value cannot be read stays, so that its name is known.
"""

from __future__ import annotations

from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.recovery import BrokenStatementError, TooManyFaultsError
from meshwit.lang.statements import StatementParser
from meshwit.lang.tokens import END, NAME, SourceLimits, tokenize
from meshwit.lang.tree import ArrayLiteral, Expression, File, Job, Literal, Name, Parameter

DEFAULT_LIMITS = SourceLimits()


def parse(text: str, limits: SourceLimits = DEFAULT_LIMITS) -> tuple[File, list[Diagnostic]]:
    """The syntax tree of a script and its syntax faults in source order; never raises."""
    tokens = tokenize(text, limits)
    parser = _Parser(text, tokens, limits)
    jobs: list[Job] = []
    try:
        parser.read_file(jobs)
    except TooManyFaultsError:
        pass
    except RecursionError:  # the caller's own stack was nearly full
        message = "this is nested too deeply to be read here"
        tokens.diagnostics.append(Diagnostic("WIT151", message, parser.span(parser.pos)))
    found = sorted(tokens.diagnostics, key=lambda diagnostic: diagnostic.span)
    if len(found) >= limits.diagnostics:
        last = found[-1].span
        found.append(Diagnostic("WIT153", f"more than {limits.diagnostics} faults; the rest is not shown", last))
    return File(tuple(jobs)), found


class _Parser(StatementParser):
    """Jobs and the file."""

    __slots__ = ()

    def read_file(self, jobs: list[Job]) -> None:
        """Adds the jobs of the file to `jobs`."""
        while self.kinds[self.pos] != END:
            if not self.begins_job(self.pos):
                self._skip_outside()
                continue
            try:
                jobs.append(self._job())
            except BrokenStatementError:
                self._skip_broken_job()
        if not jobs and not self.diagnostics:
            help = "write `Job:Main()` and its statements between `{` and `}`"
            self.report("WIT120", "the file holds no job", (0, 0), help=help)

    def _skip_outside(self) -> None:
        """Reports and skips what stands outside the jobs, as one fault up to the next job."""
        first = self.pos
        self._skip_to_job()
        last, self.pos = self.pos, first
        if all(kind in ("}", ";") for kind in self.kinds[first:last]):
            if "}" in self.kinds[first:last]:
                self.report("WIT103", "this `}` closes nothing", self.span(first), help="")
        else:
            help = "a job is written `Job:Name() { … }`, and its statements stand between the braces"
            self.report("WIT121", "this stands outside a job", self.span(first, last - 1), help=help)
        self.pos = last

    def _skip_broken_job(self) -> None:
        """Behind a head that cannot be read, reads the job's statements for their own faults."""
        self.openers.clear()
        while self.kinds[self.pos] not in ("{", END) and not self.begins_job(self.pos):
            self.pos += 1
        if self.kinds[self.pos] == "{":
            self.job_opener = self.pos
            self.block()

    def _skip_to_job(self) -> None:
        while self.kinds[self.pos] != END and not self.begins_job(self.pos):
            self.pos += 1

    def _job(self) -> Job:
        """`Job:Name(parameters) { statements }`."""
        first = self.pos
        kinds = self.kinds
        if self.texts[first] != "Job":
            message = f"`{self.texts[first]}` is written `Job`"
            self.report("WIT135", message, self.span(first), "did you mean `Job`?")
        self.pos += 1
        if kinds[self.pos] == ":":
            self.pos += 1
        else:
            at = self.gap_before(self.pos)
            self.report("WIT122", "missing `:` between `Job` and the job's name", at, "expected `:`")
        name = self.plain_name("the job's name")
        parameters: list[Parameter] = []
        if kinds[self.pos] == "(":
            self._parameters(parameters)
        else:
            message = "a job's name is followed by its parameters in parentheses"
            help = f"without parameters: `Job:{name.text[:40]}()`"
            self.report("WIT122", message, self.gap_before(self.pos), "expected `()`", help)
        while kinds[self.pos] == ";":
            self.report("WIT122", "no `;` stands behind a job's head", self.span(self.pos))
            self.pos += 1
        if kinds[self.pos] != "{":
            message = f"a job's statements are missing, found {self.shown(self.pos)}"
            self.fail("WIT122", message, self.gap_before(self.pos), "expected `{`")
        self.job_opener = self.pos
        body = self.block()
        return Job(name, tuple(parameters), body, (self.starts[first], body.span[1]))

    def _parameters(self, parameters: list[Parameter]) -> None:
        """Adds those of `(Type:name, Type:name = literal)`; behind a fault it goes on at the job's statements."""
        opener = self.pos
        kinds = self.kinds
        self.open_bracket(opener)
        try:
            while kinds[self.pos] != ")":
                parameters.append(self._parameter())
                kind = kinds[self.pos]
                if kind == ",":
                    self.pos += 1
                    if kinds[self.pos] == ")":
                        self.report("WIT123", "a parameter is missing after `,`", self.gap_before(self.pos))
                elif kind != ")" and not self.item_goes_on(opener, list_of="the parameters"):
                    break
            self.leave_bracket(opener)
        except BrokenStatementError:
            self.openers.clear()
            while kinds[self.pos] not in ("{", "}", END) and not self.begins_job(self.pos):
                self.pos += 1

    def _parameter(self) -> Parameter:
        first = self.pos
        kinds = self.kinds
        if kinds[first] != NAME:
            label = f"expected `Type:name`, found {self.shown(first)}"
            self.fail("WIT123", "a parameter is missing", self.gap_before(first), label)
        following = kinds[first + 1]
        if following == NAME:
            self.report_no_colon(first)
            self.pos = first + 1
        elif following == ":":
            self.pos = first + 2
        else:
            help = f"write `Type:{self.word(first)}`"
            self.fail("WIT123", f"the parameter `{self.word(first)}` has no type", self.span(first), help=help)
        type_name = Name(self.texts[first], self.span(first))
        name = self.plain_name("the parameter's name")
        default: Expression | None = None
        if kinds[self.pos] == "=":
            self.pos += 1
            default = self.value()
            if not _is_constant(default):
                message = "a parameter's default is a literal"
                self.report("WIT123", message, default.span, "this has to be computed", "compute it in the job")
        return Parameter(type_name, name, default, (self.starts[first], self.ends[self.pos - 1]))


def _is_constant(value: Expression) -> bool:
    """Whether a value is a literal, an array of literals, or a number with a sign."""
    match value:
        case Literal():
            return True
        case ArrayLiteral(items):
            return all(map(_is_constant, items))
    return False
