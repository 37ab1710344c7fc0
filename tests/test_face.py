"""The face: the names at the top, the namespaces, and help for names that are not."""

import importlib
import inspect
import re
import warnings
from pathlib import Path

import jax.numpy as jnp
import pytest

import gamepruning as gp

# What documentation and examples have always called by these names.
ALWAYS = """
find_players compact Plan Budget UtilityConfig joint_optimizer projected_gate_ascent
utility_gradient solve make_equilibrium_step make_market_step value_function accuracy
shapley_values banzhaf_values exact_shapley exact_banzhaf shapley banzhaf mcue
play_bandit ucb1 removal_arms top_n iterated_pruning iterated_building Scores
""".split()
NAMESPACES = """
bandits baselines coalitions compaction distillation equilibrium export huggingface
images metrics players reconstruction selection stats tabular types uncertainty
""".split()


def test_a_newcomer_can_hold_it_in_mind():
    names = [name for name in gp.__all__ if name not in NAMESPACES]
    assert len(names) <= 50
    assert set(ALWAYS) <= set(names)
    assert set(NAMESPACES) <= set(gp.__all__)
    assert dir(gp) == sorted([*gp.__all__, "__version__"])


@pytest.mark.parametrize("name", gp.__all__)
def test_every_name_is_there(name):
    assert getattr(gp, name) is not None


@pytest.mark.parametrize("name", sorted(gp._HOME))
def test_names_that_moved_still_work_and_say_where_they_are(name):
    home = gp._HOME[name]
    with pytest.warns(DeprecationWarning, match=rf"use gamepruning\.{home}\.{name}"):
        found = getattr(gp, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found is getattr(getattr(gp, home), name)


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("shapely_values", "shapley_values"),
        ("find_player", "find_players"),
        ("Nemenyi_test", "stats.nemenyi_test"),
        ("nucleolos", "coalitions.nucleolus"),
        ("load_predicter", "tabular.load_predictor"),
        ("trade", "reconstruction.trade"),
        ("budget", "Budget"),
    ],
)
def test_a_typo_gets_a_suggestion(typed, meant):
    with pytest.raises(AttributeError, match=rf"no attribute '{typed}'.*'{meant}'"):
        getattr(gp, typed)


def test_nonsense_gets_none():
    with pytest.raises(AttributeError, match=r"no attribute 'qqq'$"):
        _ = gp.qqq


def test_the_stub_names_what_is_there():
    stub = Path(gp.__file__).with_suffix(".pyi")
    if not stub.exists():
        pytest.skip("no stub beside the package")
    named = stub.read_text(encoding="utf-8")
    missing = [n for n in gp.__all__ if not re.search(rf" as {n}\b", named)]
    assert missing == []


@pytest.mark.parametrize("name", NAMESPACES)
def test_a_namespace_says_what_it_holds(name):
    module = getattr(gp, name)
    assert (module.__doc__ or "").strip()
    assert module.__all__ and dir(module) == sorted(module.__all__)
    assert all(hasattr(module, item) for item in module.__all__)
    typed = module.__all__[0][:-1] + "qz"
    with pytest.raises(AttributeError, match=rf"no attribute '{typed}'; did you mean"):
        getattr(module, typed)
    assert importlib.import_module(module.__name__) is module


def records():
    """The public named tuples that hold arrays; functions of arrays are none."""
    for name in NAMESPACES:
        module = getattr(gp, name)
        for item in getattr(module, "__all__", vars(module)):
            kind = getattr(module, item)
            if inspect.isclass(kind) and hasattr(kind, "_fields"):
                fields = map(str, kind.__annotations__.values())
                values = " ".join(f for f in fields if "Callable" not in f)
                if re.search("Array|ndarray|Params|Any", values):
                    yield kind


@pytest.mark.parametrize("kind", sorted(set(records()), key=lambda kind: kind.__name__))
def test_no_record_prints_arrays_by_the_page(kind):
    assert kind.__repr__.__module__.startswith("gamepruning"), kind


def test_a_record_of_arrays_is_short():
    info = gp.equilibrium.EquilibriumInfo(jnp.float32(0.5), jnp.ones(500), jnp.ones(9))
    told = "loss=0.5, mean_participation=float32[500], num_active=float32[9]"
    assert repr(info) == f"EquilibriumInfo({told})"
    repaired = gp.reconstruction.Repaired({"a": jnp.ones(99)}, None)  # type: ignore
    assert repr(repaired) == "Repaired(params=<1 arrays>, report=None)"


def test_policies_are_functions_with_names():
    assert repr(gp.ucb1).startswith("<function ucb1 at")
    assert gp.ucb1() is gp.ucb1() is not gp.ucb1(1.0)
