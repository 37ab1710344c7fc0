"""Docstrings say "Example:"; the parser knows "Examples:" as a section of code."""

import re

import griffe

EXAMPLE = re.compile(r"^([ \t]*)Examples?:[ \t]*(.*)$", flags=re.MULTILINE)


class Examples(griffe.Extension):
    """Rename the section, and keep a sentence that stands behind its title."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(_section, obj.docstring.value)


def _section(match: re.Match) -> str:
    indent, sentence = match.groups()
    below = f"\n{indent}  {sentence}\n" if sentence else ""
    return f"{indent}Examples:{below}"
