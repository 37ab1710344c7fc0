"""Any table: a delimited file with a header, one row an example.

Every statistic (means, medians, categories) is taken from the training rows alone, and
rows whose inputs are identical stay in one part of the split.
"""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

from pathlib import Path

import jax
import numpy as np

from gamepruning.tabular import split
from gamepruning.tabular.builtin import builtin_table
from gamepruning.tabular.preprocessing import Preprocessing
from gamepruning.tabular.read import RawTable, contents, naming, scan_table
from gamepruning.tabular.rows import check_names, deal_out, drop_rare, drop_untold
from gamepruning.tabular.target import understand_target
from gamepruning.tabular.understand import leave_out_ids, understand, without
from gamepruning.workbench.datasets import splits
from gamepruning.workbench.datasets.recipes import Recipe


def load_table(path: Path | str, *, seed: int, recipe: Recipe) -> splits.Dataset:
    """Read a file or, by its name, a table of scikit-learn.

    15 % of the rows are for validation, 25 % for the test. Numbers, dates and targets
    that are numbers are standardised. What is missing becomes the median, beside a
    feature that says so, and a text one feature for each of its most frequent kinds.
    """
    table = builtin_table(path) if isinstance(path, str) else scan_table(path)
    with naming(path):
        made = _to_dataset(Path(path).stem, table, jax.random.key(seed), recipe)
    if recipe.test_file is None:
        return made
    frame, *_, said = scan_table(recipe.test_file)
    with naming(recipe.test_file):
        fitted = Preprocessing.from_json(made.preprocessing)
        both = (*made.contents, contents(frame))
        if recipe.missing_target == "drop" and recipe.target in frame:
            frame = frame[fitted.target.is_known(frame[recipe.target])]
        test, news = splits.Split(*fitted.read(frame)), fitted.unseen(frame)
    rows = made.rows and made.rows._replace(test=np.asarray(frame.index))
    told = split.note_shared(test.inputs, [made.train.inputs, made.validation.inputs])
    notes = (*made.notes, *(f"test file: {note}" for note in (*said, *news)), *told)
    return made._replace(test=test, rows=rows, notes=notes, contents=both)


def _to_dataset(
    name: str, table: RawTable, key: jax.Array, recipe: Recipe
) -> splits.Dataset:
    check_names(table.cells, recipe, target=recipe.target, group=recipe.group)
    cells, name_of = table.cells.drop(columns=[*recipe.drop]), recipe.target
    found = understand(cells, recipe, delimiter=table.delimiter, target=name_of)
    if recipe.missing_target == "drop":
        found = drop_untold(found, name_of)
    goal = cells.loc[found.parsed.index, name_of]
    target = understand_target(goal, found, recipe.task)
    if target.task == "classification" and recipe.rare_classes == "drop":
        found, target = drop_rare(found, target, goal)
    targets = target.read(goal[found.parsed.index])
    found = leave_out_ids(without(found, name_of, recipe.group), recipe)
    rows, told = deal_out(
        key,
        found.parsed,
        targets,
        target.classes,
        group=recipe.group and table.cells.loc[found.parsed.index, recipe.group],
        test=0.25 if recipe.test_file is None else 0.0,
    )
    made = Preprocessing.fit(
        found.columns, found.parsed, rows.train, target.fit(targets[rows.train])
    )
    inputs, labels = made.encode(found.parsed), made.target.to_labels(targets)
    notes = (recipe.why, *table.notes, *found.notes, *told, *made.notes())
    return splits.make_dataset(
        name,
        [splits.Split(inputs[part], labels[part]) for part in rows],
        classes=target.classes,
        notes=tuple(filter(None, notes)),
        feature_names=made.features,
        target_mean=made.target.mean,
        target_scale=made.target.scale,
        preprocessing=made.to_json(),
        contents=(contents(table.cells),),
        rows=split.SplitRows(*(np.asarray(found.parsed.index[part]) for part in rows)),
    )
