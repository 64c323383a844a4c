"""Attention by hand against Keras, the Transformer's mask, cache, samples, likelihoods, errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from course_utils import text
from course_utils.models.attention import Transformer, TransformerBlock
from course_utils.text import CharacterTokenizer
from course_utils.training import adamw
from lessons import function

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ALPHABET = "abcdefgh .\n"
RNG = np.random.default_rng(0)
MASKS = {"plain": None, "causal": np.tri(5, dtype=bool)}


def random_model(positions=24, seed=0, **kwargs):
    """Weights large enough that every token and every position matter."""
    tokenizer = CharacterTokenizer.fit(ALPHABET)
    options = {"width": 16, "heads": 2, "tokenizer": tokenizer} | kwargs
    model = Transformer(tokenizer.vocab_size, positions, **options)
    model.build()
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def random_ids(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, len(ALPHABET) + 1, shape).astype(np.int32)


@pytest.fixture(scope="module")
def model():
    return random_model()


# --- by hand -------------------------------------------------------------------------------------


def attend(q, k, v, mask):
    """Attention and its gradient for a loss sum(outputs * pull), from the formulas."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    a = np.exp(scores - scores.max(axis=-1, keepdims=True))
    a /= a.sum(axis=-1, keepdims=True)

    def back(d_o):
        d_a = d_o @ v.swapaxes(-1, -2)
        d_s = a * (d_a - (a * d_a).sum(axis=-1, keepdims=True)) / np.sqrt(q.shape[-1])
        return d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_o

    return a @ v, back


