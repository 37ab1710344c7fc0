"""Short texts as binary term-frequency vectors (arXiv 2311.10468, section IV-B2)."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

from pathlib import Path

import jax
import numpy as np
import pandas as pd

from gamepruning.files.paths import Folder, find_folder
from gamepruning.tabular.read import contents, read_table, read_text
from gamepruning.tabular.split import split_rows
from gamepruning.tabular.vectors import STEPS, WORD, to_vectors
from gamepruning.types import InputError
from gamepruning.workbench.datasets import places, splits

EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
TOPICS = tuple(
    "Analyst Update|Fed / Central Banks|Company / Product News|"
    "Treasuries / Corporate Debt|Dividend|Earnings|Energy / Oil|Financials|Currencies|"
    "General News / Opinion|Gold / Metals / Materials|IPO|Legal / Regulation|"
    "M&A / Investments|Macro|Markets|Politics|Personnel Change|Stock Commentary|"
    "Stock Movement".split("|")
)


def load_texts(
    name: str, data_dir: Folder, *, seed: int, min_documents: int = 10
) -> splits.Dataset:
    """Messages with six emotions, or tweets about finance with twenty topics.

    "emotion": 20,000 messages in their published split. "topic": 21,107 tweets; the
    published validation texts are the test, and a tenth of the training texts, class by
    class, is for validation. A text that comes again in a later part is left out. Words
    of the vocabulary occur in at least `min_documents` training texts.
    """
    classes = EMOTIONS if name == "emotion" else TOPICS
    return _to_dataset(name, read_texts(name, data_dir, seed), classes, min_documents)


def read_texts(name: str, data_dir: Folder, seed: int) -> list[pd.DataFrame]:
    """The training, validation and test texts of `load_texts`, with their labels."""
    folder_name, files = places.TEXTS[name]
    folder = find_folder(folder_name, data_dir)
    if folder is None or not all((folder / file).is_file() for file in files):
        how = places.how_to_get(f"{folder_name}/ with {', '.join(files)}")
        raise InputError(f"{name} is not there: {how}")
    if name == "emotion":
        return [_read_emotion(folder / file) for file in files]
    given, test = (_read_topic(folder / file) for file in files)
    labels, key = given["label"].to_numpy(), jax.random.key(seed)
    rows = split_rows(key, labels, validation=0.1, test=0.0, names=TOPICS)
    return [given.iloc[rows.train], given.iloc[rows.validation], test]


def _to_dataset(
    name: str, parts: list[pd.DataFrame], classes: tuple[str, ...], min_documents: int
) -> splits.Dataset:
    kept, later = [], set()  # without texts that come again in a later part
    for part in reversed(parts):
        kept.insert(0, part[~part["text"].isin(later)])
        later.update(part["text"])
    texts = [part["text"].tolist() for part in kept]
    vectors, words = to_vectors(texts, min_documents=min_documents)
    labels = [part["label"].to_numpy(np.int32) for part in kept]
    made = list(map(splits.Split, vectors, labels))
    dropped = sum(map(len, parts)) - sum(map(len, kept))
    repeats = f"{dropped} texts that come again in a later part left out"
    size = f"{len(words)} words, each in >= {min_documents} training texts"
    notes = (repeats, size) if dropped else (size,)
    how = splits.describe_inputs(
        kind="text", steps=STEPS, word=WORD, vocabulary=words, classes=classes
    )
    facts = {
        "contents": tuple(map(contents, parts)),
        "notes": notes,
        "feature_names": words,
        "preprocessing": how,
    }
    return splits.make_dataset(name, made, classes=classes, **facts)


def _read_emotion(path: Path) -> pd.DataFrame:
    lines = enumerate(read_text(path).split("\n"), start=1)
    rows = {row: line.rpartition(";") for row, line in lines if line.strip()}
    for row, (text, _, label) in rows.items():
        if not text or label not in EMOTIONS:
            raise InputError(
                f"{path}, line {row}: expected text;label with one of "
                f"{', '.join(EMOTIONS)}, got label {label[:40]!r}"
            )
    labels = [EMOTIONS.index(label) for _, _, label in rows.values()]
    texts = [text for text, _, _ in rows.values()]
    return pd.DataFrame({"text": texts, "label": labels})


def _read_topic(path: Path) -> pd.DataFrame:
    frame = read_table(path)
    if list(frame) != ["text", "label"]:
        raise InputError(f"{path}: expected a first line text,label")
    allowed = [str(label) for label in range(len(TOPICS))]
    for row, label in frame["label"][~frame["label"].isin(allowed)][:1].items():
        raise InputError(
            f"{path}, row {row}: expected a label from 0 to {len(TOPICS) - 1}, got "
            f"{label[-40:]!r}"
        )
    return frame.astype({"label": int})
