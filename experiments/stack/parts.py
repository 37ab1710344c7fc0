"""What the stack does with a small model: train, store, quantise, convert.

Each part takes a small model, or a module built from it, and returns figures as JSON
can hold them. A package that is not installed is a reason, not a failure.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx

import gamepruning as gp
from experiments.stack.models import (
    Config,
    Convolutions,
    Dense,
    NnxDecoder,
    ScannedDecoder,
)

PACKAGES = {
    "google-tunix": "tunix",
    "qwix": "qwix",
    "jax2onnx": "jax2onnx",
    "onnxruntime": "onnxruntime",
    "litert-converter": "litert_converter",
    "ai-edge-litert": "ai_edge_litert",
    "orbax-checkpoint": "orbax",
    "flax": "flax",
    "jax": "jax",
}
DEFAULT = Config()
CHOSEN = ("heads", "head groups", "units")  # what a configuration has a field for


def missing(*names: str) -> str:
    """Which of these packages are not installed, as a reason; "" where all are."""
    found = [n for n in names if importlib.util.find_spec(PACKAGES[n]) is None]
    return f"not installed: {', '.join(found)}" if found else ""


def versions() -> dict[str, str]:
    """The installed packages of the stack, by name."""
    return {n: importlib.metadata.version(n) for n in PACKAGES if not missing(n)}


class Small(NamedTuple):
    """A model and half of it.

    Attributes:
      apply: of the full model.
      params: its parameters.
      small: what `gp.compact` made.
      inputs: examples.
    """

    apply: Callable[..., Any]
    params: Any
    small: gp.compaction.CompactModel
    inputs: tuple


def halved(apply: Callable[..., Any], params: Any, *inputs: Any, **how: Any) -> Small:
    """Half of the heads and units of each family, by magnitude; the rest stays."""
    players = gp.find_players(apply, params, *inputs, **how)
    scores = np.asarray(gp.magnitude_scores(players, params).value)
    mask = np.ones(players.num_players, bool)
    for family, kind in zip(players.families, players.kinds, strict=True):
        if kind in CHOSEN:
            here = slice(family.start, family.stop)
            order = np.argsort(-scores[here], kind="stable")
            mask[here] = np.isin(np.arange(family.size), order[: family.size // 2])
    return Small(apply, params, gp.compact(players, params, mask), inputs)


def tokens_of(config: Config, *, batch: int = 4, time: int = 16, seed: int = 0):
    """Random tokens, int32 [batch, time]."""
    key = jax.random.key(seed)
    return jax.random.randint(key, (batch, time), 0, config.vocab_size, jnp.int32)


def small_decoder(config: Config = DEFAULT) -> tuple[NnxDecoder, Small, Any]:
    """The nnx decoder, half of it, and the module of the small configuration."""
    teacher = NnxDecoder(config)
    apply, params = gp.from_nnx(teacher)
    tokens = tokens_of(config)
    half = halved(apply, params, tokens)
    return teacher, half, gp.to_module(half.small, config, tokens, make=NnxDecoder)


def told(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:240]


def relative(one: Any, two: Any) -> float:
    """The largest difference, over the largest entry of `two`."""
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    return float(abs(one - two).max() / max(abs(two).max(), 1e-30))


# -- MaxText's checkpoint --------------------------------------------------------------


def write_maxtext(folder: Path, variables: Any) -> Path:
    """Write linen variables as MaxText's converters do: `folder/0/items`, by orbax."""
    state = {"params": variables, "opt_state": {}, "step": np.int32(0)}
    with ocp.CheckpointManager(folder.resolve(), item_names=("items",)) as manager:
        items = ocp.args.PyTreeSave(state)
        manager.save(0, args=ocp.args.Composite(items=items))
    return folder / "0" / "items"


