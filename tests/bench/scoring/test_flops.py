"""FLOPs counted are those added up by hand."""

import torch

from bench.scoring.flops import attention_flops, count_flops, only_needed


def test_a_matrix_product_and_an_attention_call_count_as_by_hand():
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7
    query, key = torch.zeros(2, 4, 3, 8), torch.zeros(2, 4, 6, 8)
    per_pair = 2 * 8 + 2 * 8
    assert attention_flops(query, key, key) == 2 * 4 * 3 * 6 * per_pair
    assert attention_flops(query, query, query, is_causal=True) == 2 * 4 * (1 + 2 + 3) * per_pair
    mask = torch.zeros(2, 1, 3, 6, dtype=torch.bool)
    mask[0, 0, 0, :2] = True
    assert attention_flops(query, key, key, attn_mask=mask) == 4 * 2 * per_pair
    assert attention_flops(query, key, key, attn_mask=torch.where(mask, 0.0, float("-inf"))) == 4 * 2 * per_pair


def test_the_kernel_that_the_processor_takes_is_counted():
    query = torch.zeros(1, 2, 3, 8)
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()
    attend = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        assert count_flops(lambda: attend(query, query, query, attn_mask=mask)) == 2 * 6 * 32


def test_scoring_counts_its_weights_its_logits_and_its_attention(setting, monkeypatch):
    """All options of two rows of equal length in one pass, added up by hand from the model's shape."""
    engine, options = setting.engine, setting.prompt.options
    monkeypatch.setattr(engine, "unexpanded_mass", 0.0)
    prompts = [setting.rendered(1)[0]] * 2
    tree = engine.tokens.tree(options)
    n_prefix, n_row = len(engine.tokens.prefix(prompts[0])), len(engine.tokens.row(prompts[0]))
    config = engine.model.config

    heads, width = config.num_attention_heads, config.head_dim
    into_attention = config.hidden_size * width * (heads + 2 * config.num_key_value_heads)
    after = config.hidden_size * width * heads + 3 * config.hidden_size * config.intermediate_size
    n_tokens = n_prefix + 2 * (n_row + tree.n_nodes)
    places = 2 * (1 + tree.n_nodes)
    # In the last layer only what is read goes on after the attention; of the prefix that is one token.
    weights = config.num_hidden_layers * into_attention * n_tokens
    weights += after * ((config.num_hidden_layers - 1) * n_tokens + places + 1)
    # A row's own block is counted whole, masked pairs and all.
    n_block = n_row + tree.n_nodes
    pairs = n_prefix**2 + 2 * n_block * (n_prefix + n_block)
    expected = (
        2 * weights
        + 2 * config.hidden_size * config.vocab_size * places
        + config.num_hidden_layers * heads * pairs * 4 * width
    )

    def score():
        engine.forget()
        engine.score(prompts, options)

    score()  # what an engine finds out at its first call counts once
    assert only_needed(lambda: count_flops(score)) == expected
