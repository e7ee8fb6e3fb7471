"""docs/specification-map.md, read: which line of the specification is held by which code and which test.

`specification.txt` keeps the specification's lines with their numbers: headings, bullets, numbered lines, code.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.system import ROOT

LINES = Path(__file__).with_name("specification.txt")
MAP = ROOT / "docs" / "specification-map.md"
ROW = re.compile(r"\| (\d+)(?:–(\d+))? \| (.+?) \| (.+?) \| (.+?) \|(?: (.+?))? \|")
NAME = re.compile(r"\| `([^`]+)` \| (.+?) \| (.+?) \|")
SPAN = re.compile(r"`([^`]+)`")
REFERENCE = re.compile(r"([^:\[]+)(?::([^\[]+))?(?:\[(.+)\])?")
# Words of Python, JavaScript, Django, HTML and the shell, and what the examples call their own.
NOT_NAMES = frozenset(
    """
    BACKEND CONFIG DEBUG Date GET INSTALLED_APPS JSON OPEN POST Redis WebSocket admin_user apt backend badge batch
    cd channel_layer channel_name className clients cli close const count create_connection default div enable f fetch
    filter function get getLogger group_add h4 headers helper hosts i import install json key len localhost logging
    makemigrations manage map method migrate new objects onClick onmessage p parse print py python r range readyState
    recv redis response rh_user searchResponse searchResults self send server service setInterval setLevel showmigrations
    small socket span stage stagiaire_notifications stagiaire_user start status stringify sudo system systemctl time
    toLocaleDateString unreadResponse user values websocket ws sleep stats statistics connections api en_cours termine
    mid_stage notification_item test_role_notifications hooks use process_batch Authorization NotificationBell
    showNotification showRoleNotification showSystemMessage type data id username channels_redis.core.RedisChannelLayer
    """.split()
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line (or a statement of several lines), and where it stands here."""

    first: int
    last: int
    said: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    note: str


def read_lines() -> dict[int, str]:
    """The specification's lines that the map is about, by number."""
    pairs = (line.split("\t", 1) for line in LINES.read_text().splitlines())
    return {int(number): text for number, text in pairs}


def is_heading(line: str) -> bool:
    """Code has one # for a comment."""
    return line.startswith("##")


def is_item(line: str) -> bool:
    return re.match(r"- |\d+\. |✅", line) is not None


def named(lines: dict[int, str]) -> set[str]:
    """Every identifier that the specification writes: in backticks, in code, as a string of code."""
    found: set[str] = set()
    for line in lines.values():
        if is_heading(line) or is_item(line):
            found |= {re.sub(r"\(\)$", "", span) for span in SPAN.findall(line)}
            continue
        code = re.sub(r"(^|\s)(#|//) .*", "", line)
        found |= set(re.findall(r"""['"]([A-Za-z_][\w.]*)['"]""", code))
        found |= set(re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "", code)))
    return {name for name in found if name not in NOT_NAMES and name not in _keywords()}


def _keywords() -> set[str]:
    import keyword

    return set(keyword.kwlist)


def read_rows() -> list[Row]:
    """The rows of lines."""
    found = []
    for line in MAP.read_text().splitlines():
        if row := ROW.fullmatch(line):
            first, last, said, code, tests, note = row.groups()
            found.append(Row(int(first), int(last or first), _plain(said), _spans(code), _spans(tests), note or ""))
    return found


def read_names() -> dict[str, Row]:
    """The rows of names."""
    rows = (NAME.fullmatch(line) for line in MAP.read_text().splitlines())
    return {row[1]: Row(0, 0, row[1], _spans(row[2]), _spans(row[3]), "") for row in rows if row}


def _plain(said: str) -> str:
    """Code stands between backticks, or double ones where it has some itself."""
    inner = re.fullmatch(r"`` (.*) ``|`([^`]*)`", said)
    return said if inner is None else inner[1] or inner[2]


def _spans(cell: str) -> tuple[str, ...]:
    return tuple(SPAN.findall(cell))


def joined(lines: dict[int, str], first: int, last: int) -> str:
    """What a row must quote: its lines as one."""
    return " ".join(" ".join(lines[n].split()) for n in range(first, last + 1) if n in lines)


