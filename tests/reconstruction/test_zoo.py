"""Repair of the models of the zoo and of random networks: nothing is made worse."""

import os
import warnings

import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction.repair import MODES, RepairConfig
from tests.compare import random_mask
from tests.fuzz.check import check
from tests.zoo import CASES

QUICK = (
    "cached_decoding_step",
    "ensemble",
    "scan_over_layers",
    "tied_embed_attend",
)
NAMES = sorted(CASES) if os.environ.get("GAMEPRUNING_THOROUGH") else QUICK


@pytest.mark.parametrize("name", NAMES)
def test_no_reader_of_a_model_is_worse(name):
    model = CASES[name].model("float32", 0)
    try:
        players = gp.find_players(
            model.apply, model.params, *model.inputs, **model.options
        )
    except gp.InputError:
        pytest.skip("it has no players")
    everyone = np.ones(players.num_players, bool)
    assert not gp.repair(players, model.params, everyone, model.inputs).report.readers
    mask = random_mask(np.random.default_rng(1), players, 0.6)
    for mode in MODES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer rows than inputs
            report = gp.repair(
                players,
                model.params,
                mask,
                model.inputs,
                config=RepairConfig(mode=mode),
            ).report
        assert report.readers or report.alone
        for reader in report.readers:
            assert reader.after <= reader.before * (1 + 1e-4) + 1e-6, reader


@pytest.mark.parametrize("seed", [5001, 5011])
def test_no_reader_of_a_random_network_is_worse(seed):
    record = check(seed, repair=True)
    assert record.ok, f"{record.wrong} (python -m tests.fuzz --repair --seed-of {seed})"
