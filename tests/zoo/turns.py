"""Which models of the zoo each costly check is for.

These checks compile the most and find the least, so every light model (`Case.heavy` is
false) is in two of them, and every check has some twenty models of all kinds. With
GAMEPRUNING_THOROUGH=1 each check is for all light models. A new model joins the two
checks that its name is added to here.
"""

TURNS: dict[str, list[str]] = {
    "test_gates_of_one_change_nothing": """
        transformer_linen repeated_key_value_heads decoder_with_tied_embedding
        lenet5_linen pixel_shuffle channels_first mlp_with_input_players
        gated_linear_unit bilinear_pooling radial_basis equinox_attention
        stax_style scan_over_layers associative_scan train_with_adam
        variational_autoencoder mixed_precision fourier_over_time
        straight_through_quantiser physics_informed dictionary_of_outputs
    """.split(),
    "test_other_masks": """
        transformer_linen perceiver decoder_with_tied_embedding lenet5_nnx
        pixel_shuffle shuffled_units mlp_with_input_players concatenated_relu
        bilinear_pooling soft_mixture_of_experts equinox_attention bare_arrays
        scan_over_layers selective_state_space train_with_adam dropout_with_key
        gram_of_relu layer_norm_gated straight_through_quantiser custom_gradient
        dictionary_of_outputs
    """.split(),
    "test_excluded_model_equals_gated_model": """
        transformer_nnx perceiver tied_embed_attend lenet5_nnx mlp_mixer
        shuffled_units embedding_masked_mean concatenated_relu hypernetwork
        soft_mixture_of_experts haiku_conv_batch_norm bare_arrays
        linen_scan_over_layers selective_state_space batch_norm_in_training
        dropout_with_key weight_normalisation layer_norm_gated
        quantised_products custom_gradient parameters_in_the_loss
    """.split(),
    "test_whole_family_may_leave": """
        transformer_nnx shifted_window_attention tied_embed_attend
        group_norm_pad_transposed mlp_mixer mapped_ensemble
        embedding_masked_mean maxout hypernetwork linear_mixture_of_experts
        haiku_conv_batch_norm lstm_then_gru linen_scan_over_layers neural_ode
        batch_norm_in_training linen_dropout_with_key weight_normalisation
        layer_norm_frozen quantised_products einsum_chain parameters_in_the_loss
    """.split(),
    "test_gradient_of_the_smaller_model_is_the_gated_one_sliced": """
        fused_qkv_rotary_swiglu shifted_window_attention cached_decoding_step
        group_norm_pad_transposed wavenet mapped_ensemble tied_autoencoder
        maxout ensemble linear_mixture_of_experts haiku_attention lstm_then_gru
        loops_and_conditions neural_ode saliency linen_dropout_with_key
        weight_normalisation_gated layer_norm_frozen masked_weights einsum_chain
        spectral_normalisation
    """.split(),
    "test_other_batch_size_and_vmap": """
        fused_qkv_rotary_swiglu vision_transformer_rms cached_decoding_step
        inception wavenet mlp tied_autoencoder highway ensemble
        factorisation_machine haiku_attention elman_network loops_and_conditions
        closed_over_constants half_precision mixed_precision
        weight_normalisation_gated fourier_transform masked_weights tensor_train
        spectral_normalisation
    """.split(),
    "test_gates_are_differentiable": """
        grouped_query_attention vision_transformer_rms linear_attention
        inception conv3d conditional_convolution low_rank_adapters highway
        deep_sets factorisation_machine nnx_batch_norm_dropout elman_network
        deep_equilibrium graph_network saliency jacobian_product
        gram_of_exponentials fourier_transform dequantised_weights tensor_train
    """.split(),
    "test_gates_map": """
        grouped_query_attention normalised_queries linear_attention
        local_response_norm conv3d conditional_convolution low_rank_adapters
        residual_mlp deep_sets equinox_conv nnx_batch_norm_dropout bidirectional
        deep_equilibrium graph_network embedding_gradient
        variational_autoencoder half_precision fourier_over_time
        dequantised_weights constant_permutation
    """.split(),
    "test_hoisted_equals_gated": """
        repeated_key_value_heads normalised_queries lenet5_linen
        local_response_norm channels_first mlp gated_linear_unit residual_mlp
        radial_basis equinox_conv stax_style bidirectional associative_scan
        embedding_gradient jacobian_product closed_over_constants
        gram_of_exponentials gram_of_relu physics_informed constant_permutation
    """.split(),
}

# Models that are checked in single precision, too.
SINGLE: list[str] = """
    transformer_linen linear_attention mapped_ensemble bilinear_pooling
    nnx_batch_norm_dropout neural_ode weight_normalisation_gated custom_gradient
""".split()
