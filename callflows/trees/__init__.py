"""Menu trees: what a content provider writes, and what carries it out in a call."""

from callflows.trees.errors import Fault, InvalidTree
from callflows.trees.format import Tree
from callflows.trees.validate import parse_tree

__all__ = ["Fault", "InvalidTree", "Tree", "parse_tree"]
