"""A template's source becomes words: Jinja2 in its sandbox, and less of it than the sandbox allows.

Sources are written by people who may not be developers, and rendered in the caller's process. So what a
template may do is a list of what is needed, not of what is forbidden: output, conditions, loops over the
data, some filters. It can't call, import, assign or reach an attribute of a Python object: only the data's
own keys. It ends: a loop stops at `MAX_STEPS`, any rendering at `MAX_SECONDS`, and the text at its length.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    meta,
    nodes,
    pass_context,
)
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.errors import InvalidInput
from shared.texts import check_message

MAX_SOURCE = 8000  # characters
MAX_NODES = 500  # of the syntax tree: one pass through a body of that size over the largest data takes 1 ms
MAX_DEPTH = 30  # of expressions and blocks within each other
MAX_STEPS = 1000  # of all loops of a rendering together
MAX_SECONDS = 0.25
MAX_FILTERED = 20_000  # characters that a filter takes: any text of the data, never a text of many
BUDGET = " budget"  # no template can name it: a name has no space
FILENAME = "<template>"

FILTERS = frozenset(
    {
        "abs",
        "capitalize",
        "default",
        "first",
        "float",
        "int",
        "join",
        "last",
        "length",
        "lower",
        "round",
        "title",
        "trim",
        "truncate",
        "upper",
    }
)
TESTS = frozenset(
    {"defined", "undefined", "none", "string", "number", "sequence", "mapping", "odd", "even", "true", "false"}
)
LOOP_ATTRIBUTES = frozenset({"index", "index0", "first", "last", "length"})

ALLOWED = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat,
    nodes.Filter, nodes.Test, nodes.Keyword,
)  # fmt: skip


class RenderError(Exception):
    """A template that was fine when saved could not be rendered from these data. Names a line and a cause."""


class _Budget:
    """What is left of one rendering's steps and time."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.deadline = time.monotonic() + MAX_SECONDS

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise RenderError(f"it took more than {MAX_SECONDS} s")

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise RenderError(f"its loops took more than {MAX_STEPS} steps")
        self.check_time()


