"""A Gaussian mixture over images: a density over pixels that is fitted, sampled and conditioned."""

from typing import Any, Self

import numpy as np

from course_utils.datasets import Array


class PixelMixture:
    """Mixture of Gaussians in the space of the first principal components, with pixel noise.

    An image is mean + W z + noise: z, (D,), comes from a Gaussian mixture with full covariances;
    the columns of W, (P, D), are orthonormal; the noise fills the other P - D directions with one
    variance. So it is a density over all P pixels. Source: Tipping & Bishop (1999), Mixtures of
    probabilistic principal component analysers; here all components share one subspace.
    """

    def __init__(self, dimensions: int, components: int = 1, regularisation: float = 1e-6) -> None:
        """Use D `dimensions`, and so many `components` a class, or for all, without labels."""
        self.dimensions, self.components = dimensions, components
        self.regularisation = regularisation

    def fit(self, images: Array, labels: Array | None = None) -> Self:
        """Fit one mixture a class, (N,) labels, to images (N, ...); returns the model itself.

        A ValueError for too many dimensions, labels of another length, or a class too small.
        """
        from sklearn import clone
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        x = np.asarray(images, np.float64).reshape(len(images), -1)  # (N, P)
        labels = np.zeros(len(x), np.int64) if labels is None else np.asarray(labels)
        if not 0 < self.dimensions < x.shape[1]:
            raise ValueError(f"dimensions must be 1 to {x.shape[1] - 1}, got {self.dimensions}")
        if len(labels) != len(x):
            raise ValueError(f"{len(labels)} labels for {len(x)} images")
        self.shape = images.shape[1:]
        self.classes, sizes = np.unique(labels, return_counts=True)
        if sizes.min() < (least := max(2, self.components)):
            rare = self.classes[sizes.argmin()]
            raise ValueError(f"class {rare} has {sizes.min()} images; needed: {least} (FAQ 9)")
        pca = PCA(self.dimensions, svd_solver="covariance_eigh").fit(x)
        self.mean, self.basis = pca.mean_, pca.components_.T  # (P,), (P, D)
        self.variance = max(float(pca.noise_variance_), 1e-12)  # of the noise
        mixture = GaussianMixture(self.components, reg_covar=self.regularisation, random_state=0)
        parts = (pca.transform(x[labels == label]) for label in self.classes)
        mixtures = [clone(mixture).fit(part) for part in parts]
        shares = zip(sizes / len(x), mixtures, strict=True)
        self.weights = np.concatenate([share * mixture.weights_ for share, mixture in shares])
        self.means = np.concatenate([mixture.means_ for mixture in mixtures])  # (K, D)
        self.covariances = np.concatenate([mixture.covariances_ for mixture in mixtures])
        return self

    def joint_log_prob(self, x: Array, observed: Array | None = None) -> Array:
        """The log of p(x, class) in nats, (N, classes), of the observed pixels of `fill` or of all.

        Normalised over the classes, which are in the order of `.classes`, it is Bayes' rule.
        """
        seen = np.ones(self.shape, bool) if observed is None else observed
        shape = len(x), len(self.classes), self.components
        return np.logaddexp.reduce(self._condition(x, seen)[0].reshape(shape), axis=2)

    def log_prob(self, x: Array) -> Array:
        """The log of p(x) in nats, (N,) float64; ValueError for images of another shape."""
        return np.logaddexp.reduce(self.joint_log_prob(x), axis=1)

    def sample(self, n: int, seed: int = 0, label: Any = None) -> Array:
        """Draw n images, (n, ...), of a class or all; ValueError for n < 1 or no class it knows."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if label is not None and label not in self.classes:
            raise ValueError(f"no class {label!r}; the model knows {self.classes.tolist()}")
        rng = np.random.default_rng(seed)
        chosen = np.repeat((label is None) | (self.classes == label), self.components)  # (K,)
        weights = np.where(chosen, self.weights, 0.0)
        roots = [u * np.sqrt(s) for u, s, _ in map(np.linalg.svd, self.covariances)]
        noise = rng.normal(0, np.sqrt(self.variance), (n, len(self.mean)))
        x = self.mean + noise - noise @ self.basis @ self.basis.T  # the directions outside W
        for row, k in enumerate(rng.choice(len(weights), n, p=weights / weights.sum())):
            x[row] += self.basis @ (self.means[k] + roots[k] @ rng.normal(size=self.dimensions))
        return x.reshape(n, *self.shape)

    def fill(self, x: Array, observed: Array, *, sample: bool = False, seed: int = 0) -> Array:
        """Replace hidden pixels by the exact mean of p(hidden | observed), or by a draw from it.

        `x` is (N, ...) images, and what stands in hidden pixels is ignored; `observed` is boolean,
        of one image's shape. A ValueError if all pixels are hidden.
        """
        log_joint, shift, gain = self._condition(x, observed)
        flat, seen = np.array(x, np.float64).reshape(len(x), -1), np.ravel(observed).astype(bool)
        p = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))  # (N, K)
        hidden, rng = self.basis[~seen], np.random.default_rng(seed)
        z = np.einsum("nk,nkd->nd", p, shift)
        for row in range(len(flat) if sample else 0):
            k = rng.choice(len(self.weights), p=p[row])
            z[row] = shift[row, k]
            spread = np.linalg.cholesky(np.eye(len(hidden)) + hidden @ gain[k] @ hidden.T)
            flat[row, ~seen] = np.sqrt(self.variance) * spread @ rng.normal(size=len(hidden))
        noise = flat[:, ~seen] if sample else 0.0
        flat[:, ~seen] = self.mean[~seen] + z @ hidden.T + noise
        return flat.reshape(np.shape(x))

    def _condition(self, x: Array, observed: Array) -> tuple[Array, Array, Array]:
        """The log of p(component, seen pixels), and what follows for the hidden pixels.

        Given the seen pixels o, component k makes the hidden pixels h Gaussian with mean
        `mean_h + W_h shift` and covariance `v (I + W_h gain W_h^T)`, v the noise variance; B is
        S_k - v I, A is W_o^T W_o, gain (v I + B A)^-1 B, by Woodbury's identity. The
        log-probabilities are (N, K), shift (N, K, D), gain (K, D, D).
        """
        if np.ndim(x) != len(self.shape) + 1 or np.shape(x)[1:] != self.shape:
            wanted = ", ".join(["N", *map(str, self.shape)])
            raise ValueError(f"images of shape {np.shape(x)}; expected ({wanted})")
        if np.shape(observed) != self.shape:
            raise ValueError(f"observed has shape {np.shape(observed)}; expected {self.shape}")
        if not np.any(observed):
            raise ValueError("all pixels are hidden, so there is nothing to go by; use sample()")
        seen = np.ravel(observed).astype(bool)
        w, v, eye = self.basis[seen], self.variance, np.eye(self.dimensions)
        centred = np.asarray(x, np.float64).reshape(len(x), -1)[:, seen] - self.mean[seen]
        square, projected, a = (centred**2).sum(axis=1), centred @ w, w.T @ w
        log_joint, gain = np.empty((len(x), len(self.weights))), np.empty(self.covariances.shape)
        shift = np.empty((*log_joint.shape, self.dimensions))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            b = covariance - v * eye
            gain[k] = np.linalg.solve(v * eye + b @ a, b)
            u = projected - mean @ a  # (N, D)
            moved = u @ gain[k].T
            distance = square - 2 * projected @ mean + mean @ a @ mean - (u * moved).sum(axis=1)
            log_det = seen.sum() * np.log(2 * np.pi * v) + np.linalg.slogdet(eye + b @ a / v)[1]
            log_joint[:, k] = np.log(self.weights[k]) - 0.5 * (log_det + distance / v)
            shift[:, k] = mean + moved
        return log_joint, shift, gain
