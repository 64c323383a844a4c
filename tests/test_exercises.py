"""Exercises: right answers pass, every common mistake gets its own hint, cheats are caught."""

from __future__ import annotations

import importlib
import math
import pkgutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

import course_utils.exercises as exercises
from course_utils import audio
from course_utils.datasets import Images
from course_utils.exercises import (
    Question,
    attention,
    audio_generation,
    background,
    concepts,
    diffusion,
    efficient_training,
    faq,
    image_generation,
    quality_control,
    recurrent_networks,
    start_here,
    variational_autoencoder,
)
from course_utils.exercises import text_generation as lesson
from course_utils.metrics import bits_per_character
from course_utils.models.diffusion import Diffusion
from course_utils.models.ngram import NGram
from course_utils.models.vae import VAE, bernoulli_log_prob, kl_divergence

QUESTIONS = {
    "audio_generation.level": audio_generation.level,
    "audio_generation.frame_nats": audio_generation.frame_nats,
    "audio_generation.beat_this": audio_generation.beat_this,
    "attention.weights": attention.weights,
    "attention.causal": attention.causal,
    "attention.beat_this": attention.beat_this,
    "variational_autoencoder.kl": variational_autoencoder.kl,
    "variational_autoencoder.bound": variational_autoencoder.bound,
    "variational_autoencoder.beat_this": variational_autoencoder.beat_this,
    "start_here.bits": start_here.bits,
    "background.purity": background.purity,
    "background.masked_loss": background.masked_loss,
    "background.beat_this": background.beat_this,
    "concepts.density": concepts.density,
    "concepts.bayes": concepts.bayes,
    "concepts.beat_this": concepts.beat_this,
    "recurrent_networks.reach": recurrent_networks.reach,
    "recurrent_networks.clip": recurrent_networks.clip,
    "recurrent_networks.beat_this": recurrent_networks.beat_this,
    "image_generation.best_answer": image_generation.best_answer,
    "image_generation.losses": image_generation.losses,
    "image_generation.beat_this": image_generation.beat_this,
    "faq.bits": faq.bits,
    "faq.cost": faq.cost,
    "faq.beat_this": faq.beat_this,
    "efficient_training.operations": efficient_training.operations,
    "efficient_training.integers": efficient_training.integers,
    "efficient_training.beat_this": efficient_training.beat_this,
    "diffusion.noise": diffusion.noise,
    "diffusion.guided": diffusion.guided,
    "diffusion.beat_this": diffusion.beat_this,
    "quality_control.z_score": quality_control.z_score,
    "quality_control.auroc": quality_control.auroc,
    "quality_control.beat_this": quality_control.beat_this,
    "text_generation.bits": lesson.bits,
    "text_generation.temperature": lesson.temperature,
    "text_generation.beat_this": lesson.beat_this,
}
LN2 = math.log(2)


def softmax(logits):
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def largest(groups, classes):
    """How many items of each group belong to its most frequent class."""
    return np.array([np.bincount(classes[groups == g]).max() for g in np.unique(groups)])


def whole(gradients):
    """The norm of all the numbers of some arrays."""
    return math.sqrt(sum(np.sum(g**2) for g in gradients))


def each_pixel(grey, logits):
    return np.logaddexp(0, logits) - grey * logits


def naive_loss(grey, logits, hidden):
    s = 1 / (1 + np.exp(-logits))
    return -(grey * np.log(s) + (1 - grey) * np.log(1 - s))[hidden].mean()


def to_integers(w, largest):
    """The integers and the scales, of one size for each column."""
    return np.round(w * 127 / largest), np.broadcast_to(largest / 127, w.shape[1:])


def columns(w, levels, rounded=True):
    """The integers and the scale of each column; without rounding, the quotients alone."""
    scale = np.abs(w).max(axis=0) / levels
    return (np.round(w / scale), scale) if rounded else w / scale


def gaussian_kl(mean, log_var, prior_mean, prior_log_var):
    apart = (mean - prior_mean) ** 2
    ratio = (np.exp(log_var) + apart) / np.exp(prior_log_var)
    return 0.5 * (ratio - 1 + prior_log_var - log_var).sum(axis=1)


def each_dimension(mean, log_var, prior_mean, prior_log_var):
    parts = (mean, log_var, prior_mean, prior_log_var)
    return np.stack([gaussian_kl(*(part[:, [i]] for part in parts)) for i in range(3)], axis=1)


def not_divided(mean, log_var, prior_mean, prior_log_var):
    apart = 0.5 * ((mean - prior_mean) ** 2).sum(axis=1)
    return gaussian_kl(mean, log_var, mean, prior_log_var) + apart


def shifted(log_w, shift):
    with np.errstate(over="ignore", divide="ignore"):
        return shift + np.log(np.exp(log_w - shift).mean(axis=0))


def quiet_log(x):
    with np.errstate(divide="ignore"):
        return np.log(x)


def by_row(scores, axis=-1):
    e = np.exp(scores)
    return e / e.sum(axis=axis, keepdims=True)


def softmax_rows(scores):
    return by_row(scores - scores.max(axis=-1, keepdims=True))


def only_before(scores):
    with np.errstate(invalid="ignore"):
        return by_row(np.where(np.tri(len(scores), k=-1), scores, -np.inf))


def lower(scores, fill=-np.inf):
    return np.where(np.tri(len(scores)), scores, fill)


def own(logits, labels):
    return logits[np.arange(len(labels)), labels].mean()


def label_cost(logits, labels):
    return np.logaddexp.reduce(logits, axis=1).mean() - own(logits, labels)


def rms(wave):
    return math.sqrt((wave**2).mean())


def billed(logits, notes, end=(-1,), mask=True, first=0):
    """Minus the log-probability of a frame; the arguments make the common mistakes."""
    total, possible = 0.0, np.ones(logits.shape[1], bool)
    for row, note in zip(logits, [*notes, *end], strict=True):
        kept = np.exp(row[possible] if mask else row)
        total += math.log(kept.sum()) - row[note]
        possible[note + first : -1] = False
    return total


def pairs_won(members, others):
    apart = members[:, None] - others
    return (np.sign(apart) + 1).mean() / 2


def gan_losses(real, made):
    made_real = np.logaddexp(0, -made).mean()
    return np.logaddexp(0, -real).mean() + np.logaddexp(0, made).mean(), made_real


