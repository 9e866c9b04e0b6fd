#!/usr/bin/python3
"""Makes imports.txt: small files in the formats that `descent data import` reads, and what must come of them.

Needs NumPy. The writers are Python's: pickle, gzip, numpy.savez. What Python 2 wrote (cPickle, protocol 2: strings as
SHORT_BINSTRING and BINSTRING, numpy.core) is written by a pickler that differs from Python 3's in that alone.

A line: case, what, and the rest, between tabs:
    file     path, size, and the bytes, compressed by zlib, in base64
    option   name and value of an option
    set      name of the data set, width, height, channels, class names as JSON
    part     train or test, number of records, SHA-256 of the records
    error    part of the message

Run it in this directory: make.py > imports.txt
"""

import base64
import gzip
import hashlib
import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy

generator = numpy.random.Generator(numpy.random.PCG64(15))


def say(*fields):
    print(*fields, sep="\t")


def file(case, path, data):
    say(case, "file", path, len(data), base64.b64encode(zlib.compress(data, 9)).decode())


def described(case, name, width, height, channels, classes):
    say(case, "set", name, width, height, channels, json.dumps(classes))


def part(case, name, labels, planes):
    """planes: [N, D], in the order of a record."""
    records = numpy.column_stack([labels, planes]).astype(numpy.uint8).tobytes()
    say(case, "part", name, len(labels), hashlib.sha256(records).hexdigest())


def images(count, *shape):
    """Few different values, so that this file stays small."""
    values = generator.integers(0, 256, (count, 1) + (1,) * len(shape))
    steps = numpy.arange(numpy.prod(shape)).reshape(shape) // 7
    return ((values[:, 0] + steps) % 251).astype(numpy.uint8)


