"""`gptex.fetch`: from a name, an address or a DOI to a dataset folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import quote, urlsplit

from filelock import FileLock, Timeout

from gptex.errors import DatasetError
from gptex.published.convert import import_legacy
from gptex.published.download import USER_AGENT, Downloader, copy, download
from gptex.published.registry import Record, published, record
from gptex.recipe import Recipe
from gptex.store.assemble import assembled, check_space, check_vacant, remove
from gptex.store.card import card
from gptex.store.files import write_text
from gptex.store.folder import locked, write_recipe
from gptex.store.manifest import CARD, MANIFEST, Manifest
from gptex.store.progress import byte_progress, human_bytes
from gptex.store.shard import Shard

DOWNLOADS = 4  # at a time
LARGEST_MANIFEST = 2**28  # bytes, of a million shards
Locate = Callable[[str], str]  # from a file of a dataset to its address


def cache_folder() -> Path:
    """Where downloads and datasets go that are given no folder: `GPTEX_CACHE`, or the system's folder for caches."""
    import pooch

    return Path(os.environ.get("GPTEX_CACHE") or pooch.os_cache("gptex")).expanduser().absolute()


def fetch(
    name: str | Path,
    *,
    to: str | Path | None = None,
    raw: bool = False,
    keep_archive: bool = False,
    mirror: str | None = None,
    progress: bool = True,
) -> Path:
    """Bring a published dataset here, checked and in gptex's format.

    What is there already is not brought again, and what an interrupted run has brought is gone on with.

    Parameters
    ----------
    name : str or path
        A published dataset (`gptex fetch --list`), the path of a source.toml of one's own, or any gptex dataset on the web: the
        address of its folder, `https://host/path/`, or its DOI, `doi:10.5281/zenodo.N`.
    to : path, optional
        The dataset's folder, or with `raw` the archive's; by default in the cache.
    raw : bool
        Stop after the verified archive of a published dataset.
    keep_archive : bool
        Leave the archive in the cache after the conversion.
    mirror : str, optional
        Where the files are instead of at their own addresses: http(s)://, or a folder. By default what `GPTEX_MIRROR` says.
    progress : bool
        Show how far it is, and say what is waited for.

    Returns
    -------
    Path
        The dataset's folder, or with `raw` the archive.

    Raises
    ------
    DatasetError
        If it cannot be had, is not what it should be, or the folder holds something else.
    """
    mirror = mirror or os.environ.get("GPTEX_MIRROR") or None
    text = str(name)
    if text.startswith(("http://", "https://", "doi:")):
        if raw:
            raise DatasetError(f"{text} is a dataset, not an archive: there is nothing raw to fetch")
        return _fetch_dataset(text, to, mirror, progress)
    short, known = record(name)
    with _alone(short, progress):
        archive_folder = Path(to).absolute() if raw and to else cache_folder() / "archives" / short
        folder = Path(to).absolute() if to else cache_folder() / short
        if not raw and _is_there(folder, known):
            return folder
        replaced = not raw and (folder / MANIFEST).exists()
        if not raw and not replaced:
            check_vacant(folder)  # before all is brought here
        archive = _archive(known, archive_folder / known.file, mirror, progress)
        if raw:
            return archive
        if replaced:
            remove(folder)
        import_legacy(archive, folder, name=short, origin=known.model_dump(exclude_none=True), progress=progress)
        if not keep_archive:
            shutil.rmtree(archive.parent)
        return folder


@contextmanager
def _alone(name: str, progress: bool) -> Iterator[None]:
    """Wait until no other process fetches the same into this cache."""
    lock = cache_folder() / f".{name}.fetch"
    file = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file.acquire(timeout=0)
    except Timeout:
        if progress:
            print("waiting for another process that fetches the same", file=sys.stderr, flush=True)  # noqa: T201
        file.acquire()
    except OSError as error:
        raise DatasetError(f"cannot write {lock}: {error.strerror}") from None
    try:
        yield
    finally:
        file.release()


# -- published archives


def _archive(known: Record, path: Path, mirror: str | None, progress: bool) -> Path:
    """The verified archive."""
    url = _at_mirror(mirror, known.file) if mirror else known.url
    if progress and not path.exists():
        size = known.size if isinstance(known.size, str) else human_bytes(known.size)
        print(f"downloading {size} to {path}", file=sys.stderr, flush=True)  # noqa: T201
    return download(url, path, known.known_hash, size=known.exact_bytes, progress=progress)


def _at_mirror(mirror: str, file: str) -> str:
    """The address of a file on a mirror."""
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{quote(file)}"
    return (Path(mirror).expanduser().absolute() / file).as_uri()