# question, wrong answer, a part of the hint that this mistake gets and no other
MISTAKES = [
    (audio_generation.level, lambda w: 10 * math.log10(rms(w)), "10 log10 belongs to"),
    (audio_generation.level, lambda w: 20 * math.log10(abs(w).max()), "the loudest sample"),
    (audio_generation.level, lambda w: 20 * math.log10(abs(w).mean()), "mean of the absolute"),
    (audio_generation.level, lambda w: 20 * math.log(rms(w)), "logarithm to base 10"),
    (audio_generation.level, lambda w: 10 * math.log10((w**2).sum()), "grows with the length"),
    (audio_generation.level, lambda w: -3.0, "expected"),
    (audio_generation.level, lambda w: 20 * np.log10(abs(w)), "it raised TypeError"),
    (audio_generation.frame_nats, lambda z, n: -billed(z, n), "that is the log-probability"),
    (audio_generation.frame_nats, lambda z, n: billed(z[:-1], n, end=[]), "the end of the frame"),
    (audio_generation.frame_nats, lambda z, n: billed(z, n, mask=False), "only lower ones and"),
    (audio_generation.frame_nats, lambda z, n: billed(z, n, first=1), "cannot be written twice"),
    (audio_generation.frame_nats, lambda z, n: billed(z, n) / LN2, "those are bits"),
    (audio_generation.frame_nats, lambda z, n: 1.0, "expected"),
    (start_here.bits, math.log(8), "nats (natural logarithm)"),
    (start_here.bits, -3, "mind the minus sign"),
    (start_here.bits, 1 / 8, "that is the probability"),
    (start_here.bits, 4, "4 is not"),
    (start_here.bits, "three", "it raised ValueError"),
    (lesson.bits, lambda nats, t, c: nats * t / c, "still in nats"),
    (lesson.bits, lambda nats, t, c: nats * LN2 * t / c, "divide by ln 2, do not multiply"),
    (lesson.bits, lambda nats, t, c: nats / LN2, "that is bits per token"),
    (lesson.bits, lambda nats, t, c: nats / LN2 * c / t, "a character costs less than a token"),
    (lesson.bits, lambda nats, t, c: 7.0, "7 bits per character for 2.1 nats per token"),
    (lesson.bits, lambda nats, t, c: None, "returns nothing; end it with a return"),
    (lesson.bits, lambda nats, t, c: nats / 0, "it raised ZeroDivisionError"),
    (lesson.bits, 1.12, "a function is wanted, got float"),
    (lesson.temperature, lambda p, t: p ** (1 / t), "divide by the sum"),
    (lesson.temperature, lambda p, t: p**t / (p**t).sum(), "the exponent is 1/T, not T"),
    (lesson.temperature, lambda p, t: np.exp(p / t) / np.exp(p / t).sum(), "log p is a logit"),
    (lesson.temperature, lambda p, t: p / t / (p / t).sum(), "divide log p instead"),
    (lesson.temperature, lambda p, t: p**3 / (p**3).sum(), "for p = [0.5  0.3  0.15 0.05]"),
    (lesson.temperature, lambda p, t: p**2 / (p**2).sum(), "right at T = 0.5, wrong at T = 2"),
    (lesson.temperature, lambda p, t: 0.5, "the result has shape ()"),
    (
        background.purity,
        lambda g, c: np.mean(largest(g, c) / np.bincount(g)),
        "a large group must count more than a small one",
    ),
    (background.purity, lambda g, c: largest(g, c).sum(), "divide by how many there are"),
    (background.purity, lambda g, c: largest(c, g).sum() / len(c), "the other way round"),
    (background.purity, lambda g, c: np.mean(g == c), "numbers of groups are no names"),
    (background.purity, lambda g, c: np.bincount(c).max() / len(c), "look at each group by itself"),
    (background.purity, lambda g, c: 0.9, "0.9 for groups [0, 0, 0"),
    (background.purity, lambda g, c: largest(g, c) / len(c), "it raised TypeError"),
    (
        background.masked_loss,
        lambda x, a, hidden: each_pixel(x, a).mean(),
        "the seen ones must not count",
    ),
    (
        background.masked_loss,
        lambda x, a, hidden: each_pixel(x, a)[~hidden].mean(),
        "the mask is upside down",
    ),
    (
        background.masked_loss,
        lambda x, a, hidden: each_pixel(x, a)[hidden].sum(),
        "divide by the number of hidden pixels",
    ),
    (
        background.masked_loss,
        lambda x, a, hidden: (each_pixel(x, a) * hidden).mean(),
        "divided by the number of all",
    ),
    (
        background.masked_loss,
        lambda x, a, hidden: -each_pixel(x, a)[hidden].mean(),
        "mind the minus sign",
    ),
    (
        background.masked_loss,
        lambda x, a, hidden: each_pixel(x, a)[hidden].mean() / LN2,
        "that is in bits",
    ),
    (background.masked_loss, naive_loss, "the result is not finite"),
    (
        background.masked_loss,
        lambda x, a, hidden: np.log1p(np.exp(a[hidden])).mean(),
        "the result is not finite",
    ),
    (background.masked_loss, lambda x, a, hidden: 0.5, "nats per hidden pixel, got 0.5"),
    (
        background.masked_loss,
        lambda x, a, hidden: each_pixel(x, a)[hidden],
        "it raised TypeError",
    ),
    (concepts.density, lambda d, n: -d / LN2 / n, "a density is not a probability"),
    (concepts.density, lambda d, n: 8 - d / n, "the rest still in nats"),
    (concepts.density, lambda d, n: 8 + d / LN2 / n, "mind the minus sign"),
    (concepts.density, lambda d, n: 8 * n - d / LN2, "the bill of the whole image"),
    (concepts.density, lambda d, n: 8 - d / LN2, "for one pixel and the rest for the whole"),
    (concepts.density, lambda d, n: math.log2(255) - d / LN2 / n, "256 grey values, 0 to 255"),
    (concepts.density, lambda d, n: 3.0, "3 bits for a log-density of 570 nats"),
    (concepts.bayes, lambda log_p, p: log_p[0], "one probability a class, (3,)"),
    (
        concepts.bayes,
        lambda log_p, p: np.exp(log_p) * p / (np.exp(log_p) * p).sum(),
        "subtract the largest",
    ),
    (concepts.bayes, lambda log_p, p: log_p + np.log(p), "that is log p(x, y)"),
    (
        concepts.bayes,
        lambda log_p, p: np.exp(log_p - log_p.max() + np.log(p / 0.2)),
        "divide by the sum",
    ),
    (concepts.bayes, lambda log_p, p: softmax(log_p), "the prior is missing"),
    (concepts.bayes, lambda log_p, p: softmax(log_p + p), "with the logarithm of the prior"),
    (concepts.bayes, lambda log_p, p: softmax(log_p) * p, "normalise afterwards"),
    (concepts.bayes, lambda log_p, p: p, "expected [0.4"),
    (recurrent_networks.reach, lambda f, s: math.log(s) / math.log(f), "steps are whole"),
    (recurrent_networks.reach, lambda f, s: math.log(s) // math.log(f), "one step too few"),
    (recurrent_networks.reach, lambda f, s: -44, "a distance is positive"),
    (recurrent_networks.reach, lambda f, s: math.log(f) / math.log(s), "upside down"),
    (recurrent_networks.reach, lambda f, s: (1 - s) / (1 - f), "it does not subtract"),
    (recurrent_networks.reach, lambda f, s: math.log(s), "the factor is missing"),
    (recurrent_networks.reach, lambda f, s: 44, "wrong for 0.99 and one half"),
    (recurrent_networks.reach, lambda f, s: 7, "got 7 for a factor of 0.9"),
    (
        recurrent_networks.clip,
        lambda gs, m: [g * m / np.linalg.norm(g) for g in gs],
        "each array was cut by itself",
    ),
    (
        recurrent_networks.clip,
        lambda gs, m: [np.clip(g, -m, m) for g in gs],
        "each number was cut by itself",
    ),
    (recurrent_networks.clip, lambda gs, m: [g / whole(gs) for g in gs], "the norm is now 1"),
    (
        recurrent_networks.clip,
        lambda gs, m: [g * m / whole(gs) ** 2 for g in gs],
        "divided by the squared norm",
    ),
    (
        recurrent_networks.clip,
        lambda gs, m: [g * m / sum(np.linalg.norm(h) for h in gs) for g in gs],
        "norms of parts do not add up",
    ),
    (recurrent_networks.clip, lambda gs, m: gs, "nothing was clipped"),
    (recurrent_networks.clip, lambda gs, m: [g * m / whole(gs) for g in gs], "must stay as it is"),
    (recurrent_networks.clip, lambda gs, m: [g * 0 for g in gs], "each is to be times 0.4"),
    (recurrent_networks.clip, lambda gs, m: gs[0], "one array for each gradient"),
    (attention.weights, lambda q, k: by_row(q @ k.T), "the scale is missing"),
    (attention.weights, lambda q, k: by_row(q @ k.T / q.shape[1]), "is its root"),
    (
        attention.weights,
        lambda q, k: by_row(q @ k.T / q.shape[1] ** 0.5, axis=0),
        "the columns sum to one",
    ),
    (attention.weights, lambda q, k: by_row(k @ q.T / q.shape[1] ** 0.5), "are exchanged"),
    (attention.weights, lambda q, k: q @ k.T / q.shape[1] ** 0.5, "the softmax is missing"),
    (attention.weights, lambda q, k: np.exp(q @ k.T / q.shape[1] ** 0.5), "row by its sum"),
    (attention.weights, lambda q, k: by_row(q @ k.T) / 2, "belongs inside the softmax"),
    (attention.weights, lambda q, k: q, "3 × 3 weights"),
    (attention.weights, lambda q, k: np.eye(3), "expected first row"),
    (attention.weights, lambda q, k: by_row(q @ k.T / 2 - (q @ k.T).max() / 9), "overflow"),
    (
        attention.weights,
        lambda q, k: softmax_rows(q @ k.T / 2),
        "right for d = 4 alone",
    ),
    (attention.causal, by_row, "nothing is masked"),
    (attention.causal, lambda s: np.tril(by_row(s)), "masked after the softmax"),
    (attention.causal, lambda s: by_row(np.tril(s)), "is not a weight of 0"),
    (attention.causal, only_before, "may look at itself"),
    (attention.causal, lambda s: by_row(np.where(np.tri(3).T, s, -np.inf)), "wrong triangle"),
    (attention.causal, lambda s: by_row(lower(s), axis=0), "not by column"),
    (attention.causal, lambda s: s[0], "the shape of the scores"),
    (attention.causal, np.zeros_like, "expected second row"),
    (attention.causal, lambda s: softmax_rows(lower(s, -1000)), "-1000 can be large"),
    (variational_autoencoder.kl, lambda *a: gaussian_kl(*a).sum(), "one number for the whole"),
    (variational_autoencoder.kl, lambda m, v, n, w: gaussian_kl(n, w, m, v), "are exchanged"),
    (variational_autoencoder.kl, lambda m, v, n, w: gaussian_kl(m, v, 0, 0), "where is p?"),
    (variational_autoencoder.kl, lambda *a: 2 * gaussian_kl(*a), "factor of one half"),
    (variational_autoencoder.kl, lambda *a: gaussian_kl(*a) + 1.5, "is the -1 there"),
    (
        variational_autoencoder.kl,
        lambda m, v, n, w: gaussian_kl(m, 2 * v, n, 2 * w),
        "not its square",
    ),
    (variational_autoencoder.kl, lambda *a: gaussian_kl(*a) + 1, "not once an example"),
    (variational_autoencoder.kl, lambda *a: gaussian_kl(*a) / 3, "summed, not averaged"),
    (variational_autoencoder.kl, each_dimension, "one number a dimension"),
    (variational_autoencoder.kl, not_divided, "divided by the variance of p"),
    (variational_autoencoder.kl, lambda m, v, n, w: gaussian_kl(m, v, n, -w), "wrong sign"),
    (variational_autoencoder.kl, lambda m, v, n, w: m - n, "give shape (2,)"),
    (variational_autoencoder.kl, lambda m, v, n, w: m[:, 0], "for the two examples"),
    (variational_autoencoder.bound, lambda w: w.mean(axis=0), "is the ELBO"),
    (variational_autoencoder.bound, lambda w: np.log(np.exp(w).sum(0)), "smaller by log k"),
    (variational_autoencoder.bound, lambda w: np.log(np.exp(w).mean(1)), "axis 0 holds"),
    (variational_autoencoder.bound, lambda w: w.max(axis=0), "is no mean"),
    (variational_autoencoder.bound, lambda w: np.exp(w).mean(axis=0), "logarithm is wanted"),
    (variational_autoencoder.bound, lambda w: np.log(np.exp(w).mean(0)).mean(), "not their mean"),
    (variational_autoencoder.bound, lambda w: w, "4 draws for 2 images"),
    (variational_autoencoder.bound, lambda w: w[0], "expected [-0.105"),
    (variational_autoencoder.bound, lambda w: quiet_log(np.exp(w).mean(0)), "exp gives 0"),
    (variational_autoencoder.bound, lambda w: shifted(w, w.max()), "from image to image"),
    (variational_autoencoder.bound, lambda w: shifted(w, w[0]), "from image to image"),
    (variational_autoencoder.bound, lambda w: shifted(w, w.mean(axis=0)), "from image to image"),
    (image_generation.best_answer, lambda x: x.mean(axis=0), "under the squared error"),
    (image_generation.best_answer, np.median, "one number for all pixels"),
    (image_generation.best_answer, lambda x: x.mean(axis=0).round(), "some are grey"),
    (image_generation.best_answer, lambda x: x, "one answer of shape (1, 3)"),
    (image_generation.best_answer, lambda x: x[0], "expected [[1."),
    (image_generation.losses, lambda r, m: gan_losses(r, m)[::-1], "the critic's loss comes first"),
    (
        image_generation.losses,
        lambda r, m: (gan_losses(r, m)[0], -np.logaddexp(0, m).mean()),
        "hardly a gradient",
    ),
    (
        image_generation.losses,
        lambda r, m: (gan_losses(r, m)[0] / 2, gan_losses(r, m)[1]),
        "a sum of two means",
    ),
    (image_generation.losses, lambda r, m: 3 * np.array(gan_losses(r, m)), "not sums"),
    (image_generation.losses, lambda r, m: gan_losses(m, r), "real and made are exchanged"),
    (image_generation.losses, lambda r, m: gan_losses(-r, -m), "check the signs"),
    (image_generation.losses, lambda r, m: gan_losses(r, m)[0], "two numbers are wanted"),
    (image_generation.losses, lambda r, m: (1.0, 2.0), "expected [0.9"),
    (
        image_generation.losses,
        lambda r, m: (
            np.log(1 + np.exp(-r)).mean() + np.log(1 + np.exp(m)).mean(),
            np.log(1 + np.exp(-m)).mean(),
        ),
        "overflows",
    ),
    (diffusion.noise, lambda x, v, a: a**0.5 * x - (1 - a) ** 0.5 * v, "that is the image"),
    (diffusion.noise, lambda x, v, a: (1 - a) * x + a * v, "an amount is the root of it"),
    (diffusion.noise, lambda x, v, a: a**0.5 * x + (1 - a) ** 0.5 * v, "factors are exchanged"),
    (diffusion.noise, lambda x, v, a: (1 - a) ** 0.5 * x - a**0.5 * v, "check the sign of v"),
    (diffusion.noise, lambda x, v, a: v, "only at t = 0"),
    (diffusion.noise, lambda x, v, a: x[0], "as many as x has"),
    (diffusion.noise, lambda x, v, a: x, "expected [ 0.9"),
    (diffusion.guided, lambda t, u, w: u + w * (t - u), "w = 0 must give the guess with the class"),
    (diffusion.guided, lambda t, u, w: t - w * (t - u), "goes away from the class"),
    (diffusion.guided, lambda t, u, w: u + w * (u - t), "two guesses are exchanged"),
    (diffusion.guided, lambda t, u, w: t + w * u, "taken off, not added"),
    (diffusion.guided, lambda t, u, w: (t + w * u) / (1 + w), "guidance goes beyond"),
    (diffusion.guided, lambda t, u, w: 4 * t - 3 * u, "right for w = 3 alone"),
    (diffusion.guided, lambda t, u, w: t, "expected [ 1.7"),
    (quality_control.z_score, lambda c, n, g: (c - g * n) / (n * g * (1 - g)), "by the variance"),
    (quality_control.z_score, lambda c, n, g: (c - n / 2) / (n / 4) ** 0.5, "one half alone"),
    (quality_control.z_score, lambda c, n, g: (c - g * n) / (n * g) ** 0.5, "times (1 - gamma)"),
    (
        quality_control.z_score,
        lambda c, n, g: (c / n - g) / (g * (1 - g)) ** 0.5,
        "the z of a single token",
    ),
    (
        quality_control.z_score,
        lambda c, n, g: (g * n - c) / (n * g * (1 - g)) ** 0.5,
        "must give a positive z",
    ),
    (quality_control.z_score, lambda c, n, g: c / (n * g * (1 - g)) ** 0.5, "taken off first"),
    (quality_control.z_score, lambda c, n, g: 8.432740427115679, "right for 70 of 120 alone"),
    (quality_control.z_score, lambda c, n, g: 1.0, "expected 8.4"),
    (quality_control.auroc, lambda m, o: (m[:, None] > o).mean(), "here it counts nothing"),
    (quality_control.auroc, lambda m, o: (m[:, None] >= o).mean(), "here it counts whole"),
    (quality_control.auroc, lambda m, o: 1 - pairs_won(m, o), "the other score is higher"),
    (quality_control.auroc, lambda m, o: 12 * pairs_won(m, o), "divide by how many there are"),
    (
        quality_control.auroc,
        lambda m, o: (m[:3] > o).mean() + (m[:3] == o).mean() / 2,
        "only members at the same place",
    ),
    (quality_control.auroc, lambda m, o: m.mean() - o.mean(), "a chance has none"),
    (
        quality_control.auroc,
        lambda m, o: pairs_won(m, o) if np.ptp(m) else 0.0,
        "right unless all scores are equal",
    ),
    (quality_control.auroc, lambda m, o: 0.9, "expected 0.75"),
    (quality_control.auroc, lambda m, o: m, "it raised TypeError"),
    (faq.bits, lambda n, p, s: (n / p - math.log(s)) / LN2, "so they cost more"),
    (faq.bits, lambda n, p, s: n / p + math.log(s), "those are nats"),
    (faq.bits, lambda n, p, s: (n + p * math.log(s)) / LN2, "that is for a whole image"),
    (faq.bits, lambda n, p, s: n / p / LN2, "still that of values from 0 to 1"),
    (faq.bits, lambda n, p, s: (n + math.log(s)) / p / LN2, "every pixel is stretched"),
    (faq.bits, lambda n, p, s: n / p + math.log2(s), "the second part is in bits"),
    (faq.bits, lambda n, p, s: (n / p) / LN2 + 7.994353, "right for 255, wrong for 15"),
    (faq.bits, lambda n, p, s: 8.0, "8 bits a pixel for -1,000 nats"),
    (faq.cost, lambda z, y: -label_cost(z, y), "a cost has the other sign"),
    (faq.cost, lambda z, y: label_cost(z, y) * len(y), "not their mean"),
    (faq.cost, lambda z, y: label_cost(z, y) / LN2, "those are bits"),
    (faq.cost, lambda z, y: label_cost(z.reshape(1, -1), [0]) + 2 - own(z, y), "of its own"),
    (faq.cost, lambda z, y: -own(z, y), "not normalised yet"),
    (faq.cost, lambda z, y: np.nan, "these logits are small"),
    (faq.cost, lambda z, y: -np.log(by_row(z))[np.arange(len(y)), y].mean(), "e^1000 overflows"),
    (faq.cost, lambda z, y: min(label_cost(z, y), 16.1), "hides the cost"),
    (faq.cost, lambda z, y: 1.0, "expected"),
    (efficient_training.operations, lambda t, d: 12 * t * d**2 + 2 * t**2 * d, "twice that"),
    (efficient_training.operations, lambda t, d: 24 * t * d**2, "attention is missing"),
    (
        efficient_training.operations,
        lambda t, d: 24 * t * d**2 + 2 * t**2 * d,
        "the weights with the values are a product, too",
    ),
    (efficient_training.operations, lambda t, d: 72 * t * d**2 + 12 * t**2 * d, "a third of it"),
    (efficient_training.operations, lambda t, d: 12 * t * d**2 + 4 * t**2 * d, "4 d² weights each"),
    (efficient_training.operations, lambda t, d: 4_325_376, "right for this size only"),
    (efficient_training.operations, lambda t, d: 1, "got 1.0"),
    (
        efficient_training.integers,
        lambda w: to_integers(w, np.abs(w).max()),
        "each column has its own",
    ),
    (efficient_training.integers, lambda w: to_integers(w, w.max(axis=0)), "the sign must not"),
    (efficient_training.integers, lambda w: columns(w, 255), "reach 127, not 255"),
    (efficient_training.integers, lambda w: columns(w, 128), "the largest weight does not fit"),
    (
        efficient_training.integers,
        lambda w: (np.trunc(columns(w, 127, False)), np.abs(w).max(axis=0) / 127),
        "cut off instead of rounded",
    ),
    (efficient_training.integers, lambda w: columns(w, 127)[::-1], "integers come first"),
    (efficient_training.integers, lambda w: math.prod(columns(w, 127)), "not their product"),
    (efficient_training.integers, lambda w: columns(w, 127), "a column of zeros"),
    (efficient_training.integers, lambda w: w, "a pair of arrays is wanted"),
    (efficient_training.integers, lambda w: (w, w[0]), "expected"),
]


def test_every_question_is_tested_here():
    found = set()
    for module in pkgutil.iter_modules(exercises.__path__):
        members = vars(importlib.import_module(f"course_utils.exercises.{module.name}"))
        found |= {f"{module.name}.{k}" for k, v in members.items() if isinstance(v, Question)}
    assert found == set(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_stub_is_not_attempted(name, capsys):
    stubs = [...] if name == "start_here.bits" else [..., lambda *arguments: ...]
    if name.endswith("beat_this"):
        for _, set_up, _ in CHALLENGES.values():
            set_up()
    for stub in stubs:
        assert QUESTIONS[name].check(stub) is None  # nothing below the cell but what is printed
        assert capsys.readouterr().out.startswith("Not attempted yet: ")


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_printed_solution_is_right(name, capsys):
    QUESTIONS[name].solution()
    source = capsys.readouterr().out
    for _, set_up, _ in CHALLENGES.values():
        set_up()
    (unigram, bigram), images = set_task(), set_images()

    class Model:  # the mixture in the lesson's solution is of a GRU and a 9-gram
        rnn_units = 1

        @staticmethod
        def log_prob(ids):
            return bigram.log_prob(ids)[1:]

        @staticmethod
        def step(tokens, state):
            return np.log(CHAIN[tokens]), state

    namespace = {"np": np, "math": math, "model": Model, "five_gram": unigram}
    namespace["nine_gram"] = unigram
    namespace["binary_train"] = images
    namespace |= {"tf": tf, "keras": keras, "best": AUTOENCODER}
    namespace |= {"kl_divergence": kl_divergence, "bernoulli_log_prob": bernoulli_log_prob}
    namespace |= {"shipped": Shipped, "NearestNeighbors": NearestNeighbors}
    namespace |= training_tones() | {"x_train": halves(100, 1)}
    namespace |= {"LabelSpreading": LabelSpreading, "GaussianMixture": GaussianMixture}
    before = set(namespace)
    if "=" in source or "def " in source:
        exec(source, namespace)
        (answer,) = (v for k, v in namespace.items() if k not in before | {"__builtins__"})
    else:
        answer = eval(source)
    assert QUESTIONS[name].feedback(answer) == "Right."


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_hint_helps_and_does_not_tell(name, capsys):
    QUESTIONS[name].hint()
    hint = capsys.readouterr().out.strip()
    QUESTIONS[name].solution()
    assert len(hint) > 30
    assert capsys.readouterr().out.strip().splitlines()[-1].strip() not in hint.split()


@pytest.mark.parametrize(("question", "answer", "fragment"), MISTAKES)
def test_each_mistake_has_its_own_hint(question, answer, fragment):
    said = question.feedback(answer)
    assert said.startswith("Not yet: ") and fragment in said
    others = {other for q, _, other in MISTAKES if q is question} - {fragment}
    assert not [other for other in others if other in said]


# --- beat this number ----------------------------------------------------------------------------

VOCABULARY = 6
CHAIN = np.random.default_rng(0).dirichlet(np.full(VOCABULARY, 0.3), size=VOCABULARY)


def chain_text(tokens, seed):
    """Tokens of which each depends on the one before, by `CHAIN`."""
    rng, ids = np.random.default_rng(seed), [0]
    while len(ids) < tokens:
        ids.append(rng.choice(VOCABULARY, p=CHAIN[ids[-1]]))
    return np.array(ids, np.int32)


HELD_OUT = chain_text(1500, seed=2)


def set_task():
    """Ask to beat the token frequencies; a unigram and a bigram fitted on a training text."""
    train = chain_text(3000, seed=1)
    unigram, bigram = (NGram(order, VOCABULARY).fit(train) for order in (1, 2))
    score = bits_per_character(unigram.log_prob(HELD_OUT)[1:], len(HELD_OUT))
    lesson.beat_this.set_task(HELD_OUT, len(HELD_OUT), VOCABULARY, score)
    return unigram, bigram


@pytest.fixture
def models():
    return set_task()


@pytest.fixture(autouse=True)
def no_task_left():
    yield
    for question, _, _ in CHALLENGES.values():
        vars(question).pop("score", None)


def from_both_sides(ids):
    """A distribution of each token given the one before *and the one after*: it looks ahead."""
    p = CHAIN[ids[:-1]]  # (tokens - 1, VOCABULARY)
    p[:-1] *= CHAIN[:, ids[2:]].T
    p /= p.sum(axis=1, keepdims=True)
    return np.log(p[np.arange(len(p)), ids[1:]])


def test_a_mixture_beats_the_number(models, capsys):
    unigram, bigram = models

    def mixture(ids):
        parts = np.log(0.7) + bigram.log_prob(ids), np.log(0.3) + unigram.log_prob(ids)
        return np.logaddexp(*parts)[1:]

    assert lesson.beat_this.feedback(mixture) == "Right."
    reached = bits_per_character(mixture(HELD_OUT), len(HELD_OUT))
    said = capsys.readouterr().out
    assert said.startswith(f"{reached:.3f} bits per character; the number to beat is")


CHEATS = {
    "constant zero": (lambda ids: np.zeros(len(ids) - 1), "sum to 6.000, not 1"),
    "looks at the token itself": (
        lambda ids: np.where(ids[1:] == ids[1:], -0.1, -5.0),
        "must not look at the token it predicts",
    ),
    "not normalised": (lambda ids: np.log(0.9 * CHAIN[ids[:-1], ids[1:]]), "sum to 0.900, not 1"),
    "looks one ahead": (from_both_sides, "the predictor looks ahead"),
    "honest at the end of a text only": (
        lambda ids: np.append(np.zeros(len(ids) - 2), -math.log(VOCABULARY)),
        "inside",
    ),
    "not better": (lambda ids: np.full(len(ids) - 1, -math.log(VOCABULARY)), "not better yet"),
    "one value too many": (
        lambda ids: np.append(0, np.log(CHAIN[ids[:-1], ids[1:]])),
        "one value for each of the 1499 tokens after the first",
    ),
    "raises": (lambda ids: ids[5000], "it raised IndexError"),
}


def test_looking_ahead_would_pay(models):
    honest = np.log(CHAIN[HELD_OUT[:-1], HELD_OUT[1:]])
    assert from_both_sides(HELD_OUT).mean() > honest.mean() + 0.1


# --- beat this number, pixel by pixel ------------------------------------------------------------


def strokes(n, seed):
    """Images of 12 × 14 with one dark rectangle: a pixel says much about the next one."""
    rng, images = np.random.default_rng(seed), np.zeros((n, 12, 14), bool)
    for image, (top, left) in zip(images, rng.integers(0, 7, (n, 2)), strict=True):
        image[top : top + 5, left : left + 4] = True
    return images


def set_images():
    """Ask to beat the shares of dark pixels, place by place; the training images."""
    train, held_out = strokes(400, 0), strokes(60, 1)
    p = (train.mean(axis=0) * 400 + 0.5) / 401
    concepts.beat_this.set_task(held_out, -np.log2(np.where(held_out, p, 1 - p)).mean())
    return train


def by_place(images):
    return np.broadcast_to(strokes(400, 0).mean(axis=0) * 0.9 + 0.05, images.shape)


def from_above(images):
    """Is the pixel above dark? Then this one probably is."""
    above = np.pad(images, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return np.where(above, 0.8, 0.06)


PIXEL_CHEATS = {
    "reads the pixel itself": (lambda x: np.where(x, 0.99, 0.01), "earlier pixels of the same"),
    "reads the next pixel": (
        lambda x: np.where(np.roll(x, -1, axis=2), 0.9, 0.1),
        "a predictor sees earlier pixels",
    ),
    "reads the row below": (
        lambda x: np.where(np.pad(x, ((0, 0), (0, 1), (0, 0)))[:, 1:], 0.9, 0.1),
        "a predictor sees earlier pixels",
    ),
    "reads the other images": (
        lambda x: np.broadcast_to(np.arange(len(x))[:, None, None] / len(x), x.shape),
        "each stands alone",
    ),
    "one value an image": (lambda x: np.full(len(x), 0.5), "a probability for each pixel"),
    "not a probability": (lambda x: np.full(x.shape, 1.5), "not between 0 and 1"),
    "certain": (lambda x: np.zeros(x.shape), "infinitely many bits"),
    "not better": (by_place, "not better yet; see the hint"),
    "raises": (lambda x: x[999], "it raised IndexError"),
}


def test_a_neighbour_beats_the_number(capsys):
    set_images()
    assert concepts.beat_this.feedback(from_above) == "Right."
    assert "bits per pixel; the number to beat is" in capsys.readouterr().out


# --- beat this number, with a hundred labels -----------------------------------------------------

CENTRES = np.random.default_rng(0).random((10, 8, 8))


def lumps(n, seed):
    """Images of ten classes in equal number, each around an image of its own."""
    labels = np.arange(n) % 10
    noise = np.random.default_rng(seed).normal(0, 0.15, (n, 8, 8))
    return Images((CENTRES[labels] + noise).clip(0, 1).astype(np.float32), labels)


HELD_OUT_LUMPS = lumps(200, seed=2)


def set_digits():
    """Ask to beat 90%; what is to be classified is easy."""
    background.beat_this.set_task(lumps(600, seed=1), HELD_OUT_LUMPS, 0.9)


class Shipped:
    """Stands for the pretrained model: the features of its encoder are the pixels."""

    class encoder:
        @staticmethod
        def features(images):
            return images.reshape(len(images), -1)


def nearest(images, labels, unlabelled, new):
    few, many = Shipped.encoder.features(images), Shipped.encoder.features(new)
    return labels[NearestNeighbors(n_neighbors=1).fit(few).kneighbors(many)[1].ravel()]


LABEL_CHEATS = {
    "knows the true labels": (
        lambda images, labels, unlabelled, new: HELD_OUT_LUMPS.labels,
        "use the labels that are given, and no others",
    ),
    "draws other labels": (
        lambda images, labels, unlabelled, new: nearest(
            background.beat_this.train.images, background.beat_this.train.labels, None, new
        ),
        "use the labels that are given, and no others",
    ),
    "one class alone": (
        lambda images, labels, unlabelled, new: np.full(len(new), labels[0]),
        "not better yet; see the hint",
    ),
    "classes of the unlabelled": (
        lambda images, labels, unlabelled, new: nearest(images, labels, None, unlabelled),
        "expected one class an image, (200,), got (600,)",
    ),
    "probabilities": (
        lambda images, labels, unlabelled, new: np.full((len(new), 10), 0.1),
        "expected one class an image, (200,), got (200, 10)",
    ),
    "raises": (lambda images, labels, unlabelled, new: labels[999], "it raised IndexError"),
    "returns nothing": (lambda *given: None, "end it with a return statement"),
}


def test_a_neighbour_among_a_hundred_beats_the_number(capsys):
    set_digits()
    assert background.beat_this.feedback(nearest) == "Right."
    reached = np.mean(nearest_of_the_draw() == HELD_OUT_LUMPS.labels)
    said = capsys.readouterr().out
    wanted = f"{reached:.1%} with a new draw of 100 labels; the number to beat is 90.0%."
    assert said.strip() == wanted


def nearest_of_the_draw():
    part = lumps(600, seed=1).balanced(100, seed=7)
    return nearest(part.images, part.labels, None, HELD_OUT_LUMPS.images)


def test_a_classifier_gets_copies():
    set_digits()

    def spoils(images, labels, unlabelled, new):
        guesses = nearest(images, labels, unlabelled, new)
        for given in (images, labels, unlabelled, new):
            given[:] = 0
        return guesses

    assert background.beat_this.feedback(spoils) == "Right."
    assert background.beat_this.feedback(nearest) == "Right."


# --- beat this number, with a recurrence ---------------------------------------------------------


def set_recurrence():
    """Ask to beat the uniform distribution by a tenth of a bit."""
    recurrent_networks.beat_this.set_task(HELD_OUT[:300], VOCABULARY, math.log2(VOCABULARY) - 0.1)


def by_chain(state, token):
    """The next token given this one; the state counts the steps."""
    return (state or 0) + 1, np.log(CHAIN[token])


RECURRENT_CHEATS = {
    "no state": (lambda state, token: np.log(CHAIN[token]), "must return two things"),
    "one value": (lambda state, token: (None, -1.0), "expected 6 log-probabilities a step"),
    "certain of everything": (lambda state, token: (None, np.zeros(6)), "sum to 6.000, not 1"),
    "probabilities": (lambda state, token: (None, CHAIN[token]), "not 1"),
    "repeats": (lambda state, token: (None, np.log(np.eye(6)[token])), "infinitely many bits"),
    "not better": (lambda state, token: (None, np.full(6, -math.log(6))), "not better yet"),
    "raises": (lambda state, token: state[0], "it raised TypeError"),
    "returns nothing": (lambda state, token: None, "end it with a return statement"),
}


def test_a_recurrence_beats_the_number(capsys):
    set_recurrence()
    assert recurrent_networks.beat_this.feedback(by_chain) == "Right."
    honest = -np.log2(CHAIN[HELD_OUT[:299], HELD_OUT[1:300]]).mean()
    assert capsys.readouterr().out.startswith(f"{honest:.3f} bits per character; the number to")


# --- beat this number, letter by letter ----------------------------------------------------------


def set_letters():
    """Ask to beat 0.5 bits: a beginning of 16 letters, then its first half again, four times."""
    rng = np.random.default_rng(3)
    letters = np.array([np.append(order, order[:9]) for order in rng.permuted(ALL_LETTERS, axis=1)])
    targets = np.where(np.arange(24) >= 16, letters[:, 1:], -1)
    attention.beat_this.set_task(letters[:, :-1], targets, 0.5)


ALL_LETTERS = np.tile(np.arange(16), (4, 1))
LETTER_CHEATS = {
    "certain and wrong": (lambda prefix: np.eye(16)[0], "infinitely many bits"),
    "not better": (lambda prefix: np.full(16, 1 / 16), "not better yet; see the hint"),
    "not normalised": (lambda prefix: np.full(16, 0.5), "these sum to 8.000"),
    "logits": (lambda prefix: np.arange(16) - 7.4375, "probabilities are not negative"),
    "one value": (lambda prefix: 3, "expected 16 probabilities, got shape ()"),
    "reads on": (lambda prefix: np.eye(16)[prefix[len(prefix)]], "it raised IndexError"),
}


# --- beat this number, with better codes ---------------------------------------------------------


def autoencoder():
    """A VAE whose encoder knows nothing: random weights, 4 × 4 pixels."""
    keras.utils.set_random_seed(0)
    model = VAE(latent_dim=2, width=6, blocks=0, size=4)
    rng = np.random.default_rng(0)
    model.decoder.set_weights([rng.normal(0, 1.0, w.shape) for w in model.decoder.get_weights()])
    return model


AUTOENCODER = autoencoder()


def set_codes():
    """Ask to raise the ELBO of eight images that the decoder has drawn by half a nat."""
    x = (AUTOENCODER.sample(8, seed=1) > 0.5).astype(np.float32)
    variational_autoencoder.beat_this.set_task(AUTOENCODER, x, gain=0.5)


CODE_CHEATS = {
    "the encoder's own": (lambda x, mean, log_var: (mean, log_var), "not enough yet"),
    "no variance": (lambda x, mean, log_var: (mean, log_var - 20), "not enough yet"),
    "mean alone": (lambda x, mean, log_var: mean, "return two arrays"),
    "one code for all": (lambda x, mean, log_var: (mean[0], log_var[0]), "must have shape (8, 2)"),
    "not a number": (lambda x, mean, log_var: (mean, log_var * np.nan), "are not finite"),
    "returns nothing": (lambda x, mean, log_var: None, "end it with a return statement"),
    "raises": (lambda x, mean, log_var: mean[8], "it raised IndexError"),
}


def test_changing_the_arguments_in_place_is_no_way_around():
    set_codes()

    def spoil(x, mean, log_var):
        x[:], mean[:] = 0, 5
        return mean, log_var

    assert "not enough yet" in variational_autoencoder.beat_this.feedback(spoil)
    assert variational_autoencoder.beat_this.images.max() == 1
    assert variational_autoencoder.beat_this.start[0].max() < 5


def test_a_changed_decoder_is_put_back():
    set_codes()

    def change(x, mean, log_var):
        zeros = [0 * weight for weight in AUTOENCODER.decoder.get_weights()]
        AUTOENCODER.decoder.set_weights(zeros)
        return mean, log_var

    before = AUTOENCODER.decoder.get_weights()
    assert "not enough yet" in variational_autoencoder.beat_this.feedback(change)
    for weight, old in zip(AUTOENCODER.decoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


# --- beat this number, with codes of one's own ---------------------------------------------------


class Eye:
    """In place of the classifier: the pixels are the features."""

    def features(self, images):
        return images.reshape(len(images), -1)


def set_decoder():
    """Ask for codes of a random decoder; the training images are those of two narrow groups."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 0.3, (400, 2)).astype(np.float32) + rng.choice([-2, 2], (400, 1))
    x = AUTOENCODER.decode(z.astype(np.float32))
    task = image_generation.beat_this
    task.set_task(AUTOENCODER, Eye(), x, score=0.05)
    task.codes = z.astype(np.float32)  # as if the encoder were perfect


DRAWING_CHEATS = {
    "the prior": (lambda codes, n: np.random.default_rng(0).normal(size=(n, 2)), "not low enough"),
    "copies": (lambda codes, n: codes[np.arange(n) % len(codes)], "that is copying"),
    "nearly copies": (lambda codes, n: codes[np.arange(n) % 400] + 1e-3, "that is copying"),
    "too few": (lambda codes, n: codes[:5], "500 codes have shape (500, 2), got (5, 2)"),
    "not a number": (lambda codes, n: np.full((n, 2), np.nan), "are not finite"),
    "returns nothing": (lambda codes, n: None, "end it with a return statement"),
}


def test_two_groups_beat_the_number(capsys):
    set_decoder()

    def two_groups(codes, n):
        return GaussianMixture(2, random_state=0).fit(codes).sample(n)[0]

    assert image_generation.beat_this.feedback(two_groups) == "Right."
    assert "the number to beat is 0.05" in capsys.readouterr().out


# --- beat this number, with as many guesses -------------------------------------------------------


def set_guesses():
    """A denoiser of pixels that are 0.2 or 0.8, too timid without guidance; features are pixels."""
    model = Diffusion((8, 8), 2)

    def denoise(x, t, labels=None, guidance=0.0):
        a, bold = model.alpha_bar[t], 0.6 if guidance else 0.4
        return bold * np.tanh(bold * np.sqrt(a) * x / (1 - a))

    model.denoise = denoise
    rng = np.random.default_rng(0)
    images = 0.2 + 0.6 * rng.integers(0, 2, (500, 2, 2)) + rng.normal(0, 0.05, (500, 2, 2))
    diffusion.beat_this.set_task(model, Eye().features, images, score=0.03)
    return model, images


def drawn(**options):
    return lambda model, labels, seed: model.sample(len(labels), seed, labels, **options)


GUESS_CHEATS = {
    "plain": (drawn(steps=25), "not better yet; see the hint"),
    "better once": (
        lambda model, labels, seed: drawn(steps=25 if seed else 12, guidance=0.0 if seed else 0.25)(
            model, labels, seed
        ),
        "not better yet; see the hint",
    ),
    "too many steps": (drawn(steps=26), "5200 guesses a draw"),
    "too many guided": (drawn(steps=13, guidance=0.25), "a guided one counts twice"),
    "no guess": (lambda model, labels, seed: set_guesses()[1][:200], "0 guesses a draw"),
    "copies": (
        lambda model, *_: (model.denoise(np.zeros((9, 2, 2)), 5), set_guesses()[1][:200])[1],
        "that is copying",
    ),
    "too few": (lambda model, *_: model.sample(10), "200 labels is wanted, got [10, 10, 10]"),
    "not in range": (lambda *_: np.full((200, 2, 2), -1.0), "expected 0 to 1"),
    "returns nothing": (lambda *_: None, "end it with a return statement"),
}


def test_a_little_guidance_beats_the_number_and_nothing_is_left_behind(capsys):
    model, _ = set_guesses()
    own = model.denoise
    assert diffusion.beat_this.feedback(drawn(steps=12, guidance=0.25)) == "Right."
    assert "mean of three draws; the number to beat is 0.030" in capsys.readouterr().out
    assert model.denoise is own


# --- beat this number, by the scores of other models ----------------------------------------------


def set_attack():
    """Some images are cheap for every model; members are a little cheaper for their own."""
    rng = np.random.default_rng(0)
    member, cheap = np.arange(400) < 200, rng.normal(0, 10, 400)
    references = cheap[:, None] + rng.normal(0, 1, (400, 2))
    own = cheap + 3 * member + rng.normal(0, 1, 400)
    quality_control.beat_this.set_task(own, references, member, score=0.3)
    return quality_control.beat_this


ATTACK_CHEATS = {
    "the plain score": (lambda own, references: own, "not better yet; see the hint"),
    "the order": (lambda own, references: -np.arange(len(own)), "not better yet; see the hint"),
    "one number": (lambda own, references: own.mean(), "one score an image is wanted, (400,)"),
    "one for each model": (lambda own, references: references, "one score an image is wanted"),
    "not a number": (lambda own, references: own * np.nan, "are not finite"),
    "the wrong way round": (
        lambda own, references: references.mean(axis=1) - own,
        "check the sign",
    ),
    "returns nothing": (lambda own, references: None, "end it with a return statement"),
    "raises": (lambda own, references: own[999], "it raised IndexError"),
}


def test_the_scores_of_other_models_beat_the_number(capsys):
    task = set_attack()
    assert task.feedback(lambda own, references: own - references.mean(axis=1)) == "Right."
    assert "of the pairs are in the wrong order; the number to beat is" in capsys.readouterr().out


def test_an_attack_cannot_change_the_scores():
    def spoil(own, references):
        own[:], references[:] = 0, 0
        return own

    task = set_attack()
    task.feedback(spoil)
    assert np.ptp(task.own) > 10 and np.ptp(task.references) > 10


# --- what all of them have in common -------------------------------------------------------------


# question, what sets its task, its cheats and mistakes: an answer and a part of what it is told
@pytest.fixture(scope="module", autouse=True)
def no_sound_left():
    """The task of lesson 04c is small: tones whose code is brightness, pitch and decay."""
    yield
    vars(audio_generation.beat_this).pop("score", None)


def set_tones():
    rng = np.random.default_rng(0)
    labels = {"pitch": rng.integers(48, 60, 6), "brightness": rng.uniform(0.4, 0.7, 6)}
    labels["decay"] = rng.uniform(0, 30, 6)

    def decode(codes):
        tones = [
            audio.tone(440 * 2 ** ((pitch - 69) / 12), 0.512, min(max(b, 0), 0.95), decay)
            for b, pitch, decay in codes
        ]
        return audio.to_picture(audio.spectrogram(np.array(tones)))

    codes = np.stack([labels["brightness"], labels["pitch"], labels["decay"]], axis=1)
    audio_generation.beat_this.set_task(decode, codes.astype(np.float32), labels, score=0.1)


def training_tones():
    """What the solution reads in lesson 04c, for a code that is brightness, pitch and decay."""
    rng, codes = np.random.default_rng(1), np.empty((600, 3))
    codes[:, 0], codes[:, 1] = rng.uniform(0.3, 0.8, 600), np.arange(600) % 12 + 48
    codes[:, 2] = rng.uniform(0, 30, 600)
    labels = {"brightness": codes[:, 0], "decay": codes[:, 2], "level": rng.normal(size=600)}
    sounds = SimpleNamespace(train=SimpleNamespace(labels=labels))
    return {"sounds": sounds, "codes": codes, "pitches": np.arange(600) % 12 + 48}


TONE_CHEATS = {
    "does nothing": (lambda z, old, new: z, "not better yet"),
    "the wrong way": (lambda z, old, new: z + [old - new, 0, 0], "not better yet"),
    "another number of codes": (lambda z, old, new: z[:2], "a code is (3,) finite numbers"),
    "not finite": (lambda z, old, new: z * np.nan, "finite numbers"),
    "raises": (lambda z, old, new: z[99], "it raised IndexError"),
}


def test_moving_the_brightness_beats_the_number(capsys):
    set_tones()
    answer = audio_generation.beat_this.feedback(lambda z, old, new: z + [new - old, 0, 0])
    assert answer == "Right."
    assert "median error; the number to beat is 0.100" in capsys.readouterr().out


# --- beat this number, without a network ----------------------------------------------------------


UPPER = np.broadcast_to(np.arange(28)[:, None] < 14, (28, 28))


def halves(n, seed):
    """Images (n, 28, 28) that are 0 or 1, but for noise of variance 0.04 in the lower half."""
    images = np.broadcast_to(np.arange(n)[:, None, None] % 2, (n, 28, 28)).astype(float)
    return images + 0.2 * np.random.default_rng(seed).normal(size=images.shape) * ~UPPER


def set_halves():
    faq.beat_this.set_task(halves(20, 0), UPPER, score=0.05)


def first_of_kind(images, seen):
    known = halves(100, 1)
    return np.where(seen, images, known[images[:, 0, 0].astype(int)])


HALF_CHEATS = {
    "one neighbour": (first_of_kind, "not better yet; see the hint"),
    "changed": (lambda x, seen: x + 1, "pixels that are seen must stay"),
    "another shape": (lambda x, seen: x[:, 14:], "expected images of shape (20, 28, 28)"),
    "not finite": (lambda x, seen: np.where(seen, x, np.nan), "some pixels are not finite"),
    "returns nothing": (lambda x, seen: None, "end it with a return statement"),
}


def test_a_mean_of_many_beats_the_number_and_nothing_hidden_is_shown(capsys):
    set_halves()

    def mean_of_kind(images, seen):
        assert not images[:, ~seen].any()
        known = halves(100, 1)
        kinds = np.stack([known[::2].mean(axis=0), known[1::2].mean(axis=0)])
        return np.where(seen, images, kinds[images[:, 0, 0].astype(int)])

    assert faq.beat_this.feedback(mean_of_kind) == "Right."
    assert "squared error a hidden pixel; the number to beat is 0.0500" in capsys.readouterr().out


class Column:
    """A stand-in for a model: it pays for the distance of its matrix from the first one."""

    def __init__(self):
        self.first = np.random.default_rng(0).standard_t(3, size=(400, 4)).astype(np.float32)
        self.weights = [self.first, np.zeros((2, 4), np.float32), np.zeros(4, np.float32)]

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights

    def log_prob(self, ids):
        return -np.square(self.weights[0] - self.first).mean(axis=1)


def set_matrix():
    efficient_training.beat_this.set_task(Column(), np.arange(5), score=0.09)


def straight(levels):
    """Rounding to so many levels to either side of zero."""
    return lambda w: np.round(w * levels / np.abs(w).max(axis=0)) * np.abs(w).max(axis=0) / levels


BIT_CHEATS = {
    "the lesson's": (straight(7), "not better yet"),
    "nothing rounded": (lambda w: w, "a column has 400 different values"),
    "five bits": (straight(15), "four bits tell 16 apart"),
    "one column": (lambda w: w[:, :1], "became one of (400, 1)"),
    "not finite": (lambda w: np.full_like(w, np.nan), "not finite"),
    "returns nothing": (lambda w: None, "end it with a return statement"),
}


def test_four_bits_beat_the_number(capsys):
    set_matrix()
    names = {"np": np}
    exec(efficient_training.beat_this.reference, names)
    assert efficient_training.beat_this.feedback(names["four_bits"]) == "Right."
    assert "nats per character; the number to beat is" in capsys.readouterr().out
    model = efficient_training.beat_this.model
    assert np.array_equal(model.get_weights()[0], model.first)


CHALLENGES = {
    "faq": (faq.beat_this, set_halves, HALF_CHEATS),
    "efficient_training": (efficient_training.beat_this, set_matrix, BIT_CHEATS),
    "audio_generation": (audio_generation.beat_this, set_tones, TONE_CHEATS),
    "text_generation": (lesson.beat_this, set_task, CHEATS),
    "concepts": (concepts.beat_this, set_images, PIXEL_CHEATS),
    "background": (background.beat_this, set_digits, LABEL_CHEATS),
    "recurrent_networks": (recurrent_networks.beat_this, set_recurrence, RECURRENT_CHEATS),
    "attention": (attention.beat_this, set_letters, LETTER_CHEATS),
    "variational_autoencoder": (variational_autoencoder.beat_this, set_codes, CODE_CHEATS),
    "image_generation": (image_generation.beat_this, set_decoder, DRAWING_CHEATS),
    "diffusion": (diffusion.beat_this, set_guesses, GUESS_CHEATS),
    "quality_control": (quality_control.beat_this, set_attack, ATTACK_CHEATS),
}


@pytest.mark.parametrize(
    ("challenge", "cheat"),
    [(name, cheat) for name, (*_, all_) in CHALLENGES.items() for cheat in all_],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_cheats_and_mistakes_are_caught(challenge, cheat):
    question, set_up, cheats = CHALLENGES[challenge]
    set_up()
    answer, fragment = cheats[cheat]
    assert fragment in question.feedback(answer)


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_the_task_must_be_set_first(challenge):
    question, _, cheats = CHALLENGES[challenge]
    answer, _ = next(iter(cheats.values()))
    assert "run the cell with beat_this.set_task(...) first" in question.feedback(answer)


def test_every_number_to_beat_is_among_them():
    assert {id(question) for question, *_ in CHALLENGES.values()} == {
        id(question) for name, question in QUESTIONS.items() if name.endswith("beat_this")
    }
