"""How well a net names the classes of textures: its loss, its accuracy as a whole and for each component."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gptex.learn.ranks import Ranks
from gptex.recipe import Recipe
from gptex.store.source import Contents
from gptex.trust.oracle import wilson


@dataclass(frozen=True)
class Score:
    """What a net reached.

    Attributes
    ----------
    textures : int
        Classified.
    loss : float
        Mean cross-entropy, in nats.
    accuracy : float
    interval : (float, float)
        Of the accuracy, with 95 % confidence (Wilson).
    components : dict of str to float
        Share of textures whose length scale of each component was named right.
    confusion : tuple of tuple of int
        Textures of each class (row) that were taken for each class (column).
    """

    textures: int
    loss: float
    accuracy: float
    interval: tuple[float, float]
    components: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        low, high = self.interval
        parts = ", ".join(f"{name} {share:.3f}" for name, share in self.components.items())
        return (
            f"accuracy {self.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}, {self.textures} textures), "
            f"loss {self.loss:.4f}; length scales named right: {parts}"
        )


def component_names(contents: Contents) -> list[str]:
    """Of a recipe the names of its components; textures from elsewhere have numbers."""
    if isinstance(contents, Recipe):
        return [component.name for component in contents.components]
    return [f"component-{number}" for number in range(1, len(contents.length_scales(0)) + 1)]


class Tally:
    """Sums over the textures that were seen, kept on the device so that nothing waits for them.

    Parameters
    ----------
    contents : Recipe or Source
        What the textures are of.
    """

    def __init__(self, contents: Contents, device: torch.device) -> None:
        self.contents = contents
        self.loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.confusion = torch.zeros(contents.n_classes, contents.n_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Count a batch whose mean loss is `loss`."""
        self.loss += loss.detach() * len(labels)
        found = logits.detach().argmax(1)
        self.confusion.view(-1).index_add_(0, labels * len(self.confusion) + found, torch.ones_like(labels))

    def __str__(self) -> str:
        count = max(int(self.confusion.sum()), 1)
        return f"loss {float(self.loss) / count:.3f}, accuracy {int(self.confusion.trace()) / count:.3f}"

    def score(self, ranks: Ranks) -> Score:
        """Of the textures of all processes."""
        confusion, loss = ranks.total(self.confusion.clone()).cpu(), float(ranks.total(self.loss.clone()))
        count, hits = int(confusion.sum()), int(confusion.trace())
        scales = torch.tensor([self.contents.length_scales(label) for label in range(len(confusion))], dtype=torch.float64)
        same = scales[:, None] == scales[None]  # class, class, component
        right = (confusion[:, :, None] * same).sum((0, 1)).double() / max(count, 1)
        return Score(
            textures=count,
            loss=loss / max(count, 1),
            accuracy=hits / max(count, 1),
            interval=wilson(hits, max(count, 1)),
            components=dict(zip(component_names(self.contents), right.tolist(), strict=True)),
            confusion=tuple(map(tuple, confusion.tolist())),
        )


def moved(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on a device."""
    for images, labels in batches:
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


@torch.no_grad()
def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], contents: Contents, ranks: Ranks) -> Score:
    """The model's score over batches of images and labels. It is left in evaluation mode."""
    model.eval()
    tally = Tally(contents, ranks.device)
    for images, labels in moved(batches, ranks.device):
        logits = model(images).float()
        tally.add(logits, labels, functional.cross_entropy(logits, labels))
    return tally.score(ranks)
