"""Recipes: the YAML files that say what is built, read and checked in one place.

A recipe is named by its file's stem (`qdeq fit digits`) or by a path. Reading never executes code. Whatever is wrong
with one is a `RecipeError` of one line: the file, and for each mistake the key, the value, what would be right, and for
a misspelt name the nearest valid one.
"""

from ._errors import RecipeError
from ._files import KINDS, SUFFIXES, RecipeEntry, find, folder, list_recipes
from ._keys import KeyEntry, keys_of, options_of
from ._load import check, dump, load
from ._overrides import check_overrides, parse_override
from ._words import SECRET, choices, nearest, shown
from ._yaml import MAX_BYTES, read_yaml

__all__ = [
    "KINDS",
    "MAX_BYTES",
    "SECRET",
    "SUFFIXES",
    "KeyEntry",
    "RecipeEntry",
    "RecipeError",
    "check",
    "check_overrides",
    "choices",
    "dump",
    "find",
    "folder",
    "keys_of",
    "list_recipes",
    "load",
    "nearest",
    "options_of",
    "parse_override",
    "read_yaml",
    "shown",
]
