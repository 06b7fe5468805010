"""Reading a split by index: every bit as h5py reads it, whatever the order, the processes and the threads; or an error."""

import os
import pickle
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from gptex import Component, DatasetError, GptexError, Recipe, generate, import_legacy, repair
from gptex.store.reader import SplitReader


@pytest.fixture(scope="module")
def serial():
    """The arrays of a split, its shards read one after the other by h5py alone."""

    def read(folder, split):
        files = [h5py.File(path, "r") for path in sorted((folder / split).glob("*.h5"))]
        return [np.concatenate([file[name][()] for file in files]) for name in ("images", "labels", "length_scales")]

    return read


@pytest.fixture
def make(tmp_path, here):
    """A dataset with so many textures of each of two classes, in shards of five."""

    def dataset(shape=(24, 17), per_class=9, compression="none", name="made", **keys):
        component = Component(name="only", length_scales=[1.5, 2.5], kernel="matern")
        recipe = Recipe(name="small", shape=shape, components=[component], splits={"train": per_class}, **keys)
        size = 5 * recipe.texture_bytes
        generate(recipe, tmp_path / name, executor=here, shard_size=size, compression=compression, progress=False)
        return tmp_path / name

    return dataset


def assert_equal(batch, arrays, order=slice(None)):
    for mine, theirs in zip(batch, arrays, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs[order])


# -- what is read


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_any_order_gives_the_textures_that_h5py_reads(make, serial, dtype, compression):
    folder = make(dtype=dtype, compression=compression)
    reader = SplitReader(folder, "train")
    arrays = serial(folder, "train")
    assert len(reader) == 18 == len(arrays[0])
    assert len(reader.shards) == 4
    assert_equal(reader.read(range(18)), arrays)
    order = np.random.default_rng(0).integers(0, 18, 50)  # backwards, repeated, across shards
    assert_equal(reader.read(order), arrays, order)
    np.testing.assert_array_equal(reader.labels, arrays[1])


@pytest.mark.parametrize("shape", [(7,), (1000,), (16, 17, 15), (64, 64)])
def test_any_shape_is_read(make, serial, shape):
    folder = make(shape=shape)
    assert_equal(SplitReader(folder, "train").read([3, 4, 5, 17, 0]), serial(folder, "train"), [3, 4, 5, 17, 0])


def test_each_split_is_its_own(original, serial):
    for split, count in [("train", 12), ("val", 4)]:
        reader = SplitReader(original, split)
        assert len(reader) == count
        assert_equal(reader.read(range(count)), serial(original, split))


def test_labels_of_imported_textures_are_those_in_the_shards(tmp_path, serial):
    labels = [2, 0, 0, 1, 2, 2, 1, 0, 2, 2, 1]
    images = np.random.default_rng(0).normal(size=(11, 16, 12)).astype("float32")
    table = {0: "3-20", 1: "4-20", 2: "3-30"}
    (tmp_path / "set.gp").write_bytes(pickle.dumps([[list(pair) for pair in zip(images, labels, strict=True)], table]))
    import_legacy(tmp_path / "set.gp", tmp_path / "out", shard_size=3 * images[0].nbytes, progress=False)
    reader = SplitReader(tmp_path / "out", "train")
    assert reader.labels.tolist() == labels
    batch = reader.read([10, 0, 3])
    np.testing.assert_array_equal(batch.images, images[[10, 0, 3]])
    assert batch.labels.tolist() == [1, 2, 1]
    assert batch.length_scales.tolist() == [[4, 20], [3, 30], [4, 20]]
    assert_equal(reader.read(range(11)), serial(tmp_path / "out", "train"))
    for path in (tmp_path / "out/train").iterdir():
        path.unlink()
    assert reader.labels.tolist() == labels  # they are read once


# -- indices


def test_negative_indices_count_from_the_end_and_no_indices_are_an_empty_batch(original, serial):
    reader = SplitReader(original, "train")
    assert_equal(reader.read([-1, np.int32(-12), np.uint8(3)]), serial(original, "train"), [-1, -12, 3])
    batch = reader.read([])
    assert [array.shape for array in batch] == [(0, 64, 64), (0,), (0, 2)]


