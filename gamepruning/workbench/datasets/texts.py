"""Short texts as binary term-frequency vectors (arXiv 2311.10468, section IV-B2).

Entry i of a vector is 1 where word i of the vocabulary occurs in the text, else 0. The
vocabulary is that of the training texts.
"""

import csv
import html
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gamepruning.types import InputError
from gamepruning.workbench.datasets.places import find_folder
from gamepruning.workbench.datasets.splits import Dataset, Split, split_rows

EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
TOPICS = (
    "Analyst Update",
    "Fed / Central Banks",
    "Company / Product News",
    "Treasuries / Corporate Debt",
    "Dividend",
    "Earnings",
    "Energy / Oil",
    "Financials",
    "Currencies",
    "General News / Opinion",
    "Gold / Metals / Materials",
    "IPO",
    "Legal / Regulation",
    "M&A / Investments",
    "Macro",
    "Markets",
    "Politics",
    "Personnel Change",
    "Stock Commentary",
    "Stock Movement",
)
TOPIC_FOLDER = "twitter_financial_news_topic"
_LINK = re.compile(r"https?://\S+")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


class Texts(NamedTuple):
    """Texts and their classes."""

    texts: list[str]
    labels: np.ndarray


def load_emotion(
    *, data_dir: str | os.PathLike | None, min_documents: int = 10
) -> Dataset:
    """20,000 messages with six emotions, in their published split.

    Training texts that come again in validation or test are left out, and validation
    texts that come again in the test.

    Args:
      data_dir: the folder with `emotion/`: train.txt, val.txt, test.txt, one
        `text;label` a line.
      min_documents: a word is in the vocabulary if it is in so many training texts.

    Raises:
      InputError: the files are not there, or a line of them is not understood.
    """
    folder = _need("emotion", data_dir, "emotion", ("train.txt", "val.txt", "test.txt"))
    parts = [_read_emotion(folder / f"{p}.txt") for p in ("train", "val", "test")]
    return _dataset("emotion", parts, EMOTIONS, min_documents)


def load_topic(
    *, data_dir: str | os.PathLike | None, seed: int, min_documents: int = 10
) -> Dataset:
    """21,107 tweets about finance with twenty topics.

    There are only training and validation texts. The published validation texts are
    the test here, and a tenth of the training texts, by class, is for validation.

    Args:
      data_dir: the folder with `twitter_financial_news_topic/`: train.csv, valid.csv.
      seed: decides which texts are for validation.
      min_documents: a word is in the vocabulary if it is in so many training texts.

    Raises:
      InputError: the files are not there, or a row of them is not understood.
    """
    folder = _need("topic", data_dir, TOPIC_FOLDER, ("train.csv", "valid.csv"))
    given, test = (_read_topic(folder / f"{p}.csv") for p in ("train", "valid"))
    key = jax.random.key(seed)
    rows = split_rows(key, given.labels, validation=0.1, test=0.0, names=TOPICS)
    parts = [_take(given, rows.train), _take(given, rows.validation), test]
    return _dataset("topic", parts, TOPICS, min_documents)


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, links left out.

    Example:
      >>> words_of("Don't buy $TSLA &amp; co https://t.co/x")
      ["don't", 'buy', 'tsla', 'co']
    """
    return _WORD.findall(_LINK.sub(" ", html.unescape(text).lower()))


def make_vocabulary(texts: Sequence[str], *, min_documents: int) -> tuple[str, ...]:
    """Words that occur in at least `min_documents` texts, the most frequent first.

    Example:
      >>> make_vocabulary(["a b", "a c", "a b b"], min_documents=2)
      ('a', 'b')
    """
    counts = Counter(word for text in texts for word in set(words_of(text)))
    kept = [word for word in counts if counts[word] >= min_documents]
    return tuple(sorted(kept, key=lambda word: (-counts[word], word)))


def to_vectors(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Binary term-frequency vectors, float32 [len(texts), len(vocabulary)].

    Example:
      >>> to_vectors(["b b x"], ["a", "b"])
      array([[0., 1.]], dtype=float32)
    """
    column_of = {word: i for i, word in enumerate(vocabulary)}
    vectors = np.zeros((len(texts), len(vocabulary)), np.float32)
    for row, text in enumerate(texts):
        vectors[row, [column_of[w] for w in words_of(text) if w in column_of]] = 1
    return vectors


def _dataset(name, parts: list[Texts], classes, min_documents: int) -> Dataset:
    parts, notes = _without_repeats(parts)
    words = make_vocabulary(parts[0].texts, min_documents=min_documents)
    if not words:
        raise InputError(
            f"{name}: no word is in {min_documents} training texts: lower min_documents"
        )
    splits = [Split(to_vectors(part.texts, words), part.labels) for part in parts]
    notes = (*notes, f"{len(words)} words, each in >= {min_documents} training texts")
    return Dataset(
        name,
        "classification",
        *splits,
        num_outputs=len(classes),
        input_shape=(len(words),),
        class_names=classes,
        feature_names=words,
        notes=notes,
    )


def _without_repeats(parts: list[Texts]) -> tuple[list[Texts], tuple[str, ...]]:
    """Leaves out texts that come again in a later part."""
    later: set[str] = set()
    kept, dropped = [], 0
    for part in reversed(parts):
        rows = np.array([t not in later for t in part.texts], bool).nonzero()[0]
        dropped += len(part.texts) - len(rows)
        later.update(part.texts)
        kept.append(_take(part, rows))
    notes = (f"{dropped} texts that come again in a later part left out",)
    return kept[::-1], notes if dropped else ()


def _take(texts: Texts, rows: np.ndarray) -> Texts:
    return Texts([texts.texts[row] for row in rows], texts.labels[rows])


def _need(name: str, data_dir, folder_name: str, files: Sequence[str]) -> Path:
    folder = find_folder(folder_name, data_dir)
    missing = [file for file in files if folder and not (folder / file).is_file()]
    if folder is None or missing:
        raise InputError(
            f"{name} is not there: put {', '.join(files)} into a folder "
            f"{folder_name}/ and name the folder above it with data_dir or the "
            "variable GAMEPRUNING_DATA"
        )
    return folder


def _read_emotion(path: Path) -> Texts:
    lines = [line for line in _read(path).split("\n") if line.strip()]
    rows = [line.rpartition(";") for line in lines]
    number_of = {name: i for i, name in enumerate(EMOTIONS)}
    for line, (text, _, label) in enumerate(rows, start=1):
        if not text or label not in number_of:
            raise InputError(
                f"{path}, line {line}: expected text;label with one of "
                f"{', '.join(EMOTIONS)}, got label {label[:40]!r}"
            )
    labels = np.array([number_of[label] for _, _, label in rows], np.int32)
    return Texts([text for text, _, _ in rows], labels)


def _read_topic(path: Path) -> Texts:
    rows = list(csv.reader(io.StringIO(_read(path), newline="")))
    if not rows or rows[0] != ["text", "label"]:
        raise InputError(f"{path}: expected a first line text,label")
    allowed = {str(i) for i in range(len(TOPICS))}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or row[1] not in allowed:
            raise InputError(
                f"{path}, row {line}: expected a text and a label from 0 to "
                f"{len(TOPICS) - 1}, got {', '.join(row)[-40:]!r}"
            )
    return Texts(
        [text for text, _ in rows[1:]],
        np.array([int(label) for _, label in rows[1:]], np.int32),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
