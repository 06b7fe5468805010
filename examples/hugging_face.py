"""A dataset of gptex in Hugging Face datasets, which read its shards as they are: python examples/hugging_face.py FOLDER."""
# ruff: noqa: T201

import sys
from pathlib import Path

from datasets import load_dataset

folder = Path(sys.argv[1])
splits = {path.name: str(path / "*.h5") for path in folder.iterdir() if path.is_dir()}
textures = load_dataset("hdf5", data_files=splits)
print(textures)
texture = textures["train"].with_format("torch")[0]
print(texture["images"].shape, texture["labels"], texture["length_scales"])
