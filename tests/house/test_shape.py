"""The shape of the house: sizes, docstrings, codes, and what must not stand in any file."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from kmtool import errors
from tests.house import source

FILE_MAX = 400
FUNCTION_MAX = 70
BESIDE = ("tests", "tools", "bench")

ANYWHERE = re.compile(
    # Written in pieces, so that this file passes its own test.
    r"py"
    r"pi\.org|python"
    r"hosted\.|/pypi[\w-]*/simple|(?:index-url|find-links)[ =]+\S*[/:]"
    r"|(?<![\w.])/(?:work|root)"
    r"/[\w.]",
    re.IGNORECASE,
)
HOST = re.compile(r"https?://(?!127\.0\.0\.1|localhost|\[::1\]|[\w.-]*example\b|\{)[\w.-]+\.\w+")
CORE = ("kmtool/domain/", "kmtool/operations/", "kmtool/store/", "kmtool/shop.py", "jobs/")
VENDORS = re.compile(
    r"taobao|tmall|pinduoduo|douyin|xianyu|goofish|kuaishou|shopify|woocommerce|agiso|acg_?faka"
    r"|dujiao|kasushou|kinguin|dingtalk|feishu|wecom|telegram|alipay|wechat",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", source.files(*source.PROGRAM, *BESIDE), ids=source.name)
def test_a_file_stays_readable(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_MAX, f"{lines} lines: which second subject has moved in?"


@pytest.mark.parametrize("path", source.files(), ids=source.name)
def test_a_function_stays_readable(path: Path) -> None:
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_MAX
    ]
    assert not long, f"longer than a screen: {long}"


@pytest.mark.parametrize("path", source.files(), ids=source.name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(source.tree(path)), "no module docstring"


def test_a_broad_except_that_swallows_stands_only_at_the_edges() -> None:
    """The simulator has edges of its own: the end of a life, and what a made-up thread hands on.

    A handler that calls a function of its file that never returns does not swallow.
    """
    edges = (
        "kmtool/cli/main.py",
        "jobs/runner.py",
        "adapters/",
        "kmtool/operations/routes.py",
        "kmtool/sim/driver.py",
        "kmtool/sim/machine.py",
    )
    found = [
        f"{source.name(path)}:{node.lineno}"
        for path in source.files()
        if not source.name(path).startswith(edges)
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not any(isinstance(part, ast.Raise) for part in ast.walk(node))
        and not _raisers(source.tree(path)) & set(_called(node))
    ]
    assert not found, found


def _raisers(tree: ast.Module) -> set[str]:
    """Return the functions that say they never return; the type checker holds them to it."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.returns is not None
        and ast.unparse(node.returns) == "NoReturn"
    }


def _called(handler: ast.ExceptHandler) -> list[str]:
    """Return what a handler calls in any case, as its own first level of statements."""
    return [
        ast.unparse(part.value.func).rpartition(".")[2]
        for part in handler.body
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)
    ]


def test_the_core_knows_no_vendor() -> None:
    """Addresses and names of platforms live in adapters and data; the core asks `Features`."""
    found = [
        f"{source.name(path)}:{line} {text[:60]}"
        for path in source.files("kmtool", "jobs")
        for line, text in source.texts(path)
        if HOST.search(text) or (VENDORS.search(text) and source.name(path).startswith(CORE))
    ]
    assert not found, "\n".join(found)


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = []
    for path in _committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{source.name(path)}:{number} {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if ANYWHERE.search(line)
        ]
    assert not found, "\n".join(found)


def _committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(source.ROOT), "ls-files", "-z"], capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout: there is no list of committed files")
    names = listed.stdout.decode().split("\0")
    return [source.ROOT / name for name in names if name and (source.ROOT / name).is_file()]


def test_every_error_code_is_given_once() -> None:
    codes = Counter(cls.code for cls in errors.every())
    assert [code for code, times in codes.items() if times > 1] == []
