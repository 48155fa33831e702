"""Training: optimisers as graph operations, and checkpoints."""

from dfc.frontend.train import schedules
from dfc.frontend.train.adaptive import AdaDelta, AdaGrad, Adam, AdamW, Lion, RMSProp
from dfc.frontend.train.averages import ExponentialMovingAverage
from dfc.frontend.train.clipping import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from dfc.frontend.train.coordinator import Coordinator
from dfc.frontend.train.lbfgs import LBFGS
from dfc.frontend.train.optimizers import SGD, Momentum, Optimizer
from dfc.frontend.train.queue_runner import QueueRunner, add_queue_runner, start_queue_runners
from dfc.frontend.train.saver import Saver, latest_checkpoint
from dfc.frontend.train.wrappers import Accumulate, LossScale

__all__ = [
    "LBFGS",
    "SGD",
    "Accumulate",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Coordinator",
    "ExponentialMovingAverage",
    "Lion",
    "LossScale",
    "Momentum",
    "Optimizer",
    "QueueRunner",
    "RMSProp",
    "Saver",
    "add_queue_runner",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "global_norm",
    "latest_checkpoint",
    "schedules",
    "start_queue_runners",
]