@pytest.mark.parametrize("index", [12, -13, 2**40, 2**70])
def test_an_index_out_of_range_is_an_index_error_that_says_how_many_there_are(original, index):
    with pytest.raises(IndexError, match=f"no texture {index}: split 'train' has 12"):
        SplitReader(original, "train").read([0, index])


@pytest.mark.parametrize("index", [1.0, "1", None, np.float64(2), np.True_, slice(2)])
def test_what_is_no_whole_number_is_no_index(original, index):
    with pytest.raises(TypeError):
        SplitReader(original, "train").read([index])


def test_a_split_that_is_not_there_is_an_error_that_lists_those_that_are(original):
    with pytest.raises(GptexError, match="has no split 'test': there are train, val"):
        SplitReader(original, "test")


def test_a_split_is_never_empty(dataset):
    manifest = dataset / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"textures": 4', '"textures": 0'))
    with pytest.raises(DatasetError, match=r"manifest\.json is damaged: splits\.val\.textures"):
        SplitReader(dataset, "val")


# -- what is wrong with a shard


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_by_a_byte(path):
    os.truncate(path, path.stat().st_size - 1)


def empty(path):
    path.write_bytes(b"")


def no_hdf5(path):
    path.write_bytes(bytes(path.stat().st_size))


def a_folder(path):
    path.unlink()
    path.mkdir()


def swapped(path):
    other = path.with_name("00002.h5")
    path.rename(path.with_name("aside"))
    other.rename(path)
    path.with_name("aside").rename(other)


def shape_changed(path):
    with h5py.File(path, "r+") as file:
        images = file["images"][()]
        del file["images"]
        file["images"] = images.reshape(len(images), 32, 128)


def forbidden(path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)


def without_labels(path):
    with h5py.File(path, "r+") as file:
        del file["labels"]


DAMAGES = [cut_short, cut_by_a_byte, empty, no_hdf5, a_folder, without_labels, swapped, shape_changed, forbidden, os.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_shard_that_cannot_be_read_is_an_error_that_names_it_and_the_others_are_read(dataset, serial, damage):
    arrays = serial(dataset, "train")
    path = dataset / "train/00000.h5"
    damage(path)
    reader = SplitReader(dataset, "train")
    assert_equal(reader.read([5, 6]), arrays, [5, 6])
    with pytest.raises(DatasetError) as caught:
        reader.read([5, 0])
    assert str(path) in str(caught.value)
    assert f"`gptex repair {shlex.quote(str(dataset))}`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shard_of_another_dataset_is_not_taken_for_this_ones(make):
    folder, other = make(seed=1), make(seed=2, name="other")
    shutil.copy(other / "train/00001.h5", folder / "train/00001.h5")
    with pytest.raises(DatasetError, match=r"00001.h5 is damaged .* another file than in the manifest"):
        SplitReader(folder, "train").read([7])


def test_a_shard_that_is_cut_short_while_it_is_open_is_an_error(dataset):
    reader = SplitReader(dataset, "train")
    reader.read([0])
    cut_short(dataset / "train/00000.h5")
    with pytest.raises(DatasetError, match=r"00000.h5 is damaged .*too early.*gptex repair"):
        reader.read([3])


def test_a_damaged_chunk_is_an_error(make):
    folder = make(compression="gzip")
    path = folder / "train/00000.h5"
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(2)
    with path.open("rb+") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    reader = SplitReader(folder, "train")
    reader.read([0, 1, 3])
    with pytest.raises(DatasetError, match=r"00000.h5 is damaged .*gptex repair"):
        reader.read([2])


def test_a_shard_that_is_replaced_while_it_is_open_is_read_to_its_end(dataset, serial):
    arrays = serial(dataset, "train")
    reader = SplitReader(dataset, "train")
    reader.read([0])
    (dataset / "train/00000.h5").unlink()
    assert_equal(reader.read(range(3)), arrays, slice(3))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_others_may_have_a_shard_open_by_h5py_whichever_way(make, serial, compression):
    """HDF5 opens no file twice in a process with different locking."""
    folder = make(compression=compression)
    path = folder / "train/00000.h5"
    with h5py.File(path, "r"):
        reader = SplitReader(folder, "train")
        assert_equal(reader.read([0]), serial(folder, "train"), [0])
    for locking in (True, False):
        with h5py.File(path, "r", locking=locking) as file:
            np.testing.assert_array_equal(file["images"][1], reader.read([1]).images[0])


# -- processes and threads


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_threads_may_read_at_once(make, serial, compression):
    folder = make(per_class=30, compression=compression)
    arrays, reader = serial(folder, "train"), SplitReader(folder, "train")

    def read(seed):
        order = np.random.default_rng(seed).integers(0, 60, 200)
        return all(np.array_equal(reader.read([i, -1]).images, arrays[0][[i, -1]]) for i in order)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8)))


