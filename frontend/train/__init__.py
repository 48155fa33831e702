"""Training: optimisers as graph operations, and checkpoints."""

from dfc.frontend.train.optimizers import SGD, Momentum, Optimizer
from dfc.frontend.train.saver import Saver, latest_checkpoint

__all__ = ["SGD", "Momentum", "Optimizer", "Saver", "latest_checkpoint"]