def has_test(reference: str) -> bool:
    """Whether `tests/x.py::test_y` exists."""
    path, _, name = reference.partition("::")
    file = ROOT / path
    if not file.is_file():
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.parse(file.read_text()).body)


# -- Breaking ----------------------------------------------------------------------------------------

BROKEN = "broken by map-check"


def broken(reference: str, root: Path = ROOT) -> tuple[Path, str]:
    """The file of a reference and its text with that code broken. Raises: LookupError when it is not there.

    `a.py:Class.function` raises; `a.py:NAME` is None; `a.py:Class.field` is gone; `a.py:NAME[word]` has another word;
    `a.json:key.key` is gone; `a.js:function` throws; `file[words]` of any other kind is without these words.
    """
    path, name, word = _parts(reference)
    file = root / path
    if not file.is_file():
        raise LookupError(f"{reference}: no such file")
    source = file.read_text()
    breakers = {".py": _break_python, ".json": _break_json, ".js": _break_javascript}
    breaker = breakers[file.suffix] if name else _without
    try:
        changed = breaker(source, name, word)
    except LookupError as error:
        raise LookupError(f"{reference}: {error}") from None
    if changed == source:
        raise LookupError(f"{reference}: breaking it changes nothing")
    return file, changed


def _parts(reference: str) -> tuple[str, str, str]:
    found = REFERENCE.fullmatch(reference)
    if found is None:
        raise LookupError(f"{reference}: expected path:name, path:name[word] or path[words]")
    path, name, word = found.groups(default="")
    return path, name, word


def _without(source: str, name: str, word: str) -> str:
    if word not in source:
        raise LookupError(f"no {word!r}")
    return source.replace(word, "")


def _break_json(source: str, name: str, word: str) -> str:
    whole = json.loads(source)
    *parents, last = name.split("/")
    place = whole
    for key in parents:
        place = place[key]
    del place[last]
    return json.dumps(whole)


def _break_javascript(source: str, name: str, word: str) -> str:
    start = rf"((?:function |async |static |get |^\s+#?|export (?:async )?function ){re.escape(name)}\([^)]*\) {{)"
    changed, count = re.subn(start, rf'\1 throw new Error("{BROKEN}");', source, count=1, flags=re.MULTILINE)
    if not count:
        raise LookupError("no such function")
    return changed


def _break_python(source: str, name: str, word: str) -> str:
    node, is_member = _find(ast.parse(source), name.split("."))
    if word:
        return _replace_word(source, node, word)
    if isinstance(node, ast.FunctionDef):
        return _replace(source, node.body, f'raise AssertionError("{BROKEN}")')
    if isinstance(node, ast.ClassDef):
        return _replace(source, node.body[-1:], f'raise AssertionError("{BROKEN}")')
    if is_member:
        return _replace(source, [node], "pass")
    assert isinstance(node, ast.Assign | ast.AnnAssign)
    assert node.value is not None
    return _replace(source, [node.value], "None")


def _find(tree: ast.Module, names: list[str]) -> tuple[ast.stmt, bool]:
    """The statement that defines a dotted name, and whether it stands in a class."""
    place: ast.Module | ast.stmt = tree
    for name in names:
        inner = [node for node in getattr(place, "body", []) if name in _defines(node)]
        if not inner:
            raise LookupError(f"no {name}")
        is_member, place = isinstance(place, ast.ClassDef), inner[-1]
    assert isinstance(place, ast.stmt)
    return place, is_member


def _defines(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    if isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _replace_word(source: str, node: ast.stmt, word: str) -> str:
    constants = [one for one in ast.walk(node) if isinstance(one, ast.Constant) and one.value == word]
    if not constants:
        raise LookupError(f"no {word!r}")
    for one in sorted(constants, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        source = _replace(source, [one], repr("broken_by_map_check"))
    return source


def _replace(source: str, nodes: list[ast.stmt] | list[ast.expr], text: str) -> str:
    lines = source.splitlines(keepends=True)
    first, last = nodes[0], nodes[-1]
    assert last.end_lineno is not None
    before = "".join(lines[: first.lineno - 1]) + lines[first.lineno - 1].encode()[: first.col_offset].decode()
    after = lines[last.end_lineno - 1].encode()[last.end_col_offset :].decode() + "".join(lines[last.end_lineno :])
    return before + text + after
