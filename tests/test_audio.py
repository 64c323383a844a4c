"""Sound: what is synthesised has the pitch, level and timbre asked for, and the way back works."""

from __future__ import annotations

import io
import os
import re
import zipfile

import nbformat
import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from course_utils import audio, chorales, datasets, download, widgets
from lessons import LOUD_AT_LEAST, cells, function, sounds_in


def of_lesson(wanted, **names):
    """A function of the lesson."""
    return function("04c_audio_generation", wanted, np=np, audio=audio, **names)


griffin_lim = of_lesson("griffin_lim")
choir = of_lesson("choir", uniform_filter1d=uniform_filter1d)


@pytest.mark.parametrize("frequency", [98.0, 220.0, 440.0, 987.8])
@pytest.mark.parametrize("brightness", [0.0, 0.5, 0.85])
def test_tone(frequency, brightness):
    made = audio.tone(frequency, 0.5, brightness, decay=20)
    assert len(made) == 4_000 and 0.1 < np.abs(made).max() <= 1
    assert abs(1200 * np.log2(audio.pitch(made) / frequency)) < 10
    start, end = audio.level(made[200:1_000]), audio.level(made[2_600:3_400])
    assert start - end == pytest.approx(20 * 2_400 / audio.RATE, abs=0.5)
    assert audio.level(made[-20:]) < audio.level(made) - 20


def test_tone_has_the_harmonics_asked_for():
    magnitudes = audio.spectrogram(audio.tone(500, 0.5, brightness=0.5))[:, 30]
    heights = magnitudes[16 * np.arange(1, 7)]  # 500 Hz are 16 bins
    assert heights[1:] / heights[:-1] == pytest.approx(0.5, rel=0.01)
    assert magnitudes[16 * 3 + 8] < 0.001


def test_brighter_tones_have_a_higher_centroid():
    found = [float(audio.centroid(audio.tone(200, 0.5, b))) for b in (0, 0.3, 0.6, 0.9)]
    assert found == sorted(found) and found[0] == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"frequency": 4_000}, "between 0 and 4000 Hz, got 4000 Hz; choose a lower note"),
        ({"frequency": 0}, "got 0 Hz"),
        ({"frequency": float("nan")}, "got nan Hz"),
        ({"frequency": 440, "brightness": 1.0}, "brightness must be at least 0 and below 1"),
        ({"frequency": 440, "seconds": 0}, "at least 0.1 seconds, got 0"),
    ],
)
def test_impossible_tones(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        audio.tone(**arguments)


def test_level():
    sine = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / audio.RATE)
    assert audio.level(sine) == pytest.approx(-3.0103, abs=1e-4)
    assert audio.level(np.zeros(5)) == -np.inf
    assert audio.level(audio.at_level(sine, -33)) == pytest.approx(-33)
    with pytest.raises(ValueError, match="the sound is silent"):
        audio.at_level(np.zeros(100), -20)


def test_choir_sounds_the_notes():
    chords = np.array([[69, 57, 0], [71, 57, 0], [71, 0, 0]])
    made = choir(chords, seconds=0.5)
    assert len(made) == 12_000 and np.abs(made).max() == pytest.approx(1)
    frames = audio.spectrogram(made)
    for number, at, sounds_then in ((69, 30, True), (69, 90, False), (71, 90, True), (57, 90, True),
                                    (57, 160, False), (71, 160, True)):  # fmt: skip
        height = frames[round(440 * 2 ** ((number - 69) / 12) / 31.25), at]
        assert (height > 0.1) == sounds_then, (number, at)
    assert audio.pitch(made[9_000:11_000]) == pytest.approx(493.88, rel=0.005)
    assert choir(np.zeros((2, 4), int)).max() == 0


def played_by(player):
    (samples,) = sounds_in(player._repr_html_())
    return samples


