"""Cards: of a dataset's folder for people (Markdown) and for machines (Croissant), from its manifest and its certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gptex.errors import GptexError, nearest
from gptex.recipe import Recipe
from gptex.store.card import TAGS, citations, composed, licence, summary
from gptex.store.card import card as markdown
from gptex.store.manifest import Manifest
from gptex.trust.certificate import Certificate

FORMS = ("md", "croissant")
HDF5 = "application/x-hdf5"
TYPES = {"float16": "cr:Float16", "float32": "cr:Float32", "float64": "cr:Float64"}
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}  # of Croissant 1.1, word for word
Json = dict[str, Any]


def card(path: str | Path, *, form: str = "md", certificate: Certificate | None = None) -> str:
    """The card of a dataset.

    Parameters
    ----------
    path : path
        The dataset's folder.
    form : {"md", "croissant"}
        Markdown with the front matter of Hugging Face, as in the folder's README.md, or Croissant 1.1 (JSON-LD).
    certificate : Certificate, optional
        What `gptex.certify` found; the card tells it.

    Raises
    ------
    DatasetError
        If there is no dataset.
    GptexError
        For another form.
    """
    if form not in FORMS:
        raise GptexError(f"a card has no form {form!r}: {nearest(form, FORMS)}")
    manifest = Manifest.read(path)
    if form == "md":
        return markdown(manifest, str(certificate) if certificate else "")
    return json.dumps(_croissant(manifest, certificate), indent=1, ensure_ascii=False) + "\n"


def _croissant(manifest: Manifest, certificate: Certificate | None) -> Json:
    contents, source = manifest.contents, manifest.source
    description = summary(manifest) + (f" {composed(contents)}." if isinstance(contents, Recipe) else "")
    if certificate:
        description += f" Statistics against theory: {str(certificate).splitlines()[-1]}."
    stated, text = licence(manifest)
    url = str((source.origin if source else {}).get("url", ""))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": contents.name,
        "description": description,
        "keywords": list(TAGS),
        **({"license": text} if stated else {}),
        **({"url": url} if url.startswith(("http://", "https://")) else {}),
        "citeAs": "; ".join(citations(manifest)),
        "distribution": [*(_file(shard.file, shard.bytes, shard.sha256) for shard in manifest.shards), _shards()],
        "recordSet": [_splits(manifest), _classes(manifest), _textures(manifest)],
    }


def _file(name: str, size: int, sha256: str) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": HDF5,
        "sha256": sha256,
    }


def _shards() -> Json:
    return {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "description": "One folder a split; a file holds consecutive textures, a row each.",
        "encodingFormat": HDF5,
        "includes": "*/*.h5",
    }


def _splits(manifest: Manifest) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "Of the split, and of its folder.", "sc:Text")],
        "data": [{"splits/name": split} for split in manifest.splits],
    }


def _classes(manifest: Manifest) -> Json:
    contents = manifest.contents
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "key": {"@id": "classes/label"},
        "field": [
            _field("classes/label", "Number of the class.", "cr:Int64"),
            _field("classes/name", "Its length scales joined by hyphens.", "sc:Text"),
            _field("classes/length_scales", "In pixels, one a component.", "cr:Float64", (len(contents.length_scales(0)),)),
        ],
        "data": [
            {"classes/label": label, "classes/name": name, "classes/length_scales": list(contents.length_scales(label))}
            for label, name in enumerate(manifest.classes)
        ],
    }


def _textures(manifest: Manifest) -> Json:
    contents = manifest.contents
    split = {"fileSet": {"@id": "shards"}, "extract": {"fileProperty": "fullpath"}, "transform": {"regex": r"([^/]+)/\d+\.h5$"}}
    fields = [
        ("images", "The texture, axes in array order.", TYPES[contents.dtype], contents.shape),
        ("labels", "Number of its class.", "cr:Int64", ()),
        ("length_scales", "In pixels, one a component.", "cr:Float64", (len(contents.length_scales(0)),)),
        ("index", "Number of the texture in its split.", "cr:Int64", ()),
    ]
    columns = [
        _field(f"textures/{name}", what, kind, shape) | {"source": {"fileSet": {"@id": "shards"}, "extract": {"column": name}}}
        for name, what, kind, shape in fields
    ]
    columns[1]["references"] = {"field": {"@id": "classes/label"}}
    named = _field("textures/split", "The folder that the shard lies in.", "sc:Text")
    return {
        "@type": "cr:RecordSet",
        "@id": "textures",
        "name": "textures",
        "field": [*columns, named | {"source": split, "references": {"field": {"@id": "splits/name"}}}],
    }


def _field(name: str, what: str, kind: str, shape: tuple[int, ...] = ()) -> Json:
    array = {"isArray": True, "arrayShape": ",".join(map(str, shape))} if shape else {}
    return {"@type": "cr:Field", "@id": name, "name": name.rpartition("/")[2], "description": what, "dataType": kind, **array}
