"""The devices and processes of one run: data parallelism by what each backend has for it.

An update's batch is the same however many there are: each replica takes its rows of it, and its gradient counts for
its share of the batch's tokens. The first process alone evaluates, writes and speaks; the others wait for it.
"""

import contextlib
import datetime
import json
import os

import keras
import numpy as np
from keras import ops

from keras_transformer.errors import UserError
from keras_transformer.training.batches import Batch

_PATIENCE = datetime.timedelta(days=1)  # of the others, while the first process evaluates


class Replicas:
    """One device in one process; the base of the others.

    Attributes:
        rank: Of this process, from 0.
        processes: How many there are.
        count: Devices of all of them together.
        steps: Whether the model's own training step has to call `share` and `added`.
    """

    rank, processes, count, steps = 0, 1, 1, False

    @property
    def is_first(self):
        """Whether this process evaluates, writes and speaks."""
        return self.rank == 0

    def scope(self):
        """What the model and its optimizer are made in."""
        return contextlib.nullcontext()

    def alone(self):
        """What a process computes in without the others: evaluations."""
        return contextlib.nullcontext()

    def rows(self, batch):
        """This process's rows of a batch."""
        return rows_of(batch, self.rank, self.processes, self.count)

    def any(self, flags):
        """Which of these hold in some process. Every process asks, in the same order."""
        return [bool(flag) for flag in flags]

    def read(self, variables):
        """The values of a metric's variables, summed over the replicas. Every process asks, in the same order."""
        return [float(ops.convert_to_numpy(variable)) for variable in variables]

    def write(self, variables, values):
        """Set a metric's variables to what `read` gave."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def share(self, weights):
        """What a replica's gradient counts for among the others', by its weights (B, T), inside a step."""
        return 1.0

    def added(self, gradients):
        """The sums of the replicas' gradients, inside a step."""
        return gradients

    def close(self):
        """Leave the others."""


class _Torch(Replicas):
    """A process of torchrun: one device, DistributedDataParallel."""

    steps = True

    def __init__(self):
        import torch
        from torch import distributed

        local = int(os.environ.get("LOCAL_RANK", "0"))
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(local)  # what Keras means by "cuda"
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
        self.rank, self.processes = distributed.get_rank(), distributed.get_world_size()
        self.count = self.processes
        self.device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
        self._wrapped = None

    def wrapped(self, model):
        """`model` in DistributedDataParallel, which gives all processes the weights of the first."""
        if self._wrapped is None:
            from torch.nn.parallel import DistributedDataParallel

            on_gpu = self.device.type == "cuda"
            self._wrapped = DistributedDataParallel(model, device_ids=[self.device.index] if on_gpu else None)
        return self._wrapped

    def any(self, flags):
        return [value > 0 for value in self._summed([float(flag) for flag in flags])]

    def read(self, variables):
        return self._summed(super().read(variables))

    def write(self, variables, values):
        super().write(variables, [value if self.is_first else 0.0 for value in values])

    def share(self, weights):
        from torch import distributed

        own = weights.sum().detach()
        total = own.clone()
        distributed.all_reduce(total)
        return self.processes * own / total  # DistributedDataParallel takes the mean of the gradients

    def close(self):
        from torch import distributed

        self._wrapped = None
        distributed.destroy_process_group()

    def _summed(self, values):
        import torch
        from torch import distributed

        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()


class _TensorFlow(Replicas):
    """MirroredStrategy over this process's devices, or MultiWorkerMirroredStrategy where TF_CONFIG names workers."""

    steps = True

    def __init__(self, workers):
        import tensorflow as tf

        if workers > 1:
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
            resolver = self.strategy.cluster_resolver
            self.rank, self.processes = resolver.task_id, workers
        else:
            self.strategy = tf.distribute.MirroredStrategy(_tensorflow_devices())
        self.count = self.strategy.num_replicas_in_sync

    def scope(self):
        return self.strategy.scope()

    def dataset(self, of_worker):
        """What `fit` reads.

        Args:
            of_worker: Called with the numbers of a worker's replicas and the count of all; gives the tf.data.Dataset
                of their batches, in turn.
        """

        def of_context(context):
            local = self.count // context.num_input_pipelines
            first = local * context.input_pipeline_id
            return of_worker(range(first, first + local), self.count)

        return self.strategy.distribute_datasets_from_function(of_context)

    def any(self, flags):
        if self.processes == 1:
            return super().any(flags)
        import tensorflow as tf

        own = tf.constant([float(flag) for flag in flags])
        return [value > 0 for value in self.strategy.reduce("SUM", own, axis=None).numpy().tolist()]

    def share(self, weights):
        import tensorflow as tf

        own = tf.reduce_sum(weights)
        return own / tf.distribute.get_replica_context().all_reduce("SUM", own)

    def added(self, gradients):
        import tensorflow as tf

        return tf.distribute.get_replica_context().all_reduce("SUM", gradients)


class _Jax(Replicas):
    """keras.distribution.DataParallel: JAX computes the whole batch, each device its rows."""

    def __init__(self):
        import jax

        self.distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        self.rank, self.processes = jax.process_index(), jax.process_count()
        self.count = jax.device_count()

    def scope(self):
        keras.distribution.set_distribution(self.distribution)  # for `fit` too, which comes later
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def alone(self):
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self.distribution)

    def any(self, flags):
        if self.processes == 1:
            return super().any(flags)
        from jax.experimental import multihost_utils

        own = np.array([float(flag) for flag in flags])
        return (multihost_utils.process_allgather(own).reshape(self.processes, -1).sum(axis=0) > 0).tolist()

    def close(self):
        keras.distribution.set_distribution(None)


def join():
    """The `Replicas` that the environment and the machine ask for.

    Raises:
        UserError: TF_CONFIG is not what TensorFlow reads.
    """
    backend = keras.config.backend()
    if backend == "torch":
        return _Torch() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Replicas()
    if backend == "tensorflow":
        workers = _workers(os.environ.get("TF_CONFIG", ""))
        return _TensorFlow(workers) if workers > 1 or len(_tensorflow_devices()) > 1 else Replicas()
    import jax

    if (
        int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")) > 1
        and not jax.distributed.is_initialized()
    ):
        keras.distribution.initialize()
    return _Jax() if jax.device_count() > 1 else Replicas()


def rows_of(batch, part, parts, multiple):
    """Every `parts`-th row from `part` on, of a batch filled up to a multiple of `multiple` with rows of weight 0."""
    missing = -len(batch.weights) % multiple
    if missing:
        batch = Batch(*(np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) for array in batch))
        batch.weights[-missing:] = 0.0
    return batch if parts == 1 else Batch(*(array[part::parts] for array in batch))


def _workers(text):
    try:
        return len(json.loads(text or "{}").get("cluster", {}).get("worker", [])) or 1
    except (ValueError, AttributeError):
        raise UserError(
            f"TF_CONFIG must be JSON with cluster.worker and task, got {text!r}. Unset it to train on one machine."
        ) from None


def _tensorflow_devices():
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]