# --- CIFAR's Python versions ------------------------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """What cPickle of Python 2 writes with protocol 2."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin1")
        self.write((b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data)
        self.memoize(value)

    def save_global(self, value, name=None):
        if getattr(value, "__name__", "") == "_reconstruct":
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            self.memoize(value)
        else:
            super().save_global(value, name)

    dispatch[bytes] = save_string
    dispatch[str] = save_string
    dispatch[type(len)] = save_global
    dispatch[type(save_global)] = save_global


def dump(value, python=2):
    if python == 3:
        return pickle.dumps(value, protocol=2)
    target = io.BytesIO()
    Python2Pickler(target, 2).dump(value)
    return target.getvalue()


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar10(case, python):
    everything = []
    for batch in ["data_batch_1", "data_batch_2", "test_batch"]:
        count = 3
        planes, labels = images(count, 3072), [int(x) for x in generator.integers(0, 10, count)]
        content = {"batch_label": batch, "labels": labels, "data": planes,
                   "filenames": ["picture_%d.png" % i for i in range(count)]}
        file(case, batch, dump(content, python))
        everything.append((labels, planes))
    file(case, "batches.meta", dump({"num_cases_per_batch": 10000, "label_names": CIFAR10, "num_vis": 3072}, python))
    file(case, "readme.html", b"<html></html>")
    described(case, "CIFAR-10", 32, 32, 3, CIFAR10)
    part(case, "train", everything[0][0] + everything[1][0], numpy.concatenate([everything[0][1], everything[1][1]]))
    part(case, "test", *everything[2])


cifar10("CIFAR-10, Python 2", 2)
cifar10("CIFAR-10, Python 3 with protocol 2", 3)

FINE = ["fine %d" % i for i in range(100)]
COARSE = ["coarse %d" % i for i in range(20)]
for labels_of in ["fine", "coarse"]:
    case = "CIFAR-100, Python, " + labels_of
    if labels_of == "coarse":
        say(case, "option", "labels", "coarse")
    described(case, "CIFAR-100" if labels_of == "fine" else "CIFAR-100 (20 superclasses)", 32, 32, 3,
              FINE if labels_of == "fine" else COARSE)
    file(case, "cifar-100-python/meta", dump({"fine_label_names": FINE, "coarse_label_names": COARSE}))
    for name in ["train", "test"]:
        planes = images(4, 3072)
        fine, coarse = [99, 0, 5, 70], [19, 0, 1, 14]
        file(case, "cifar-100-python/" + name, dump(
            {"data": planes, "batch_label": name, "fine_labels": fine, "coarse_labels": coarse,
             "filenames": ["%d.png" % i for i in range(4)]}))
        part(case, name, fine if labels_of == "fine" else coarse, planes)

    case = "CIFAR-100, binary, " + labels_of
    if labels_of == "coarse":
        say(case, "option", "labels", "coarse")
    described(case, "CIFAR-100" if labels_of == "fine" else "CIFAR-100 (20 superclasses)", 32, 32, 3,
              FINE if labels_of == "fine" else COARSE)
    file(case, "fine_label_names.txt", "\n".join(FINE).encode() + b"\n")
    file(case, "coarse_label_names.txt", "\n".join(COARSE).encode() + b"\n")
    for name in ["train", "test"]:
        planes = images(4, 3072)
        fine, coarse = [99, 0, 5, 70], [19, 0, 1, 14]
        file(case, name + ".bin", numpy.column_stack([coarse, fine, planes]).astype(numpy.uint8).tobytes())
        part(case, name, fine if labels_of == "fine" else coarse, planes)


class Evil:
    def __reduce__(self):
        import os
        return (os.system, ("echo harm > /tmp/descent-harm",))


class Plain:
    pass


def bad_cifar10(case, batch, error):
    file(case, "batches.meta", dump({"label_names": CIFAR10}))
    file(case, "test_batch", batch)
    file(case, "data_batch_1", batch)
    say(case, "error", error)


data = images(2, 3072)
good = dump({"data": data, "labels": [1, 2]})
bad_cifar10("a pickle that calls os.system", dump({"data": Evil(), "labels": [1, 2]}, 3),
            "a class or function that no file of CIFAR names: posix.system")
bad_cifar10("a pickle of an object", pickle.dumps({"data": Plain(), "labels": [1]}, protocol=2),
            "a class or function that no file of CIFAR names: __main__.Plain")
bad_cifar10("protocol 4", pickle.dumps({"data": data, "labels": [1, 2]}, protocol=4), "the protocol: 4")
bad_cifar10("protocol 0", pickle.dumps({"data": 1}, protocol=0), "an opcode that no file of CIFAR has: ")
bad_cifar10("a float in a pickle", dump({"data": 1.5}), "byte 13: an opcode that no file of CIFAR has: BINFLOAT (0x47)")
bad_cifar10("a pickle cut short", good[:3000], "the file ends inside of a string")
bad_cifar10("a pickle with more behind it", good + b"x", "the end of the pickle: 1 more bytes")
bad_cifar10("no data in a batch", dump({"labels": [1, 2]}), "the dictionary: the keys labels (expected \"data\"")
bad_cifar10("a list in the place of a batch", dump([1, 2]), "the pickle: another value (expected a dictionary")
bad_cifar10("a label of 10", dump({"data": data, "labels": [1, 10]}), "label 1 of the list that begins here: 10")
bad_cifar10("a negative label", dump({"data": data, "labels": [1, -1]}), "label 1 of the list that begins here: -1")
bad_cifar10("a label that is text", dump({"data": data, "labels": [1, "2"]}), "begins here: another value")
bad_cifar10("fewer labels than images", dump({"data": data, "labels": [1]}), "the number of \"labels\": 1 (expected 2")
bad_cifar10("images of another size", dump({"data": images(2, 3071), "labels": [1, 2]}), "[2, 3071] of the type u1")
bad_cifar10("images of floats", dump({"data": data.astype("f4"), "labels": [1, 2]}), "[2, 3072] of the type f4")
bad_cifar10("images column by column", dump({"data": numpy.asfortranarray(data), "labels": [1, 2]}),
            "of the type u1, column by column")
claims = good.replace(b"K\x02M\x00\x0c\x86", b"J\xff\xff\xff\x7fM\x00\x0c\x86")
assert claims != good
bad_cifar10("an array that claims 2147483647 images", claims, "bytes of the array \"data\": 6144 (expected 2147483647 × 3072")
bad_cifar10("a string of 2147483647 bytes", b"\x80\x02T\xff\xff\xff\x7fabc", "ends inside of a string: 3 bytes (expected 2147483647")
bad_cifar10("a string of negative length", b"\x80\x02T\xff\xff\xff\xffabc", "ends inside of a string: 3 bytes (expected 4294967295")
bad_cifar10("nothing on the stack", b"\x80\x02R.", "REDUCE: no value on the stack")
bad_cifar10("a mark without values", b"\x80\x02e.", "APPENDS: no mark on the stack")
bad_cifar10("a value that is not remembered", b"\x80\x02h\x07.", "BINGET: 7")
for name, pickled in [("tuples", b")" + b"\x85" * 200000), ("lists", b"]" * 200000 + b"a" * 199999),
                      ("dictionaries", b"}" + b"K\x01}" * 200000 + b"s" * 200000)]:
    bad_cifar10("a tower of " + name, b"\x80\x02" + pickled + b".", "the number of lists, tuples and dictionaries: over 1000")
bad_cifar10("an array that is only begun", b"\x80\x02}U\x04data" + dump(data)[2:-1].split(b"R")[0] + b"Rs.",
            "the keys data (expected \"labels\"")

# --- IDX --------------------------------------------------------------------------------------------------------------


def idx(values, kind=8):
    return struct.pack(">BBBB", 0, 0, kind, values.ndim) + b"".join(struct.pack(">I", n) for n in values.shape) + (
        values.astype(numpy.uint8).tobytes())


def zipped(data):
    return gzip.compress(data, 9, mtime=0)


train, test = images(6, 5, 4), images(3, 5, 4)
train_labels, test_labels = numpy.array([0, 2, 1, 2, 0, 1]), numpy.array([2, 0, 1])
LAYOUTS = {
    "IDX": ("", "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    "IDX with dots, below MNIST/raw": ("MNIST/raw/", "train-images.idx3-ubyte", "train-labels.idx1-ubyte",
                                       "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    "IDX, compressed": ("", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
                        "t10k-labels-idx1-ubyte.gz"),
    "IDX, compressed under the plain name, EMNIST": (
        "", "emnist-x-train-images-idx3-ubyte", "emnist-x-train-labels-idx1-ubyte.gz", "emnist-x-test-images-idx3-ubyte",
        "emnist-x-test-labels-idx1-ubyte.gz"),
}
for case, (folder, *names) in LAYOUTS.items():
    for name, values in zip(names, [train, train_labels, test, test_labels]):
        plain = idx(values)
        file(case, folder + name, zipped(plain) if "compressed" in case else plain)
    described(case, "*", 4, 5, 1, ["0", "1", "2"])
    part(case, "train", train_labels, train.reshape(6, -1))
    part(case, "test", test_labels, test.reshape(3, -1))

case = "IDX, two gzip members"
plain = idx(train)
file(case, "train-images-idx3-ubyte.gz", zipped(plain[:50]) + zipped(plain[50:]) + b"\0\0")
file(case, "train-labels-idx1-ubyte", idx(train_labels))
file(case, "t10k-images-idx3-ubyte", idx(test))
file(case, "t10k-labels-idx1-ubyte", idx(test_labels))
say(case, "option", "classes", "a,b,c,d")
described(case, "*", 4, 5, 1, ["a", "b", "c", "d"])
part(case, "train", train_labels, train.reshape(6, -1))
part(case, "test", test_labels, test.reshape(3, -1))


def bad_idx(case, pictures, labels, error, suffix=""):
    file(case, "train-images-idx3-ubyte" + suffix, pictures)
    if labels is not None:
        file(case, "train-labels-idx1-ubyte", labels)
    say(case, "error", error)


labels = idx(train_labels)
bad_idx("IDX of floats", struct.pack(">BBBBIII", 0, 0, 0x0d, 3, 1, 2, 2) + bytes(16), labels,
        "byte 0: the magic number of images: 0x00000d03 (expected 0x00000803")
bad_idx("IDX in two dimensions", idx(train.reshape(6, -1)), labels, "0x00000802 (expected 0x00000803")
bad_idx("IDX, little-endian", struct.pack("<IIII", 0x803, 6, 5, 4) + bytes(120), labels, "0x03080000")
bad_idx("IDX cut short", plain[:100], labels, "byte 96: the file ends inside of image 4: 4 bytes (expected 20)")
bad_idx("IDX with more behind it", plain + b"x", labels, "byte 136: more bytes than its header says")
bad_idx("IDX that claims 4 billion images", struct.pack(">IIII", 0x803, 0xffffffff, 5, 4) + bytes(20), struct.pack(
    ">II", 0x801, 0xffffffff) + bytes(9), "ends inside of the 4294967295 labels: 9 bytes")
bad_idx("IDX that claims pixels beyond measure", struct.pack(">IIII", 0x803, 1, 0xffffffff, 0xffffffff), labels,
        "byte 8: the size of the images: 4294967295 × 4294967295")
bad_idx("IDX of empty images", struct.pack(">IIII", 0x803, 6, 0, 4), labels, "the size of the images: 0 × 4")
bad_idx("IDX without labels", plain, None, "has no labels beside it")
bad_idx("IDX with other labels", plain, idx(test_labels), "the number of labels: 3 (expected 6")
bad_idx("IDX, an empty file", b"", labels, "byte 0: the file ends inside of the magic number: 0 bytes (expected 4)")
bad_idx("IDX, gzip cut short", zipped(plain)[:40], labels, "damaged or cut short", ".gz")
damaged = bytearray(zipped(plain))
damaged[-6] ^= 1
bad_idx("IDX, gzip with a wrong checksum", bytes(damaged), labels, "incorrect data check", ".gz")
bad_idx("IDX, gzip with something behind it", zipped(plain) + b"garbage", labels, "incorrect header check", ".gz")
zeros = struct.pack(">IIII", 0x803, 100, 1024, 1024) + bytes(100 << 20)
bad_idx("IDX, a bomb", zipped(zeros), struct.pack(">II", 0x801, 100) + bytes(100), "unpacks to more than 200 times", ".gz")

# --- npz --------------------------------------------------------------------------------------------------------------


def npz(compressed=False, **arrays):
    target = io.BytesIO()
    (numpy.savez_compressed if compressed else numpy.savez)(target, **arrays)
    return target.getvalue()


def good_npz(case, data, shape, labels, planes, test_labels, test_planes, classes):
    file(case, "set.npz", data)
    described(case, "set", *shape, classes)
    part(case, "train", labels, planes)
    part(case, "test", test_labels, test_planes)


digits = ["0", "1", "2"]
grey = (4, 5, 1)
for compressed in [False, True]:
    good_npz("npz as Keras has MNIST" + (", compressed" if compressed else ""),
             npz(compressed, x_train=train, y_train=train_labels.astype("u1"), x_test=test, y_test=test_labels.astype("u1")),
             grey, train_labels, train.reshape(6, -1), test_labels, test.reshape(3, -1), digits)
for kind in ["i1", "u2", "<i2", "<u4", "<i4", "<i8", "<u8"]:
    good_npz("npz with labels of the type " + kind,
             npz(True, x_train=train, y_train=train_labels.astype(kind), x_test=test, y_test=test_labels.astype(kind)),
             grey, train_labels, train.reshape(6, -1), test_labels, test.reshape(3, -1), digits)
colour, colour_test = images(6, 5, 4, 3), images(3, 5, 4, 3)
planes, planes_test = (x.transpose(0, 3, 1, 2).reshape(len(x), -1) for x in (colour, colour_test))
good_npz("npz as MedMNIST has it", npz(
    False, train_images=colour, train_labels=train_labels.reshape(-1, 1), val_images=colour_test,
    val_labels=test_labels.reshape(-1, 1), test_images=colour_test, test_labels=test_labels.reshape(-1, 1)),
    (4, 5, 3), train_labels, planes, test_labels, planes_test, digits)
good_npz("npz, channels first", npz(
    False, x_train=numpy.ascontiguousarray(colour.transpose(0, 3, 1, 2)), y_train=train_labels,
    x_test=numpy.ascontiguousarray(colour_test.transpose(0, 3, 1, 2)), y_test=test_labels),
    (4, 5, 3), train_labels, planes, test_labels, planes_test, digits)
good_npz("npz of points", npz(
    False, X_train=train.reshape(6, -1), y_train=train_labels, X_test=test.reshape(3, -1), y_test=test_labels),
    (1, 1, 20), train_labels, train.reshape(6, -1), test_labels, test.reshape(3, -1), digits)


class Streamed(io.BytesIO):
    """Makes zipfile write sizes behind the bytes, as for a pipe."""

    def seekable(self):
        return False

    def tell(self):
        raise io.UnsupportedOperation


target = Streamed()
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, values in [("images", train), ("labels", train_labels), ("test_images", test), ("test_labels", test_labels)]:
        with archive.open(name + ".npy", "w", force_zip64=True) as entry:
            numpy.lib.format.write_array(entry, values)
good_npz("npz written to a pipe, with ZIP64", target.getvalue(), grey, train_labels, train.reshape(6, -1), test_labels,
         test.reshape(3, -1), digits)


def bad_npz(case, data, error):
    file(case, "set.npz", data)
    say(case, "error", error)


bad_npz("npz of objects", npz(images=numpy.array([1, "a", None], dtype=object), labels=train_labels), "objects that only Python can load")
bad_npz("npz with labels that are objects", npz(images=train, labels=numpy.array([0, 1, 2, 0, 1, None], dtype=object)),
        "objects that only Python can load")
bad_npz("npz of floats", npz(images=train / 255, labels=train_labels), "the type of the images: <f8")
bad_npz("npz of 16 bits", npz(images=train.astype("u2"), labels=train_labels), "the type of the images: <u2")
bad_npz("npz with big-endian labels", npz(images=train, labels=train_labels.astype(">i4")), "the type of the labels: >i4")
bad_npz("npz with labels of floats", npz(images=train, labels=train_labels.astype("f4")), "the type of the labels: <f4")
bad_npz("npz with labels of text", npz(images=train, labels=numpy.array(list("abcabc"))), "the type of the labels: <U1")
bad_npz("npz with structured labels", npz(images=train, labels=numpy.zeros(6, dtype=[("a", "u1"), ("b", "u1")])),
        "the type of the labels: [('a', '|u1'), ('b', '|u1')]")
bad_npz("npz in Fortran order", npz(images=numpy.asfortranarray(train), labels=train_labels), "fortran_order True")
bad_npz("npz with labels as unit vectors", npz(images=train, labels=numpy.eye(3, dtype="u1")[train_labels]), "labels.argmax(1)")
bad_npz("npz with fewer labels", npz(images=train, labels=train_labels[:5]), "the shape of the labels: [5] (expected [6]")
bad_npz("npz with a negative label", npz(images=train, labels=train_labels - 1), "label 0: -1 (expected 0 to 255)")
bad_npz("npz with a negative label in a byte", npz(images=train, labels=(train_labels - 1).astype("i1")), "label 0: -1 (expected")
bad_npz("npz with a label of 256", npz(images=train, labels=train_labels + 254), "label 1: 256 (expected 0 to 255)")
bad_npz("npz of one class", npz(images=train, labels=train_labels * 0), "wrong number of classes: 1")
bad_npz("npz of four channels", npz(images=images(6, 5, 4, 4), labels=train_labels), "the shape of the images: [6, 5, 4, 4]")
bad_npz("npz of five dimensions", npz(images=images(6, 5, 4, 3, 2), labels=train_labels), "the shape of the images: [6, 5, 4, 3, 2]")
bad_npz("npz without dimensions", npz(images=numpy.uint8(3), labels=train_labels), "the shape of the images: []")
bad_npz("npz with other names", npz(pictures=train, classes=train_labels), "the arrays: pictures.npy, classes.npy")
whole = npz(x_train=train, y_train=train_labels, x_test=test, y_test=test_labels)
bad_npz("npz cut short", whole[:-30], "no list of its entries")
bad_npz("npz that is empty", b"", "no list of its entries")
bad_npz("npz that is none", b"\x93NUMPY" + bytes(100), "no list of its entries")
changed = bytearray(whole)
changed[whole.index(train.tobytes()) + 3] ^= 1
bad_npz("npz with a changed pixel", bytes(changed), "the bytes have the wrong checksum")
# The flags stand behind the signature and two versions of two bytes.
changed = bytearray(whole)
for at in [at for at in range(len(whole)) if whole[at:at + 4] == b"PK\x01\x02"]:
    changed[at + 8] |= 1
bad_npz("npz, encrypted", bytes(changed), "encrypted bytes")
target = io.BytesIO()
with zipfile.ZipFile(target, "w", zipfile.ZIP_BZIP2) as archive:
    for name, values in [("images", train), ("labels", train_labels)]:
        buffer = io.BytesIO()
        numpy.save(buffer, values)
        archive.writestr(name + ".npy", buffer.getvalue())
bad_npz("npz compressed by bzip2", target.getvalue(), "the compression method 12")
header = b"\x93NUMPY\x01\0\x76\0" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000, 1024, 1024), }".ljust(117) + b"\n"
label_header = b"\x93NUMPY\x01\0\x76\0" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,), }".ljust(117) + b"\n"
target = io.BytesIO()
with zipfile.ZipFile(target, "w") as archive:
    archive.writestr("images.npy", header + b"abc")
    archive.writestr("labels.npy", label_header + b"abc")
bad_npz("npz that claims 4 petabytes", target.getvalue(), "the file ends inside of label 3: 0 bytes (expected 1)")
target = io.BytesIO()
with zipfile.ZipFile(target, "w") as archive:
    archive.writestr("images.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b"{'descr'")
    archive.writestr("labels.npy", label_header)
bad_npz("npz with a header of 4 GB", target.getvalue(), "the size of the header: 4294967295")
target = io.BytesIO()
with zipfile.ZipFile(target, "w") as archive:
    archive.writestr("../../images.npy", header)
    archive.writestr("/etc/labels.npy", label_header)
bad_npz("npz with paths as names", target.getvalue(), "the arrays: ../../images.npy, /etc/labels.npy")
