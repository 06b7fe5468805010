"""Train a small network on a small dataset, in plain torch: python examples/plain_torch.py [FOLDER]."""
# ruff: noqa: T201

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import gptex

EPOCHS, BATCH = 4, 32


def main() -> None:
    """Generate the dataset where it is not there yet, learn, and print how often the network is right."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "plain-torch-textures")
    if not (folder / "manifest.json").exists():
        component = gptex.Component(name="only", length_scales=[2, 3, 4.5], kernel="matern", boundary="open")
        recipe = gptex.Recipe(name="example", shape=[48, 48], components=[component], splits={"train": 128, "val": 32})
        gptex.generate(recipe, folder, progress=False)

    torch.manual_seed(0)
    train = gptex.TextureDataset(folder, "train")
    val = gptex.TextureDataset(folder, "val")
    print(train)
    order = gptex.ShardShuffle(train, seed=0)  # each pass is the next epoch
    batches = DataLoader(train, BATCH, sampler=order)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(train.classes)),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for epoch in range(EPOCHS):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = [(network(images).argmax(1) == labels).float() for images, labels in DataLoader(val, BATCH)]
        print(f"epoch {epoch}: loss {loss.item():.2f}, validation accuracy {torch.cat(right).mean():.2f}")


if __name__ == "__main__":
    main()
