"""Optimisers that scale each element's step by the history of its gradients.

Defaults and the places of the epsilons follow optax, which the tests compare with step by step.
"""

from __future__ import annotations

from typing import ClassVar

from dfc.frontend.ops.elementwise import rsqrt, sign, sqrt, square, where
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.train.optimizers import Optimizer, Schedule, Slots

Step = tuple[Tensor, dict[str, Tensor]]


def _average(old: Tensor, new: Tensor, decay: float) -> Tensor:
    """An exponentially decaying average, one step on."""
    return old * decay + new * (1 - decay)


class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011): `a += g^2; w -= learning_rate * g / (sqrt(a + epsilon_root) + epsilon)`.

    a starts at `initial_accumulator` and is the slot `accumulator`; where it is 0 the variable stays.
    """

    SLOTS: ClassVar = ("accumulator",)

    def __init__(
        self,
        learning_rate: Operand | Schedule,
        initial_accumulator: float = 0.1,
        epsilon: float = 0.0,
        epsilon_root: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.initial_accumulator, self.epsilon, self.epsilon_root = initial_accumulator, epsilon, epsilon_root

    def initial(self, slot: str) -> float:
        return self.initial_accumulator

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> Step:
        total = slots["accumulator"] + square(gradient)
        scaled = gradient / (sqrt(total + self.epsilon_root) + self.epsilon)
        return where(total > 0, scaled, 0) * rate, {"accumulator": total}


class AdaDelta(Optimizer):
    """AdaDelta (Zeiler 2012): steps in the ratio of the root mean squares of past steps and past gradients."""

    SLOTS: ClassVar = ("gradients", "steps")

    def __init__(self, learning_rate: Operand | Schedule = 1.0, rho: float = 0.9, epsilon: float = 1e-6) -> None:
        super().__init__(learning_rate)
        self.rho, self.epsilon = rho, epsilon

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> Step:
        gradients = _average(slots["gradients"], square(gradient), self.rho)
        delta = sqrt(slots["steps"] + self.epsilon) / sqrt(gradients + self.epsilon) * gradient
        steps = _average(slots["steps"], square(delta), self.rho)
        return delta * rate, {"gradients": gradients, "steps": steps}


class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton 2012): `n = decay * n + (1 - decay) * g^2`, and steps
    `d = learning_rate * g / sqrt(n + epsilon)`.

    With `centered` the square of the mean gradient is taken from n, so that it is a variance. With `momentum` steps
    are `m = momentum * m + d` (`use_nesterov`: `d + momentum * m` for the new m).
    """

    def __init__(
        self,
        learning_rate: Operand | Schedule,
        decay: float = 0.9,
        epsilon: float = 1e-8,
        centered: bool = False,
        momentum: float | None = None,
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        self.decay, self.epsilon, self.centered = decay, epsilon, centered
        self.momentum, self.use_nesterov = momentum, use_nesterov
        optional = [name for name, used in (("mean", centered), ("momentum", momentum is not None)) if used]
        self.SLOTS = ("mean_square", *optional)  # type: ignore[misc]  # only what this one needs

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> Step:
        new = {"mean_square": _average(slots["mean_square"], square(gradient), self.decay)}
        spread = new["mean_square"]
        if self.centered:
            new["mean"] = _average(slots["mean"], gradient, self.decay)
            spread = spread - square(new["mean"])
        delta = gradient * rsqrt(spread + self.epsilon) * rate
        if self.momentum is not None:
            new["momentum"] = slots["momentum"] * self.momentum + delta
            delta = delta + new["momentum"] * self.momentum if self.use_nesterov else new["momentum"]
        return delta, new


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): averages of the gradient and of its square, both corrected for their start at zero:
    `w -= learning_rate * m / (sqrt(v + epsilon_root) + epsilon)`."""

    SLOTS: ClassVar = ("m", "v")

    def __init__(
        self,
        learning_rate: Operand | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_root: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2, self.epsilon, self.epsilon_root = beta1, beta2, epsilon, epsilon_root

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> Step:
        m = _average(slots["m"], gradient, self.beta1)
        v = _average(slots["v"], square(gradient), self.beta2)
        count = self.steps(gradient)
        corrected = m / (1 - self.beta1**count)
        spread = sqrt(v / (1 - self.beta2**count) + self.epsilon_root)
        return self.decayed(corrected / (spread + self.epsilon), value) * rate, {"m": m, "v": v}

    def decayed(self, direction: Tensor, value: Tensor) -> Tensor:
        """The direction, with the pull of the weight decay if there is one."""
        return direction


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019): the step is
    `learning_rate * (Adam's direction + weight_decay * w)`."""

    def __init__(
        self,
        learning_rate: Operand | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_root: float = 0.0,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, epsilon_root)
        self.weight_decay = weight_decay

    def decayed(self, direction: Tensor, value: Tensor) -> Tensor:
        return direction + value * self.weight_decay


class Lion(Optimizer):
    """Lion (Chen et al. 2023): every element steps by the learning rate, against the sign of a mixture of momentum and
    gradient; `weight_decay` pulls as in AdamW."""

    SLOTS: ClassVar = ("momentum",)

    def __init__(
        self,
        learning_rate: Operand | Schedule,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 1e-3,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2, self.weight_decay = beta1, beta2, weight_decay

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> Step:
        direction = sign(_average(slots["momentum"], gradient, self.beta1)) + value * self.weight_decay
        return direction * rate, {"momentum": _average(slots["momentum"], gradient, self.beta2)}
