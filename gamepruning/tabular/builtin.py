"""The tables that come with scikit-learn, which need no file."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from sklearn import datasets

from gamepruning.tabular.read import RawTable

_LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


def builtin_table(name: str) -> RawTable:
    """A table of scikit-learn as text cells, with a column `target`.

    Args:
      name: "breast_cancer", "diabetes", "iris" or "wine".

    Returns:
      The table; the classes go by their names.

    Example:
      >>> builtin_table("iris").cells["target"].value_counts().to_dict()
      {'setosa': 50, 'versicolor': 50, 'virginica': 50}
    """
    made = _LOADERS[name](as_frame=True)
    frame = made.frame.rename(columns=lambda column: column.replace(" ", "_"))
    if "target_names" in made:
        frame["target"] = frame["target"].map(dict(enumerate(made.target_names)))
    return RawTable(frame.map(str), ",", "utf-8")
