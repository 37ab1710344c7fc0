"""Pages that load nothing from anywhere: templates with styles and figures inside."""

from typing import Any

import jinja2

from gamepruning.workbench.report import formats

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("gamepruning.workbench.report"),
    autoescape=jinja2.select_autoescape(),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["zip"] = zip
_TEMPLATES.filters |= {
    "percent": formats.format_percent,
    "metric": formats.format_metric,
    "ratio": formats.format_ratio,
    "count": formats.format_count,
}


def render(template: str, **values: Any) -> str:
    """Fill in a file of the folder `templates` ; HTML escapes its texts."""
    return _TEMPLATES.get_template(template).render(values)
