"""Train a text model in one process or many: `python -m course_utils.distributed FOLDER STEPS`.

TF_CONFIG names the processes, and which of them this is; training goes on from FOLDER's checkpoint.
"""

import faulthandler
import json
import os
import socket
import sys
from typing import Any

import course_utils


def read_cluster(variable: str) -> tuple[list[str], int]:
    """The workers' addresses in a TF_CONFIG, and which of them this is; ([], 0) for `""`.

    A ValueError if it is not JSON of that form, names an unknown task, or the port is in use.
    """
    try:
        given = json.loads(variable or '{"cluster": {"worker": []}}')
        workers, task = given["cluster"]["worker"], given.get("task", {})
        kind, index = task.get("type", "worker"), task.get("index", 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"cluster": {"worker": ["host:port"]}, "task": {"type": "worker", "index": 0}}'
        raise ValueError(f"TF_CONFIG must be JSON like {form}: {error!r}") from None
    if workers and (kind != "worker" or index not in range(len(workers))):
        known = f"the cluster has worker 0 to worker {len(workers) - 1}"
        raise ValueError(f"TF_CONFIG names an unknown task, {kind} {index}; {known}")
    with socket.socket() as probe:
        if os.name == "posix":  # a port whose last connection was closed a moment ago is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(workers[index].rpartition(":")[2]) if workers else 0))
        except OSError:
            mend = "end what listens there, or name another port in every worker's TF_CONFIG"
            raise ValueError(f"the port of {workers[index]} is in use; {mend}") from None
    return workers, index


def train(folder: str, steps: int, every: int = 5, batch: int = 32, patience: int = 120) -> None:
    """Train to so many steps from the folder's checkpoint, if any; save one after each `every`.

    Ends with a message if another worker is lost, or silent for `patience` s (then: `Timeout`).
    """
    workers, index = read_cluster(os.environ.get("TF_CONFIG", ""))
    course_utils.setup()
    import tensorflow as tf

    if workers[1:]:
        print(f"worker {index}: a silence of the others for {patience} s ends it", flush=True)
    try:
        _train(folder, steps, every, batch, patience, (workers, index))
    except tf.errors.OpError as error:
        saved = (tf.train.latest_checkpoint(folder) or "-0").rpartition("-")[2]
        lost = f"worker {index} stops: it lost another worker ({type(error).__name__})"
        sys.exit(f"{lost}; start all workers again, and training goes on after step {saved}")


def _train(folder: str, steps: int, every: int, batch: int, patience: int, cluster: Any) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    from course_utils.models.recurrent import TextGenerator
    from course_utils.text import CharacterTokenizer

    workers, index = cluster
    text = (course_utils.runtime.DATA_DIR / "README.md").read_text("utf-8")
    tokenizer, own = CharacterTokenizer.fit(text), batch // max(1, len(workers))
    distribute: Any = tf.distribute
    make = distribute.MultiWorkerMirroredStrategy if workers[1:] else distribute.get_strategy

    # Python's own threads stand still while TensorFlow waits for the others; this watch does not.
    faulthandler.dump_traceback_later(patience, exit=True)
    strategy = make()
    with strategy.scope():
        model = TextGenerator(tokenizer.vocab_size, 32, 64)
        model.compile(keras.optimizers.Adam(0.01))
        variables = [v.value for v in (*model.trainable_variables, *model.optimizer.variables)]
        checkpoints = tf.train.CheckpointManager(tf.train.Checkpoint(v=variables), folder, 2)
        checkpoints.restore_or_initialize()

    def replica(windows: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, targets = model(windows[:, :-1]), windows[:, 1:]
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(nats) * own / batch  # Adam's `apply` sums over the workers
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return loss

    step = tf.function(lambda x: strategy.reduce("SUM", strategy.run(replica, (x,)), axis=None))
    ids, done = tokenizer.encode(text), int(model.optimizer.iterations.numpy())
    print(f"worker {index} of {max(1, len(workers))} starts after step {done}", flush=True)
    while done < steps:
        done += 1
        starts = np.random.default_rng(done).integers(len(ids) - 65, size=(batch, 1))
        mine = tf.constant(ids[starts[index * own : (index + 1) * own] + np.arange(65)])
        faulthandler.dump_traceback_later(patience, exit=True)  # anew for each step
        print(f"step {done}: loss {float(step(mine)):.4f}", flush=True)
        if index == 0 and (done % every == 0 or done == steps):
            checkpoints.save(done)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
