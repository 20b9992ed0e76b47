"""The book of the parts, docs/architecture.md, and its decisions, against the sources that they are about."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "sipalg"
BOOK = (ROOT / "docs" / "architecture.md").read_text()
STATE = BOOK[BOOK.index("\n## State\n") : BOOK.index("\n## The kernel's objects\n")]
#: What is said of a class's attribute or method, as `Class.name`.
NAMES = sorted(set(re.findall(r"`([A-Z]\w*)\.(\w+)`", STATE)))
SOURCES = [path for part in ("control", "datapath", "engine") for path in sorted((PACKAGE / part).rglob("*.py"))]
COMPILING = importlib.util.spec_from_file_location("compiling", ROOT / "tools" / "compile.py")


def members(node: ast.ClassDef) -> dict[str, str]:
    """What a class and its objects have, by name, with its annotation ("" without one)."""
    found: dict[str, str] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign | ast.Assign):
            annotation = ast.unparse(part.annotation) if isinstance(part, ast.AnnAssign) else ""
            for target in [part.target] if isinstance(part, ast.AnnAssign) else part.targets:
                if isinstance(target, ast.Attribute):
                    found[target.attr] = found.get(target.attr) or annotation
                elif isinstance(target, ast.Name):
                    found[target.id] = annotation
        elif isinstance(part, ast.FunctionDef):
            found.setdefault(part.name, "")
    return found


def classes_of(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


CLASSES = {node.name: (path, members(node)) for path in SOURCES for node in classes_of(path)}


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=lambda name: str(name))
def test_what_the_book_says_of_the_state_is_there(owner: str, name: str) -> None:
    assert owner in CLASSES
    assert name in CLASSES[owner][1]


def test_the_book_names_every_table_of_the_engine() -> None:
    tables = {
        (owner, name)
        for owner, (path, names) in CLASSES.items()
        for name, annotation in names.items()
        if path.parent.name == "engine" and re.match(r"(default)?dict\[", annotation) and not name.startswith("_")
    }
    assert len(tables) > 20
    assert tables - set(NAMES) == set()


def test_no_other_class_has_the_name_of_a_row() -> None:
    rows = [node.name for node in classes_of(PACKAGE / "engine" / "rows.py")]
    others = [node.name for path in SOURCES if path.name != "rows.py" for node in classes_of(path)]
    assert {"Entry", "Contact", "Home"} <= set(rows)
    assert [name for name in rows if name in others] == []


def test_every_row_of_the_states_table_names_its_class() -> None:
    rows = [line.split("|")[1] for line in STATE.splitlines() if line.startswith("| `")]
    assert rows
    for row in rows:
        assert all("." in name for name in re.findall(r"`([^`]+)`", row)), row


def test_the_book_names_every_source_file() -> None:
    files = [path.name for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")]
    assert [name for name in files if f"{name}`" not in BOOK] == []


def test_the_decision_names_all_that_is_compiled() -> None:
    assert COMPILING is not None
    assert COMPILING.loader is not None
    tool = importlib.util.module_from_spec(COMPILING)
    COMPILING.loader.exec_module(tool)
    decision = (ROOT / "docs" / "adr" / "0035-compiled-from-the-same-files.md").read_text()
    assert [name for name in tool.FILES if f"`{Path(name).stem}`" not in decision] == []
    cython = ["/".join(name.split(".")[1:]) for name in tool.CYTHON]
    assert [name for name in cython if f"`{name}.py`" not in decision] == []


def test_the_decision_has_the_queues_of_today() -> None:
    text = (PACKAGE / "datapath" / "nfqueue.py").read_text()
    packets = re.search(r"^QUEUE_PACKETS: Final = (\d+)$", text, re.MULTILINE)
    assert packets is not None
    decision = (ROOT / "docs" / "adr" / "0023-sip-waits-for-the-next-process.md").read_text()
    assert f"{int(packets[1]):,}" in decision
    assert "8,192" not in decision
