"""What a learner has done, in a file of the learner's own: one line of JSON an event."""

import contextlib
import importlib
import json
import time
from itertools import pairwise
from os import environ
from pathlib import Path
from typing import Any

import platformdirs

from course_utils import runtime

LONGEST_PAUSE = 30 * 60  # seconds between two events; a longer one is time off
KINDS = ("check", "exercise", "question")  # what there is to do; a "start" is an event, too


def path() -> Path:
    """The file, in the user's state folder or in the one that COURSE_STATE_DIR names."""
    user = platformdirs.user_state_path("generative-models-course", appauthor=False)
    return Path(environ.get("COURSE_STATE_DIR") or user) / "progress.jsonl"


def _append(content: str) -> None:
    path().parent.mkdir(parents=True, exist_ok=True)
    with path().open("ab", buffering=0) as file:
        file.write(content.encode())


def record(kind: str, name: str = "") -> None:
    """Append an event of the current notebook, if there is one and the file can be written.

    It is one write to the end, begun with a line break: notebooks that write at once lose nothing
    where the system appends in one step, and a write that is cut short costs its own line alone.
    """
    if notebook := runtime.current_notebook:
        event = {"time": int(time.time()), "kind": kind, "notebook": notebook, "name": name}
        with contextlib.suppress(OSError):
            _append(f"\n{json.dumps(event)}")


def events() -> list[tuple[int, str, str, str]]:
    """Seconds since 1970, kind, notebook and name of each event; other lines are skipped."""
    found = []
    with contextlib.suppress(OSError):
        for line in path().read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError):
                e = json.loads(line)
                found.append((int(e["time"]), str(e["kind"]), str(e["notebook"]), str(e["name"])))
    return sorted(found)


def rows() -> list[dict[str, Any]]:
    """One row a notebook: what is done and what there is of each kind, and minutes spent."""
    from course_utils import exercises, expected
    from course_utils.exercises import quiz

    known, found = events(), []
    for notebook, results in expected.intervals().items():
        module = importlib.import_module(f"course_utils.exercises.{notebook.partition('_')[2]}")
        asked = [v.name for v in vars(module).values() if isinstance(v, exercises.Question)]
        questions = [question.name for question in quiz.questions(notebook)]
        row: dict[str, Any] = {"notebook": notebook}
        for kind, names in zip(KINDS, (results["checks"], asked, questions), strict=True):
            done = {name for _, *what, name in known if what == [kind, notebook]} & set(names)
            row |= {f"{kind}s_done": len(done), f"{kind}s": len(names)}
        pauses = (b - a for a, b in pairwise(event[0] for event in known if event[2] == notebook))
        row["minutes"] = round(sum(pause for pause in pauses if pause <= LONGEST_PAUSE) / 60)
        found.append(row)
    return found


def table() -> Any:
    """The `rows` as a DataFrame to read; it says so if no progress can be kept."""
    import pandas as pd

    try:
        _append("")
    except OSError as error:
        print(f"No progress is kept, since its file cannot be written: {error}")
    shown = pd.DataFrame(rows()).set_index("notebook")
    done = {
        f"{k}s": [f"{a} of {b}" for a, b in shown[[f"{k}s_done", f"{k}s"]].values] for k in KINDS
    }
    return pd.DataFrame(done, shown.index).join(shown["minutes"])


def export(target: str | Path) -> None:
    """Write the `rows` to a CSV file, for an instructor to collect.

    Columns: notebook; checks_done, checks, exercises_done, exercises, questions_done and questions,
    the numbers of what was done and of what there is; minutes, without pauses over half an hour.
    """
    import pandas as pd

    pd.DataFrame(rows()).to_csv(target, index=False)


def reset() -> None:
    """Forget everything: the file is removed."""
    path().unlink(missing_ok=True)
