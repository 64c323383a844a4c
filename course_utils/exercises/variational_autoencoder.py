"""Questions of 03a_variational_autoencoder."""

from typing import Any

import numpy as np

from course_utils.exercises import Function, NumberToBeat, result
from course_utils.models.vae import bernoulli_log_prob, kl_divergence

_Q = np.array([[0.5, 2.0, -1.0], [0.0, 1.0, 0.5]]), np.array([[0.0, -1.0, 0.4], [0.3, 0.0, -2.0]])
_P = np.array([[1.0, 0.0, -1.5], [0.2, 1.0, 2.0]]), np.array([[0.7, 0.0, -0.6], [0.0, 1.0, 0.5]])


def _kl(mean_q: Any, log_var_q: Any, mean_p: Any, log_var_p: Any) -> Any:
    ratio = np.exp(log_var_q - log_var_p) + (mean_q - mean_p) ** 2 / np.exp(log_var_p)
    return 0.5 * np.sum(ratio - 1 - log_var_q + log_var_p, axis=-1)


kl = Function(
    "Write kl(mean_q, log_var_q, mean_p, log_var_p): KL(q || p) of diagonal Gaussians, (B,).",
    _kl,
    (*_Q, *_P),
    lambda m, v, n, w: {
        "one number for the whole batch; each row is its own example": _kl(m, v, n, w).sum(),
        "one mean for the batch; each row is its own example": _kl(m, v, n, w).mean(),
        "q and p are exchanged: the expectation is under q": _kl(n, w, m, v),
        "that is the divergence from the standard normal; where is p?": _kl(m, v, 0 * n, 0 * w),
        "the factor of one half is missing": 2 * _kl(m, v, n, w),
        "q = p must cost nothing; is the -1 there, once a dimension?": _kl(m, v, n, w) + 1.5,
        "the -1 stands in every dimension, not once an example": _kl(m, v, n, w) + 1,
        "the variance is exp(log_var), not its square": _kl(m, 2 * v, n, 2 * w),
        "dimensions are summed, not averaged: independent costs add up": _kl(m, v, n, w) / 3,
        "one number a dimension; sum over the last axis": _kl(*np.array([m, v, n, w])[..., None]),
        "is the distance divided by the variance of p?": _kl(m, v, m, w) + _kl(m, 0, n, 0 * w),
        "log_var_p has the wrong sign somewhere: try q = p": _kl(m, v, n, -w),
    },
    "Write down E_q[log q] and E_q[log p] of one dimension. For the second you need "
    "E_q[(z - mean_p)^2], which is the variance of q plus the squared distance of the means.",
    shape="two examples in three dimensions give shape (2,)",
    otherwise="expected {wanted} for the two examples, got {given}",
)

_LOG_W = np.log(np.array([[0.2, 3.0], [1.0, 0.5], [0.4, 0.1], [2.0, 0.7]]))  # (k, images)
_UNEVEN = np.array([[0, 3000], [0, 1000], [900, 1000], [0, 2000]])


def _bound(log_w: Any) -> Any:
    top = log_w.max(axis=0)
    return top + np.log(np.mean(np.exp(log_w - top), axis=0))


bound = Function(
    "Write bound(log_w): the importance-weighted bound (images,) from log-weights (k, images).",
    _bound,
    (_LOG_W,),
    lambda log_w: {
        "a mean of logarithms is the ELBO; take the logarithm of the mean": log_w.mean(axis=0),
        "the logarithm of the sum; the mean is smaller by log k": _bound(log_w) + np.log(4),
        "axis 0 holds the k draws; average over it": _bound(log_w.T),
        "the largest weight alone is no mean": log_w.max(axis=0),
        "that is the mean weight; its logarithm is wanted": np.exp(_bound(log_w)),
        "one bound an image, not their mean": _bound(log_w).mean(),
    },
    "log of a mean of exponentials. Take the largest log-weight of each image out before the "
    "exponential, and add it again after the logarithm.",
    shape="4 draws for 2 images give shape (2,)",
    further={
        "right for weights near 1; for log-weights of -1000 exp gives 0": (_LOG_W - 1000,),
        "take out the largest of each image; they differ from image to image": (_LOG_W - _UNEVEN,),
    },
)


class Challenge(NumberToBeat):
    """Raise the ELBO of some images with the decoder as it is, by a better q for each of them."""

    def set_task(self, model: Any, images: np.ndarray, gain: float) -> None:
        """Fix model, binary images (N, height, width) and the gain over its encoder, in nats."""
        self.model, self.images, self.score = model, images, gain
        self.start = [np.array(part) for part in model.encode(images)]
        self.weights = model.decoder.get_weights()

    def elbo(self, mean: np.ndarray, log_var: np.ndarray, draws: int = 200) -> float:
        """Mean ELBO of the images in nats for these q, (N, latent_dim) each."""
        rng, total = np.random.default_rng(123), 0.0
        for _ in range(draws):
            z = mean + np.exp(log_var / 2) * rng.normal(size=mean.shape)
            logits = self.model.decoder(z.astype(np.float32))
            total += float(np.mean(bernoulli_log_prob(logits, self.images)))
        return total / draws - float(np.mean(np.sum(kl_divergence(mean, log_var), axis=-1)))


def _challenge_mistake(task: Any, improve: Any) -> str | None:
    given = result(improve, task.images.copy(), *(part.copy() for part in task.start))
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return "return two arrays: mean and log_var"
    mean, log_var = (np.asarray(part, np.float32) for part in given)
    if mean.shape != task.start[0].shape or log_var.shape != mean.shape:
        return f"mean and log_var must have shape {task.start[0].shape} each"
    if not np.isfinite([mean, log_var]).all():
        return "some of the numbers are not finite"
    task.model.decoder.set_weights(task.weights)  # it stays as it was
    gain = task.elbo(mean, log_var) - task.elbo(task.start[0], task.start[1])
    print(f"The ELBO rises by {gain:.2f} nats an image; the number to beat is {task.score:.2f}.")
    return None if gain > task.score else "not enough yet; see the hint"


beat_this = Challenge(
    "Write improve(images, mean, log_var): a better mean and log_var of q for these images.",
    "model images gain",
    _challenge_mistake,
    "The encoder has to serve all images with one set of weights. Here there are a few images: "
    "make their mean and log_var the variables, and follow the gradient of the ELBO.",
    """
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
""",
)
