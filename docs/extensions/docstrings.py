r"""What autodoc makes of docstrings: fields of recipes are shown, and formulas between \( and \) are formulas."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

_FORMULA = re.compile(r"\\\((.+?)\\\)")
# Literals and roles, which stay as they are; what is in single backticks; bars, as in ⟨0|, which begin no substitution.
_MARKUP = re.compile(r"(``[^`]+``|:\w+:`[^`]+`)|`([^`]+)`|\|")
_NAME = re.compile(r"[\w.]+(\(\))?")
_ATTRIBUTE = re.compile(r"(\.\. attribute:: \S+\n)((?:(?!\.\. attribute::).*\n)*?)   :type: (.*)")
_ROUTING = re.compile(r"set_\w+_request")  # methods that scikit-learn adds, with links into its own documentation


def setup(app: Any) -> dict[str, Any]:
    """Listen to autodoc."""
    # Before napoleon (500), which then finds the section of attributes that is added.
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-docstring", _type_beside_name, priority=600)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "class" and _is_recipe(obj) and "Attributes:" not in lines:
        lines += _fields(obj)
    if what == "data" and isinstance(obj, dict):
        lines[:] = ["What recipes and functions call by a kind:", "", *_registry(obj)]
    text = _FORMULA.sub(r":math:`\1`", "\n".join(lines))
    lines[:] = _MARKUP.sub(_marked, text).split("\n")


def _marked(found: re.Match[str]) -> str:
    """A name in backticks becomes a link, where there is such a name; anything else in them is code."""
    kept, quoted = found.groups()
    if quoted is None:
        return kept or r"\|"
    return f"`{quoted}`" if _NAME.fullmatch(quoted) else f"``{quoted}``"


def _type_beside_name(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon puts the type of an attribute below its meaning; `name: type` reads better."""
    lines[:] = _ATTRIBUTE.sub(r"\1   :type: \3\n\2", "\n".join(lines)).split("\n")


def _registry(kinds: dict[str, Any]) -> list[str]:
    return [f"- ``{kind}``: `{thing.__module__}.{thing.__qualname__}`" for kind, thing in kinds.items()]


def _fields(model: type[BaseModel]) -> list[str]:
    lines = ["", "Attributes:"]
    for name, field in model.model_fields.items():
        if field.description:
            default = (
                "" if field.is_required() else f" Default: ``{_short(field.get_default(call_default_factory=True))}``."
            )
            lines.append(f"    {name}: {field.description}{default}")
    return [*lines, ""] if len(lines) > 2 else []


def _short(value: Any) -> str:
    text = f"{type(value).__name__}(...)" if isinstance(value, BaseModel) else repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__}(...)"


def _signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A recipe's signature is its fields, which are listed below it anyway; a default that is made anew is (...)."""
    if what == "class" and _is_recipe(obj):
        return "(**fields)", None
    return signature and signature.replace("<factory>", "..."), returns


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if name in ("model_config", "model_post_init") or _ROUTING.fullmatch(name) else None


def _is_recipe(obj: Any) -> bool:
    return isinstance(obj, type) and issubclass(obj, BaseModel)
