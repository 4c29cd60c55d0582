"""Formats of files that the site takes: what kind each is, its media type, and how names of such files end.

The list of the site's page of 2026-09, and the videos that earlier bridges documented.
"""

from msgspec import Struct

from qwen_gateway.turn.files import Kind


class Format(Struct, frozen=True):
    """extensions: the usual one first. aliases: other media types that stand for it."""

    kind: Kind
    media_type: str
    extensions: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    def is_called(self, media_type: str) -> bool:
        return media_type == self.media_type or media_type in self.aliases


_OFFICE = "application/vnd.openxmlformats-officedocument."

JPG = Format("image", "image/jpeg", ("jpg", "jpeg", "jpe", "jfif"), ("image/jpg", "image/pjpeg"))
PNG = Format("image", "image/png", ("png",), ("image/x-png",))
GIF = Format("image", "image/gif", ("gif",))
WEBP = Format("image", "image/webp", ("webp",))
BMP = Format("image", "image/bmp", ("bmp", "dib"), ("image/x-ms-bmp", "image/x-bmp"))
TIFF = Format("image", "image/tiff", ("tiff", "tif"))
ICO = Format("image", "image/x-icon", ("ico",), ("image/vnd.microsoft.icon", "image/ico"))
APNG = Format("image", "image/apng", ("apng", "png"), ("image/png",))
SVG = Format("image", "image/svg+xml", ("svg",), ("image/svg",))

MP4 = Format("video", "video/mp4", ("mp4",), ("application/mp4",))
AVI = Format("video", "video/x-msvideo", ("avi",), ("video/avi", "video/msvideo", "video/vnd.avi"))
MOV = Format("video", "video/quicktime", ("mov", "qt"))
WEBM = Format("video", "video/webm", ("webm",))
MKV = Format("video", "video/x-matroska", ("mkv",), ("video/matroska", "video/mkv"))
WMV = Format("video", "video/x-ms-wmv", ("wmv", "asf"), ("video/x-ms-asf",))
FLV = Format("video", "video/x-flv", ("flv",), ("video/flv",))
M4V = Format("video", "video/x-m4v", ("m4v",), ("video/m4v",))
M3GP = Format("video", "video/3gpp", ("3gp", "3gpp", "3g2"), ("video/3gpp2",))
# Not `ts`: the site goes by names, and would take it for source code.
M2TS = Format("video", "video/mp2t", ("m2ts", "mts"), ("video/vnd.dlna.mpeg-tts", "video/mpeg2-ts"))

MP3 = Format("audio", "audio/mpeg", ("mp3",), ("audio/mp3", "audio/mpeg3", "audio/x-mpeg-3", "audio/x-mp3"))
WAV = Format("audio", "audio/wav", ("wav",), ("audio/x-wav", "audio/wave", "audio/vnd.wave"))
AAC = Format("audio", "audio/aac", ("aac",), ("audio/x-aac", "audio/aacp", "audio/vnd.dlna.adts"))
M4A = Format("audio", "audio/mp4", ("m4a",), ("audio/x-m4a", "audio/m4a"))
AMR = Format("audio", "audio/amr", ("amr",), ("audio/amr-wb", "audio/3gpp"))

PDF = Format("document", "application/pdf", ("pdf",), ("application/x-pdf",))
DOC = Format("document", "application/msword", ("doc",))
DOCX = Format("document", _OFFICE + "wordprocessingml.document", ("docx",))
XLS = Format("document", "application/vnd.ms-excel", ("xls",), ("application/excel", "application/x-excel"))
XLSX = Format("document", _OFFICE + "spreadsheetml.sheet", ("xlsx",))
PPTX = Format("document", _OFFICE + "presentationml.presentation", ("pptx",))
EPUB = Format("document", "application/epub+zip", ("epub",))
OFD = Format("document", "application/ofd", ("ofd",))