def test_player_has_a_fixed_level():
    for loudness in (1.0, 0.001):
        played = played_by(audio.play(loudness * audio.tone(300, 0.5, 0.5)))
        assert audio.level(played) == pytest.approx(-20, abs=0.05)
    quiet = played_by(audio.play(audio.at_level(audio.tone(300), -40), decibels=None))
    assert audio.level(quiet) == pytest.approx(-40, abs=0.1)
    click = np.zeros(8_000)
    click[100] = 0.5  # at -20 dB its one sample would be 8.9
    assert np.abs(played_by(audio.play(click))).max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.zeros(100),), "the sound is silent"),
        ((np.zeros(0),), "one row of finite samples is wanted, got shape (0,)"),
        ((np.ones((2, 100)),), "one row of finite samples is wanted, got shape (2, 100)"),
        ((np.array([0.0, np.nan]),), "one row of finite samples"),
        ((np.ones(100), -20, 500), "got a rate of 500"),
        ((1.5 * np.ones(100), None), "samples go up to 1.50"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_played(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        audio.play(*arguments)


def test_pitch_is_not_an_octave_off():
    t = np.arange(4_000) / audio.RATE
    for frequency in (82.4, 220, 440, 880):
        odd = sum(np.sin(2 * np.pi * k * frequency * t) / k for k in (1, 3))
        assert audio.pitch(odd) == pytest.approx(frequency, rel=0.005)
        no_fundamental = sum(np.sin(2 * np.pi * k * frequency * t) for k in (2, 3))
        assert audio.pitch(no_fundamental) == pytest.approx(frequency, rel=0.005)
    with pytest.raises(ValueError, match="100 samples are too few for a pitch; 266 are needed"):
        audio.pitch(t[:100])


def test_spectrogram_of_a_sine():
    magnitudes = audio.spectrogram(np.sin(2 * np.pi * 1_000 * np.arange(4_096) / audio.RATE))
    assert magnitudes.shape == (129, 67)
    middle = magnitudes[:, 10:50]
    assert (middle.argmax(axis=0) == 32).all() and middle.max() == pytest.approx(1, abs=1e-3)


def test_griffin_lim_finds_the_sound_again():
    notes = datasets.notes(1, 12).test
    wanted = audio.spectrogram(notes.waves)

    def error(waves):
        return np.linalg.norm(audio.spectrogram(waves) - wanted) / np.linalg.norm(wanted)

    few, many = (griffin_lim(wanted, datasets.SAMPLES, n) for n in (0, 32))
    assert error(many) < 0.12 < 0.35 < error(few)
    frequencies = 440 * 2 ** ((notes.labels["pitch"] - 69) / 12)
    cents = [1200 * np.log2(audio.pitch(w) / f) for w, f in zip(many, frequencies, strict=True)]
    assert np.abs(cents).max() < 40
    levels = [audio.level(w) for w in many]
    assert levels == pytest.approx(notes.labels["level"], abs=1)


def test_griffin_lim_refuses_what_is_no_spectrogram():
    with pytest.raises(ValueError, match=r"no negative values, got -12; are these decibels"):
        griffin_lim(np.full((129, 67), -12.0), datasets.SAMPLES)
    with pytest.raises(ValueError, match="no negative values, got nan"):
        griffin_lim(np.full((129, 67), np.nan), datasets.SAMPLES)
    with pytest.raises(ValueError, match=re.escape("has shape (129, 67), got (128, 67)")):
        griffin_lim(np.ones((128, 67)), datasets.SAMPLES)


def test_pictures_and_back():
    magnitudes = np.array([0.0, 1e-5, 1e-3, 0.1, 1.0, 2.0])
    picture = audio.to_picture(magnitudes)
    assert picture[[0, 1, 4]] == pytest.approx([0, 0, 1]) and picture.dtype == np.float32
    assert audio.from_picture(picture)[2:] == pytest.approx(magnitudes[2:], rel=1e-4)
    assert audio.from_picture(picture)[0] == 0


# Data sets


def test_notes_are_what_their_labels_say():
    data = datasets.notes(60, 40)
    for part in (data.train, data.validation, data.test):
        assert np.abs(part.waves).max() < 1 and part.waves.dtype == np.float32
        frequencies = 440 * 2 ** ((part.labels["pitch"] - 69) / 12)
        found = np.array([audio.pitch(w) for w in part.waves])
        assert np.abs(1200 * np.log2(found / frequencies)).max() < 20
        levels = [audio.level(w) for w in part.waves]
        assert levels == pytest.approx(part.labels["level"], abs=1e-3)
        relative = audio.centroid(part.waves) / frequencies
        assert np.corrcoef(relative, part.labels["brightness"])[0, 1] > 0.8
        ends = [audio.level(w[:1_000]) - audio.level(w[2_000:3_000]) for w in part.waves]
        assert ends == pytest.approx(part.labels["decay"] / 4, abs=1)  # 2,000 samples
    assert not {*data.train.labels["decay"]} & {*data.test.labels["decay"]}
    again = datasets.notes(60, 40)
    assert np.array_equal(data.test.waves, again.test.waves)


def test_spoken_digits():
    entry = download.registry()["spoken_digits"]
    folder = os.environ.get("COURSE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, entry.file)):
        pytest.skip(f"COURSE_DATA_DIR names no folder with a copy of {entry.file}")
    data = datasets.spoken_digits()
    for part, each in ((data.train, 40), (data.validation, 5), (data.test, 5)):
        assert part.waves.shape == (60 * each, datasets.SAMPLES)
        pairs = list(zip(part.labels["digit"], part.labels["speaker"], strict=True))
        assert {pairs.count(pair) for pair in set(pairs)} == {each} and len(set(pairs)) == 60
        assert min(audio.level(w) for w in part.waves) > -70  # one begins late, and is cut


def zipped(path, rate=audio.RATE, folder="recordings", change=0):
    """An archive of two recordings of half a second."""
    from scipy.io import wavfile

    with zipfile.ZipFile(path, "w") as archive:
        for i in (0, 7):
            file = io.BytesIO()
            wavfile.write(file, rate, np.full(2_000 + i, 3_000 + change, np.int16))
            archive.writestr(f"{folder}/{i}_ann_{i}.wav", file.getvalue())
    return path


def test_hash_of_an_archive_is_that_of_its_recordings(tmp_path):
    first = download.sha256(zipped(tmp_path / "a.zip"))
    assert download.sha256(zipped(tmp_path / "b.zip", folder="other/recordings")) == first
    assert download.sha256(zipped(tmp_path / "c.zip", change=1)) != first
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "d.zip").write_bytes(whole[:-200])
    assert download.sha256(tmp_path / "d.zip") == ""


def test_recordings_of_another_rate_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda name: zipped(tmp_path / "a.zip", rate=16_000))
    with pytest.raises(ValueError, match="0_ann_0.wav has 16000 samples a second"):
        datasets.spoken_digits()


def test_spoken_digits_without_network(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(download, "RETRIES", 0)
    (tmp_path / "spoken_digits_1.0.10.zip").write_bytes(b"half a file")  # never used
    with pytest.raises(download.DataUnavailable) as raised:
        datasets.spoken_digits()
    entry = download.registry()["spoken_digits"]
    for part in (entry.file, entry.sha256, *entry.urls, "datasets.notes()"):
        assert part in str(raised.value)
    assert not list(tmp_path.iterdir())


# The widget


def test_timbre_page_says_and_plays_what_was_asked_for():
    class Model:
        @staticmethod
        def decode(codes):  # a code is the brightness, and a decay
            tones = [audio.tone(220, 0.512, float(b), float(d)) for b, d in codes]
            pictures = audio.to_picture(audio.spectrogram(np.array(tones)))
            return type("Tensor", (), {"numpy": lambda self: pictures})()

    notes = datasets.notes(1, 3).test
    named = {"np": np, "audio": audio, "widgets": widgets, "vae": Model}
    named |= {"directions": {"brightness": np.array([1.0, 0]), "decay": np.array([0, 1.0])}}
    named["z_test"] = np.stack([notes.labels["brightness"], notes.labels["decay"]], axis=1)
    named |= {"labels": notes.labels, "sounds": datasets.notes(1, 3)}
    named["griffin_lim"] = griffin_lim
    named["heard"] = function("04c_audio_generation", "heard", **named)
    timbre_page = function("04c_audio_generation", "timbre_page", **named)
    for note in range(3):
        centroids = []
        for bright in (0.3, 0.5, 0.7):
            page = timbre_page(note, bright, 10)
            assert f"brightness {bright:g} (was {notes.labels['brightness'][note]:.2f})" in page
            assert f"alt='Note {note}, MIDI" in page and re.search(r"pitch 2(19|20|21) Hz", page)
            centroids.append(float(re.search(r"centroid (\d+) Hz", page)[1]))
            wanted = float(audio.centroid(audio.tone(220, 0.512, bright, 10)))
            assert centroids[-1] == pytest.approx(wanted, rel=0.05)
            (played,) = sounds_in(page)
            assert audio.level(played) > LOUD_AT_LEAST
        assert centroids == sorted(centroids)


def test_composer_page_shows_and_plays_each_key():
    class Model:
        @staticmethod
        def sample(n, length, temperature, start, seed):
            return np.repeat(start[None], length, axis=1)

        @staticmethod
        def nats_per_frame(rolls):
            return 1.25

    named = {"np": np, "audio": audio, "widgets": widgets, "model": Model}
    named |= {n: getattr(chorales, n) for n in ("LOWEST", "note_name", "note_number", "piano_roll")}
    named |= {"pitches_21": chorales.LOWEST + np.arange(88), "choir": choir}
    composer_page = function("04c_audio_generation", "composer_page", **named)
    for key, bass in (("C", 130.81), ("G", 98.0), ("Eb", 155.56), ("Bb", 116.54)):
        for bars in (2, 4):
            page = composer_page(key, bars, 0.8, 3)
            said = f"{bars} bars from a chord of {key} major at temperature 0.8, draw 3: 1.2 nats"
            assert said in page and re.search(f"to {key}[45]", page)
            (played,) = sounds_in(page)
            assert len(played) == bars * 4 * 0.4 * audio.RATE
            assert audio.level(played) == pytest.approx(-20, abs=0.1)
            found = audio.spectrogram(played)[round(bass / 31.25)]
            assert np.median(found) > 0.02


@pytest.mark.slow
def test_the_lessons_cells_work_for_spoken_digits():
    """The cells that load, build and train, with the other data set in place of the notes."""
    entry, folder = download.registry()["spoken_digits"], os.environ.get("COURSE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, entry.file)):
        pytest.skip(f"COURSE_DATA_DIR names no folder with a copy of {entry.file}")
    import keras
    import tensorflow as tf

    from course_utils import runtime, training
    from course_utils.models.vae import kl_divergence

    names = {"np": np, "keras": keras, "tf": tf, "audio": audio, "datasets": datasets}
    names |= {"training": training, "kl_divergence": kl_divergence, "runtime": runtime}
    for source in cells("04c_audio_generation", tag="any-sounds"):
        exec(source.replace("datasets.notes(1_200, 150)", "datasets.spoken_digits()"), names)
    assert names["sounds"].name == "spoken_digits"
    x = names["x_validation"]
    mean = np.tile(names["x_train"].mean(axis=0), (len(x), 1, 1))
    assert names["error"](x, names["rebuilt"](x)) < 0.65 * names["error"](x, mean)


@pytest.mark.parametrize("name", ["00_start_here", "02_concepts", "04c_audio_generation"])
def test_no_player_in_a_notebook_is_silent(name, repo):
    notebook = nbformat.read(repo / "notebooks" / f"{name}.ipynb", as_version=4)
    pages = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "<audio" in output.get("data", {}).get("text/html", "")
    ]
    played = [samples for page in pages for samples in sounds_in(page)]
    # JupyterLab takes the address out of a <source> until the reader has run the cell.
    assert all("<source" not in page and '<audio controls src="data:' in page for page in pages)
    asked = sum(cell.source.count("audio.play(") + cell.source.count("Audio(")
                for cell in notebook.cells if cell.cell_type == "code")  # fmt: skip
    assert len(played) >= asked, f"{asked} cells ask for a player, {len(played)} are stored"
    for number, samples in enumerate(played):
        assert audio.level(samples) > LOUD_AT_LEAST, f"player {number} is all but silent"
        assert np.mean(np.abs(samples) > 0.999) < 1e-3, f"player {number} is clipped"
        assert len(samples) > 0.2 * audio.RATE
