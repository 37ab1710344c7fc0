"""The data sets that are known by name, and what to do where one is missing."""

TEXTS = {  # the folder of each data set of texts, and the files in it
    "emotion": ("emotion", ("train.txt", "val.txt", "test.txt")),
    "topic": ("twitter_financial_news_topic", ("train.csv", "valid.csv")),
}
BUILT_IN = ("breast_cancer", "diabetes", "iris", "wine")  # scikit-learn's tables


def how_to_get(what: str) -> str:
    """What to do where a file or folder is missing."""
    return (
        f"put {what} into a folder and name the folder with --data-dir or the variable "
        "GAMEPRUNING_DATA"
    )
