"""What a file is by its first bytes, in one table: what is read, and what is not, under its right name."""

import dataclasses
import re
from typing import Literal, NamedTuple

NOT_READ, NO_IMAGE = "unsupported", "not_an_image"
CONVERT, INSTALL = "save it as TIFF or JPEG", "pip install -r requirements/heic.txt reads it"


class ImageError(Exception):
    """An image that cannot be used; `detail` says what was found, in a few words.

    Its reason: empty_file, not_an_image (a video, or no format known by its first bytes), unsupported (an image of
    another format, or of a kind that has no 8 bits of colour), bad_header, too_many_pixels, truncated (the end is
    missing) or damaged (the decoder says so).
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What an image's header says, before anything is decoded."""

    format: str  # jpeg, png, or the name of another kind that is read
    width: int  # in pixels as stored, as the height
    height: int
    orientation: int  # EXIF's, 1 to 8; 1 where there is none or it is none of these
    # what is stored; a palette counts as colour, and transparency of any kind as alpha
    mode: Literal["gray", "colour", "cmyk", "alpha"]
    bits: int  # per channel, as stored: 1 to 16
    exif: bytes = dataclasses.field(default=b"", repr=False)  # the first block, from the byte order on; or empty
    by_pillow: bool = False  # Pillow decodes it
    turned: bool = False  # the decoder gives pixels as displayed
    more: bool = False  # the file has further pictures, which are not read

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width as displayed: with orientations 5 to 8 the sides change places."""
        return (self.height, self.width) if self.orientation < 5 else (self.width, self.height)


class Kind(NamedTuple):
    """A kind of file: a pattern of its first bytes, its name, and why it is not read, with the remedy, if it is not.

    `opener` is the class by which Pillow reads the header of a kind that is read.
    """

    first: bytes
    name: str
    reason: str = ""
    remedy: str = ""
    opener: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.name, self.remedy)))


# the first that fits counts
KINDS = (
    Kind(rb"\xff\xd8\xff", "jpeg"),
    Kind(rb"\x89PNG\r\n\x1a\n", "png"),
    Kind(rb"(II\*\0|MM\0\*).{4}CR|.{4}ftypcrx ", "raw (CR2 or CR3)", NOT_READ, CONVERT),
    Kind(rb"II[*+]\0|MM\0[*+]", "tiff", opener="PIL.TiffImagePlugin:TiffImageFile"),
    Kind(rb"RIFF.{4}WEBP", "webp", opener="PIL.WebPImagePlugin:WebPImageFile"),
    Kind(rb"BM.{4}\0{4}", "bmp", opener="PIL.BmpImagePlugin:BmpImageFile"),
    Kind(rb".{4}ftyp(avi[fs]|mi[fa][1f].{4}(.{4}){0,15}?avi[fs])", "avif", opener="PIL.AvifImagePlugin:AvifImageFile"),
    Kind(rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "heif", remedy=INSTALL, opener="pillow_heif:HeifImageFile"),
    Kind(rb".{4}ftypjxl |\0\0\0\x0cJXL |\xff\x0a", "JPEG XL", NOT_READ, CONVERT),
    Kind(rb"\0\0\0\x0cjP|\xff\x4f\xff\x51", "JPEG 2000", NOT_READ, CONVERT),
    Kind(rb"8BP[SB]", "PSD (Photoshop)", NOT_READ, CONVERT),
    Kind(rb"GIF8[79]a", "GIF, a drawing or an animation", NOT_READ, CONVERT),
    Kind(rb"\s*(<\?xml.{0,500}?)?<svg[\s>]", "SVG, a drawing", NOT_READ, CONVERT),
    Kind(rb"IIU\0", "raw (RW2)", NOT_READ, CONVERT),
    Kind(rb"IIR[OS]|MMOR", "raw (ORF)", NOT_READ, CONVERT),
    Kind(rb"FUJIFILMCCD-RAW", "raw (RAF)", NOT_READ, CONVERT),
    Kind(rb"II\x1a\0{3}HEAPCCDR|FOVb|\0MRM", "raw (CRW, X3F or MRW)", NOT_READ, CONVERT),
    Kind(rb"II\xbc|\x76\x2f\x31\x01|P[1-7]\s", "JPEG XR, OpenEXR or Netpbm", NOT_READ, CONVERT),
    Kind(rb"\0\0[\1\2]\0[^\0]\0", "an icon", NOT_READ),
    Kind(rb"RIFF.{4}AVI ", "an AVI video", NO_IMAGE),
    Kind(rb".{4}(ftyp|moov|mdat|wide|skip|free)", "an MP4 or QuickTime video", NO_IMAGE),
    Kind(rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video", NO_IMAGE),
    Kind(rb"\0\0\x01[\xba\xb3]|G.{187}G", "an MPEG video", NO_IMAGE),
    Kind(rb"FLV\x01|\x30\x26\xb2\x75", "a Flash or Windows Media video", NO_IMAGE),
    Kind(rb"RIFF|ID3|fLaC|OggS", "sound, or another RIFF file", NO_IMAGE),
    Kind(rb"%PDF|%!PS", "a PDF or PostScript", NO_IMAGE),
    Kind(rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|BZh", "a zip or another packed file", NO_IMAGE, "unpack it"),
    Kind(rb"\xd0\xcf\x11\xe0", "a Microsoft compound file, such as Thumbs.db", NO_IMAGE),
    Kind(rb"", "no image that is known by its first bytes", NO_IMAGE),
)


def recognize(data: bytes) -> Kind:
    """Return what the first bytes say that a file is. ImageError: it is not read; with its name and the remedy."""
    kind = next(kind for kind in KINDS if re.match(kind.first, data[:1024], re.DOTALL))
    if kind.reason:
        raise ImageError(kind.reason, str(kind))
    return kind