IMAGES = (JPG, PNG, GIF, WEBP, BMP, TIFF, ICO, APNG, SVG)
VIDEOS = (MP4, AVI, MOV, WEBM, MKV, WMV, FLV, M4V, M3GP, M2TS)
AUDIOS = (MP3, WAV, AAC, M4A, AMR)
DOCUMENTS = (PDF, DOC, DOCX, XLS, XLSX, PPTX, EPUB, OFD)
ALL = IMAGES + VIDEOS + AUDIOS + DOCUMENTS
"""Those that are more than text."""

_MEDIA: tuple[Kind, ...] = ("image", "video", "audio")

_TEXTS = {
    "text/plain": "txt text log conf cfg cnf env ini properties diff patch srt vtt po tex bib rst adoc org",
    "text/markdown": "md markdown mdx mkd",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv tab",
    "text/html": "html htm xhtml",
    "text/css": "css",
    "text/javascript": "js mjs cjs",
    "application/json": "json jsonl ndjson json5 geojson ipynb webmanifest",
    "application/xml": "xml xsd xsl xslt rss atom plist wsdl pom",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/sql": "sql",
}
# Text to the site as well, which goes by how names end. No media type of theirs would say more than `text/plain`.
_SOURCES = (
    "py pyi pyw pyx ts tsx jsx mts cts vue svelte c h cc cpp cxx hpp hh hxx ino m mm cs fs fsx vb java kt kts scala "
    "groovy gradle go mod sum rs swift dart rb php pl pm lua r jl hs lhs ml mli elm ex exs erl hrl clj cljs edn lisp "
    "scm rkt zig nim v sv vhd vhdl asm s f f90 f95 for pas d ada adb cob sh bash zsh fish ps1 psm1 bat cmd awk sed mk "
    "cmake make dockerfile proto thrift graphql gql tf hcl nix scss sass less styl glsl hlsl wgsl cu cuh sol vy move "
    "asp aspx jsp erb ejs hbs mustache jinja j2 lock editorconfig gitignore http feature tcl vim el applescript"
)
TEXT_TYPES: dict[str, str] = dict.fromkeys(_SOURCES.split(), "text/plain") | {
    word: media_type for media_type, words in _TEXTS.items() for word in words.split()
}
"""How a text's name ends → its media type."""

_TEXT_ALIASES = {
    "text/x-markdown": "text/markdown",
    "text/comma-separated-values": "text/csv",
    "application/csv": "text/csv",
    "application/xhtml+xml": "text/html",
    "application/javascript": "text/javascript",
    "application/x-javascript": "text/javascript",
    "text/json": "application/json",
    "application/x-ndjson": "application/json",
    "application/jsonl": "application/json",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
    "text/x-yaml": "application/yaml",
    "application/x-yaml": "application/yaml",
    "application/x-sh": "text/plain",
    "application/x-python": "text/plain",
    "application/typescript": "text/plain",
    "application/x-httpd-php": "text/plain",
}


def text(extension: str, claimed_type: str) -> Format:
    """The format of a text. The end of its name says more than a client's word, which is often a guess from it."""
    media_type = TEXT_TYPES.get(extension) or text_type(claimed_type) or "text/plain"
    usual = _TEXTS.get(media_type, "txt").split(" ", 1)[0]
    return Format("document", media_type, (extension,) if extension in TEXT_TYPES else (usual,))


def text_type(media_type: str) -> str:
    """What we call the type of a text; empty for what is no text, as far as the type says."""
    if media_type in _TEXTS:
        return media_type
    return _TEXT_ALIASES.get(media_type) or ("text/plain" if media_type.startswith("text/") else "")


def kind_of(media_type: str) -> Kind | None:
    """What a media type says that a file is. `None`: it says nothing about that."""
    for one in ALL:
        if one.is_called(media_type):
            return one.kind
    for kind in _MEDIA:
        if media_type.startswith(f"{kind}/"):
            return kind
    return "document" if text_type(media_type) else None