class _Environment(ImmutableSandboxedEnvironment):
    """Keys of the data are all there is: no attribute of a Python object is ever looked up."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})
    intercepted_unops = frozenset({"+", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        try:
            return obj[attribute]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The key may itself be of the data: what is kept of a failure does not name it."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined("there is no such item in [ ]")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers only: `'a' * 10**9` and `'%999999999d' % 1` would fill the memory."""
        _refuse_text(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        _refuse_text(operator, arg)
        return super().call_unop(context, operator, arg)

    def call(self, *_: Any, **__: Any) -> Any:
        raise RenderError("a template can't call")


def _refuse_text(operator: str, *values: Any) -> None:
    for value in values:
        if isinstance(value, Undefined):
            str(value)  # raises what it would say itself: which name is undefined
        if not isinstance(value, (int, float)):
            raise RenderError(f"`{operator}` works on numbers; texts are joined by `~`")


@pass_context
def _stepwise(context: Context, items: Any) -> Iterator[Any]:
    """The items of a loop, while the budget lasts. Wrapped around every loop when it is compiled."""
    if isinstance(items, Undefined):
        str(items)
    if not isinstance(items, (list, tuple, dict, str)):
        raise RenderError("a loop goes over a list")
    budget: _Budget = context[BUDGET]
    for item in items:
        budget.step()
        yield item


def _join(items: Any, separator: str = ", ") -> str:
    """The items in one text. Its own separators are short: over the data's lists they can't grow large."""
    if isinstance(items, Undefined):
        str(items)
    if not isinstance(items, (list, tuple)) or not isinstance(separator, str) or len(separator) > 20:
        raise RenderError("`join` takes a list and a separator of at most 20 characters")
    return separator.join(str(_shown(item)) for item in items)


def _round(value: float, precision: int = 0) -> float:
    """Jinja's own computes 10 to whatever power it is given."""
    if not isinstance(value, (int, float)) or precision not in range(11):
        raise RenderError("`round` takes a number and at most 10 digits")
    return round(value, precision) if precision else round(value)


def _shown(value: Any) -> Any:
    """Nothing for null; a text or number as it is. Lists and objects are refused: Python would show them its way."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple, dict)):
        raise RenderError("a list or an object can't be shown as it is; `join` it, or name one of its keys")
    return value


def _environment(*, escapes: bool) -> _Environment:
    made = _Environment(
        autoescape=escapes, undefined=StrictUndefined, finalize=_shown, keep_trailing_newline=False, optimized=False
    )
    filters = {name: _guarded(made, made.filters[name]) for name in FILTERS - {"join", "round"}}
    made.filters = {**filters, "join": _guarded(made, _join), "round": _guarded(made, _round), "_stepwise": _stepwise}
    made.tests = {name: test for name, test in made.tests.items() if name in TESTS}
    made.globals = {}
    return made


def _guarded(environment: _Environment, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter within the budget: a chain of them over a long text would take minutes."""
    takes_environment = getattr(function, "jinja_pass_arg", None) is not None

    @pass_context
    def guarded(context: Context, *arguments: Any, **named: Any) -> Any:
        budget: _Budget = context[BUDGET]
        budget.check_time()
        if any(isinstance(value, str) and len(value) > MAX_FILTERED for value in arguments):
            raise RenderError(f"a filter takes a text of at most {MAX_FILTERED} characters")
        return function(environment, *arguments, **named) if takes_environment else function(*arguments, **named)

    return guarded


# Text of the data is text: within markup it is escaped, and beside text there is nothing to escape.
TEXT, MARKUP = _environment(escapes=False), _environment(escapes=True)


def check_source(field: str, source: str, known: Iterable[str]) -> None:
    """Refuse what could not be rendered. `known`: the variables that the source may use.

    Raises: InvalidInput naming the field, the line and what is wrong there: the syntax, something a template
    can't do, or a variable that is not known.
    """
    tree = _checked(field, source)
    unknown = meta.find_undeclared_variables(tree) - set(known)
    if unknown:
        line, name = min(
            (node.lineno, node.name)
            for node in tree.find_all(nodes.Name)
            if node.ctx == "load" and node.name in unknown
        )
        raise _fault(field, line, f"unknown variable {name!r}; known are: {', '.join(sorted(known)) or 'none'}")


def variables_of(field: str, source: str) -> set[str]:
    """The variables of the data that a source uses. Raises: InvalidInput, as `check_source`."""
    return set(meta.find_undeclared_variables(_checked(field, source)))


def _checked(field: str, source: str) -> nodes.Template:
    check_message(field, source, MAX_SOURCE)
    try:
        tree = _parsed(source)
        _compiled(source, escapes=False)
    except TemplateSyntaxError as error:
        raise _fault(field, error.lineno, error.message or "bad syntax") from None
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        raise _fault(field, 1, "too deeply nested or too large") from None
    return tree


def render(source: str, data: Mapping[str, Any], longest: int, *, escapes: bool = False) -> str:
    """The text of a checked source. `escapes`: it is markup, and the data in it are text.

    Raises: RenderError naming the line and the cause.
    """
    budget = _Budget()
    chunks: list[str] = []
    try:
        for chunk in _compiled(source, escapes=escapes).generate({**data, BUDGET: budget}):
            chunks.append(chunk)
            longest -= len(chunk)
            if longest < 0:
                raise RenderError("the text grew too long")
            budget.check_time()
    except Exception as error:  # noqa: BLE001  # whatever a template does with data that nobody foresaw
        cause = (
            str(error)
            if isinstance(error, (RenderError, TemplateError))
            else f"{type(error).__name__} in an expression"
        )
        raise RenderError(f"line {_line(error)}: {cause}") from None
    return "".join(chunks).strip()


def _line(error: Exception) -> int:
    """The template's line that an error comes from: Jinja2 puts it into the traceback."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == FILENAME]
    return lines[-1] if lines else 1


def _fault(field: str, line: int, cause: str) -> InvalidInput:
    return InvalidInput(f"{field}: line {line}: {cause}", field=field, line=line, cause=cause)


def _parsed(source: str) -> nodes.Template:
    tree = TEXT.parse(source)
    _check_tree(tree)
    return tree


def _check_tree(tree: nodes.Template) -> None:
    """Raises: TemplateSyntaxError for what is not allowed. Without recursion: the tree may be deep."""
    count = 0
    waiting: list[tuple[nodes.Node, int]] = [(child, 1) for child in tree.iter_child_nodes()]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        cause = _objection(node)
        if cause is None and (count > MAX_NODES or depth > MAX_DEPTH):
            cause = "too deeply nested or too large"
        if cause is not None:
            raise TemplateSyntaxError(cause, node.lineno or 1)
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _objection(node: nodes.Node) -> str | None:
    """Why a node can't stand in a template, or None."""
    if isinstance(node, nodes.Call):
        return "a template can't call"
    if not isinstance(node, ALLOWED):
        return f"`{type(node).__name__.lower()}` is not among what a template can do"
    if isinstance(node, nodes.Filter):
        return (
            None if node.name in FILTERS else f"unknown filter {node.name!r}; known are: {', '.join(sorted(FILTERS))}"
        )
    if isinstance(node, nodes.Test):
        return None if node.name in TESTS else f"unknown test {node.name!r}; known are: {', '.join(sorted(TESTS))}"
    if isinstance(node, nodes.For) and node.recursive:
        return "a loop can't be recursive"
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return f"{node.attr!r} can't be reached"
    if isinstance(node, nodes.Name) and (node.name.startswith("_") or node.name == "self"):
        return f"{node.name!r} can't be a variable"
    return None


@lru_cache(maxsize=256)
def _compiled(source: str, *, escapes: bool) -> Template:
    """Sources never change, so a compiled one is good for ever; a template is safe to share among threads."""
    environment = MARKUP if escapes else TEXT
    tree = _parsed(source)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "_stepwise", [], [], None, None, lineno=loop.iter.lineno)
    tree.set_environment(environment)
    code = environment.compile(tree, filename=FILENAME)
    assert not isinstance(code, str)
    return Template.from_code(environment, code, {})
