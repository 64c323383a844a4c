"""Questions of 03a_variational_autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises import NumberToBeat, Question, result

# --- 1: a prior that is not standard -------------------------------------------------------------

_Q = np.array([[0.5, 2.0, -1.0], [0.0, 1.0, 0.5]]), np.array([[0.0, -1.0, 0.4], [0.3, 0.0, -2.0]])
_P = np.array([[1.0, 0.0, -1.5], [0.2, 1.0, 2.0]]), np.array([[0.7, 0.0, -0.6], [0.0, 1.0, 0.5]])


def _terms(mean_q: Any, log_var_q: Any, mean_p: Any, log_var_p: Any) -> Any:
    apart = (mean_q - mean_p) ** 2 / np.exp(log_var_p)
    return 0.5 * (np.exp(log_var_q - log_var_p) + apart - 1 - log_var_q + log_var_p)


def _kl(mean_q: Any, log_var_q: Any, mean_p: Any, log_var_p: Any) -> Any:
    ratio = np.exp(log_var_q - log_var_p) + (mean_q - mean_p) ** 2 / np.exp(log_var_p)
    return 0.5 * np.sum(ratio - 1 - log_var_q + log_var_p, axis=-1)


def _kl_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, *(part.copy() for part in (*_Q, *_P))), float)
    right, standard = _kl(*_Q, *_P), np.zeros_like(_P)
    apart = 0.5 * np.sum((_Q[0] - _P[0]) ** 2, axis=-1)
    near = 0.5 * np.sum((_Q[0] - _P[0]) ** 2 / np.exp(_P[1]), axis=-1)
    known = [
        (right.sum(), "one number for the whole batch; each row is an example of its own"),
        (right.mean(), "one number for the whole batch; each row is an example of its own"),
        (_kl(*_P, *_Q), "q and p are exchanged: the expectation is under q"),
        (_kl(*_Q, *standard), "that is the divergence from the standard normal; where is p?"),
        (2 * right, "the factor of one half is missing"),
        (right + 1.5, "q = p must cost nothing; is the -1 there, once a dimension?"),
        (right + 1.0, "the -1 stands in every dimension, not once an example"),
        (_kl(_Q[0], 2 * _Q[1], _P[0], 2 * _P[1]), "the variance is exp(log_var), not its square"),
        (right / 3, "dimensions are summed, not averaged: independent costs add up"),
        (_terms(*_Q, *_P), "one number a dimension; sum over the last axis"),
        (_kl(*_Q, *_P) + apart - near, "is the squared distance divided by the variance of p?"),
        (_kl(*_Q, _P[0], -_P[1]), "log_var_p has the wrong sign somewhere: try q = p"),
    ]
    for wrong, hint in known:
        if given.shape == np.shape(wrong) and np.allclose(given, wrong):
            return hint
    if given.shape != (2,):
        return f"two examples in three dimensions give shape (2,), got {given.shape}"
    if not np.allclose(given, right):
        return f"expected {right.round(3)} for the two examples, got {given.round(3)}"
    return None


kl = Question(
    "Write kl(mean_q, log_var_q, mean_p, log_var_p): KL(q || p) of diagonal Gaussians, (B,).",
    _kl_mistake,
    "Write down E_q[log q] and E_q[log p] of one dimension. For the second you need "
    "E_q[(z - mean_p)^2], which is the variance of q plus the squared distance of the means.",
    _kl,
)

# --- 2: the bound from log-weights ---------------------------------------------------------------

_LOG_W = np.log(np.array([[0.2, 3.0], [1.0, 0.5], [0.4, 0.1], [2.0, 0.7]]))  # (k, images)


def _bound(log_w: Any) -> Any:
    top = log_w.max(axis=0)
    return top + np.log(np.mean(np.exp(log_w - top), axis=0))


def _bound_mistake(function: Callable[..., Any]) -> str | None:
    given = np.asarray(result(function, _LOG_W.copy()), float)
    known = [
        (_LOG_W.mean(axis=0), "a mean of logarithms is the ELBO; take the logarithm of the mean"),
        (_bound(_LOG_W) + np.log(4), "the logarithm of the sum; the mean is smaller by log k"),
        (_bound(_LOG_W.T), "axis 0 holds the k draws; average over it"),
        (_LOG_W.max(axis=0), "the largest weight alone is no mean"),
        (np.exp(_bound(_LOG_W)), "that is the mean weight; its logarithm is wanted"),
        (_bound(_LOG_W).mean(), "one bound an image, not their mean"),
    ]
    for wrong, hint in known:
        if given.shape == np.shape(wrong) and np.allclose(given, wrong):
            return hint
    if given.shape != (2,):
        return f"4 draws for 2 images give shape (2,), got {given.shape}"
    if not np.allclose(given, _bound(_LOG_W)):
        return f"expected {_bound(_LOG_W).round(3)}, got {given.round(3)}"
    far = np.asarray(result(function, _LOG_W - 1000), float)
    if not np.allclose(far, _bound(_LOG_W) - 1000):
        return "right for weights near 1; at log-weights of -1000, as of large images, exp gives 0"
    uneven = _LOG_W - [[0, 2000], [0, 0], [900, 0], [0, 1000]] - [0, 1000]
    if not np.allclose(np.asarray(result(function, uneven), float), _bound(uneven)):
        return "take out the largest log-weight of each image; they differ from image to image"
    return None


bound = Question(
    "Write bound(log_w): the importance-weighted bound (images,) from log-weights (k, images).",
    _bound_mistake,
    "log of a mean of exponentials. Take the largest log-weight of each image out before the "
    "exponential, and add it again after the logarithm.",
    _bound,
)

# --- 3: beat this number -------------------------------------------------------------------------


class Challenge(NumberToBeat):
    """Raise the ELBO of some images with the decoder as it is, by a better q for each of them."""

    def set_task(self, model: Any, images: np.ndarray, gain: float) -> None:
        """Fix model, binary images (N, height, width) and the gain over its encoder, in nats."""
        self.model, self.images, self.score = model, images, gain
        self.start = [np.array(part) for part in model.encode(images)]
        self.weights = model.decoder.get_weights()

    def elbo(self, mean: np.ndarray, log_var: np.ndarray, draws: int = 200) -> float:
        """Mean ELBO of the images in nats for these q, (N, latent_dim) each."""
        from course_utils.models.vae import bernoulli_log_prob, kl_divergence

        rng, total = np.random.default_rng(123), 0.0
        for _ in range(draws):
            z = mean + np.exp(log_var / 2) * rng.normal(size=mean.shape)
            logits = self.model.decoder(z.astype(np.float32))
            total += float(np.mean(bernoulli_log_prob(logits, self.images)))
        return total / draws - float(np.mean(np.sum(kl_divergence(mean, log_var), axis=-1)))


def _challenge_mistake(improve: Callable[..., Any]) -> str | None:
    task = beat_this
    given = result(improve, task.images.copy(), *(part.copy() for part in task.start))
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return "return two arrays: mean and log_var"
    mean, log_var = (np.asarray(part, np.float32) for part in given)
    if mean.shape != task.start[0].shape or log_var.shape != mean.shape:
        return f"mean and log_var must have shape {task.start[0].shape} each"
    if not (np.isfinite(mean).all() and np.isfinite(log_var).all()):
        return "some of the numbers are not finite"
    task.model.decoder.set_weights(task.weights)  # it stays as it was
    gain = task.elbo(mean, log_var) - task.elbo(task.start[0], task.start[1])
    print(f"The ELBO rises by {gain:.2f} nats an image; the number to beat is {task.score:.2f}.")
    return None if gain > task.score else "not enough yet; see the hint"


_SOLUTION = """
def improve(images, mean, log_var):
    mean, log_var = tf.Variable(mean), tf.Variable(log_var)
    optimizer = keras.optimizers.Adam(0.02)
    for _ in range(150):
        with tf.GradientTape() as tape:
            noise = tf.random.normal((8, *mean.shape))
            z = tf.reshape(mean + tf.exp(log_var / 2) * noise, (-1, mean.shape[1]))
            logits = tf.reshape(best.decoder(z), (8, *images.shape))
            rate = tf.reduce_sum(kl_divergence(mean, log_var), axis=-1)
            loss = tf.reduce_mean(rate - bernoulli_log_prob(logits, images))
        optimizer.apply(tape.gradient(loss, [mean, log_var]), [mean, log_var])
    print(f"minus the ELBO {-best.elbo(images).mean():.1f} with the encoder, {loss:.1f} now, "
          f"bound {-best.importance_weighted_bound(images).mean():.1f}: the rest is the Gaussian's")
    return mean.numpy(), log_var.numpy()
"""

beat_this = Challenge(
    "Write improve(images, mean, log_var): a better mean and log_var of q for these images.",
    _challenge_mistake,
    "The encoder has to serve all images with one set of weights. Here there are a few images: "
    "make their mean and log_var the variables, and follow the gradient of the ELBO.",
    _SOLUTION.strip(),
)
