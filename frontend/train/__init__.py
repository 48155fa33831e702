"""Training: optimisers as graph operations, and checkpoints."""

from dfc.frontend.train.adaptive import AdaDelta, AdaGrad, Adam, AdamW, Lion, RMSProp
from dfc.frontend.train.optimizers import SGD, Momentum, Optimizer
from dfc.frontend.train.saver import Saver, latest_checkpoint

__all__ = ["SGD", "AdaDelta", "AdaGrad", "Adam", "AdamW", "Lion", "Momentum", "Optimizer", "RMSProp", "Saver", "latest_checkpoint"]