def read_maxtext(path: Path, variables: Any) -> Any:
    """Read only the parameters, as `load_parameters_path` does, at these shapes."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=False)
    wanted = {"params": variables}
    arguments = ocp.checkpoint_utils.construct_restore_args(wanted)
    restored = ocp.Checkpointer(handler).restore(
        path.resolve(), item=wanted, transforms={}, restore_args=arguments
    )
    return restored["params"]


def maxtext(folder: Path, config: Config = DEFAULT) -> dict[str, Any]:
    """Units of scanned layers, and whole layers, out of a checkpoint in its layout."""
    return {
        "half of heads and units": maxtext_half(folder / "half", config),
        "a layer out": maxtext_short(folder / "short", config),
    }


def maxtext_half(folder: Path, config: Config = DEFAULT) -> dict[str, Any]:
    """Half of the heads and units of each layer, stored and read."""
    apply, params, tokens = _scanned(config)
    half = halved(apply, params, tokens, layers="each").small
    return _stored(folder, half, config, tokens)


def maxtext_short(folder: Path, config: Config = DEFAULT) -> dict[str, Any]:
    """The layer in the middle out, stored and read."""
    apply, params, tokens = _scanned(config)
    branches = gp.find_players(apply, params, tokens, granularity="branch")
    layers = config.base_num_decoder_layers
    stays = np.arange(branches.num_players).reshape(layers, -1) // 2 != layers // 2
    short = gp.compact(branches, params, stays.reshape(-1))
    return _stored(folder, short, config, tokens)


def _scanned(config: Config) -> tuple[Callable[..., Any], Any, Any]:
    """The scanned decoder as a function, its parameters, and tokens."""
    module, tokens = ScannedDecoder(config), tokens_of(config)
    variables = module.init(jax.random.key(0), tokens)
    return *gp.from_linen(module, variables), tokens


def _stored(folder: Path, small: Any, config: Config, tokens: Any) -> dict[str, Any]:
    """Written, read by the module of the small configuration, and run."""
    found = gp.to_module(small, config, tokens, make=ScannedDecoder)
    path = write_maxtext(folder, found.params)
    shapes = jax.eval_shape(found.module.init, jax.random.key(0), tokens)
    again = read_maxtext(path, shapes)
    outputs = found.module.apply(again, tokens)
    return {
        "student_overrides": {field: new for field, (_, new) in found.changed.items()},
        "params": small.report.params._asdict(),
        "max_error": relative(outputs, small.apply(small.params, tokens)),
    }


# -- Tunix -----------------------------------------------------------------------------


def distilled(config: Config = DEFAULT, *, steps: int = 20) -> dict[str, Any]:
    """Tunix's `DistillationTrainer` on the small student, the full model as teacher."""
    from tunix.distillation import distillation_trainer as trainers, strategies

    teacher, half, found = small_decoder(config)
    student = found.module
    held_out = tokens_of(config, seed=1)
    before = divergence(teacher(held_out), student(held_out))
    run = lambda model, tokens: model(tokens)  # noqa: E731
    strategy = strategies.LogitStrategy(
        student_forward_fn=run,
        teacher_forward_fn=run,
        labels_fn=lambda tokens: jax.nn.one_hot(
            jnp.roll(tokens, -1, axis=1), config.vocab_size
        ),
        temperature=1.0,
        alpha=1.0,
    )
    trainer = trainers.DistillationTrainer(
        student_model=student,
        teacher_model=teacher,
        strategy=strategy,
        optimizer=optax.adam(3e-3),
        training_config=trainers.TrainingConfig(
            eval_every_n_steps=steps + 1, max_steps=steps
        ),
    ).with_gen_model_input_fn(lambda batch: {"tokens": batch.input_tokens})
    batches = [tokens_of(config, batch=16, seed=2 + k) for k in range(steps)]
    trainer.train(
        [
            trainers.TrainingInput(input_tokens=x, input_mask=jnp.ones_like(x))
            for x in batches
        ]
    )
    after = divergence(teacher(held_out), trainer.model(held_out))
    return {
        "params": half.small.report.params._asdict(),
        "steps": steps,
        "divergence_before": before,
        "divergence_after": after,
    }


def divergence(teacher: Any, student: Any) -> float:
    """Kullback-Leibler divergence of the student's next token, mean over tokens."""
    expected, found = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
    return float((jnp.exp(expected) * (expected - found)).sum(-1).mean())


