"""Public models from packages of the index, at small sizes, with random parameters.

Each builder imports its package, makes a model of few layers and small widths by the
package's own code, and returns a pure function with parameters and inputs. Only shapes
are asked of the package; values are drawn here, so that nothing has to be downloaded.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Public(NamedTuple):
    """A public model.

    Attributes:
      apply: apply(params, *inputs) -> outputs.
      params: a tree of arrays.
      inputs: examples.
      options: for `gp.find_players`.
    """

    apply: Callable[..., Any]
    params: Any
    inputs: tuple
    options: Mapping[str, Any] = {}


class Entry(NamedTuple):
    """How to build one: the package that pip installs, and the builder."""

    package: str
    build: Callable[[], Public]


MODELS: dict[str, Entry] = {}


def public(name: str, package: str) -> Callable:
    """Enter a builder under a name."""

    def enter(build: Callable[[], Public]) -> Callable[[], Public]:
        MODELS[name] = Entry(package, build)
        return build

    return enter


def drawn(shapes: Any, seed: int = 0) -> Any:
    """Random parameters of these shapes; variances and scales are about 1."""
    numbers = np.random.default_rng(seed)

    def draw(path: tuple, leaf: Any) -> Any:
        if not hasattr(leaf, "shape"):
            return leaf
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        name = jax.tree_util.keystr(path).lower()
        values = numbers.standard_normal(leaf.shape) * 0.3
        if any(word in name for word in ("var", "scale", "norm", "running")):
            values = 1 + abs(values)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def ids(*shape: int, size: int = 40) -> Any:
    """Random tokens."""
    return jnp.asarray(np.random.default_rng(1).integers(3, size, shape), jnp.int32)


def noise(*shape: int) -> Any:
    """Random inputs."""
    return jnp.asarray(np.random.default_rng(2).standard_normal(shape), jnp.float32)


def module(name: str) -> Any:
    """Import on demand."""
    return importlib.import_module(name)


# -- transformers ----------------------------------------------------------------------

BASE = {"vocab_size": 40, "max_position_embeddings": 24, "pad_token_id": 1}
ENCODER = {
    **BASE,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
SEQ2SEQ = {
    **BASE,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "decoder_start_token_id": 2,
}
T5 = {
    "vocab_size": 40,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
IMAGE = {"image_size": 16, "patch_size": 8}
TOKENS = (ids(2, 8),)
PAIR = (ids(2, 8), None, ids(2, 6))  # with an attention mask of None
ROTARY = {**ENCODER, "num_key_value_heads": 2, "head_dim": 6}

TRANSFORMERS: dict[str, tuple[str, dict[str, Any], tuple]] = {
    "Bert": ("BertModel", ENCODER, TOKENS),
    "BertMaskedLM": ("BertForMaskedLM", ENCODER, TOKENS),
    "Roberta": ("RobertaModel", ENCODER, TOKENS),
    "Electra": ("ElectraModel", {**ENCODER, "embedding_size": 24}, TOKENS),
    "Albert": ("AlbertModel", {**ENCODER, "embedding_size": 12}, TOKENS),
    "RoFormer": ("RoFormerModel", ENCODER, TOKENS),
    "BigBird": ("BigBirdModel", {**ENCODER, "attention_type": "original_full"}, TOKENS),
    "DistilBert": (
        "DistilBertModel",
        {**BASE, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 32},
        TOKENS,
    ),
    "GPT2": (
        "GPT2LMHeadModel",
        {"vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 24},
        TOKENS,
    ),
    "GPTNeo": (
        "GPTNeoModel",
        {
            **BASE,
            "hidden_size": 24,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
        },
        TOKENS,
    ),
    "GPTJ": (
        "GPTJModel",
        {
            "vocab_size": 40,
            "n_embd": 24,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 24,
            "rotary_dim": 4,
        },
        TOKENS,
    ),
    "OPT": (
        "OPTModel",
        {
            **BASE,
            "hidden_size": 24,
            "word_embed_proj_dim": 24,
            "ffn_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        TOKENS,
    ),
    "Bloom": (
        "BloomModel",
        {"vocab_size": 40, "hidden_size": 24, "n_layer": 2, "n_head": 4},
        TOKENS,
    ),
    "Llama": ("LlamaModel", ROTARY, TOKENS),
    "Mistral": ("MistralModel", ROTARY, TOKENS),
    "Gemma": ("GemmaModel", ROTARY, TOKENS),
    "XGLM": (
        "XGLMModel",
        {**BASE, "d_model": 24, "ffn_dim": 32, "num_layers": 2, "attention_heads": 4},
        TOKENS,
    ),
    "T5": ("T5Model", T5, PAIR),
    "Bart": ("BartModel", SEQ2SEQ, PAIR),
    "MBart": ("MBartModel", SEQ2SEQ, PAIR),
    "Pegasus": ("PegasusModel", SEQ2SEQ, PAIR),
    "Marian": ("MarianModel", SEQ2SEQ, PAIR),
    "Blenderbot": ("BlenderbotModel", SEQ2SEQ, PAIR),
    "Whisper": (
        "WhisperModel",
        {
            **SEQ2SEQ,
            "num_mel_bins": 6,
            "max_source_positions": 8,
            "max_target_positions": 12,
        },
        (noise(1, 6, 16), ids(1, 6)),
    ),
    "Wav2Vec2": (
        "Wav2Vec2Model",
        {
            **ENCODER,
            "conv_dim": (12, 12),
            "conv_stride": (4, 2),
            "conv_kernel": (6, 3),
            "num_feat_extract_layers": 2,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "mask_time_prob": 0.0,
        },
        (noise(1, 120),),
    ),
    "ViT": ("ViTModel", {**ENCODER, **IMAGE}, (noise(2, 3, 16, 16),)),
    "Beit": ("BeitModel", {**ENCODER, **IMAGE}, (noise(2, 3, 16, 16),)),
    "Dinov2": ("Dinov2Model", {**ENCODER, **IMAGE}, (noise(2, 3, 16, 16),)),
    "ResNet": (
        "ResNetModel",
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 2],
            "layer_type": "basic",
        },
        (noise(1, 3, 32, 32),),
    ),
    "RegNet": (
        "RegNetModel",
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 2],
            "groups_width": 4,
        },
        (noise(1, 3, 32, 32),),
    ),
}


def _transformers(kind: str, settings: dict[str, Any], inputs: tuple) -> Public:
    library = module("transformers")
    flax = getattr(library, f"Flax{kind}")
    model = flax(flax.config_class(**settings), _do_init=False)
    positions = tuple(k for k, x in enumerate(inputs) if x is not None)

    def apply(params: Any, *given: Any) -> Any:
        every = dict(zip(positions, given, strict=True))
        arguments = [every.get(k) for k in range(len(inputs))]
        if len(inputs) > 2:
            out = model(arguments[0], decoder_input_ids=arguments[2], params=params)
        else:
            out = model(*arguments, params=params)
        return out[0]

    shapes = model.params_shape_tree
    return Public(apply, drawn(shapes), tuple(inputs[k] for k in positions))


for _name, _how in TRANSFORMERS.items():
    MODELS[f"transformers {_name}"] = Entry(
        "transformers", lambda how=_how: _transformers(*how)
    )


@public("transformers CLIP", "transformers")
def _clip() -> Public:
    library = module("transformers")
    settings = library.CLIPConfig(
        text_config={**ENCODER, "projection_dim": 12, "eos_token_id": 2},
        vision_config={**ENCODER, **IMAGE, "projection_dim": 12},
        projection_dim=12,
    )
    model = library.FlaxCLIPModel(settings, _do_init=False)

    def apply(params: Any, tokens: Any, images: Any) -> Any:
        out = model(tokens, pixel_values=images, params=params)
        return out.text_embeds, out.image_embeds

    inputs = (ids(2, 8), noise(2, 3, 16, 16))
    return Public(apply, drawn(model.params_shape_tree), inputs)


# -- flax ------------------------------------------------------------------------------


def linen(model: Any, *inputs: Any, **options: Any) -> Public:
    """A linen module in evaluation mode."""
    run = lambda key, *x: model.init(key, *x, **options)  # noqa: E731
    variables = drawn(jax.eval_shape(run, jax.random.key(0), *inputs))
    return Public(lambda p, *x: model.apply(p, *x, **options), variables, inputs)


@public("flaxmodels ResNet18", "flaxmodels")
def _flaxmodels_resnet() -> Public:
    net = module("flaxmodels").ResNet18(
        output="logits", pretrained=None, num_classes=10, normalize=False
    )
    return linen(net, noise(1, 32, 32, 3), train=False)


@public("flaxmodels VGG16", "flaxmodels")
def _flaxmodels_vgg() -> Public:
    net = module("flaxmodels").VGG16(
        output="activations", pretrained=None, include_head=False, normalize=False
    )
    shape = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda k, x: net.init(k, x, train=False), key, shape)
    run = lambda p, x: net.apply(p, x, train=False)["relu5_3"]  # noqa: E731
    return Public(run, shapes, (shape,))


@public("bottleneck-transformer-flax", "bottleneck-transformer-flax")
def _botnet() -> Public:
    library = module("bottleneck_transformer_flax")
    config = library.BoTNetConfig(
        stage_sizes=[1, 1, 1, 1],
        num_classes=5,
        num_heads=2,
        head_dim=4,
        initial_filters=8,
    )
    return linen(library.BoTNet(config), noise(1, 64, 64, 3), train=False)


@public("brax PPO policy", "brax")
def _brax() -> Public:
    networks = module("brax.training.networks")
    net = networks.make_policy_network(
        6, 12, hidden_layer_sizes=(32, 32), layer_norm=False
    )
    params = drawn(jax.eval_shape(net.init, jax.random.key(0)))
    return Public(lambda p, x: net.apply(None, p, x), params, (noise(4, 12),))


def _tunix(family: str, kind: str, **more: Any) -> Public:
    nnx = module("flax.nnx")
    models = module(f"tunix.models.{family}.model")
    sizes: dict[str, Any] = {
        "num_layers": 2,
        "embed_dim": 24,
        "hidden_dim": 32,
        "num_heads": 4,
        "head_dim": 6,
        "num_kv_heads": 2,
        **more,
    }
    config = models.ModelConfig(**sizes)
    net = getattr(models, kind)(config, rngs=nnx.Rngs(0))
    graph, params = nnx.split(net)
    time = 8
    positions = jnp.arange(time)[None]
    causal = jnp.tril(jnp.ones((1, time, time), bool))

    def apply(params: Any, tokens: Any) -> Any:
        model = nnx.merge(graph, params)
        return model(tokens, positions, None, causal)[0]

    return Public(apply, drawn(params), (ids(1, time),))


ROPE = {"vocab_size": 40, "rope_theta": 10_000, "norm_eps": 1e-6}
MODELS["tunix Llama3"] = Entry(
    "google-tunix", lambda: _tunix("llama3", "Llama3", **ROPE)
)
MODELS["tunix Qwen2"] = Entry("google-tunix", lambda: _tunix("qwen2", "Qwen2", **ROPE))
MODELS["tunix Qwen3"] = Entry("google-tunix", lambda: _tunix("qwen3", "Qwen3", **ROPE))


# -- haiku, equinox, penzai, jraph, flows, ODEs ----------------------------------------


def _haiku(make: Callable[[Any], Any], x: Any) -> Public:
    hk = module("haiku")
    net = hk.without_apply_rng(
        hk.transform_with_state(lambda x, train=False: make(hk)(x, is_training=train))
    )
    init = lambda key, x: net.init(key, x, train=True)  # noqa: E731
    params, state = jax.eval_shape(init, jax.random.key(0), x)
    both = drawn({"params": params, "state": state})
    run = lambda both, x: net.apply(both["params"], both["state"], x)[0]  # noqa: E731
    return Public(run, both, (x,))


@public("haiku ResNet18", "dm-haiku")
def _haiku_resnet() -> Public:
    return _haiku(lambda hk: hk.nets.ResNet18(10), noise(1, 32, 32, 3))


@public("haiku MobileNetV1", "dm-haiku")
def _haiku_mobilenet() -> Public:
    make = lambda hk: hk.nets.MobileNetV1(  # noqa: E731
        strides=(1, 2, 1), channels=(16, 24, 32), num_classes=10
    )
    return _haiku(make, noise(1, 16, 16, 3))


def _equinox(net: Any, x: Any) -> Public:
    eqx = module("equinox")
    arrays, rest = eqx.partition(net, eqx.is_inexact_array)
    run = lambda p, x: jax.vmap(eqx.combine(p, rest))(x)  # noqa: E731
    return Public(run, drawn(arrays), (x,))


@public("equinox MLP", "equinox")
def _equinox_mlp() -> Public:
    net = module("equinox").nn.MLP(6, 3, 24, 2, key=jax.random.key(0))
    return _equinox(net, noise(4, 6))


@public("equinox MultiheadAttention", "equinox")
def _equinox_attention() -> Public:
    net = module("equinox").nn.MultiheadAttention(4, 12, key=jax.random.key(0))
    found = _equinox(lambda x: net(x, x, x), noise(2, 5, 12))
    eqx = module("equinox")
    arrays, rest = eqx.partition(net, eqx.is_inexact_array)

    def run(params: Any, x: Any) -> Any:
        attend = eqx.combine(params, rest)
        return jax.vmap(lambda x: attend(x, x, x))(x)

    return Public(run, drawn(arrays), found.inputs)


@public("equimo ViT", "equimo")
def _equimo_vit() -> Public:
    net = module("equimo.models").VisionTransformer(
        img_size=16,
        in_channels=3,
        dim=24,
        patch_size=8,
        num_heads=[4],
        depths=[2],
        num_classes=5,
        key=jax.random.key(0),
    )
    eqx = module("equinox")
    arrays, rest = eqx.partition(net, eqx.is_inexact_array)

    def run(params: Any, x: Any) -> Any:
        model = eqx.nn.inference_mode(eqx.combine(params, rest))
        return jax.vmap(lambda x: model(x, key=jax.random.key(0)))(x)

    return Public(run, drawn(arrays), (noise(2, 3, 16, 16),))


@public("jraph GraphNetwork", "jraph")
def _jraph() -> Public:
    jraph, hk = module("jraph"), module("haiku")
    graph = jraph.GraphsTuple(
        nodes=noise(5, 6),
        edges=noise(7, 4),
        globals=noise(1, 3),
        senders=jnp.array([0, 1, 2, 3, 4, 0, 2]),
        receivers=jnp.array([1, 2, 3, 4, 0, 2, 4]),
        n_node=jnp.array([5]),
        n_edge=jnp.array([7]),
    )

    def net(nodes: Any, edges: Any) -> Any:
        update = lambda sizes: jraph.concatenated_args(hk.nets.MLP(sizes))  # noqa: E731
        layer = jraph.GraphNetwork(update([16, 8]), update([16, 8]), update([16, 3]))
        return layer(graph._replace(nodes=nodes, edges=edges)).globals

    pure = hk.without_apply_rng(hk.transform(net))
    inputs = (graph.nodes, graph.edges)
    params = drawn(jax.eval_shape(pure.init, jax.random.key(0), *inputs))
    return Public(pure.apply, params, inputs)


@public("jraph GAT", "jraph")
def _jraph_attention() -> Public:
    jraph, hk = module("jraph"), module("haiku")
    senders, receivers = jnp.array([0, 1, 2, 3, 4, 0]), jnp.array([1, 2, 3, 4, 0, 2])

    def net(nodes: Any) -> Any:
        layer = jraph.GAT(
            attention_query_fn=lambda n: hk.Linear(8)(n),
            attention_logit_fn=lambda q, k, e: hk.Linear(1)(
                jax.nn.leaky_relu(jnp.concatenate([q, k], -1))
            ),
            node_update_fn=lambda n: hk.Linear(4)(jax.nn.relu(n)),
        )
        one = jnp.array([5]), jnp.array([6])
        graph = jraph.GraphsTuple(nodes, None, receivers, senders, None, *one)
        return layer(graph).nodes

    pure = hk.without_apply_rng(hk.transform(net))
    params = drawn(jax.eval_shape(pure.init, jax.random.key(0), noise(5, 6)))
    return Public(pure.apply, params, (noise(5, 6),))


def _flow(kind: str) -> Public:
    eqx, flows = module("equinox"), module("flowjax.flows")
    base = module("flowjax.distributions").Normal(jnp.zeros(4))
    flow = getattr(flows, kind)(
        jax.random.key(0), base_dist=base, flow_layers=2, nn_width=16
    )
    arrays, rest = eqx.partition(flow, eqx.is_inexact_array)
    run = lambda p, x: eqx.combine(p, rest).log_prob(x)  # noqa: E731
    return Public(run, arrays, (noise(3, 4),))


MODELS["flowjax coupling flow"] = Entry("flowjax", lambda: _flow("coupling_flow"))
MODELS["flowjax masked autoregressive flow"] = Entry(
    "flowjax", lambda: _flow("masked_autoregressive_flow")
)


@public("diffrax neural ODE", "diffrax")
def _diffrax() -> Public:
    eqx, ode = module("equinox"), module("diffrax")
    net = eqx.nn.MLP(3, 3, 16, 2, activation=jnp.tanh, key=jax.random.key(0))
    arrays, rest = eqx.partition(net, eqx.is_inexact_array)

    def run(params: Any, x: Any) -> Any:
        field = eqx.combine(params, rest)

        def solve(start: Any) -> Any:
            return ode.diffeqsolve(
                ode.ODETerm(lambda t, y, args: field(y)),
                ode.Euler(),
                0.0,
                1.0,
                0.25,
                start,
                adjoint=ode.DirectAdjoint(),
            ).ys

        return jax.vmap(solve)(x)

    return Public(run, drawn(arrays), (noise(2, 3),))


def _penzai(family: str, **more: Any) -> Public:
    pz = module("penzai.pz")
    common = module("penzai.models.transformer.variants.llamalike_common")
    config = common.LlamalikeTransformerConfig(
        num_kv_heads=2,
        query_head_multiplier=2,
        embedding_dim=24,
        projection_dim=6,
        mlp_hidden_dim=32,
        num_decoder_blocks=2,
        vocab_size=40,
        tie_embedder_and_logits=False,
        rope_wavelength=10_000,
        rms_norm_eps=1e-6,
        mlp_variant=family,
        parameter_dtype=jnp.float32,
        activation_dtype=jnp.float32,
        **more,
    )
    net = common.build_llamalike_transformer(
        config, init_base_rng=jax.random.key(0), name="net"
    )
    unbound, values = pz.unbind_params(net)
    frozen = [value.freeze() for value in values]

    def run(params: Any, tokens: Any) -> Any:
        model = pz.bind_variables(unbound, params)
        named = pz.nx.wrap(tokens).tag("batch", "seq")
        positions = pz.nx.arange("seq", tokens.shape[1])
        out = model(named, token_positions=positions)
        return out.unwrap("batch", "seq", "vocabulary")

    return Public(run, frozen, (ids(1, 8),))


MODELS["penzai llama"] = Entry("penzai", lambda: _penzai("swiglu"))
MODELS["penzai gemma"] = Entry("penzai", lambda: _penzai("geglu_approx"))


# -- keras -----------------------------------------------------------------------------


def _keras(make: Callable[[Any], Any], x: Any) -> Public:
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    net = make(module("keras"))
    params = {
        "trainable": [v.value for v in net.trainable_variables],
        "other": [v.value for v in net.non_trainable_variables],
    }

    def run(params: Any, x: Any) -> Any:
        return net.stateless_call(params["trainable"], params["other"], x)[0]

    return Public(run, params, (x,))


@public("keras MobileNetV2", "keras")
def _keras_mobilenet() -> Public:
    make = lambda keras: keras.applications.MobileNetV2(  # noqa: E731
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=5
    )
    return _keras(make, noise(1, 32, 32, 3))


@public("keras transformer block", "keras")
def _keras_transformer() -> Public:
    def make(keras: Any) -> Any:
        layers = keras.layers
        x = start = keras.Input((8, 24))
        x = x + layers.MultiHeadAttention(4, 6)(layers.LayerNormalization()(x), x)
        x = x + layers.Dense(24)(layers.Dense(48, activation="gelu")(x))
        return keras.Model(start, layers.Dense(5)(layers.LayerNormalization()(x)))

    return _keras(make, noise(2, 8, 24))


# -- at their own size, by shapes ------------------------------------------------------

LARGE: dict[str, tuple[str, dict[str, Any], tuple]] = {
    "Bert base": ("BertModel", {}, (ids(1, 128),)),
    "GPT2": ("GPT2LMHeadModel", {}, (ids(1, 128),)),
    "ViT base": ("ViTModel", {}, (noise(1, 3, 224, 224),)),
    "Llama 1 B": (
        "LlamaModel",
        {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128_256,
        },
        (ids(1, 128),),
    ),
    "ResNet50": ("ResNetModel", {}, (noise(1, 3, 224, 224),)),
}


def _large(kind: str, settings: dict[str, Any], inputs: tuple) -> Public:
    library = module("transformers")
    flax = getattr(library, f"Flax{kind}")
    model = flax(flax.config_class(**settings), _do_init=False)
    shapes = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), model.params_shape_tree
    )
    return Public(lambda p, *x: model(*x, params=p)[0], shapes, inputs)


for _name, _how in LARGE.items():
    MODELS[f"transformers {_name}, by shapes"] = Entry(
        "transformers", lambda how=_how: _large(*how)
    )
