"""Scene files: a Mitsuba `.xml`, or a `.zip` of one with the meshes and textures it names.

Decides what a scene may contain and turns it into XML that can be rendered here: film replaced, files resolved,
`$frame` and the like valued. A scene travels to other peers and comes from other peers, so it must be whole in
itself and must not reach the files of the device it is rendered on: names are looked up inside the archive only,
`<include>` and `<path>` are refused, plugin types are plain words.

Parameters a scene may use, all optional:
  $frame   number of the frame, from 1
  $frames  number of frames of the film
  $time    place in the loop, (frame - 1) / frames, from 0 to below 1
  $angle   360 * $time, degrees, for `<rotate angle="$angle"/>` (Mitsuba's XML has no arithmetic)
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

ARCHIVE_BYTES_MAX = 4 << 30
_PARAMETER = re.compile(r"\$(\w+)")
_PLUGIN_TYPE = re.compile(r"\w+")


class _Opened:
    """A scene file read once per process; `files` is where an archive's contents lie."""

    def __init__(self, source: bytes) -> None:
        self.files: Path | None = None
        if source[:2] == b"PK":
            self.files = Path(tempfile.mkdtemp(prefix="meshwit-scene-"))
            weakref.finalize(self, shutil.rmtree, self.files, ignore_errors=True)
            self.xml = _unpack(source, self.files)
        else:
            self.xml = source


def pack(path: Path) -> bytes:
    """Reads a scene file with all it refers to, ready to travel.

    Returns:
        The XML itself if it names no files, else a zip archive. The same files give the same bytes.

    Raises:
        ValueError: no such file, not a scene, or a name that leads out of the scene's folder.
    """
    try:
        source = path.read_bytes()
        if path.suffix.lower() == ".zip":
            return source
        names = sorted({name for _, _, name in _references(_parse(source))})
        if not names:
            return source
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            _add(packed, "scene.xml", source)
            for name in names:
                _add(packed, name, (path.parent / _inner(name)).read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    return archive.getvalue()


def renderable_xml(source: bytes, frame: int, frames: int, width: int, height: int) -> tuple[str, dict[str, str]]:
    """What Mitsuba is to load for one frame.

    Returns:
        The XML, with a film of `width` by `height` linear RGB pixels whose box filter keeps pixels independent of
        their neighbours (else tiles would show seams), and the values of the parameters it uses.

    Raises:
        ValueError: not a scene file, or one that is not whole in itself.
    """
    opened = _opened(source)
    root = _parse(opened.xml)
    for element, attribute, name in _references(root):
        inner = _inner(name)
        if opened.files is None:
            raise ValueError(f"the scene refers to the file {name!r}, which a lone .xml cannot bring along: pack both")
        file = opened.files / inner
        if not file.is_file():
            raise ValueError(f"the scene refers to the file {name!r}, which is not in its archive")
        element.set(attribute, str(file))
    sensors = root.findall("sensor")
    if not sensors:
        raise ValueError("the scene has no <sensor>, so there is no point to look from")
    for sensor in sensors[1:]:
        root.remove(sensor)
    for film in sensors[0].findall("film"):
        sensors[0].remove(film)
    sensors[0].append(_film(width, height))
    xml = ElementTree.tostring(root, encoding="unicode")
    time = (frame - 1) / frames
    values = {"frame": str(frame), "frames": str(frames), "time": repr(time), "angle": repr(360 * time)}
    used = set(_PARAMETER.findall(xml))
    return xml, {name: value for name, value in values.items() if name in used}


@lru_cache(maxsize=2)
def _opened(source: bytes) -> _Opened:
    return _Opened(source)


def _parse(source: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError as error:
        digest = hashlib.sha256(source).hexdigest()[:12]
        raise ValueError(f"not a Mitsuba scene: the XML is broken, {error} ({len(source)} bytes, {digest})") from error
    if root.tag != "scene":
        raise ValueError(f"not a Mitsuba scene: the outermost element is <{root.tag}>, not <scene>")
    for element in root.iter():
        if element.tag in ("include", "path"):
            raise ValueError(f"<{element.tag}> is not supported: a scene must be whole in itself, in one file")
        plugin = element.get("type")
        if plugin is not None and not _PLUGIN_TYPE.fullmatch(plugin):
            raise ValueError(f"<{element.tag} type={plugin!r}>: not the name of a plugin")
    return root


def _references(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str, str]]:
    """Every file the scene names, as (element, attribute that holds the name, name)."""
    for element in list(root.iter()):
        if "filename" in element.attrib:
            yield element, "filename", element.attrib["filename"]
        elif element.tag == "string" and element.get("name", "").endswith("filename"):
            yield element, "value", element.get("value", "")


def _inner(name: str) -> PurePosixPath:
    """The name as a path that cannot leave the scene's folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or re.search(r"[\\:$]", name):
        raise ValueError(f"file name {name!r}: must be relative to the scene file, within its folder, without $ \\ :")
    return path


def _unpack(source: bytes, folder: Path) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            total = sum(entry.file_size for entry in entries)
            if total > ARCHIVE_BYTES_MAX:
                raise ValueError(f"the scene archive unpacks to {total} bytes, more than {ARCHIVE_BYTES_MAX}")
            scenes = [entry for entry in entries if entry.filename.endswith(".xml") and "/" not in entry.filename]
            if len(scenes) != 1:
                found = ", ".join(entry.filename for entry in scenes) or "none"
                raise ValueError(f"a scene archive holds exactly one .xml at its top, found {found}")
            for entry in entries:
                target = folder / _inner(entry.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
            return archive.read(scenes[0])
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"the scene archive of {len(source)} bytes is broken: {error}") from error


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A fixed date: the same scene must have the same content hash whenever it is packed.
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def _film(width: int, height: int) -> ElementTree.Element:
    film = ElementTree.Element("film", type="hdrfilm")
    for name, size in (("width", width), ("height", height)):
        ElementTree.SubElement(film, "integer", name=name, value=str(size))
    for name, value in (("pixel_format", "rgb"), ("component_format", "float32")):
        ElementTree.SubElement(film, "string", name=name, value=value)
    ElementTree.SubElement(film, "rfilter", type="box")
    return film
