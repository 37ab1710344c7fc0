"""A small language model learns from the full one: the loss, the steps, the resuming.

Logits are made of the last hidden states some positions at a time, and what they give
to the gradient at once, so that no more than one chunk of [positions, classes] is ever
held. The hidden states of the teacher are kept where a text is read more than once.
The head is the teacher's in both and stays as it is.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

import gamepruning as gp
from experiments.language.bfloat16 import in_bfloat16
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint
from gamepruning.files.fingerprint import fingerprint

POSITIONS = 160  # at most, of a chunk of logits
SAVE_SECONDS = 300.0  # between two checkpoints
PRODUCTS: dict[str, Callable[..., Any]] = {
    "bfloat16": in_bfloat16,
    "float32": lambda function: function,
}
Params = dict[str, Any]
States = Callable[[Params, Any], jax.Array]  # (params, tokens [B, T]) -> [B, T, D]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a small model learns.

    Attributes:
      tokens: that are read in all, those that are read again among them.
      rate: the highest learning rate of Adam; it rises over the first `warmup` of all
        steps and falls to 0 as a cosine.
      weight: of the teacher, in [0, 1]; the next token has the rest.
      temperature: of the teacher's probabilities and the student's, above 0.
      at_once: sequences of a step.
      together: sequences of a pass; their gradients are added up.
      warmup: a share of the steps.
      lora: the rank of what is added to each matrix, which then stays as it is; 0 to
        train all but the embedding.
      products: the type of matrix products in training, see `in_bfloat16`; perplexities
        are those in float32.
      seed: of the order of sequences, another one in each epoch.
    """

    tokens: int
    rate: float = 2e-4
    weight: float = 0.5
    temperature: float = 1.0
    at_once: int = 8
    together: int = 1
    warmup: float = 0.05
    lora: int = 0
    products: str = "bfloat16"
    seed: int = 0

    def __post_init__(self):
        least = {"tokens": 1, "at_once": 1, "together": 1, "lora": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                value = getattr(self, name)
                raise gp.InputError(f"expected {name} of at least {low}, got {value}")
        if self.products not in PRODUCTS:
            raise gp.InputError(
                f"expected products as one of {', '.join(PRODUCTS)}, got "
                f"{self.products!r}"
            )
        if not 0 < self.rate < 1:
            raise gp.InputError(f"expected a rate between 0 and 1, got {self.rate}")
        if not 0 <= self.warmup < 1:
            raise gp.InputError(f"expected a warm-up in [0, 1), got {self.warmup}")
        if not 0 <= self.weight <= 1:
            raise gp.InputError(
                f"expected a weight of the teacher in [0, 1], got {self.weight}"
            )
        if not 0 < self.temperature < np.inf:
            raise gp.InputError(
                f"expected a temperature above 0, got {self.temperature}"
            )
        if self.at_once % self.together:
            raise gp.InputError(
                f"expected at_once as a multiple of together, got {self.at_once} and "
                f"{self.together}"
            )

    def steps(self, length: int) -> int:
        """Steps over sequences of this length; the last tokens may be left over."""
        steps = self.tokens // (self.at_once * length)
        if steps == 0:
            raise gp.InputError(
                f"{self.tokens} tokens are less than one step of {self.at_once} "
                f"sequences of {length}: ask for more"
            )
        return steps


class Model(NamedTuple):
    """A language model whose head is the embedding of its tokens.

    Attributes:
      states: (params, tokens [B, T]) -> the last hidden states [B, T, D].
      params: the arrays by name.
      embedding: the name of the embedding [V, D].
    """

    states: States
    params: Params
    embedding: str

    @property
    def head(self) -> jax.Array:
        """What makes logits of hidden states, [V, D]."""
        return self.params[self.embedding]


class Learned(NamedTuple):
    """What came of it.

    Attributes:
      params: of the student, in the names that it had.
      curve: what `Progress` said, step by step.
      seconds: of the steps, those before a resumption among them.
    """

    params: Params
    curve: list[dict[str, float]]
    seconds: float


class State(NamedTuple):
    """What a step changes."""

    trained: Params
    optimizer: optax.OptState


# -- the loss ------------------------------------------------------------------------


def by_chunks(
    function: Callable[..., Any], rows: tuple[Array, ...], *, most: int = POSITIONS
) -> Any:
    """What a function says of each chunk of rows, stacked.

    Args:
      function: of one chunk of each array, [c, ...].
      rows: arrays [R, ...]; the chunks are as long as divides R, at most `most`.
      most: rows of a chunk.
    """
    count = len(rows[0])
    chunk = max(n for n in range(1, min(most, count) + 1) if count % n == 0)
    parts = tuple(x.reshape(-1, chunk, *x.shape[1:]) for x in rows)
    return jax.lax.map(lambda part: function(*part), parts)


def loss_and_pull(
    states: Float[Array, "R D"],
    teacher: Float[Array, "R D"],
    labels: Int[Array, " R"],
    head: Float[Array, "V D"],
    learning: Learning,
) -> tuple[jax.Array, Float[Array, "R D"]]:
    """The loss of R positions and its gradient by the student's states.

    That of `gp.distillation.distillation_loss`, (1 - w) cross-entropy + w T^2
    KL(teacher || student), with its gradient by the logits written out:
    (1 - w) (p - label) + w T (p_T - q_T). Cost: three products of [R, D] and [V, D].
    """
    weight, warm = learning.weight, learning.temperature

    def one(own: Array, said: Array, label: Array) -> tuple[Array, Array]:
        logits, wanted = own @ head.T, said @ head.T
        soft, log_sum = _softmax(logits / warm)
        target, log_sum_wanted = _softmax(wanted / warm)
        lost = (target * (wanted - logits)).sum(-1) / warm + log_sum - log_sum_wanted
        chances, log_sum = (soft, log_sum) if warm == 1 else _softmax(logits)
        chosen = head[label]
        missed = log_sum - (own * chosen).sum(-1)
        loss = ((1 - weight) * missed + weight * warm**2 * lost).mean()
        slope = (1 - weight) * chances + weight * warm * (soft - target)
        return loss, (slope @ head - (1 - weight) * chosen) / label.size

    losses, pulls = by_chunks(one, (states, teacher, labels))
    return losses.mean(), pulls.reshape(states.shape) / losses.size


def _softmax(logits: Float[Array, "C V"]) -> tuple[Float[Array, "C V"], Array]:
    """The probabilities, and the logarithm of what they were divided by, [C]."""
    most = logits.max(-1, keepdims=True)
    raised = jnp.exp(logits - most)
    total = raised.sum(-1, keepdims=True)
    return raised / total, (jnp.log(total) + most)[:, 0]


def perplexity_by_chunks(model: Model) -> Callable[[Params, Any], float]:
    """(params, tokens [S, T]) -> exp of the mean loss of each next token."""

    @jax.jit
    def loss(params: Params, head: Array, tokens: Array) -> Array:
        found, labels = _rows(model.states(params, tokens)), _next(tokens)
        return by_chunks(
            lambda x, y: gp.metrics.cross_entropy(x @ head.T, y), (found, labels)
        ).mean()

    def perplexity(params: Params, texts: Any) -> float:
        found = [loss(params, model.head, texts[k : k + 1]) for k in range(len(texts))]
        return float(np.exp(np.mean(found)))

    return perplexity


def _rows(states: Float[Array, "B T D"]) -> Float[Array, "R D"]:
    """The states that a next token follows."""
    return states[:, :-1].reshape(-1, states.shape[-1])


def _next(tokens: Int[Array, "B T"]) -> Int[Array, " R"]:
    return tokens[:, 1:].reshape(-1)


# -- what is trained -----------------------------------------------------------------


def trained_of(model: Model, learning: Learning) -> Params:
    """What Adam moves: all but the embedding, or two thin factors for each matrix."""
    inner = {k: v for k, v in model.params.items() if k != model.embedding}
    if not learning.lora:
        return inner
    rank, key = learning.lora, jax.random.key(learning.seed)
    matrices = {name: x.shape for name, x in sorted(inner.items()) if x.ndim == 2}
    keys = jax.random.split(key, len(matrices))
    return {
        name: {
            "down": jax.random.normal(key, (rank, width)) / jnp.sqrt(width),
            "up": jnp.zeros((out, rank)),
        }
        for key, (name, (out, width)) in zip(keys, matrices.items(), strict=True)
    }


def params_of(trained: Params, fixed: Params, learning: Learning) -> Params:
    """The parameters of the student."""
    if not learning.lora:
        return fixed | trained
    added = {name: fixed[name] + x["up"] @ x["down"] for name, x in trained.items()}
    return fixed | added


# -- the steps -----------------------------------------------------------------------


class Teacher:
    """The full model's hidden states, one sequence at a time."""

    def __init__(self, states: States, params: Params, texts: np.ndarray, keep: bool):
        self._states, self._params, self._texts = jax.jit(states), params, texts
        self._kept: dict[int, jax.Array] | None = {} if keep else None

    def __call__(self, numbers: np.ndarray) -> jax.Array:
        """The states of some sequences, [B, T, D]; alike however they are grouped."""
        return jnp.concatenate([self._of(int(number)) for number in numbers])

    def _of(self, number: int) -> jax.Array:
        if self._kept is not None and number in self._kept:
            return self._kept[number]
        found = self._states(self._params, self._texts[number : number + 1])
        if self._kept is not None:
            self._kept[number] = found
        return found


def order_of(learning: Learning, sequences: int) -> Iterator[np.ndarray]:
    """The sequences of each step, [at_once]: an epoch reads all before any again."""
    queue, epoch = np.zeros(0, int), 0
    while True:
        while queue.size < learning.at_once:
            random = np.random.default_rng([learning.seed, epoch])
            queue = np.concatenate([queue, random.permutation(sequences)])
            epoch += 1
        yield queue[: learning.at_once]
        queue = queue[learning.at_once :]


class Course:
    """A student, a teacher and a text; every step a pure function of the last state."""

    def __init__(
        self, student: Model, teacher: Model, texts: np.ndarray, learning: Learning
    ):
        self.student, self.texts, self.learning = student, texts, learning
        name = student.embedding
        self.fixed = student.params if learning.lora else {name: student.params[name]}
        self.steps = learning.steps(texts.shape[1])
        again = self.steps * learning.at_once > len(texts)
        states = PRODUCTS[learning.products](teacher.states)
        self.teacher = Teacher(states, teacher.params, texts, again)
        self.schedule = optax.warmup_cosine_decay_schedule(
            learning.rate / 10,
            learning.rate,
            max(1, round(self.steps * learning.warmup)),
            max(2, self.steps),
        )
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(self.schedule, b1=0.9, b2=0.95)
        )

    def start(self) -> State:
        """Before the first step; `step` uses it up."""
        trained = jax.tree.map(jnp.copy, trained_of(self.student, self.learning))
        return State(trained, self.optimizer.init(trained))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What a checkpoint has to agree with."""
        start = fingerprint(self.student.params, self.texts)
        return asdict(self.learning) | {"network and text": start}

    @cached_property
    def _add(self) -> Callable:
        """Adds the loss and the gradient of some sequences to those of others."""
        learning, states = self.learning, self.student.states

        def add(sums: Any, trained: Params, fixed: Params, known: tuple) -> Any:
            tokens, said, head = known

            def own(trained: Params) -> Array:
                return _rows(states(params_of(trained, fixed, learning), tokens))

            found, pull = jax.vjp(own, trained)
            loss, back = loss_and_pull(
                found, _rows(said), _next(tokens), head, learning
            )
            return jax.tree.map(jnp.add, sums, (loss, pull(back)[0]))

        return jax.jit(PRODUCTS[learning.products](add), donate_argnums=0)

    @cached_property
    def _move(self) -> Callable:
        parts = self.learning.at_once // self.learning.together

        def move(state: State, sums: Any) -> State:
            grads = jax.tree.map(lambda x: x / parts, sums)
            updates, optimizer = self.optimizer.update(grads, state.optimizer)
            return State(optax.apply_updates(state.trained, updates), optimizer)

        return jax.jit(move, donate_argnums=0)

    def step(self, state: State, numbers: np.ndarray) -> tuple[State, float]:
        """The state after one step over the sequences of these numbers, and the loss.

        `state` is used up.
        """
        together, head = self.learning.together, self.student.head
        sums = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.trained))
        for first in range(0, len(numbers), together):
            part = numbers[first : first + together]
            known = (self.texts[part], self.teacher(part), head)
            sums = self._add(sums, state.trained, self.fixed, known)
        loss = float(sums[0]) / (len(numbers) // together)
        if not np.isfinite(loss):
            raise gp.InputError(f"the loss is {loss}: choose a lower rate")
        return self._move(state, sums[1]), loss


def learn(
    course: Course,
    file: Path,
    *,
    validate: Callable[[Params], float],
    validations: int = 8,
    say: Callable[[str], None] = print,
    save_seconds: float = SAVE_SECONDS,
) -> Learned:
    """Train to the end, from the checkpoint where there is one.

    Args:
      course: who learns what of whom.
      file: the checkpoint, ending in `.npz`; written whole or not at all.
      validate: the student's parameters -> perplexity; no gradient comes of it.
      validations: how often it is asked, the start not counted.
      say: where progress goes, a line a step.
      save_seconds: between two checkpoints; the last state is kept, too.

    Raises:
      InputError: the checkpoint is of other settings, or the loss is not finite.
    """
    learning, steps = course.learning, course.steps
    state, done, seconds, curve = _resumed(course, file)
    if not curve:
        found = validate(_params(course, state))
        curve.append({"tokens": 0, "validation": found})
        say(f"{time.strftime('%H:%M:%S')} validation {found:.3f}")
    order = order_of(learning, len(course.texts))
    marks = {round(steps * (k + 1) / validations) for k in range(validations)}
    begin = saved = time.perf_counter()
    already, pause = done, 0.0
    for number in range(steps):
        numbers = next(order)
        if number < done:
            continue
        state, loss = course.step(state, numbers)
        now = {"tokens": (number + 1) * learning.at_once * course.texts.shape[1]}
        now |= {"loss": loss}
        since = time.perf_counter() - begin - pause
        if number + 1 in marks:
            stopped = time.perf_counter()
            now["validation"] = validate(_params(course, state))
            pause += time.perf_counter() - stopped
        curve.append(now)
        say(_line(course, now, since / (number + 1 - already)))
        if time.perf_counter() - saved >= save_seconds or number + 1 == steps:
            spent = seconds + since
            _save(file, course, (state, number + 1, spent, curve))
            saved = time.perf_counter()
    total = seconds + time.perf_counter() - begin - pause
    return Learned(_params(course, state), curve, total)


def _params(course: Course, state: State) -> Params:
    return params_of(state.trained, course.fixed, course.learning)


def _line(course: Course, now: dict[str, float], each: float) -> str:
    """What one step says: where it is, how fast, and when all will be done."""
    step = course.learning.at_once * course.texts.shape[1]
    number = int(now["tokens"]) // step
    end = time.localtime(time.time() + (course.steps - number) * each)
    text = f"{time.strftime('%H:%M:%S')} {number}/{course.steps} loss {now['loss']:.4f}"
    if "validation" in now:
        text += f" validation {now['validation']:.3f}"
    return f"{text} {step / each:.0f} tokens/s, done {time.strftime('%H:%M', end)}"


def _save(file: Path, course: Course, now: tuple[State, int, float, list]) -> None:
    state, done, seconds, curve = now
    meta = {"learning": course.settings, "done": done, "seconds": seconds}
    save_checkpoint(file, state, meta=meta | {"curve": curve})


def _resumed(course: Course, file: Path) -> tuple[State, int, float, list]:
    if not file.exists():
        return course.start(), 0, 0.0, []
    state, meta = load_checkpoint(file, course.start())
    here = course.settings
    for name, there in meta["learning"].items():
        if here[name] != there:
            raise gp.InputError(
                f"{file} was made with {name} {there}, not {here[name]}: take that, or "
                "remove the file"
            )
    return state, meta["done"], meta["seconds"], meta["curve"]