def test_a_pickle_is_small_after_access_and_reads_the_same(original):
    reader = SplitReader(original, "train")
    before = len(pickle.dumps(reader))
    expected = reader.read(range(12))
    assert reader.labels.size == 12
    after = pickle.dumps(reader)
    assert len(after) == before < 5000
    assert_equal(pickle.loads(after).read(range(12)), expected)


@pytest.mark.parametrize("compression", ["none", "lzf"])
def test_a_fork_opens_the_shards_anew(make, run_python, compression):
    """Parent and children read at once through what would be one place in one file, were it shared."""
    program = """
import os, sys
import numpy as np
from gptex.store.reader import SplitReader
reader = SplitReader(sys.argv[1], "train")
expected = reader.read(range(60)).images
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        order = np.random.default_rng(os.getpid()).integers(0, 60, 500)
        os._exit(0 if all(np.array_equal(reader.read([i]).images[0], expected[i]) for i in order) else 1)
    children.append(child)
assert all(np.array_equal(reader.read([i % 60]).images[0], expected[i % 60]) for i in range(500))
print([os.waitpid(child, 0)[1] for child in children])
"""
    done = run_python(program, make(per_class=30, compression=compression))
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 0]\n", "")


@pytest.mark.slow
def test_500_shards_are_read_with_128_open_files_and_none_stays_open(tmp_path, here, run_python):
    component = Component(name="only", length_scales=[2, 3])
    recipe = Recipe(name="many", shape=[16, 16], components=[component], splits={"train": 250})
    generate(recipe, tmp_path / "many", executor=here, shard_size=recipe.texture_bytes, progress=False)
    program = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
import numpy as np
from gptex.store.reader import SplitReader
before = len(os.listdir("/proc/self/fd"))
reader = SplitReader(sys.argv[1], "train")
everything = reader.read(range(500)).images
order = np.random.default_rng(0).permutation(500)
assert all(np.array_equal(reader.read([i]).images[0], everything[i]) for i in order)
opened = len(os.listdir("/proc/self/fd")) - before
del reader
print(len(everything), opened, len(os.listdir("/proc/self/fd")) - before)
"""
    done = run_python(program, tmp_path / "many")
    assert (done.stdout, done.stderr) == ("500 16 0\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(("compression", "size"), [("none", 128), ("lzf", 32)])
def test_memory_stays_flat_over_20000_random_reads(make, run_python, compression, size):
    program = """
import resource, sys
import numpy as np
from gptex.store.reader import SplitReader
resource.setrlimit(resource.RLIMIT_NOFILE, (320, 320))
reader = SplitReader(sys.argv[1], "train")
order = np.random.default_rng(0).integers(0, len(reader), 20_000).tolist()
for i in order[:2000]:
    reader.read([i])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in order:
    reader.read([i])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    folder = make(shape=(size, size), per_class=120, compression=compression)  # in 48 shards, of which 40 stay open
    done = run_python(program, folder)
    assert done.stderr == ""
    assert int(done.stdout) < 2000  # kB


def test_a_reader_that_met_damage_reads_the_repaired_shard(make):
    folder = make()
    reader = SplitReader(folder, "train")
    expected = reader.read([0]).images
    os.truncate(folder / "train/00000.h5", 3000)
    with pytest.raises(DatasetError, match="gptex repair"):
        reader.read([0])
    repair(folder, workers=1, progress=False)
    np.testing.assert_array_equal(reader.read([0]).images, expected)
