"""Reading through a DataLoader against numpy.memmap and others on the same bytes; and drawing against reading."""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import gptex
from benchmarks.timing import seconds

TEXTURES, BATCH, ROUNDS = 128, 16, 5
SIZES = (64, 128, 256, 512, 1024, 2048)


class Memmap(Dataset[Any]):
    """The images of the shards by numpy.memmap: copied, as they must be to be written to, or not."""

    def __init__(self, folder: Path, copy: bool) -> None:
        self.maps, self.copy = [], copy
        for path in sorted(folder.glob("train/*.h5")):
            with h5py.File(path) as file:
                images = file["images"]
                self.maps.append(np.memmap(path, images.dtype, "c", images.id.get_offset(), images.shape))
        self.place = [(shard, i) for shard, images in enumerate(self.maps) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        shard, i = self.place[index]
        image = self.maps[shard][i]
        return torch.from_numpy(np.array(image) if self.copy else image)[None], index % 4


class PerItemH5py(Dataset[Any]):
    """The images of the shards by h5py, which are kept open in each process."""

    def __init__(self, folder: Path) -> None:
        self.paths, self.files = sorted(folder.glob("train/*.h5")), {}
        self.place = []
        for path in self.paths:
            with h5py.File(path) as file:
                self.place += [(path, i) for i in range(len(file["images"]))]

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, i = self.place[index]
        if (path, os.getpid()) not in self.files:
            self.files[path, os.getpid()] = h5py.File(path, "r")
        file = self.files[path, os.getpid()]
        return torch.from_numpy(file["images"][i])[None], int(file["labels"][i])


def webdataset(folder: Path) -> Any:
    """The same images as .npy files in tars, by webdataset; in order only."""
    import webdataset

    for number, path in enumerate(sorted(folder.glob("train/*.h5"))):
        with h5py.File(path) as file, tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for i in range(len(file["images"])):
                buffer = io.BytesIO()
                np.save(buffer, file["images"][i])
                for name, data in ((f"{i:05d}.npy", buffer.getvalue()), (f"{i:05d}.cls", b"%d" % file["labels"][i])):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    tars = sorted(map(str, folder.glob("*.tar")))
    return webdataset.WebDataset(tars, shardshuffle=False).decode().to_tuple("npy", "cls")


def hugging_face(folder: Path) -> Any:
    """The same shards by Hugging Face datasets, copied to its cache."""
    import datasets

    datasets.disable_progress_bars()
    files = sorted(map(str, folder.glob("train/*.h5")))
    loaded = datasets.load_dataset("hdf5", data_files=files, split="train", cache_dir=str(folder / "cache"))
    return loaded.select_columns(["images", "labels"]).with_format("torch")


def readers(folder: Path) -> dict[str, Any]:
    """What is compared, the base first; packages that are not installed are left out."""
    found: dict[str, Any] = {
        "numpy.memmap, copied": Memmap(folder, copy=True),
        "numpy.memmap, not copied": Memmap(folder, copy=False),
        "gptex.TextureDataset": gptex.TextureDataset(folder),
        "h5py item by item": PerItemH5py(folder),
    }
    for name, package, make in (("webdataset", "webdataset", webdataset), ("Hugging Face", "datasets", hugging_face)):
        if importlib.util.find_spec(package):
            found[name] = make(folder)
    return found


def epoch(loader: DataLoader[Any]) -> None:
    deque(loader, maxlen=0)


def walls_and_cpu(calls: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Medians of the wall and the processor time of each call, all of them once a round, after one round to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            wall = seconds(call)
            if number:
                times[name].append((wall, time.process_time() - start))
    return {name: (median(wall for wall, _ in values), median(cpu for _, cpu in values)) for name, values in times.items()}


def recipe_of(size: int, textures: int) -> gptex.Recipe:
    """The paper's recipe with everything scaled to images of another size."""
    recipe = gptex.preset("golkar-cranmer-2018")
    components = [
        component.replace(length_scales=[scale * size / 1024 for scale in component.length_scales])
        for component in recipe.components
    ]
    return recipe.replace(shape=[size, size], components=components, splits={"train": textures // 4})


def through_loaders(folder: Path) -> None:
    """Rates of whole epochs from the page cache, each way of reading in turn."""
    size = TEXTURES * 4 * 2**20 / 1e9
    found = readers(folder)
    for workers in (0, 2):
        for order in ("in order", "shuffled"):
            calls: dict[str, Callable[[], object]] = {}
            for name, dataset in found.items():
                if order == "in order":
                    calls[name] = partial(epoch, DataLoader(dataset, BATCH, num_workers=workers))
                elif name != "webdataset":
                    calls[name] = partial(epoch, DataLoader(dataset, BATCH, shuffle=True, num_workers=workers))
            if order == "shuffled":
                ours = found["gptex.TextureDataset"]
                loader = DataLoader(ours, BATCH, sampler=gptex.ShardShuffle(ours), num_workers=workers)
                calls["gptex.TextureDataset, ShardShuffle"] = partial(epoch, loader)
            times = walls_and_cpu(calls)
            wall, cpu = next(iter(times.values()))
            print(f"{order}, {workers} workers; rates against the first, by wall and by processor time of this process:")
            for name, (mine, spent) in times.items():
                print(f"  {name:<36} {size / mine:6.2f} GB/s   {wall / mine:5.2f} x   {cpu / spent:5.2f} x")


def forget(folder: Path) -> None:
    """Take the shards out of the page cache."""
    for path in folder.glob("train/*.h5"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drawing(place: Path, size: int) -> None:
    """Milliseconds an image, drawn and read, warm and cold, in order and shuffled."""
    textures = max(64, min(4096, 2**28 // (4 * size**2)))
    recipe = recipe_of(size, textures)
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        gptex.generate(recipe, folder, progress=False)
        stored, drawn = gptex.TextureDataset(folder), gptex.RecipeDataset(recipe, length=min(textures, 256))
        ways = {
            "drawn": (drawn, False, False),
            "warm": (stored, False, False),
            "cold": (stored, True, False),
            "cold, shuffled": (stored, True, True),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(4):
            for way, (dataset, cold, shuffle) in ways.items():
                if cold:
                    forget(folder)
                elapsed = seconds(partial(epoch, DataLoader(dataset, BATCH, shuffle=shuffle))) / len(dataset)
                if number:
                    times[way].append(elapsed)
    found = {way: median(values) for way, values in times.items()}
    print(
        f"{size:>5}²",
        *(f"{way} {1e3 * value:7.3f} ms ({value / found['drawn']:5.2f})" for way, value in found.items()),
        sep="   ",
    )


def main() -> None:
    """In the folder this runs in, or the one in BENCH_DISK."""
    torch.set_num_threads(1)
    place = Path(os.environ.get("BENCH_DISK", "."))
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        gptex.generate(recipe_of(1024, TEXTURES), folder, progress=False)
        through_loaders(folder)
    print("\nAn image, and in brackets how long it takes against drawing it:")
    for size in SIZES:
        drawing(place, size)
