#!/usr/bin/python3
"""Makes pictures.txt: PNG and JPEG files of every kind, a few pixels each, and what must be read from them.

Needs the Debian packages python3-pil and libjpeg-turbo-progs. The oracle is Pillow: its pixels, laid over white where they
are transparent, turned as their EXIF orientation says; of 16 bits the higher 8. Where Pillow refuses a file that browsers
show, or reads it otherwise than the PNG specification says, the pixels are those that the file was made of.

A line: group, name, what is to be expected ("read", "odd" for a file that is read with a warning, or part of the error), size,
file and RGB pixels in base64. Run it in this directory: make.py > pictures.txt
"""

import base64
import io
import random
import struct
import subprocess
import zlib

from PIL import Image, ImageOps

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
random.seed(14)
GROUP = ""


# --- PNG --------------------------------------------------------------------------------------------------------------


def chunk(name, data=b"", crc=None):
    crc = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def samples(width, height, kind, depth, limit=None):
    limit = limit or 1 << depth
    return [[[random.randrange(limit) for _ in range(CHANNELS[kind])] for _ in range(width)] for _ in range(height)]


def packed(rows, depth):
    result = bytearray()
    for row in rows:
        if not row:
            continue
        result.append(0)
        bits = "".join(format(value, f"0{depth}b") for pixel in row for value in pixel)
        bits += "0" * (-len(bits) % 8)
        result += bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return bytes(result)


def png_chunks(rows, kind, depth, interlaced=False, before=b"", after=b"", split=None):
    """The chunks of a PNG, `before` and `after` those of the picture data."""
    width, height = len(rows[0]), len(rows)
    if interlaced:
        passes = [[row[x::dx] for row in rows[y::dy]] for x, y, dx, dy in ADAM7]
        raw = b"".join(packed(part, depth) for part in passes)
    else:
        raw = packed(rows, depth)
    data = zlib.compress(raw, 9)
    parts = [data[i:i + split] for i in range(0, len(data), split)] if split else [data]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))
    return header + before + b"".join(chunk(b"IDAT", part) for part in parts) + after


def png(*arguments, **keywords):
    return SIGNATURE + png_chunks(*arguments, **keywords) + chunk(b"IEND")


def palette(count):
    return [[random.randrange(256) for _ in range(3)] for _ in range(count)]


def plte(colours):
    return chunk(b"PLTE", bytes(value for colour in colours for value in colour))


# --- What is shown ----------------------------------------------------------------------------------------------------


