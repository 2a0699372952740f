"""What the engines of the lesson do when something dies: too slow, or too much at the mercy of timing, for its cells.

The programs are those of the lesson: its cells that define them are run here."""

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from masking_tutorial.batching import Batches, plan_batches
from tools.notebooks import ROOT, read

grain = pytest.importorskip("grain", reason="the engines are installed with the lesson's requirements")
NOTEBOOK = ROOT / "nbs" / "15_engines.ipynb"
# Of each cell that is needed, how it begins.
CELLS = ("import copy", "def start(", "def stop(", "def answers(", "def free_ports(", "def sentences(", "def join(",
         "def dispatcher(", "def worker(", "flat = ", "def rounds_of(", "def left_solution(")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """The functions of the lesson, as a module: in a file, so that their text can be sent to other processes."""
    cells = [cell.source for cell in read(NOTEBOOK).cells if cell.cell_type == "code"]
    chosen = [next(cell for cell in cells if cell.startswith(start)) for start in CELLS]
    chosen = [cell.partition("\nrounds = ")[0].partition("\ncheck_answer")[0] for cell in chosen]
    path = tmp_path_factory.mktemp("lesson") / "engines_of_the_lesson.py"
    path.write_text("\n\n".join(chosen), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Service:
    """A dispatcher and two workers; each can be killed, and started again."""

    def __init__(self, lesson, folder):
        self.lesson, self.folder = lesson, str(folder)
        self.ports = lesson.free_ports(4)
        self.servers = [self._dispatcher(), *map(self._worker, self.ports[1:3])]
        self._wait_for(*self.servers)

    def _dispatcher(self):
        workers = [f"localhost:{port}" for port in self.ports[1:3]]
        return self.lesson.start(self.lesson.dispatcher, self.ports[0], self.folder, *workers)

    def _worker(self, port):
        return self.lesson.start(self.lesson.worker, port, f"localhost:{self.ports[0]}")

    def _wait_for(self, *servers):
        for server in servers:
            assert server.stdout.readline() == "ready\n"

    def kill(self, place):
        self.servers[place].kill()
        self.servers[place].wait(10)

    def come_back(self, place, port=None):
        self.servers[place] = self._worker(port or self.ports[place]) if place else self._dispatcher()

    def spread(self, dataset, mode="DYNAMIC", **options):
        service = self.lesson.tf.data.experimental.service
        mode = getattr(service.ShardingPolicy, mode)
        return dataset.apply(service.distribute(mode, f"grpc://localhost:{self.ports[0]}", **options))


@pytest.fixture(scope="module")
def service(lesson, tmp_path_factory):
    service = Service(lesson, tmp_path_factory.mktemp("dispatcher"))
    yield service
    lesson.stop(*service.servers[::-1])


class Reader(threading.Thread):
    """Reads batches, slowly, and keeps the numbers of their sequences; `then` is called after some of them."""

    def __init__(self, dataset, after=None, then=None):
        super().__init__(daemon=True)
        self.dataset, self.after, self.then, self.batches = dataset, after, then, []

    def run(self):
        for rows, _ in self.dataset.as_numpy_iterator():
            self.batches.append(rows)
            if len(self.batches) == self.after:
                self.then()
            time.sleep(0.02)

    def times(self, count):
        return np.bincount(np.concatenate(self.batches), minlength=count)


def killed_and_back(service, place, port=None):
    def then():
        service.kill(place)
        service.come_back(place, port)
    return then


def all_of(dataset, *event):
    reader = Reader(dataset, *event)
    reader.start()
    reader.join(60)
    assert not reader.is_alive()
    return reader


# The service


@pytest.fixture(scope="module")
def plan(lesson):
    return plan_batches(lesson.lengths, 8, seed=1)


@pytest.mark.thorough
def test_a_dispatcher_that_comes_back_loses_nothing(lesson, service, plan):
    dataset = service.spread(lesson.as_source(plan).map(lesson.padded))
    reader = all_of(dataset, 20, killed_and_back(service, 0))
    assert (reader.times(len(lesson.ids)) == 1).all()


@pytest.mark.thorough
def test_a_worker_that_comes_back_has_lost_what_it_had_in_hand(lesson, service, plan):
    dataset = service.spread(lesson.as_source(plan).map(lesson.padded))
    reader = all_of(dataset, 20, killed_and_back(service, 1))
    times = reader.times(len(lesson.ids))
    assert set(times) == {0, 1}
    rest = lesson.left_solution(plan, np.concatenate(reader.batches))
    again = all_of(service.spread(lesson.as_source(rest).map(lesson.padded)))
    assert (times + again.times(len(lesson.ids)) == 1).all()


def times_for_two_consumers(lesson, service, rounds, name, *event):
    """How often each sequence comes in an epoch of rounds that two consumers read, one of them slowly."""
    nested = lesson.tf.ragged.constant([[batch.tolist() for batch in group] for group in rounds], "int64")
    hint = lesson.tf.data.experimental.SHARD_HINT
    dataset = lesson.tf.data.Dataset.from_tensor_slices(nested).shard(hint, hint)
    dataset = dataset.flat_map(lesson.tf.data.Dataset.from_tensor_slices).map(lesson.padded).repeat()
    readers = [Reader(service.spread(dataset, "HINT", job_name=name, consumer_index=index, num_consumers=2)
                      .take(len(rounds)), *(event if index == 0 else ())) for index in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    return sum(reader.times(len(lesson.ids)) for reader in readers)


@pytest.mark.thorough
def test_a_worker_with_a_fixed_share_begins_it_again(lesson, service, plan):
    rounds = lesson.rounds_of(plan, 2)
    assert (times_for_two_consumers(lesson, service, rounds, "nobody dies") == 1).all()
    times = times_for_two_consumers(lesson, service, rounds, "killed", 30, killed_and_back(service, 1))
    assert (times == 2).any() and (times == 0).any()


def reads_slowly(dispatcher):
    import time

    import tensorflow as tf
    service = tf.data.experimental.service
    dataset = tf.data.Dataset.range(1000).apply(service.distribute("distributed_epoch", f"grpc://{dispatcher}"))
    for _ in dataset:
        print("read", flush=True)
        time.sleep(0.005)


@pytest.mark.thorough
@pytest.mark.parametrize("place", [2, 3], ids=["its old address", "another address"])
def test_a_worker_is_waited_for_at_its_old_address(lesson, service, place):
    consumer = lesson.start(reads_slowly, f"localhost:{service.ports[0]}")
    try:
        for _ in range(100):
            assert consumer.stdout.readline() == "read\n"
        service.kill(2)
        service.come_back(2, service.ports[place])
        if place == 2:
            assert "read\n" * 100 < consumer.communicate(timeout=60)[0] and not consumer.returncode
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                consumer.communicate(timeout=10)
    finally:
        consumer.kill()


# Hosts


def host_that_ends_early(index, *ports):
    import json
    import os

    import tensorflow as tf
    strategy = join(int(index), ports)  # noqa: F821
    for step in range(3 if index == "1" else 1000):
        try:
            strategy.gather(tf.constant([step]), axis=0)
        except tf.errors.UnavailableError as error:
            print(json.dumps([step, type(error).__name__]))
            os._exit(0)
    os._exit(9)  # as if it had been killed


@pytest.mark.thorough
def test_a_host_that_is_gone_raises_at_the_others(lesson):
    ports = lesson.free_ports(2)
    hosts = [lesson.start(host_that_ends_early, str(index), *ports, needs=(lesson.join,)) for index in range(2)]
    assert hosts[1].wait(60) == 9
    assert lesson.answers(hosts[0], seconds=60) == [[3, "UnavailableError"]]


# Grain


def numbered():
    return Batches([np.full(1 + number % 30, number) for number in range(600)], batch_size=8, seed=3)


def with_workers(batches):
    from absl import flags

    flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=2, per_worker_buffer_size=2)
    return grain.MapDataset.source(batches).to_iter_dataset().mp_prefetch(options)


@pytest.fixture
def light_workers(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")


def test_a_checkpoint_in_the_middle_of_an_epoch(light_workers):
    batches, iterator = numbered(), iter(with_workers(numbered()))
    expected = [batches[number] for number in range(len(batches))]
    for number in range(31):
        assert np.array_equal(next(iterator), expected[number])
    state = json.loads(json.dumps(iterator.get_state()))  # as it would come from a file
    restored = iter(with_workers(numbered()))
    restored.set_state(state)
    for number, batch in enumerate(restored, start=31):
        assert np.array_equal(batch, expected[number])
    assert number == len(expected) - 1


def test_a_worker_that_dies_raises(light_workers):
    iterator = iter(with_workers(numbered()))
    next(iterator)
    worker = next(child for child in multiprocessing.active_children() if "grain" in child.name)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="terminated unexpectedly"):
        for _ in iterator:
            pass


# The tools of the lesson


def fails():
    raise ValueError("this process fails")


def hangs():
    import time
    time.sleep(600)


def test_a_process_that_fails_is_heard(lesson):
    with pytest.raises(RuntimeError, match="this process fails"):
        lesson.answers(lesson.start(fails))


def test_a_process_that_hangs_is_ended_with_all_others(lesson):
    processes = [lesson.start(hangs), lesson.start(hangs)]
    with pytest.raises(subprocess.TimeoutExpired):
        lesson.answers(*processes, seconds=1)
    assert all(process.wait(10) < 0 for process in processes)
