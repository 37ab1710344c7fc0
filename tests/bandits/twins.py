"""The policies once more, in plain NumPy loops, straight from the papers.

Random numbers are handed in: `noise` is what the turn draws.
"""

import math

import numpy as np


class Means:
    def __init__(self, num_arms, num_pulls):
        self.num = [0] * num_arms
        self.sum = [0.0] * num_arms
        self.num_pulls = num_pulls

    def mean(self, arm):
        return self.sum[arm] / self.num[arm] if self.num[arm] else 0.0

    def update(self, arm, reward):
        self.num[arm] += 1
        self.sum[arm] += reward


class EpsilonGreedy(Means):
    epsilon = 0.1

    def select(self, noise):
        if noise["coin"] < self.epsilon:
            return int(np.argmax(noise["uniform"]))
        return int(np.argmax([self.mean(arm) for arm in range(len(self.num))]))


class DecayingEpsilonGreedy(EpsilonGreedy):
    def select(self, noise):
        self.epsilon = min(1.0, 5 * len(self.num) / max(sum(self.num), 1))
        return super().select(noise)


class Softmax(Means):
    """The largest of log p + Gumbel noise is a draw from p."""

    temperature = 0.5

    def select(self, noise):
        weights = [
            math.exp(self.mean(k) / self.temperature) for k in range(len(self.num))
        ]
        p = [w / sum(weights) for w in weights]
        return int(np.argmax(np.log(p) + noise["gumbel"]))


class UCB1(Means):
    def select(self, noise):
        for arm, count in enumerate(self.num):
            if count == 0:
                return arm
        t = sum(self.num)
        bounds = [
            self.mean(arm) + math.sqrt(2 * math.log(t) / count)
            for arm, count in enumerate(self.num)
        ]
        return int(np.argmax(bounds))


class Thompson(Means):
    def select(self, noise):
        draws = [
            total / (count + 1) + noise["normal"][arm] / math.sqrt(count + 1)
            for arm, (total, count) in enumerate(zip(self.sum, self.num, strict=True))
        ]
        return int(np.argmax(draws))


class ThompsonBeta(Means):
    def select(self, noise):
        a = [1 + total for total in self.sum]
        b = [1 + n - total for total, n in zip(self.sum, self.num, strict=True)]
        return int(np.argmax(noise["beta"](a, b)))


class Hedge(Means):
    def __init__(self, num_arms, num_pulls):
        super().__init__(num_arms, num_pulls)
        self.losses = [0.0] * num_arms
        self.eta = math.sqrt(2 * math.log(num_arms) / (num_pulls * num_arms))

    def probabilities(self):
        least = min(self.losses)
        weights = [math.exp(-self.eta * (loss - least)) for loss in self.losses]
        return [w / sum(weights) for w in weights]

    def select(self, noise):
        return int(np.argmax(np.log(self.probabilities()) + noise["gumbel"]))

    def update(self, arm, reward):
        self.losses[arm] += (1 - reward) / self.probabilities()[arm]
        super().update(arm, reward)


class Exp3(Means):
    def __init__(self, num_arms, num_pulls):
        super().__init__(num_arms, num_pulls)
        self.weights = [1.0] * num_arms
        e = num_arms * math.log(num_arms) / ((math.e - 1) * num_pulls)
        self.gamma = min(1.0, math.sqrt(e))

    def probabilities(self):
        k = len(self.weights)
        total = sum(self.weights)
        return [(1 - self.gamma) * w / total + self.gamma / k for w in self.weights]

    def select(self, noise):
        return int(np.argmax(np.log(self.probabilities()) + noise["gumbel"]))

    def update(self, arm, reward):
        estimate = reward / self.probabilities()[arm]
        self.weights[arm] *= math.exp(self.gamma * estimate / len(self.weights))
        super().update(arm, reward)