def over_white(pixels):
    """Of 8-bit RGBA."""
    return [tuple((v * a + 255 * (255 - a) + 127) // 255 for v in (r, g, b)) for r, g, b, a in pixels]


def by_hand(rows, kind, depth, transparent=None):
    """RGB pixels of samples, as the PNG specification says."""
    def eight(value):
        return value >> 8 if depth == 16 else value * 255 // ((1 << depth) - 1)
    result = []
    for pixel in (pixel for row in rows for pixel in row):
        alpha = 255
        if kind in (4, 6):
            alpha, pixel = eight(pixel[-1]), pixel[:-1]
        if transparent is not None and list(pixel) == list(transparent):
            alpha = 0
        colour = [eight(value) for value in pixel]
        result.append((*(colour * 3 if len(colour) == 1 else colour), alpha))
    return (len(rows[0]), len(rows)), over_white(result)


def by_pillow(data):
    picture = Image.open(io.BytesIO(data))
    picture.load()
    if picture.mode.startswith("I"):
        picture = picture.point(lambda v: v * (1 / 256)).convert("L")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return picture.size, over_white(picture.getdata())
    return picture.size, list(picture.convert("RGB").getdata())


def emit(name, data, shown=None, expected="read"):
    if shown is None and expected in ("read", "odd"):
        shown = by_pillow(data)
    size, pixels = shown or ((0, 0), [])
    values = bytes(value for pixel in pixels for value in pixel)
    fields = [GROUP, name, expected, f"{size[0]}x{size[1]}", base64.b64encode(data).decode(), base64.b64encode(values).decode()]
    print("\t".join(fields))


# --- The PNG files ----------------------------------------------------------------------------------------------------


def every_type():
    colours = palette(256)
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlaced in (False, True):
                rows = samples(5, 3, kind, depth)
                used = colours[:1 << depth] if kind == 3 else None
                before = plte(used) if used else b""
                data = png(rows, kind, depth, interlaced, before)
                name = f"PNG of type {kind}, {depth} bits{', interlaced' if interlaced else ''}"
                emit(name, data, by_pillow(data) if kind == 3 else by_hand(rows, kind, depth))


def transparency():
    for depth in (1, 2, 4, 8, 16):
        rows = samples(5, 3, 0, depth)
        key = rows[1][2]
        emit(f"PNG, grey of {depth} bits with a transparent value",
             png(rows, 0, depth, before=chunk(b"tRNS", struct.pack(">H", key[0]))), by_hand(rows, 0, depth, key))
    for depth in (8, 16):
        rows = samples(5, 3, 2, depth)
        key = rows[2][1]
        emit(f"PNG, RGB of {depth} bits with a transparent colour",
             png(rows, 2, depth, before=chunk(b"tRNS", struct.pack(">3H", *key))), by_hand(rows, 2, depth, key))
    # Of two values with the same high byte only one is transparent.
    emit("PNG, grey of 16 bits: the low byte decides what is transparent",
         png([[[0x1234], [0x1235]]], 0, 16, before=chunk(b"tRNS", struct.pack(">H", 0x1235))),
         ((2, 1), [(0x12,) * 3, (255,) * 3]))
    for depth in (1, 2, 4, 8):
        colours = palette(1 << depth if depth < 8 else 20)
        alphas = bytes(random.randrange(256) for _ in colours[:-1])
        rows = samples(5, 3, 3, depth, len(colours))
        for interlaced in (False, True):
            emit(f"PNG, palette of {depth} bits with alpha{', interlaced' if interlaced else ''}",
                 png(rows, 3, depth, interlaced, plte(colours) + chunk(b"tRNS", alphas)))


def tiny_interlaced():
    for width, height in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (4, 4), (1, 9), (9, 1), (8, 8), (9, 10)):
        rows = samples(width, height, 2, 8)
        emit(f"PNG, interlaced, {width} × {height}", png(rows, 2, 8, True), by_hand(rows, 2, 8))


def chunks_around():
    rows = samples(4, 3, 2, 8)
    shown = by_hand(rows, 2, 8)
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(b"\0" * 132))
    before = {
        "gamma 1.0": chunk(b"gAMA", struct.pack(">I", 100000)),
        "gamma 1 / 2.2": chunk(b"gAMA", struct.pack(">I", 45455)),
        "gamma 0": chunk(b"gAMA", struct.pack(">I", 0)),
        "sRGB": chunk(b"sRGB", b"\0"),
        "sRGB and another gamma": chunk(b"sRGB", b"\0") + chunk(b"gAMA", struct.pack(">I", 100000)),
        "chromaticities": chunk(b"cHRM", struct.pack(">8I", 1, 2, 3, 4, 5, 6, 7, 8)),
        "a profile": profile,
        "two profiles": profile + profile,
        "a profile that is none": chunk(b"iCCP", b"nonsense"),
        "cICP of a high dynamic range": chunk(b"cICP", b"\x09\x10\0\x01"),
        "significant bits": chunk(b"sBIT", b"\5\6\5"),
        "significant bits of another type": chunk(b"sBIT", b"\5"),
        "a background": chunk(b"bKGD", struct.pack(">3H", 255, 0, 0)),
        "a palette that is only suggested": plte(palette(4)),
        "texts": chunk(b"tEXt", b"Title\0a") + chunk(b"zTXt", b"b\0\0" + zlib.compress(b"c")) + chunk(b"tEXt", b""),
        "an unknown chunk": chunk(b"abCd", b"efg"),
        "an unknown chunk with a wrong checksum": chunk(b"abCd", b"efg", 1),
        "a text with a wrong checksum": chunk(b"tEXt", b"Title\0a", 1),
        "an unknown chunk with an odd name": chunk(b"s\1IT", b"abc"),
    }
    for name, data in before.items():
        emit(f"PNG with {name}", png(rows, 2, 8, before=data), shown)
    emit("PNG with gamma after the picture", png(rows, 2, 8, after=chunk(b"gAMA", struct.pack(">I", 100000))), shown)
    emit("PNG with time and texts after the picture", png(rows, 2, 8, after=chunk(b"tIME", b"\7\xe8\1\1\0\0\0")), shown)
    emit("PNG in pieces of one byte", png(rows, 2, 8, split=1), shown)
    emit("PNG with an empty piece", png(rows, 2, 8, before=chunk(b"IDAT")), shown)
    emit("PNG with bytes after its end", png(rows, 2, 8) + b"more" * 20, shown)
    emit("PNG without its end chunk", png(rows, 2, 8)[:-12], shown)
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 4, 3, 0, 0, 1, 10, 0, 0)
    second = chunk(b"fcTL", struct.pack(">I", 1) + frame[4:]) + chunk(
        b"fdAT", struct.pack(">I", 2) + zlib.compress(packed(samples(4, 3, 2, 8), 8)))
    emit("PNG, animated: the first picture", png(rows, 2, 8, before=control + chunk(b"fcTL", frame), after=second), shown)
    grey = samples(4, 3, 0, 16)
    for name, data in (("", b""), (" and gamma 1.0", before["gamma 1.0"]), (" and sRGB", before["sRGB"])):
        equal = [[[v * 257 for v in pixel] for pixel in row] for row in rows]
        emit(f"PNG of 16 bits with v · 257{name}", png(equal, 2, 16, before=data), shown)
        emit(f"PNG of 16 bits in grey{name}", png(grey, 0, 16, before=data), by_hand(grey, 0, 16))
    for depth in (1, 2, 4, 8):
        outside, colours = samples(5, 3, 3, depth), palette(1)
        # Viewers that use libpng show black.
        pixels = [tuple(colours[0]) if index == 0 else (0, 0, 0) for row in outside for [index] in row]
        emit(f"PNG, palette of {depth} bits, indices without a colour",
             png(outside, 3, depth, before=plte(colours)), ((5, 3), pixels))


