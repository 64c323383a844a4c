"""The recurrent text model: its state, its likelihoods, its samples, its training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_utils import checkpoints, text
from course_utils.models.recurrent import TextGenerator
from course_utils.text import CharacterTokenizer
from course_utils.training import adamw

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SENTENCE = "the cat sat on the mat and saw a rat. "
ALPHABET = "abcdefgh .\n"


def random_model(seed=0, units=16, **kwargs):
    """Weights large enough that every token and the state before it matter."""
    tokenizer = CharacterTokenizer.fit(ALPHABET)
    model = TextGenerator(tokenizer.vocab_size, 8, units, tokenizer=tokenizer, **kwargs)
    model.build()
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def random_ids(tokens, seed=0):
    return np.random.default_rng(seed).integers(1, len(ALPHABET) + 1, tokens).astype(np.int32)


def plain_log_prob(model, ids):
    """log p of each token but the first, from the logits of the whole text in one call."""
    logits = model(ids[None, :-1])
    return tf.nn.log_softmax(logits)[0].numpy()[np.arange(len(ids) - 1), ids[1:]]


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def trained():
    """A small model that has learned one sentence by heart; with its losses."""
    keras.utils.set_random_seed(0)
    tokenizer = CharacterTokenizer.fit(SENTENCE)
    windows = text.contiguous_streams(tokenizer.encode(SENTENCE * 100), streams=8, length=19)
    model = TextGenerator(tokenizer.vocab_size, 8, 32, tokenizer=tokenizer)
    model.compile(adamw(8 * len(windows), learning_rate=2e-2), LOSS)
    model.losses_of_fit = model.fit(windows, epochs=8, shuffle=False, verbose=0).history["loss"]
    return model


# --- learning ------------------------------------------------------------------------------------


def test_a_repeating_text_is_learned(trained):
    ids = trained.tokenizer.encode(SENTENCE * 10)
    bits = -trained.log_prob(ids)[len(SENTENCE) :].mean() / np.log(2)
    assert bits < 0.1
    assert trained.losses_of_fit[0] > 1.0 > 0.1 > trained.losses_of_fit[-1]
    begun = SENTENCE * 2 + "the cat "
    assert trained.generate(begun, 60, temperature=0.1) == (SENTENCE * 3)[8:68]


def test_dropout_is_for_training_only():
    model = random_model(dropout=0.9)
    ids = random_ids(30)[None]
    assert np.array_equal(model(ids), model(ids))
    assert not np.allclose(model(ids, training=True), model(ids))
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    windows = text.contiguous_streams(random_ids(200), streams=1, length=20)
    fitted = model.fit(windows, shuffle=False, verbose=0).history["loss"][0]
    assert abs(fitted - model.evaluate(windows, verbose=0)) > 0.1


# --- the carried state ---------------------------------------------------------------------------


@pytest.fixture
def standing_still():
    """A model that `fit` does not change, so that its loss shows where its state came from."""
    model = random_model()
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    return model


def test_fit_and_evaluate_carry_the_state(standing_still):
    ids = random_ids(61)
    windows = text.contiguous_streams(ids, streams=1, length=5)
    whole = -plain_log_prob(standing_still, ids).mean()
    torn = np.mean([LOSS(targets, standing_still(inputs)) for inputs, targets in windows])
    assert abs(whole - torn) > 0.05, "the state would not matter here"
    # Each epoch reads the text from a state of zeros to its end as if it came in one piece.
    losses = standing_still.fit(windows, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses == pytest.approx([whole] * 3, abs=1e-4)
    assert standing_still.evaluate(windows, verbose=0) == pytest.approx(whole, abs=1e-4)


def test_every_row_has_a_state_of_its_own(standing_still):
    ids = random_ids(81)
    windows = text.contiguous_streams(ids, streams=2, length=5)
    rows = [-plain_log_prob(standing_still, ids[start : start + 41]) for start in (0, 40)]
    assert standing_still.evaluate(windows, verbose=0) == pytest.approx(np.mean(rows), abs=1e-4)


def test_evaluate_starts_from_nothing(standing_still):
    windows = text.contiguous_streams(random_ids(200), streams=4, length=7)
    fresh = standing_still.evaluate(windows, verbose=0)
    assert standing_still.evaluate(windows, verbose=0) == fresh
    standing_still.fit(windows.take(3), shuffle=False, verbose=0)
    assert standing_still.evaluate(windows, verbose=0) == fresh


def test_validation_during_fit_does_not_leak_into_training(standing_still):
    windows = text.contiguous_streams(random_ids(200), streams=4, length=7)
    other = text.contiguous_streams(random_ids(400, seed=1), streams=4, length=11)
    alone = standing_still.fit(windows, epochs=2, shuffle=False, verbose=0).history
    both = standing_still.fit(
        windows, epochs=2, validation_data=other, shuffle=False, verbose=0
    ).history
    assert both["loss"] == pytest.approx(alone["loss"])
    assert both["val_loss"] == pytest.approx([standing_still.evaluate(other, verbose=0)] * 2)


def test_batches_of_another_size(standing_still):
    ids = random_ids(200)
    standing_still.fit(text.contiguous_streams(ids, 4, 7), shuffle=False, verbose=0)
    windows = text.contiguous_streams(ids, streams=1, length=199)
    whole = -plain_log_prob(standing_still, ids).mean()
    assert standing_still.evaluate(windows, verbose=0) == pytest.approx(whole, abs=1e-4)


def test_a_call_carries_nothing(model):
    ids = random_ids(20)[None]
    first = model(ids).numpy()
    assert np.array_equal(model(ids), first)
    logits, state = model(ids[:, :12], return_state=True)
    assert logits.numpy() == pytest.approx(first[:, :12], abs=1e-5)
    rest = model(ids[:, 12:], initial_state=state)
    assert rest.numpy() == pytest.approx(first[:, 12:], abs=1e-5)
    assert np.abs(model(ids[:, 12:]) - rest).max() > 0.1


def test_an_interrupted_fit_leaves_a_usable_model(trained):
    class PressStop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                raise KeyboardInterrupt

    model = random_model()
    model.compile(keras.optimizers.Adam(1e-2), LOSS)
    ids = model.tokenizer.encode("abcdefgh. \n" * 40)
    windows = text.contiguous_streams(ids, streams=4, length=8)
    before = model.evaluate(windows, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(windows, shuffle=False, verbose=0, callbacks=[PressStop()])
    assert int(model.optimizer.iterations) == 4
    assert len(model.generate("abc", 20)) == 20
    after = model.evaluate(windows, verbose=0)
    assert after < before
    model.fit(windows, epochs=2, shuffle=False, verbose=0)
    assert model.evaluate(windows, verbose=0) < after


# --- likelihoods ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [2, 3, 40, 700])
def test_one_stream_is_the_whole_text(model, tokens):
    ids = random_ids(tokens)
    assert model.log_prob(ids, streams=1) == pytest.approx(plain_log_prob(model, ids), abs=1e-4)


@pytest.mark.parametrize("tokens", [2, 40, 200])
def test_short_texts_are_exact_in_any_number_of_streams(model, tokens):
    # No part starts further back than the warm-up reaches, so each stream reads from the start.
    ids = random_ids(tokens)
    assert model.log_prob(ids) == pytest.approx(plain_log_prob(model, ids), abs=1e-4)


def test_parallel_streams_come_close(trained):
    ids = trained.tokenizer.encode(SENTENCE * 50)  # 16 parts of 119 tokens
    plain = plain_log_prob(trained, ids)
    assert trained.log_prob(ids, streams=16, warm_up=76) == pytest.approx(plain, abs=0.05)
    cold = np.abs(trained.log_prob(ids, streams=16, warm_up=0) - plain).max()
    assert cold > 0.5, "without a warm-up each part starts in the dark"


def test_a_value_depends_on_nothing_later(model):
    ids, other = random_ids(300), random_ids(300)
    other[200:] = random_ids(100, seed=1)
    assert ids[200] != other[200]
    first, second = model.log_prob(ids), model.log_prob(other)
    assert first[:199] == pytest.approx(second[:199], abs=1e-6)
    assert abs(first[199] - second[199]) > 1e-3


def test_the_next_tokens_are_a_distribution(model):
    rows = [np.append(random_ids(20), token) for token in range(model.vocab_size)]
    last = np.exp([model.log_prob(row.astype(np.int32))[-1] for row in rows])
    prompt = model.tokenizer.decode(random_ids(20))
    assert last.sum() == pytest.approx(1.0, abs=1e-5)
    assert model.next_token_probabilities(prompt) == pytest.approx(last, abs=1e-5)


@pytest.mark.parametrize("tokens", [0, 1])
def test_too_short_for_a_likelihood(model, tokens):
    with pytest.raises(ValueError, match=f"at least two tokens, got {tokens}"):
        model.log_prob(random_ids(tokens))


# --- samples -------------------------------------------------------------------------------------


def test_generating_equals_recomputing_the_prefix(model):
    @tf.function(reduce_retracing=True)
    def logits_of_prefix(ids):
        return model(ids)[:, -1]

    prompt, length, seed = "abc\n", 200, 5
    ids, rng = list(model.tokenizer.encode(prompt)), np.random.default_rng(seed)
    for _ in range(length):
        p = text.sampling_probabilities(logits_of_prefix(tf.constant([ids])).numpy()[0])
        ids.append(int(np.argmax(np.cumsum(p) > rng.random())))
    written = model.tokenizer.decode(ids[len(prompt) :])
    assert model.generate(prompt, length, seed=seed) == written
    assert len(set(written)) > 5


def test_sampled_tokens_follow_the_distribution(model):
    p = model.next_token_probabilities("abc")
    drawn = model.sample(["abc"] * 4000, 1, seed=1)
    ids = np.concatenate([model.tokenizer.encode(one) for one in drawn if one != text.UNKNOWN])
    share = np.bincount(ids, minlength=model.vocab_size) / len(drawn)
    # Four standard deviations of a share over 4,000 draws; id 0 cannot be encoded again.
    assert share[1:] == pytest.approx(p[1:], abs=4 * 0.5 / np.sqrt(4000))
    assert share[1:].argmax() == p[1:].argmax()


def test_settings_reach_the_sampler(model):
    greedy = model.generate("abc", 30, temperature=1e-4)
    assert greedy == model.generate("abc", 30, temperature=1e-4, seed=9)
    assert greedy == model.generate("abc", 30, top_k=1) == model.generate("abc", 30, top_p=1e-6)
    first = {one[0] for one in model.sample(["abc"] * 200, 1, top_k=3)}
    best = np.argsort(-model.next_token_probabilities("abc"))[:3]
    assert first == set(model.tokenizer.decode(best))


def test_seeds(model):
    texts = [model.generate("abc", 60, seed=seed) for seed in (0, 0, 1, 2)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert model.generate("abc", 60) == texts[0]


def test_a_stream_ends_in_the_generated_text(model):
    settings = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "seed": 3}
    steps = list(model.stream("abc", 40, **settings))
    assert steps[-1] == model.generate("abc", 40, **settings)
    assert [len(step) for step in steps] == list(range(1, 41))
    assert all(after.startswith(before) for before, after in zip(steps, steps[1:], strict=False))


def test_a_batch_of_samples(model):
    same = model.sample(["abc"] * 6, 40, seed=1)
    assert len(set(same)) == 6, "each sample is drawn by itself"
    prompts = ["abc", "h.\n", "aaa"]
    greedy = model.sample(prompts, 40, temperature=1e-4)
    assert greedy == [model.generate(prompt, 40, temperature=1e-4) for prompt in prompts]
    assert len(set(greedy)) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "aXbßX"}, "the prompt has 'X', 'ß', which the vocabulary lacks"),
        ({"length": 0}, "length must be at least 1 token, got 0"),
        ({"length": -3}, "length must be at least 1 token, got -3"),
        ({"temperature": 0}, "temperature must be positive, got 0"),
        ({"temperature": -1.0}, "temperature must be positive, got -1.0"),
        ({"top_k": 13}, "top_k must be from 1 to the vocabulary's 12, got 13"),
        ({"top_p": 1.1}, r"top_p must be in \(0, 1\], got 1.1"),
    ],
)
@pytest.mark.parametrize("method", ["generate", "stream"])
def test_bad_arguments(model, method, arguments, message):
    with pytest.raises(ValueError, match=message):
        list(getattr(model, method)(**{"prompt": "abc", "length": 5} | arguments))


def test_prompts_of_different_length(model):
    with pytest.raises(ValueError, match="equally many tokens"):
        model.sample(["abc", "ab"], 5)


def test_no_tokenizer():
    with pytest.raises(ValueError, match=r"no tokenizer; pass tokenizer=\.\.\."):
        TextGenerator(5, 4, 4).generate("a", 3)


# --- saving --------------------------------------------------------------------------------------


def test_saved_and_loaded(tmp_path):
    tokenizer = CharacterTokenizer.fit(SENTENCE)
    model = TextGenerator(tokenizer.vocab_size, 8, 16, dropout=0.2, tokenizer=tokenizer)
    windows = text.contiguous_streams(tokenizer.encode(SENTENCE * 30), streams=4, length=9)
    model.compile(adamw(len(windows)), LOSS)
    model.fit(windows, shuffle=False, verbose=0)
    written = model.generate("the ", 50, seed=1)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.generate("the ", 50, seed=1) == written
    assert again.get_config() == model.get_config()
    assert again.dropout.rate == 0.2
    loss = model.evaluate(windows, verbose=0)
    assert again.evaluate(windows, verbose=0) == pytest.approx(loss)
    again.fit(windows, shuffle=False, verbose=0)  # it is compiled, and can be trained further

    model.save_weights(tmp_path / "model.weights.h5")
    config = model.get_config()
    other = TextGenerator.from_config(dict(config))
    other.build()
    assert other.generate("the ", 50, seed=1) != written
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.generate("the ", 50, seed=1) == written


def test_the_carried_state_is_not_a_weight(tmp_path):
    model = random_model()
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    model.save_weights(tmp_path / "before.weights.h5")
    names = [w.path for w in model.weights]
    model.fit(text.contiguous_streams(random_ids(200), 4, 7), shuffle=False, verbose=0)
    assert [w.path for w in model.weights] == names
    model.load_weights(tmp_path / "before.weights.h5")
    assert len(model.trainable_weights) == 6  # embedding, three of the GRU, two of the dense layer


def test_no_such_checkpoint():
    with pytest.raises(ValueError, match="'text_reference_englsh'.*known"):
        checkpoints.load("text_reference_englsh")