# -- Qwix ------------------------------------------------------------------------------


def quantised(config: Config = DEFAULT) -> dict[str, Any]:
    """Qwix quantises the small module after training; errors of the logits."""
    import qwix

    _, half, found = small_decoder(config)
    tokens = tokens_of(config)
    exact = half.small.apply(half.small.params, tokens)
    errors = {}
    for name, types in {
        "weights int8": {"weight_qtype": jnp.int8},
        "weights and activations int8": {
            "weight_qtype": jnp.int8,
            "act_qtype": jnp.int8,
        },
        "weights int4": {"weight_qtype": jnp.int4},
    }.items():
        rule = qwix.QuantizationRule(module_path=".*", **types)
        model = nnx.clone(found.module)
        model = qwix.quantize_model(model, qwix.PtqProvider([rule]), tokens)
        errors[name] = relative(model(tokens), exact)
    return {"max_error": errors}


# -- ONNX and LiteRT -------------------------------------------------------------------


def models_to_convert(config: Config = DEFAULT) -> dict[str, Small]:
    """Small models of several kinds, from linen and nnx."""
    key = jax.random.key(0)
    features, images = jax.random.normal(key, (2, 16)), jnp.ones((2, 12, 12, 3))
    images = jax.random.normal(key, images.shape)
    scanned, tokens = ScannedDecoder(config), tokens_of(config)
    found = {
        "dense": (Dense(), features),
        "convolutions, mean pool": (Convolutions("mean"), images),
        "convolutions, max pool": (Convolutions("max"), images),
        "decoder, scanned layers": (scanned, tokens),
    }
    small = {
        name: halved(*gp.from_linen(module, module.init(key, x)), x)
        for name, (module, x) in found.items()
    }
    _, half, _ = small_decoder(config)
    return {**small, "decoder": half}


Convert = Callable[[Callable[..., Any], Any], Any]


def converted(convert: Convert, models: Mapping[str, Small]) -> dict[str, Any]:
    """How far the converted small model is from `small.apply`, or why it is not.

    Where the converter fails, it is asked for the full model, too: its limit, or ours.
    """
    rows: dict[str, Any] = {}
    for name, (apply, params, small, (x,)) in models.items():
        run = lambda x, small=small: small.apply(small.params, x)  # noqa: E731
        try:
            rows[name] = {"max_error": relative(convert(run, x), run(x))}
        except Exception as error:  # whatever a converter says
            rows[name] = {"limit": told(error)}
            full = lambda x, a=apply, p=params: a(p, x)  # noqa: E731
            try:
                rows[name]["full_model"] = relative(convert(full, x), full(x))
            except Exception as again:
                rows[name]["full_model"] = told(again)
    return rows


def by_onnx(run: Callable[..., Any], x: Any) -> np.ndarray:
    """The outputs that onnxruntime has of what jax2onnx writes."""
    import jax2onnx
    import onnxruntime

    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    proto = jax2onnx.to_onnx(run, [shape])
    onnxruntime.set_default_logger_severity(3)  # errors
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: np.asarray(x)})[0]


def by_litert(run: Callable[..., Any], x: Any) -> np.ndarray:
    """The outputs that LiteRT has of what its converter makes of our StableHLO."""
    from ai_edge_litert.interpreter import Interpreter
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as converter

    text = jax.export.export(jax.jit(run))(x).mlir_module()
    context = ir.Context()
    converter.prepare_mlir_context(context)
    with context:
        module = ir.Module.parse(text)
        converter.set_signature(
            module.operation,
            signature_name="serving_default",
            input_names=["x"],
            output_names=["y"],
        )
        module = converter.merge_modules([module])
        converter.run_convert_to_tfl_passes(
            module, passmanager.PassManager(), converter.ConvertToTFLConfig()
        )
        content = converter.export_flatbuffer_to_bytes(
            getattr(module, "operation", module)
        )
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    return runner(x=np.asarray(x))["y"]
