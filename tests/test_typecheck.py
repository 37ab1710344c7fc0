"""The checks of annotations that all other tests rely on."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Self

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, TypeCheckError

import gamepruning as gp
from tests import typecheck
from tests.conftest import checked_modules
from tests.typecheck import typechecked

if TYPE_CHECKING:
    from nowhere import Unknown

ONES = jnp.ones(3)


@typechecked
def scale(
    x: Float[Array, " n"], y: Float[Array, " n"], by: int = 1
) -> Float[Array, " n"]:
    """A wrong result where `by` is 0."""
    return x * y * by if by else x[1:]


@typechecked
@dataclasses.dataclass
class Pair:
    kind: Literal["good"]
    one: Float[Array, " n"]
    two: Float[Array, " n"]

    @typechecked
    def itself(self) -> Self:
        return self


@typechecked
def count(num: "int", other: "Unknown | None" = None) -> Iterator[int]:
    yield from range(num)


@typechecked
def half(x: float):
    return x / 2


def test_arguments_and_results_agree_on_the_names_of_axes():
    assert scale(ONES, ONES).shape == (3,)
    assert jax.jit(scale)(jnp.ones(4), jnp.ones(4)).shape == (4,)
    for wrong in ((ONES, jnp.ones(4)), (ONES[None], ONES[None]), (ONES, 3 * [1.0])):
        with pytest.raises(TypeCheckError):
            scale(*wrong)
    with pytest.raises(TypeCheckError):
        scale(ONES, ONES, by=0)
    with pytest.raises(TypeCheckError):
        scale(ONES, ONES, by=1.5)


def test_fields_of_a_dataclass_are_checked():
    assert Pair("good", ONES, two=ONES).itself().kind == "good"
    with pytest.raises(TypeCheckError):
        Pair("bad", ONES, ONES)
    with pytest.raises(TypeCheckError):
        Pair("good", ONES, jnp.ones(4))


def test_what_is_written_as_text_is_checked_where_it_is_known():
    assert list(count(2, other="anything")) == [0, 1]
    with pytest.raises(TypeCheckError):
        count("2")


def test_a_function_without_annotations_stays_what_it_is():
    def plain(x):
        return x

    assert typechecked(plain) is plain


def test_a_function_called_often_is_checked_now_and_then():
    for _ in range(2 * typecheck.FIRST_CALLS):
        assert half(1.0) == 0.5
    with pytest.raises(TypeCheckError):
        for _ in range(typecheck.ONE_OF):
            half(1j)


def test_the_package_is_checked(monkeypatch):
    monkeypatch.setattr(typecheck, "FIRST_CALLS", 10**9)
    assert {"gamepruning.metrics", "gamepruning.coalitions.values"} <= {
        *checked_modules()
    }
    with pytest.raises(TypeCheckError):
        gp.metrics.r2(jnp.ones((2, 3), int), "labels")
