"""Sound: tones, levels, pitch, spectrograms, and a player with a fixed level.

A sound is an array of samples in [-1, 1], `RATE` of them a second; time is the last axis.
"""

from typing import Any

import numpy as np
from IPython.display import HTML, Audio
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT, get_window

RATE = 8_000  # samples a second
FRAME, HOP = 256, 64  # samples of a spectrogram's window, and from one window to the next
FLOOR_DB = -80.0  # what is quieter counts as silence

Floats = NDArray[np.floating[Any]]


def tone(
    frequency: float, seconds: float = 0.5, brightness: float = 0.0, decay: float = 0.0
) -> Floats:
    """A tone with harmonics, (samples,) in [-1, 1], that fades out over its last 20 ms.

    Its lowest `frequency` is in hertz, below half of `RATE`, as are all harmonics. `brightness`, in
    [0, 1), is the amplitude of each harmonic as a share of the one below it, and `decay` how many
    decibels the tone falls a second. A ValueError if an argument is out of range.
    """
    if not 0 < frequency < RATE / 2:
        held = f"{RATE} samples a second hold frequencies between 0 and {RATE / 2:g} Hz"
        raise ValueError(f"{held}, got {frequency:g} Hz; choose a lower note")
    if not 0 <= brightness < 1 or not seconds >= 0.1:
        lasts = f"and a tone lasts at least 0.1 seconds, got {seconds}"
        raise ValueError(f"brightness must be at least 0 and below 1, got {brightness}; {lasts}")
    t = np.arange(round(RATE * seconds)) / RATE
    first = np.exp(2j * np.pi * frequency * t)  # its k-th power is the k-th harmonic
    wave, power, share = np.zeros_like(t), np.ones_like(first), 1.0
    for _ in range(1, int((RATE / 2 - 1) // frequency) + 1):
        power = power * first
        wave += share * power.imag
        share *= brightness
        if share < 1e-4:
            break
    envelope = 10 ** (-decay * t / 20) * np.minimum(1, t / 0.01)
    return (1 - brightness) * wave * envelope * np.minimum(1, (t[-1] - t) / 0.02)


def level(wave: Any) -> float:
    """Level in decibels below full scale: 20 log10 of the root mean square; -inf for silence."""
    mean_square = float(np.mean(np.square(wave, dtype=float)))
    return 10 * np.log10(mean_square) if mean_square > 0 else -np.inf


def at_level(wave: Any, decibels: float) -> Floats:
    """The same sound with another `level`; a ValueError if it is silent."""
    if level(wave) < FLOOR_DB - 40:
        raise ValueError("the sound is silent, and silence has no level to change")
    return np.asarray(wave) * 10 ** ((decibels - level(wave)) / 20)


def play(wave: Any, decibels: float | None = -20.0, rate: int = RATE) -> HTML:
    """A player for a sound, (samples,), at a fixed level, so that sounds can be compared.

    It is brought to the level `decibels`, or less if its peaks would go beyond 1; None leaves it as
    it is. A ValueError for silence, for numbers that are not finite or, with None, beyond [-1, 1],
    for more than one row of samples, and for a `rate` that browsers do not play.
    """
    wave = np.asarray(wave, float)
    if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
        raise ValueError(f"one row of finite samples is wanted, got shape {wave.shape} (FAQ 7)")
    if not 3_000 <= rate <= 192_000:
        raise ValueError(f"browsers play 3,000 to 192,000 samples a second, got a rate of {rate}")
    if decibels is None and (peak := np.abs(wave).max()) > 1:
        raise ValueError(f"samples go up to {peak:.2f}, too loud; give a level in decibels")
    louder = at_level(wave, level(wave) if decibels is None else decibels)
    sound = Audio(louder / max(1.0, np.abs(louder).max()), rate=rate, normalize=False)
    return HTML(f'<audio controls src="{sound.src_attr()}"></audio>')  # a <source> is taken out


def pitch(wave: Any, lowest: float = 60.0, highest: float = 1_200.0) -> float:
    """Fundamental frequency in hertz: 1 over the lag at which a sound is most like itself.

    Of lags within a tenth of the best the shortest counts. A ValueError if the sound is shorter
    than two periods of the `lowest` frequency.
    """
    wave, finer = np.asarray(wave, float), 4  # the autocorrelation is needed between samples too
    first, last = int(finer * RATE / highest), int(finer * RATE / lowest)
    if len(wave) < (least := 2 * last / finer):
        raise ValueError(f"{len(wave)} samples are too few for a pitch; {least:.0f} are needed")
    power = np.abs(np.fft.rfft(wave - wave.mean(), 2 * len(wave))) ** 2
    alike = np.fft.irfft(power, 2 * finer * len(wave))[: last + 2]
    alike /= len(wave) - np.arange(last + 2) / finer  # fewer products at longer lags
    peaks = np.flatnonzero((alike[1:-1] >= alike[:-2]) & (alike[1:-1] > alike[2:])) + 1
    peaks = peaks[peaks >= first]
    if not len(peaks):
        return finer * RATE / float(first + alike[first:].argmax())
    lag = peaks[alike[peaks] >= 0.9 * alike[peaks].max()][0]
    left, middle, right = alike[lag - 1 : lag + 2]
    return finer * RATE / float(lag + 0.5 * (left - right) / (left - 2 * middle + right))


def spectrogram(wave: Any) -> Floats:
    """Magnitudes, (..., FRAME / 2 + 1, frames), of sounds (..., samples), RATE / FRAME Hz a bin.

    Each frame sees `FRAME` samples through a Hann window. A sine of amplitude 1 has magnitude 1.
    """
    return np.abs(transform().stft(np.asarray(wave, float)))


def to_picture(magnitudes: Any) -> Floats:
    """Decibels as a grey value: 0 for `FLOOR_DB` and below, 1 for a magnitude of 1; float32."""
    decibels = 20 * np.log10(np.maximum(magnitudes, 1e-12))
    return np.clip(1 - decibels / FLOOR_DB, 0, None).astype(np.float32)


def from_picture(picture: Any) -> Floats:
    """The magnitudes that `to_picture` made grey values of; 0 stays silent."""
    grey = np.asarray(picture, float)
    return np.where(grey > 0, 10 ** (FLOOR_DB * (1 - grey) / 20), 0.0)


def centroid(wave: Any) -> Floats:
    """Mean frequency in hertz, weighted by the spectrogram's magnitudes, of (..., samples).

    Source: Grey & Gordon (1978), Perceptual effects of spectral modifications on musical timbres.
    """
    weights = spectrogram(wave).sum(axis=-1)
    frequencies = np.arange(FRAME // 2 + 1) * RATE / FRAME
    return np.asarray((weights * frequencies).sum(axis=-1) / weights.sum(axis=-1))


def transform() -> ShortTimeFFT:
    """SciPy's short-time Fourier transform behind `spectrogram`, with phases and a way back."""
    window = get_window("hann", FRAME)
    return ShortTimeFFT(2 * window / window.sum(), HOP, RATE)
