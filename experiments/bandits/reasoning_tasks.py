"""Four reasoning problems that need no download, as arrays.

| problem | what is read | what is told |
| --- | --- | --- |
| modular | two numbers below 23 and one of + and - | the result modulo 23 |
| lists | an operation and six digits | max, min, first, last, median or sum mod 10 |
| dyck | twelve brackets of two kinds | is the string balanced? |
| shapes | a drawing of three coloured shapes, and a question | one of six answers |

The drawings are in the manner of Sort-of-CLEVR (Santoro et al. 2017): a red, a green
and a blue shape, each a square or a cross, on 12 x 12 pixels. Three questions are about
one shape (its form, or the half it is in), three about relations (which of the others
is nearer, whether it is left of another, how many have its form).
"""

import itertools
from typing import NamedTuple

import numpy as np

MODULUS, LENGTH, DIGITS, SIDE = 23, 12, 6, 12
ROWS = {"train": 8000, "validation": 1000, "test": 2000}
PROBLEMS = ("modular", "lists", "dyck", "shapes")


class Part(NamedTuple):
    """Examples: inputs [B, tokens, values] and classes [B]."""

    inputs: np.ndarray
    labels: np.ndarray


class Problem(NamedTuple):
    """One problem, cut into three parts without an example in common."""

    train: Part
    validation: Part
    test: Part
    num_classes: int


def make(name: str, seed: int) -> Problem:
    """The examples of a problem.

    Args:
      name: one of `PROBLEMS`.
      seed: of the examples and of how they are cut.

    Returns:
      The problem; no example stands in two parts.
    """
    rng = np.random.default_rng(seed)
    inputs, labels = {
        "modular": modular,
        "lists": lists,
        "dyck": dyck,
        "shapes": shapes,
    }[name](rng)
    _, first = np.unique(inputs.reshape(len(inputs), -1), axis=0, return_index=True)
    rows = rng.permutation(first)
    inputs, labels = inputs[rows], labels[rows]
    counts = _counts(len(rows))
    stops = np.cumsum([0, *counts])
    parts = [
        Part(inputs[a:b], labels[a:b].astype(np.int32))
        for a, b in itertools.pairwise(stops)
    ]
    return Problem(*parts, int(labels.max()) + 1)


def _counts(num: int) -> list[int]:
    """How many examples each part has; in the same shares if there are too few."""
    total = sum(ROWS.values())
    return [rows * min(num, total) // total for rows in ROWS.values()]


def _one_hot(tokens: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)[tokens]


def modular(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All pairs under both operations; a token for each number and one between them."""
    numbers = range(MODULUS)
    triples = np.array(list(itertools.product(numbers, (0, 1), numbers)))
    a, op, b = triples.T
    labels = np.where(op == 0, a + b, a - b) % MODULUS
    tokens = np.stack([a, MODULUS + op, b], axis=1)
    return _one_hot(tokens, MODULUS + 2), labels


def lists(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Operations on lists of six digits."""
    num = sum(ROWS.values()) + 1000
    digits = rng.integers(10, size=(num, DIGITS))
    results = [
        digits.max(1),
        digits.min(1),
        digits[:, 0],
        digits[:, -1],
        np.sort(digits, axis=1)[:, DIGITS // 2],
        (digits[:, 0] + digits[:, 1]) % 10,
    ]
    op = rng.integers(len(results), size=num)
    labels = np.stack(results)[op, np.arange(num)]
    tokens = np.concatenate([10 + op[:, None], digits], axis=1)
    return _one_hot(tokens, 10 + len(results)), labels


def dyck(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Balanced strings, and others that differ from one in one or two places."""
    num = sum(ROWS.values()) + 4000
    tokens = np.array([_balanced(rng) for _ in range(num)])
    spoilt = rng.random(num) < 0.5
    for row in np.flatnonzero(spoilt):
        places = rng.choice(LENGTH, size=rng.integers(1, 3), replace=False)
        tokens[row, places] = rng.integers(4, size=len(places))
    labels = np.array([is_balanced(row) for row in tokens])
    return _one_hot(tokens, 4), labels


def _balanced(rng: np.random.Generator) -> list[int]:
    """A random balanced string: 0 and 1 open, 2 and 3 close."""
    stack: list[int] = []
    found: list[int] = []
    for place in range(LENGTH):
        left = LENGTH - place
        if stack and (len(stack) == left or rng.random() < 0.5):
            found.append(stack.pop() + 2)
        else:
            stack.append(int(rng.integers(2)))
            found.append(stack[-1])
    return found


def is_balanced(tokens: np.ndarray) -> bool:
    """Does every bracket close the last one that is open?

    Args:
      tokens: integers; 0 and 1 open, 2 and 3 close.
    """
    stack: list[int] = []
    for token in tokens:
        if token < 2:
            stack.append(int(token))
        elif not stack or stack.pop() != token - 2:
            return False
    return not stack


class Scene(NamedTuple):
    """Three shapes: where each is, (row, column), and its form, 0 square or 1 cross."""

    places: np.ndarray
    forms: np.ndarray


def answer(scene: Scene, about: int, question: int) -> int:
    """The class that answers a question about a shape.

    Args:
      scene: the shapes.
      about: which of the three, 0 to 2.
      question: 0 form, 1 left half, 2 upper half, 3 which other is nearer, 4 left of
        the next, 5 how many others have its form.

    Returns:
      0 or 1 for yes and no and forms, 2 or 3 for the next or the last shape, and for a
      count 0, 1 or 4.
    """
    (row, column), form = scene.places[about], scene.forms[about]
    others = [(about + 1) % 3, (about + 2) % 3]
    if question == 0:
        return int(form)
    if question == 1:
        return int(column < SIDE / 2 - 1)
    if question == 2:
        return int(row < SIDE / 2 - 1)
    if question == 3:
        far = [np.square(scene.places[k] - scene.places[about]).sum() for k in others]
        return 2 + int(far[1] < far[0])
    if question == 4:
        return int(column < scene.places[others[0]][1])
    return (0, 1, 4)[int((scene.forms[others] == form).sum())]


def shapes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Drawings whose rows are tokens, and one more row with the question."""
    num = sum(ROWS.values())
    inputs = np.zeros((num, SIDE + 1, SIDE * 3), np.float32)
    labels = np.zeros(num, int)
    for k in range(num):
        scene = _scene(rng)
        about, question = int(rng.integers(3)), int(rng.integers(6))
        inputs[k, :SIDE] = draw(scene).reshape(SIDE, -1)
        inputs[k, SIDE, [about, 3 + question]] = 1.0
        labels[k] = answer(scene, about, question)
    return inputs, labels


def _scene(rng: np.random.Generator) -> Scene:
    """Three shapes of three by three pixels that do not touch."""
    while True:
        places = rng.integers(SIDE - 2, size=(3, 2))
        gaps = [
            np.abs(places[a] - places[b]).max()
            for a, b in itertools.combinations(range(3), 2)
        ]
        if min(gaps) >= 3:
            return Scene(places, rng.integers(2, size=3))


def draw(scene: Scene) -> np.ndarray:
    """The picture, float [SIDE, SIDE, 3]; one colour a shape."""
    forms = (np.ones((3, 3)), np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]))
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    pairs = zip(scene.places, scene.forms, strict=True)
    for colour, ((row, column), form) in enumerate(pairs):
        picture[row : row + 3, column : column + 3, colour] = forms[form]
    return picture