def tiff_orientation(value, order=">"):
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(order + "IH", 8, 1) + struct.pack(order + "HHIHHI", 0x0112, 3, 1, value, 0, 0)


def oriented():
    rows = samples(3, 2, 2, 8)
    for value in range(1, 9):
        data = chunk(b"eXIf", tiff_orientation(value, "><"[value % 2]))
        where = {"after": data} if value % 3 == 0 else {"before": data}
        emit(f"PNG with orientation {value}", png(rows, 2, 8, **where))


def broken_png():
    rows = samples(8, 8, 2, 8)
    whole = png(rows, 2, 8)
    split = png(rows, 2, 8, split=60)
    header = len(SIGNATURE) + 25
    emit("PNG with a wrong checksum of its picture", whole[:-13] + bytes([whole[-13] ^ 1]) + whole[-12:], None, "CRC error")
    flipped = bytearray(split)
    flipped[header + 40] ^= 1
    emit("PNG with a bit flipped in the picture", bytes(flipped), None, "damaged or cut short")
    emit("PNG without picture data", whole[:header] + chunk(b"IEND"), None, "damaged or cut short")
    emit("PNG cut short between two pieces", split[:header + 72], None, "the file ends before the picture does")
    emit("PNG cut short inside a piece", whole[:header + 20], None, "the file ends inside a chunk")
    emit("PNG cut short in its last checksum", whole[:-14], None, "the file ends inside a chunk")
    emit("PNG cut short in its header", whole[:20], None, "damaged or cut short")
    emit("PNG that is only its signature", SIGNATURE, None, "damaged or cut short")
    emit("PNG with a palette type and no palette", png(samples(3, 3, 3, 8), 3, 8), None, "damaged or cut short")
    lying = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 6, 0, 0, 1)) + whole[header:]
    emit("PNG, interlaced, whose header claims 8,000 × 8,000", lying, None, "damaged or cut short")
    for width, height in ((50000, 50000), (0x7fffffff, 1), (100_001, 1)):
        bomb = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + whole[header:]
        emit(f"PNG, {width} × {height}", bomb, None, f"but has {width} × {height}")
    for width, height in ((0, 3), (3, 0)):
        empty = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + whole[header:]
        emit(f"PNG, {width} × {height}", empty, None, "damaged or cut short")
    for name, fields in (("depth 3", (3, 2, 0, 0, 0)), ("type 5", (8, 5, 0, 0, 0)), ("interlace 2", (8, 2, 0, 0, 2))):
        bad = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, *fields)) + whole[header:]
        emit(f"PNG with {name}", bad, None, "damaged or cut short")
    emit("PNG whose line ends were changed", whole.replace(b"\r\n", b"\n"), None, "line ends were changed")
    emit("PNG with a chunk of 2 GB", whole[:header] + struct.pack(">I", 0x7fffffff) + b"tEXt" + b"text" * 4, None, "inside a chunk")