def _is_there(folder: Path, known: Record) -> bool:
    """Whether `folder` holds the dataset of this archive, whole as far as sizes tell."""
    if not (folder / MANIFEST).exists():
        return False
    manifest = Manifest.read(folder)
    origin = manifest.source.origin if manifest.source else {}
    if not any(origin.get(key) == value for key, value in (("md5", known.md5), ("sha256", known.sha256)) if value):
        raise DatasetError(f"{folder} holds another dataset: choose another folder")
    return _is_whole(folder, manifest)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether all shards are there and have their sizes."""
    sizes = [(folder / shard.file).stat().st_size if (folder / shard.file).is_file() else -1 for shard in manifest.shards]
    return sizes == [shard.bytes for shard in manifest.shards]


# -- gptex datasets on the web


def _fetch_dataset(address: str, to: str | Path | None, mirror: str | None, progress: bool) -> Path:
    """A gptex dataset at a web address or DOI: its manifest first, then its shards, several at a time."""
    if urlsplit(address).query:
        raise DatasetError(f"{address} asks a question: give the address of the dataset's folder, without ?…")
    address = address.removesuffix(MANIFEST).rstrip("/")
    locate = _doi_locator(address, mirror) if address.startswith("doi:") else _url_locator(address)
    folder = Path(to).absolute() if to else cache_folder() / _folder_name(address)
    with _alone(_folder_name(address), progress):
        text = _read(locate(MANIFEST), progress)
        manifest = Manifest.parse(text, locate(MANIFEST))
        if (folder / MANIFEST).exists():
            if (folder / MANIFEST).read_bytes() != text:
                raise DatasetError(f"{folder} holds another dataset, or another version of it: choose another folder")
            if not _is_whole(folder, manifest):
                with locked(folder):
                    _fetch_shards(folder, manifest, locate, progress)
            return folder
        with assembled(folder, keep=True) as part:
            _fetch_shards(part, manifest, locate, progress)
            for path in {*part.glob("*/*")} - {part / shard.file for shard in manifest.shards}:
                path.unlink()  # of a run that was stopped before the dataset on the server changed
            contents = manifest.contents
            if isinstance(contents, Recipe):
                write_recipe(part, contents)
            write_text(part / CARD, card(manifest))
            write_text(part / MANIFEST, text.decode())
    return folder


def _fetch_shards(folder: Path, manifest: Manifest, locate: Locate, progress: bool) -> None:
    missing = [shard for shard in manifest.shards if not (folder / shard.file).is_file()]
    check_space(folder, sum(shard.bytes for shard in missing))
    todo, done, stop = deque(manifest.shards), SimpleQueue[Shard | Exception](), Event()

    def work() -> None:
        with suppress(IndexError):  # no more to do
            while not stop.is_set():
                shard = todo.popleft()
                try:
                    url, path, known_hash = locate(shard.file), folder / shard.file, f"sha256:{shard.sha256}"
                    download(url, path, known_hash, size=shard.bytes, progress=False, stop=stop)
                    done.put(shard)
                except Exception as error:  # noqa: BLE001
                    done.put(error)

    try:
        for _ in range(DOWNLOADS):
            Thread(target=work, daemon=True).start()  # one that waits for a server must not keep the process from its end
        with byte_progress("fetch", manifest.bytes, progress) as bar:
            for _ in manifest.shards:
                result = done.get()
                if isinstance(result, Exception):
                    raise result
                bar.add(0, result.bytes)
    finally:
        stop.set()


def _url_locator(address: str) -> Locate:
    return lambda file: f"{address}/{quote(file)}"


def _doi_locator(address: str, mirror: str | None) -> Locate:
    """Of a record in a data repository, whose files lie in no folders: `train/00000.h5` is called `train-00000.h5` there."""
    doi = address.removeprefix("doi:").strip("/")
    if not re.fullmatch(r"10\.\d{4,9}/\S+", doi):
        raise DatasetError(f"{address} is not a DOI such as doi:10.5281/zenodo.1252464")
    names = [name for name, known in published().items() if known.doi == doi]
    if names:
        raise DatasetError(f"{address} is the record of {' and '.join(names)}: fetch it by name")
    if mirror:
        return lambda file: _at_mirror(mirror, f"{doi}/{file}")
    import requests
    from pooch.downloaders import doi_to_repository

    try:
        repository = doi_to_repository(doi, headers={"User-Agent": USER_AGENT}, timeout=30)
    except (requests.exceptions.RequestException, ValueError) as error:
        raise DatasetError(f"{address}: {error}") from None

    def locate(file: str) -> str:
        for name in (file, file.replace("/", "-")):
            try:
                return str(repository.download_url(name))
            except ValueError:
                continue
        raise DatasetError(f"{address} has no file {file}: it is not a whole gptex dataset")

    return locate


def _read(url: str, progress: bool) -> bytes:
    """The bytes of a small file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, PurePosixPath(urlsplit(url).path).name)
        downloader = (
            copy if url.startswith("file:") else Downloader(path.with_suffix(".part"), progress=progress, most=LARGEST_MANIFEST)
        )
        downloader(url, path, None)
        return path.read_bytes()


def _folder_name(address: str) -> str:
    """Where a dataset goes in the cache: its name there, and something that is the address's alone."""
    words = re.findall(r"[\w.-]*\w", address)
    return f"{words[-1]}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
