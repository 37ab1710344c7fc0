"""Short texts as binary term-frequency vectors (arXiv 2311.10468, section IV-B2).

Entry i of a vector is 1 where word i of the vocabulary occurs in the text, else 0. The
vocabulary is that of the training texts, the most frequent word first.
"""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import html
import re
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from gamepruning.types import InputError

_LINK = re.compile(r"https?://\S+")
STEPS = "unescape HTML, lower case, links out; 1 for each word that occurs, else 0"
WORD = r"[a-z0-9]+(?:'[a-z]+)?"


def to_vectors(
    parts: Sequence[Sequence[str]], *, min_documents: int
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Vectors of each part, float32 [texts, words], and the words of the first.

    Example:
      >>> parts = [["Don't buy &amp; sell", "buy http://b.co"], ["Buy, BUY x"]]
      >>> vectors, words = to_vectors(parts, min_documents=1)
      >>> words
      ('buy', "don't", 'sell')
      >>> vectors[1]
      array([[1., 0., 0.]], dtype=float32)
    """
    counter = CountVectorizer(min_df=min_documents, binary=True, dtype=np.float32)
    counter.set_params(preprocessor=_clean, token_pattern=WORD)
    try:
        counter.fit(parts[0])
    except ValueError as error:
        raise InputError(
            f"no word is in {min_documents} training texts: lower min_documents"
        ) from error
    counts = [counter.transform(texts) for texts in parts]
    order = np.argsort(-np.asarray(counts[0].sum(axis=0)).ravel(), kind="stable")
    words = tuple(map(str, counter.get_feature_names_out()[order]))
    return [part[:, order].toarray() for part in counts], words


def _clean(text: str) -> str:
    return _LINK.sub(" ", html.unescape(text).lower())
