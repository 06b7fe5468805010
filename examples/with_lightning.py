"""The same with Lightning: python examples/with_lightning.py FOLDER, with a dataset of gptex in it. It needs no data module."""

import sys

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import gptex


class Classifier(lightning.LightningModule):
    """A small network that tells the classes apart."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Loss of a batch."""
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


if __name__ == "__main__":
    train = gptex.TextureDataset(sys.argv[1], "train")
    batches = DataLoader(train, 32, shuffle=True)  # on several GPUs Lightning gives each its share
    trainer = lightning.Trainer(max_epochs=3, logger=False, enable_checkpointing=False)
    trainer.fit(Classifier(len(train.classes)), batches)
