"""Learn to balance a pole on a cart by REINFORCE (Williams 1992).

    python examples/cartpole.py

The cart-pole of Barto, Sutton and Anderson (1983) is in NumPy below: an episode gives 1 for each of at most 200 steps,
and ends early when the pole leans more than 12 degrees or the cart leaves its track. Many of them run in lockstep. The
network gives the probabilities of pushing left and right; after each round of episodes one step raises those of actions
that brought more than the other episodes had at the same time. Episodes that ended early are padded and masked, so
that the step is compiled once.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import dfc

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # SI units
MAX_ANGLE, MAX_POSITION, MAX_STEPS = np.radians(12), 2.4, 200
DISCOUNT = 0.99

Array = np.ndarray[Any, Any]


def physics(state: Array, action: Array) -> Array:
    """Positions, speeds, angles and angular speeds (n, 4) one time step after pushes to the left, 0, or right, 1."""
    _, speed, angle, turn = state.T
    sine, cosine, mass = np.sin(angle), np.cos(angle), CART_MASS + POLE_MASS
    push = (np.where(action == 1, FORCE, -FORCE) + POLE_MASS * HALF_LENGTH * turn**2 * sine) / mass
    inertia = HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / mass)
    turning = (GRAVITY * sine - cosine * push) / inertia
    acceleration = push - POLE_MASS * HALF_LENGTH * turning * cosine / mass
    return state + TAU * np.stack([speed, acceleration, turn, turning], axis=1)


class Policy(dfc.Module):
    """Logits of the two actions (..., 2) in states (..., 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = dfc.nn.Dense(4, 32, dfc.tanh)
        self.output = dfc.nn.Dense(32, 2, weights=dfc.nn.initializers.normal(0.01))
        self.optimizer = dfc.train.Adam(0.01)

    def __call__(self, states: dfc.Tensor) -> dfc.Tensor:
        return self.output(self.hidden(states))

    @dfc.function
    def act(self, states: dfc.Tensor) -> dfc.Tensor:
        """A random action by the policy for each state."""
        return dfc.random.categorical(self(states), dtype="int32")

    @dfc.function
    def learn(self, states: dfc.Tensor, actions: dfc.Tensor, advantages: dfc.Tensor, steps: dfc.Tensor) -> None:
        """Raise the log-probabilities of actions in proportion to their advantages, which are 0 where padded."""
        surprise = dfc.nn.sparse_softmax_cross_entropy(actions, self(states))
        self.optimizer.minimize(dfc.sum(advantages * surprise) / steps, self.trainable_variables)


def play(policy: Policy, random: np.random.Generator, episodes: int) -> tuple[Array, Array, Array]:
    """States (MAX_STEPS, episodes, 4), actions and whether the episode still ran, both (MAX_STEPS, episodes)."""
    state, runs = random.uniform(-0.05, 0.05, (episodes, 4)), np.ones(episodes, bool)
    states = np.zeros((MAX_STEPS, episodes, 4), np.float32)
    actions, running = np.zeros((MAX_STEPS, episodes), np.int32), np.zeros((MAX_STEPS, episodes), bool)
    for step in range(MAX_STEPS):
        if not runs.any():
            break
        states[step], running[step] = state, runs
        actions[step] = policy.act(states[step]).numpy()
        state = np.where(runs[:, None], physics(state, actions[step]), state)
        runs = runs & (np.abs(state[:, 0]) <= MAX_POSITION) & (np.abs(state[:, 2]) <= MAX_ANGLE)
    return states, actions, running


def advantages_of(running: Array) -> Array:
    """How much more an episode brought from each step on than the mean of those that still ran, normalised."""
    returns = np.zeros(running.shape)
    after = np.zeros(running.shape[1])
    for step in reversed(range(len(running))):
        after = returns[step] = running[step] * (1 + DISCOUNT * after)
    baseline = returns.sum(axis=1, keepdims=True) / np.maximum(running.sum(axis=1, keepdims=True), 1)
    advantages = np.where(running, returns - baseline, 0)
    return (advantages / (advantages[running].std() + 1e-8)).astype(np.float32)


@click.command()
@click.option("--rounds", type=click.IntRange(min=0), default=100, show_default=True)
@click.option("--episodes", type=click.IntRange(min=2), default=32, show_default=True, help="Episodes of a round.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(rounds: int, episodes: int, seed: int) -> None:
    """Learn, then print the mean return of 100 more episodes."""
    from tqdm import trange

    dfc.random.seed(seed)
    random, policy = np.random.default_rng(seed), Policy()
    with trange(rounds, desc="learning", unit="round") as bar:
        for _ in bar:
            states, actions, running = play(policy, random, episodes)
            policy.learn(states, actions, advantages_of(running), np.float32(running.sum()))
            bar.set_postfix(mean_return=f"{running.sum(axis=0).mean():.1f}")
    returns = play(policy, random, 100)[2].sum(axis=0)
    click.echo(f"mean return of 100 episodes: {returns.mean():.1f}")


if __name__ == "__main__":
    main()