@pytest.mark.parametrize("name", MASKS)
def test_attention_by_hand_is_that_of_keras(name):
    mask = MASKS[name]
    q, k, v, pull = RNG.normal(size=(4, 2, 3, 5, 4))  # (batch, heads, tokens, d_k)
    outputs, back = attend(q, k, v, mask)
    tensors = [tf.constant(each.swapaxes(1, 2)) for each in (q, k, v)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        theirs = ops.dot_product_attention(
            *tensors, mask=None if mask is None else tf.constant(mask[None, None])
        )
        loss = tf.reduce_sum(theirs * pull.swapaxes(1, 2))
    pairs = zip([outputs, *back(pull)], [theirs, *tape.gradient(loss, tensors)], strict=True)
    for ours, keras_one in pairs:
        assert np.abs(ours.swapaxes(1, 2) - keras_one).max() < 1e-5


@pytest.mark.parametrize("name", MASKS)
def test_heads_by_hand_are_those_of_keras(name):
    x, pull = RNG.normal(size=(2, 2, 5, 12))
    layer = keras.layers.MultiHeadAttention(3, 4, dtype="float64")
    layer.build(x.shape, x.shape)
    layer.set_weights([RNG.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    *projections, w_o, b_o = layer.get_weights()
    pairs = list(zip(projections[::2], projections[1::2], strict=True))
    q, k, v = (np.einsum("btd,dhc->bhtc", x, w) + b[:, None] for w, b in pairs)
    o, back = attend(q, k, v, MASKS[name])
    ours = [np.einsum("bhtc,hcd->btd", o, w_o) + b_o]
    d_x, gradients = 0.0, []
    for d_part, (w, _) in zip(back(np.einsum("btd,hcd->bhtc", pull, w_o)), pairs, strict=True):
        d_x = d_x + np.einsum("bhtc,dhc->btd", d_part, w)
        gradients += [np.einsum("btd,bhtc->dhc", x, d_part), d_part.sum(axis=(0, 2))]
    ours += [d_x, *gradients, np.einsum("bhtc,btd->hcd", o, pull), pull.sum(axis=(0, 1))]
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        outputs = layer(tensor, tensor, use_causal_mask=name == "causal")
        loss = tf.reduce_sum(outputs * pull)
    theirs = [outputs, *tape.gradient(loss, [tensor, *layer.trainable_variables])]
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() < 1e-5


def test_without_positions_a_permutation_is_only_that():
    block = TransformerBlock(16, 2)
    x, order = RNG.normal(size=(3, 7, 16)).astype(np.float32), RNG.permutation(7)
    assert np.abs(block(x[:, order]) - block(x).numpy()[:, order]).max() < 1e-5
    model = random_model(causal=False)
    ids = random_ids(3, 7)
    assert np.abs(model(ids[:, order]) - model(ids).numpy()[:, order]).max() > 0.1


# --- the mask ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 10, 23])
def test_a_token_changes_nothing_before_it(model, place):
    ids = random_ids(4, 24)
    other = ids.copy()
    other[:, place] = other[:, place] % len(ALPHABET) + 1
    change = np.abs(model(other) - model(ids)).max(axis=(0, 2))
    assert change[:place].max() == 0
    assert change[place:].min() > 1e-3
    leaking = random_model(causal=False)
    assert np.abs(leaking(other) - leaking(ids))[:, :place].max() > 1e-3


def test_attention_weights_are_those_of_the_call(model):
    ids = random_ids(3, 20)
    weights = function("03c_attention", "attention_maps", np=np)(model, ids)
    assert weights.shape == (2, 3, 2, 20, 20)
    assert weights.sum(axis=-1) == pytest.approx(np.ones((2, 3, 2, 20)), abs=1e-5)
    assert np.triu(weights, 1).max() == 0
    x = model.embedding(ids) + model.place(np.arange(20))
    _, first = model.blocks[0](x, np.tri(20, dtype=bool), return_weights=True)
    assert np.allclose(weights[0], first)


def test_a_block_without_a_mask_sees_everything():
    block = TransformerBlock(16, 2)
    x = RNG.normal(size=(2, 5, 16)).astype(np.float32)
    assert np.allclose(block(x), block(x, np.ones((5, 5), bool)), atol=1e-6)
    assert not np.allclose(block(x), block(x, np.tri(5, dtype=bool)), atol=1e-3)


# --- the cache -----------------------------------------------------------------------------------


def test_the_cache_equals_the_full_computation(model):
    ids = random_ids(3, 24)
    whole = model(ids).numpy()
    state = model.first_state(3, 24)
    for place in range(24):
        logits, state = model.step(ids[:, place], state)
        assert np.abs(logits - whole[:, place]).max() < 1e-4


@pytest.mark.parametrize("seed", [0, 5])
def test_generating_equals_recomputing(model, seed):
    ids, rng = list(model.tokenizer.encode("abc\n")), np.random.default_rng(seed)
    for _ in range(20):
        p = text.sampling_probabilities(model(np.array([ids]))[0, -1].numpy())
        ids.append(int(np.argmax(np.cumsum(p) > rng.random())))
    assert model.generate("abc\n", 20, seed=seed) == model.tokenizer.decode(ids[4:])


def test_a_batch_of_samples(model):
    prompts = ["abc", "h.\n", "aaa"]
    greedy = model.sample(prompts, 20, temperature=1e-4)
    assert greedy == [model.generate(prompt, 20, top_k=1) for prompt in prompts]
    assert len(set(model.sample(["abc"] * 5, 20, seed=1))) == 5


def test_one_step_serves_all_positions(model):
    model.generate("ab", 3)
    traced = model.step.experimental_get_tracing_count()
    model.generate("abcdefgh", 16)
    assert model.step.experimental_get_tracing_count() == traced


# --- likelihoods, learning, saving ---------------------------------------------------------------


@pytest.mark.parametrize("tokens", [2, 3, 24, 25])
def test_a_text_that_fits_is_read_as_one(model, tokens):
    ids = random_ids(tokens)
    log_p = tf.nn.log_softmax(model(ids[None, :-1]))[0].numpy()
    assert model.log_prob(ids) == pytest.approx(log_p[np.arange(tokens - 1), ids[1:]], abs=1e-4)


def test_a_longer_text_is_read_in_windows(model):
    ids = random_ids(100)
    value = model.log_prob(ids, batch=3)
    assert value.shape == (99,)
    for place in (5, 30, 60, 98):  # the window of each token begins 12 to 24 tokens before its part
        first = max(0, place // 12 * 12 - 12)
        log_p = tf.nn.log_softmax(model(ids[None, first : place + 1]))[0, -1]
        assert value[place] == pytest.approx(float(log_p[ids[place + 1]]), abs=1e-4)


def test_a_sentence_is_learned_by_heart_and_saved(tmp_path):
    sentence = "the cat sat on the mat. "
    tokenizer = CharacterTokenizer.fit(sentence)
    keras.utils.set_random_seed(0)
    model = Transformer(tokenizer.vocab_size, 32, width=32, heads=2, tokenizer=tokenizer)
    windows = text.contiguous_streams(tokenizer.encode(sentence * 100), streams=4, length=32)
    model.compile(adamw(10 * len(windows), learning_rate=1e-2), LOSS)
    losses = model.fit(windows, epochs=10, shuffle=False, verbose=0).history["loss"]
    assert losses[0] > 1.0 > 0.3 > losses[-1]
    written = model.generate("the cat ", 12, temperature=0.1)
    assert written == "sat on the m"
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.generate("the cat ", 12, temperature=0.1) == written
    assert again.get_config() == model.get_config()
    bare = Transformer.from_config(model.get_config())
    bare.build()
    assert [w.shape for w in bare.weights] == [w.shape for w in model.weights]
    assert bare.causal and bare.positions == 32


# --- errors --------------------------------------------------------------------------------------


def test_a_mask_of_the_wrong_shape():
    block = TransformerBlock(16, 2)
    x = np.zeros((2, 5, 16), np.float32)
    for shape in ((5, 4), (4, 4), (2, 5, 5)):
        with pytest.raises(
            ValueError, match=r"mask of shape .*: a row and a column a token, \(5, 5\)"
        ):
            block(x, np.ones(shape, bool))


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="3 heads cannot share a width of 16"):
        Transformer(5, 8, width=16, heads=3)


def test_longer_than_the_positions(model):
    message = "25 tokens do not fit this model's 24 positions; shorten the text"
    with pytest.raises(ValueError, match=message):
        model(random_ids(1, 25))
    with pytest.raises(ValueError, match=message):
        model.generate("abc", 23)
    assert len(model.generate("abc", 22)) == 22


def test_too_short_for_a_likelihood(model):
    with pytest.raises(ValueError, match="at least two tokens, got 1"):
        model.log_prob(random_ids(1))
