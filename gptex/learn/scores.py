"""How well a net names the classes of textures: its loss, its accuracy as a whole and for each component."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gptex.errors import GptexError
from gptex.learn.ranks import Ranks
from gptex.store.progress import Progress
from gptex.store.source import Contents
from gptex.trust.classification import Classification, classification


@dataclass(frozen=True, kw_only=True)
class Score(Classification):
    """What a net reached.

    Attributes
    ----------
    loss : float
        Mean cross-entropy, in nats.
    """

    loss: float

    def __str__(self) -> str:
        return f"{self.accuracy_text}, loss {self.loss:.4f}; {self.components_text}"


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
        count = int(self.confusion.sum())
        return f"loss {float(self.loss) / count:.3f}, accuracy {int(self.confusion.trace()) / count:.3f}"

    def score(self, ranks: Ranks) -> Score:
        """Of the textures of all processes, at least one."""
        confusion, loss = ranks.total(self.confusion.clone()), float(ranks.total(self.loss.clone()))
        return Score(loss=loss / int(confusion.sum()), **classification(self.contents, confusion.cpu().numpy()))


def moved(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on a device."""
    for images, labels in batches:
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


@torch.no_grad()
def score(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], contents: Contents, ranks: Ranks, bar: Progress | None = None
) -> Score:
    """The model's score over batches of images and labels. It is left in evaluation mode."""
    model.eval()
    tally = Tally(contents, ranks.device)
    for images, labels in moved(batches, ranks.device):
        logits = model(images).float()
        tally.add(logits, labels, functional.cross_entropy(logits, labels))
        if bar:
            bar.add(len(labels) * ranks.world_size, images.nbytes * ranks.world_size)
    return tally.score(ranks)


def finite(found: Score) -> Score:
    """`found`, if its loss is finite: of images that are not it says nothing."""
    if not math.isfinite(found.loss):
        raise GptexError(f"the loss on the test data is {found.loss}: are its images finite? See `gptex verify --stats`")
    return found
