"""A JSON value as a tree: opened branch by branch, however large it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.text import Text
from textual import on
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from s3queue_admin.text import json_text, plain

MOST: Final = 500
"""How many items of a list or an object are shown at a time."""
OPENED: Final = 12
"""Branches with no more items than this are open from the start."""
_WIDTH: Final = 300


class PayloadTree(Tree[Any]):
    """Shows a value as it may be shown: hide secrets before (:class:`s3queue_admin.text.Redactor`)."""

    def __init__(self, title: str = "payload", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(Text(title, "bold"), id=id)
        self._title = title
        self.guide_depth = 2

    def set_value(self, value: Any) -> None:
        """Show this value."""
        self.clear()
        self.root.data = value
        self.root.set_label(_label(self._title, value))
        self.root.allow_expand = is_branch(value)
        self._fill(self.root)
        self.root.expand()

    @on(Tree.NodeExpanded)
    def _opened(self, event: Tree.NodeExpanded[Any]) -> None:
        self._fill(event.node)

    def _fill(self, node: TreeNode[Any]) -> None:
        if node.children or not is_branch(node.data):
            return
        items = list(_items(node.data))
        for name, value in items[:MOST]:
            child = node.add(_label(name, value), value, allow_expand=is_branch(value) and bool(value))
            if is_branch(value) and 0 < len(value) <= OPENED and _depth(child) < 3:
                child.expand()
        if len(items) > MOST:
            node.add_leaf(Text(f"… {len(items) - MOST:,} more", "dim"))


def is_branch(value: Any) -> bool:
    """Whether a value has others in it."""
    return isinstance(value, dict | list | tuple)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    else:
        yield from ((str(index), item) for index, item in enumerate(value))


def _depth(node: TreeNode[Any]) -> int:
    depth, at = 0, node.parent
    while at is not None:
        depth, at = depth + 1, at.parent
    return depth


def _label(name: str, value: Any) -> Text:
    text = Text(plain(name, 60), "bold")
    if isinstance(value, dict):
        return text.append(f"  {{{len(value):,}}}", "dim")
    if isinstance(value, list | tuple):
        return text.append(f"  [{len(value):,}]", "dim")
    return text.append(": ", "dim").append(plain(json_text(value), _WIDTH), _tone(value))


def _tone(value: Any) -> str:
    if isinstance(value, str):
        return "green"
    return "magenta" if value is None or isinstance(value, bool) else "cyan"
