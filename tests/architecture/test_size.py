"""Modules and functions stay small enough to be read in one sitting; what is public says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import pytest

from tests.architecture.source import Definition, Source, definitions, sources

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70


def long_modules(files: Iterable[Source]) -> list[str]:
    return [
        f"{file.path}: {lines} lines" for file in files if (lines := len(file.text.splitlines())) > MAX_MODULE_LINES
    ]


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function with its decorators and docstring, as an editor shows them."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or node.lineno) - first + 1


def long_functions(files: Iterable[Source]) -> list[str]:
    return [
        f"{file.path}:{node.lineno} {node.name}: {lines} lines"
        for file in files
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := function_lines(node)) > MAX_FUNCTION_LINES
    ]


def is_public(node: Definition) -> bool:
    return not node.name.startswith("_")


def is_variant(node: Definition) -> bool:
    """Tell an overload, a setter or an override: documented where the thing itself is."""
    names = [ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list]
    return bool({"overload", "override", "setter", "deleter"} & set(names))


def is_formula(file: Source, method: Definition) -> bool:
    """Tell a method of the core that is one ``return``: its line says all there is to say."""
    return file.path.startswith("s3queue/core/") and len(method.body) == 1 and isinstance(method.body[0], ast.Return)


def port_methods(files: Iterable[Source]) -> set[str]:
    """Return the methods that a protocol or an abstract class documents; those who implement them need not."""
    ports = [
        node
        for file in files
        for node in definitions(file.tree)
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases} & {"Protocol", "ABC"}
    ]
    return {method.name for port in ports for method in definitions(port) if ast.get_docstring(method)}


def undocumented(files: list[Source]) -> list[str]:
    """Return the public modules, classes, functions and methods that have no docstring."""
    documented_by_port = port_methods(files)
    missing = [f"{file.path}: module" for file in files if not ast.get_docstring(file.tree)]
    for file in files:
        for node in filter(is_public, definitions(file.tree)):
            methods = filter(is_public, definitions(node)) if isinstance(node, ast.ClassDef) else ()
            candidates = [
                node,
                *(m for m in methods if m.name not in documented_by_port and not is_formula(file, m)),
            ]
            missing += [
                f"{file.path}:{candidate.lineno} {candidate.name}"
                for candidate in candidates
                if not ast.get_docstring(candidate) and not is_variant(candidate)
            ]
    return missing


@pytest.fixture(scope="module")
def budgeted() -> list[Source]:
    files = sources("s3queue", "s3queue_admin", "benchmarks", "examples", "notebooks")
    assert "s3queue/errors.py" in {file.path for file in files}, "the search for source files is broken"
    return files


def test_modules_keep_to_their_budget(budgeted: list[Source]) -> None:
    assert long_modules(budgeted) == []


def test_functions_keep_to_their_budget(budgeted: list[Source]) -> None:
    assert long_functions(budgeted) == []


def test_everything_public_is_documented() -> None:
    assert undocumented(sources("s3queue", "s3queue_admin")) == []


def test_a_module_over_the_budget_is_found() -> None:
    at_limit, over = (Source(f"{lines}.py", "x = 1\n" * lines) for lines in (MAX_MODULE_LINES, MAX_MODULE_LINES + 1))
    assert long_modules([at_limit, over]) == ["401.py: 401 lines"]


def test_a_function_over_the_budget_is_found_even_inside_a_class() -> None:
    def function(lines: int) -> str:
        return "    async def f(self):\n" + "        x = 1\n" * (lines - 1)

    text = "class C:\n" + function(MAX_FUNCTION_LINES) + "    @property\n" + function(MAX_FUNCTION_LINES)
    assert long_functions([Source("a.py", text)]) == ["a.py:73 f: 71 lines"]


def test_what_lacks_a_docstring_is_found() -> None:
    text = '''
class Port(Protocol):
    """A port."""
    def get(self):
        """Return it."""

class Adapter:
    """An adapter."""
    def get(self): ...
    def put(self): ...
    def _private(self): ...

    def formula(self):
        return 1

if True:
    def function(): ...

class _Private:
    def method(self): ...
'''
    assert undocumented([Source("a.py", text)]) == [
        "a.py: module",
        "a.py:10 put",
        "a.py:13 formula",
        "a.py:17 function",
    ]
    assert [name for name in undocumented([Source("s3queue/core/a.py", text)]) if "formula" in name] == []