# --- The JPEG files ---------------------------------------------------------------------------------------------------


def smooth(width, height, mode="RGB"):
    """Of few distinct values, so that the files are short."""
    picture = Image.new("RGB", (width, height))
    picture.putdata([
        (x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x * y * 9 + 40) % 256)
        for y in range(height) for x in range(width)])
    return picture.convert(mode)


def cjpeg(picture, *flags):
    source = io.BytesIO()
    picture.save(source, "PPM")
    return subprocess.run(["cjpeg", *flags], input=source.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def jpegtran(data, *flags):
    return subprocess.run(["jpegtran", *flags], input=data, stdout=subprocess.PIPE, check=True).stdout


def saved(picture, **keywords):
    target = io.BytesIO()
    picture.save(target, "JPEG", **keywords)
    return target.getvalue()


def segment(marker, data):
    return bytes([0xff, marker]) + struct.pack(">H", len(data) + 2) + data


def inserted(data, *segments):
    """With segments behind the start of the image."""
    return data[:2] + b"".join(segments) + data[2:]


def scan_start(data):
    return data.index(b"\xff\xda")


def jpeg_kinds():
    picture = smooth(17, 11)
    for sampling in ("1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4"):
        emit(f"JPEG, sampling {sampling}", cjpeg(picture, "-optimize", "-sample", sampling))
    for name, flags in {
        "progressive": ["-progressive"], "arithmetic": ["-arithmetic"], "arithmetic, progressive": ["-arithmetic", "-progressive"],
        "grey": ["-grayscale", "-optimize"], "grey, progressive": ["-grayscale", "-progressive"],
        "restart markers": ["-restart", "1B", "-optimize"], "restart markers, progressive": ["-restart", "2B", "-progressive"],
        "16-bit quantization tables": ["-quality", "1", "-optimize"], "quality 100": ["-quality", "100", "-optimize"],
        "stored as RGB": ["-rgb", "-optimize"],
    }.items():
        emit(f"JPEG, {name}", cjpeg(picture, *flags))
    for width, height in ((1, 1), (1, 17), (17, 1), (8, 8), (16, 16), (7, 9)):
        emit(f"JPEG, {width} × {height}", cjpeg(smooth(width, height), "-optimize"))
    inks = saved(smooth(11, 9, "CMYK"), optimize=True)
    emit("JPEG in CMYK with Adobe's marker", inks)
    adobe = inks.index(b"Adobe")
    emit("JPEG in YCCK", inks[:adobe + 11] + b"\2" + inks[adobe + 12:])
    emit("JPEG in CMYK without Adobe's marker", inks[:adobe - 4] + inks[adobe + 12:])
    emit("JPEG in CMYK, progressive", jpegtran(inks, "-progressive"))
    colours = saved(picture, optimize=True, subsampling=0)
    without_jfif = colours[:2] + colours[2 + 18:]
    emit("JPEG without a JFIF marker", without_jfif)
    emit("JPEG with Adobe's transform 0: RGB", inserted(without_jfif, segment(0xee, b"Adobe\0\x64\0\0\0\0\0")))
    emit("JPEG with Adobe's transform 1", inserted(without_jfif, segment(0xee, b"Adobe\0\x64\0\0\0\0\1")))
    emit("JPEG with an unknown Adobe transform",
         inserted(without_jfif, segment(0xee, b"Adobe\0\x64\0\0\0\0\7")), expected="odd")
    thumbnail = b"JFIF\0\1\2\0\0\1\0\1\2\2" + bytes(12)
    emit("JPEG with a thumbnail in JFIF", colours[:2] + segment(0xe0, thumbnail) + colours[20:])
    emit("JPEG with a thumbnail in EXIF", inserted(colours, segment(0xe1, b"Exif\0\0" + tiff_orientation(1) + saved(smooth(2, 2)))))
    emit("JPEG of JFIF 2.01", colours.replace(b"JFIF\0\1\1", b"JFIF\0\2\1"), expected="odd")
    emit("JPEG with long comments and profiles",
         inserted(colours, segment(0xfe, b"c" * 800), segment(0xe2, b"ICC_PROFILE\0\1\1" + b"p" * 800)))
    emit("JPEG with a profile that is none", inserted(colours, segment(0xe2, b"ICC_PROFILE\0\7\1")))
    emit("JPEG with fill bytes before its markers", colours[:2] + b"\xff\xff" + colours[2:])
    second = saved(smooth(3, 3), optimize=True)
    mpf = b"MPF\0II*\0\x08\0\0\0\1\0\x01\xb0\4\0\2\0\0\0\2\0\0\0\0\0\0\0"
    emit("JPEG followed by another (MPO)", inserted(colours, segment(0xe2, mpf)) + second, by_pillow(colours))
    for value in range(1, 9):
        turned = inserted(saved(smooth(9, 5), optimize=True), segment(0xe1, b"Exif\0\0" + tiff_orientation(value)))
        emit(f"JPEG with orientation {value}", turned)


def odd_jpeg():
    whole = saved(smooth(17, 11), optimize=True)
    shown = by_pillow(whole)
    emit("JPEG with bytes before its end marker", whole[:-2] + b"\0\1\2\3" * 9 + whole[-2:], shown, "odd")
    emit("JPEG with bytes after its end marker", whole + b"\0\1\2\3" * 9, shown)
    emit("JPEG with a page of HTML after its end marker", whole + b"<html></html>", shown)
    emit("JPEG with zeros after its end marker", whole + bytes(99), shown)
    emit("JPEG without its end marker", whole[:-2], shown, "odd")
    emit("JPEG with half an end marker", whole[:-1], shown, "odd")
    start = scan_start(whole)
    length = struct.unpack(">H", whole[start + 2:start + 4])[0]
    parameters = start + 2 + length - 3
    emit("JPEG with odd parameters of its scan", whole[:parameters] + b"\0\0\0" + whole[parameters + 3:], shown, "odd")
    emit("JPEG with bytes between two segments", whole[:20] + b"\0" * 7 + whole[20:], shown, "odd")
    progressive = cjpeg(smooth(17, 11), "-progressive")
    emit("JPEG, progressive, without its end marker", progressive[:-2], by_pillow(progressive), "odd")


def broken_jpeg():
    whole = cjpeg(smooth(40, 32), "-optimize")
    start = scan_start(whole)
    cut = "damaged or cut short"
    for share in (10, 50, 90):
        emit(f"JPEG cut short at {share} % of its picture", whole[:start + 14 + (len(whole) - start - 14) * share // 100], None, cut)
    emit("JPEG cut short before its picture", whole[:start], None, cut)
    emit("JPEG cut short in its header", whole[:30], None, cut)
    emit("JPEG that is only a start", b"\xff\xd8\xff", None, cut)
    emit("JPEG without a picture", b"\xff\xd8\xff\xd9", None, cut)
    emit("JPEG with an end marker too early", whole[:start + 40] + b"\xff\xd9", None, cut)
    restarts = cjpeg(smooth(40, 32), "-restart", "1B", "-optimize")
    lost = restarts.index(b"\xff\xd1")
    emit("JPEG with a lost piece between restart markers", restarts[:lost] + restarts[restarts.index(b"\xff\xd2"):], None, cut)
    progressive = cjpeg(smooth(40, 32), "-progressive")
    scans = [i for i in range(len(progressive) - 1) if progressive[i:i + 2] == b"\xff\xda"]
    emit("JPEG, progressive, cut short inside a scan", progressive[:scans[4] + 14], None, cut)
    tables = progressive.rindex(b"\xff\xc4", 0, scans[5])
    emit("JPEG, progressive, cut short between two scans", progressive[:max(tables, scans[4])], None, cut)
    arithmetic = cjpeg(smooth(17, 11), "-arithmetic")
    emit("JPEG, arithmetic, without its end marker", arithmetic[:-2], None, cut)
    frame = whole.index(b"\xff\xc0")
    for name, marker in (("lossless", 0xc3), ("hierarchical", 0xc5), ("lossless, arithmetic", 0xcb)):
        emit(f"JPEG, {name}", whole[:frame + 1] + bytes([marker]) + whole[frame + 2:], None, "Convert it to PNG")
    emit("JPEG of 12 bits", whole[:frame + 4] + b"\x0c" + whole[frame + 5:], None, "Convert it to PNG")
    big = struct.pack(">HH", 60000, 60000)
    emit("JPEG, 60000 × 60000", whole[:frame + 5] + big + whole[frame + 9:], None, "but has 60000 × 60000")
    large = struct.pack(">HH", 8000, 8000)
    emit("JPEG whose header claims 8,000 × 8,000", whole[:frame + 5] + large + whole[frame + 9:], None, cut)
    frame = progressive.index(b"\xff\xc2")
    emit("JPEG, progressive, whose header claims 8,000 × 8,000",
         progressive[:frame + 5] + large + progressive[frame + 9:], None, cut)
    emit("JPEG of height 0", whole[:whole.index(b"\xff\xc0") + 5] + b"\0\0" + whole[whole.index(b"\xff\xc0") + 7:], None, cut)


def others():
    for name, data, words in (
        ("GIF", b"GIF89a", "a GIF"), ("WebP", b"RIFF\0\0\0\0WEBPVP8 ", "a WebP"), ("BMP", b"BM\0\0", "a BMP"),
        ("HEIC", b"\0\0\0\x18ftypheic", "a HEIC"), ("HEIF", b"\0\0\0\x18ftypmif1", "a HEIC"),
        ("AVIF", b"\0\0\0\x20ftypavif", "an AVIF"), ("TIFF, little-endian", b"II*\0", "a TIFF"),
        ("TIFF, big-endian", b"MM\0*", "a TIFF"), ("BigTIFF", b"II+\0\x08", "a TIFF"), ("SVG", b"<svg xmlns=''/>", "an SVG"),
        ("SVG with a declaration", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><svg/>", "an SVG"),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"), ("JPEG XL", b"\xff\x0a\xfa", "a JPEG XL"),
        ("Photoshop", b"8BPS\0\1", "a Photoshop document"), ("icon", b"\0\0\1\0\1\0", "an icon (ICO)"), ("PDF", b"%PDF-1.7", "a PDF"),
    ):
        emit(f"{name} in the place of a picture", data, None, f"but is {words}. Convert it to PNG")
    for name, data, words in (
        ("page of HTML", b"\n<!DOCTYPE html><title>404</title>", "an HTML page"), ("gzip archive", b"\x1f\x8b\x08\0", "a gzip archive"),
        ("ZIP archive", b"PK\3\4", "a ZIP archive"), ("JSON", b'{"error": 404}', "JSON"),
        ("pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("empty file", b"", "an empty file"), ("text", b"hello", "a file that begins with the bytes 68 65 6c 6c 6f"),
        ("NumPy array", b"\x93NUMPY\1\0", "a NumPy array"), ("video", b"\0\0\0\x18ftypmp42", "a video"),
        ("note of macOS", b"\0\5\x16\7\0\2\0\0Mac OS X", "what macOS notes of another file"),
    ):
        emit(f"{name} in the place of a picture", data, None, f"but is {words}")


if __name__ == "__main__":
    for GROUP, make in {
        "PNG: every type and depth, interlaced or not": every_type, "PNG: transparency": transparency,
        "PNG: interlaced and tiny": tiny_interlaced, "PNG: chunks around the picture": chunks_around,
        "PNG: orientation": oriented, "PNG: damaged, cut short, lying": broken_png, "JPEG: every kind": jpeg_kinds,
        "JPEG: odd and whole": odd_jpeg, "JPEG: damaged, cut short, lying": broken_jpeg, "other formats": others,
    }.items():
        make()
