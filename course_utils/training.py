"""What `fit` needs beside a model and its loss: an optimizer's schedule, batches of images."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf


class BuildsOnCompile:
    """For models whose weights can be made without data: `compile` makes all variables.

    Otherwise TensorFlow traces `fit` twice: for a small Transformer 3 seconds and 90 MB more.
    """

    settings: dict[str, Any]

    def compile(self, *arguments: Any, **options: Any) -> None:
        """As `keras.Model.compile`."""
        super().compile(*arguments, **options)  # type: ignore[misc]
        model: Any = self
        if not model.built:
            model.build()
        model.optimizer.build(model.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: the arguments that the model keeps as `settings`."""
        return dict(self.settings)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model of a `get_config` dictionary, with random weights."""
        return cls(**{k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a model that Keras loads; Keras asks for it where `compile` is changed."""
        self.compile(**keras.saving.deserialize_keras_object(config))


def restart(model: Any, weights: list[Any], learning_rate: float | None = None) -> None:
    """Give a compiled model other weights and an optimizer that has made no step.

    `fit` then uses the step that it has traced; TensorFlow never frees one, some 80 MB for a small
    Transformer. A new `learning_rate` is the peak of the schedule of `adamw`.
    """
    model.set_weights(weights)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer.learning_rate:  # one without a schedule is kept too
            variable.assign(keras.ops.zeros_like(variable))
    if learning_rate is not None:
        model.optimizer.schedule.peak.assign(learning_rate)


@keras.saving.register_keras_serializable(package="course_utils")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 to the peak in a straight line, then half a cosine down to 0.

    The values are those of `keras.optimizers.schedules.CosineDecay` with a warm-up. That class
    puts a branch into the graph for every weight of the model: here there is none.
    """

    def __init__(self, peak: float, warm_up: int, steps: int) -> None:
        """Fix the largest learning rate, the steps until it is reached, and all steps."""
        self.peak = keras.Variable(peak, trainable=False)  # so that `restart` can change it
        self.warm_up, self.steps = warm_up, steps

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step."""
        step = keras.ops.cast(step, "float32")
        rising = keras.ops.minimum(step / self.warm_up, 1.0)
        share = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        falling = 0.5 * (1.0 + keras.ops.cos(np.pi * keras.ops.clip(share, 0.0, 1.0)))
        return self.peak * rising * falling

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"peak": float(self.peak), "warm_up": self.warm_up, "steps": self.steps}


def adamw(
    steps: int, learning_rate: float = 8e-3, warm_up: int = 100, weight_decay: float = 0.004
) -> keras.optimizers.Optimizer:
    """AdamW with a linear warm-up, then a cosine decay to zero, and clipped gradients.

    Of the `steps` of the whole training `warm_up`, at most a tenth, are used to reach the
    `learning_rate`. At rate 1 a step takes the share `weight_decay` off each weight.
    Source: Loshchilov & Hutter (2019) for AdamW, Loshchilov & Hutter (2017) for the cosine,
    Pascanu et al. (2013) for clipping the norm of the whole gradient.
    """
    schedule = WarmUpCosine(learning_rate, min(warm_up, max(1, steps // 10)), steps)
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=weight_decay, beta_2=0.99, global_clipnorm=1.0
    )
    optimizer.schedule = schedule
    return optimizer


def augment(
    images: Any,
    key: Any,
    degrees: float = 15.0,
    zoom: float = 0.12,
    shift: float = 2.0,
    contrast: float = 1.0,
) -> Any:
    """Turn, stretch and shift each image, (batch, height, width) float32, by random amounts.

    The same `key`, (2,) integers, gives the same amounts: turns up to so many `degrees`, changes
    of height and of width up to the share `zoom`, shifts down and across up to `shift` pixels.
    What comes in from outside is 0. Grey values are taken further from one half by the factor
    `contrast`, since interpolation blurs; 1.36 gives digits back their entropy as binary pixels.
    """
    turn, tall, wide, down, across = tf.unstack(
        tf.random.stateless_uniform((5, tf.shape(images)[0]), key, -1.0, 1.0)
    )
    turn *= np.pi * degrees / 180
    rows, columns = 1 / (1 + zoom * tall), 1 / (1 + zoom * wide)
    centre_y, centre_x = (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2
    y, x = centre_y + shift * down, centre_x + shift * across  # where the centre goes
    cos, sin, none = tf.cos(turn), tf.sin(turn), tf.zeros_like(turn)
    # Pixel (x', y') of the result is read at (a x' + b y' + c, d x' + e y' + f).
    a, b, d, e = columns * cos, -columns * sin, rows * sin, rows * cos
    c, f = centre_x - a * x - b * y, centre_y - d * x - e * y
    transforms = tf.stack([a, b, c, d, e, f, none, none], axis=1)
    moved = keras.ops.image.affine_transform(images[..., None], transforms)
    return tf.clip_by_value(0.5 + contrast * (moved[..., 0] - 0.5), 0.0, 1.0)


def binarise(images: Any, key: Any) -> Any:
    """Draw each pixel as 0 or 1, float32, its grey value in [0, 1] being the probability of 1.

    The same `key`, (2,) integers, gives the same draw.
    Source: Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks.
    """
    return tf.cast(tf.random.stateless_uniform(tf.shape(images), key) < images, tf.float32)


def image_batches(
    images: Any,
    labels: Any | None = None,
    *,
    batch_size: int,
    steps: int,
    seed: int = 0,
    binary: bool = False,
    **amounts: float,
) -> tf.data.Dataset:
    """Shuffled batches of augmented images for `fit`, all different, the same for the same seed.

    Of the images, (N, height, width) float32, and their labels, (N,), every one comes once before
    one comes again. `amounts` are as in `augment`; if `binary`, pixels are drawn as 0 or 1 after.
    """
    size = min(batch_size, len(images))
    rng = np.random.default_rng(seed)
    rounds = -(-size * steps // len(images))
    order = np.concatenate([rng.permutation(len(images)) for _ in range(rounds)])
    rows = order[: size * steps].reshape(steps, size)
    images = tf.constant(images)

    def load(step: Any, chosen: Any) -> Any:
        key = tf.stack([tf.cast(seed, step.dtype), step])
        batch = augment(tf.gather(images, chosen), key, **amounts)
        batch = binarise(batch, key) if binary else batch
        return batch if labels is None else (batch, tf.gather(labels, chosen))

    return tf.data.Dataset.from_tensor_slices(rows).enumerate().map(load).prefetch(2)
