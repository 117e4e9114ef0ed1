"""Writes the small PyTorch files of tests/fixtures/pytorch with the Python and PyTorch that run it.

    python2.7  scripts/make_pytorch_fixtures.py tests/fixtures/pytorch legacy               # torch 1.0.0, numpy 1.16
    python3.6  scripts/make_pytorch_fixtures.py tests/fixtures/pytorch legacy               # torch 1.0.0, numpy 1.16
    python3.7  scripts/make_pytorch_fixtures.py tests/fixtures/pytorch legacy zip script    # torch 1.8.1
    python3.11 scripts/make_pytorch_fixtures.py tests/fixtures/pytorch tar legacy script    # torch 2.13.0

``tar`` is what PyTorch up to 0.1.9 wrote; no such wheel is left, so it is put together here by what its loader,
which PyTorch still has, reads. The script is valid Python 2 and 3. Tests import `contents` to know what is inside.
"""

from __future__ import print_function

import io
import os
import pickle
import struct
import sys
import tarfile
from collections import OrderedDict

import torch


def values(count, dtype):
    """A vector that is exact in every dtype, with both signs where there are signs."""
    numbers = (torch.arange(count, dtype=torch.int64) * 7919 + 13) % 251 - 120
    if dtype == torch.uint8:
        return numbers.abs().to(dtype)
    return (numbers.to(torch.float32) / 8).to(dtype) if dtype.is_floating_point else numbers.to(dtype)


def contents():
    """A checkpoint of a training run: every dtype that PyTorch 1.0 has, views, shared storages, an optimizer."""
    base = values(60, torch.float32).reshape(3, 4, 5)
    state = OrderedDict()
    for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8"):
        state["module.kinds." + name] = values(7, getattr(torch, name))
    state["module.transposed"] = base.permute(2, 0, 1)
    state["module.sliced"] = base[1:, ::2, 1:4]
    state["module.tail"] = base[2]
    state["module.shared"] = base
    state["module.empty"] = torch.zeros(0, 3)
    state["module.bn.num_batches_tracked"] = torch.tensor(41)
    state["module.fc.weight"] = values(300 * 4, torch.float32).reshape(4, 300)
    return state


def checkpoint():
    """The state dict as a training script keeps it."""
    weights = values(6, torch.float32).requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=0.5, momentum=0.9)
    weights.sum().backward()
    optimizer.step()
    return {"epoch": 3, "arch": "r3d", "state_dict": contents(), "optimizer": optimizer.state_dict()}


def network():
    """A module with modules in it, one of them shared, for TorchScript."""
    inner = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 1), torch.nn.BatchNorm3d(3))
    module = torch.nn.Sequential(
        OrderedDict([("first", inner), ("second", torch.nn.Conv3d(3, 2, 1, bias=False))])
    )
    for number, (_, tensor) in enumerate(sorted(module.state_dict().items())):
        if tensor.dtype.is_floating_point:
            tensor.copy_(values(tensor.numel() + number, torch.float32)[number:].reshape(tensor.shape))
        else:
            tensor.fill_(17)
    return module.eval()


def tar_bytes(value):
    """What PyTorch 0.1.9 wrote for a value of dictionaries and tensors."""
    tensors, storages, views = OrderedDict(), OrderedDict(), []

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, torch.Tensor):
                return None
            tensors[id(item)] = item
            return str(id(item))

    out = io.BytesIO()
    Pickler(out, 2).dump(value)
    members = [("sys_info", pickle.dumps({"protocol_version": 1000, "little_endian": True}, 2))]
    members.append(("pickle", out.getvalue()))
    body = pickle.dumps(len(tensors), 2)
    for key, tensor in tensors.items():
        storage = tensor.untyped_storage()
        kind = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long"}[
            str(tensor.dtype)[6:]
        ]
        storages.setdefault(storage.data_ptr(), (kind + "Storage", storage, tensor.element_size()))
        root = storage.data_ptr()
        if (
            not views and tensor.storage_offset() and tensor.is_contiguous()
        ):  # one storage that is a part of another
            first, count = tensor.storage_offset(), tensor.numel()
            views.append((7, root, first, count))
            root, offset = 7, 0
        else:
            offset = tensor.storage_offset()
        body += pickle.dumps((key, root, getattr(torch, kind + "Tensor")), 2)
        axes = tensor.dim()
        body += struct.pack("<ii", axes, 0)
        body += struct.pack("<%dq" % (2 * axes + 1), *(list(tensor.shape) + list(tensor.stride()) + [offset]))
    members.append(("tensors", body))
    body = pickle.dumps(len(storages), 2)
    for key, (kind, storage, size) in storages.items():
        body += pickle.dumps((key, "cpu", getattr(torch, kind)), 2)
        body += struct.pack("<q", storage.nbytes() // size) + bytes(bytearray(storage.tolist()))
    members.append(("storages", body + pickle.dumps(views, 2)))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = (
                len(data),
                1485000000.25,
            )  # a fraction makes an extended header, as it did then
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_contents():
    """What ``tar`` holds: PyTorch 0.1.9 had neither scalars nor empty tensors."""
    wanted = ("float64", "float32", "float16", "int64", "transposed", "sliced", "tail", "shared", "weight")
    return OrderedDict((name, item) for name, item in contents().items() if name.endswith(wanted))


def main(folder, kinds):
    """Write the files of these kinds; their names tell who wrote them."""
    major, minor = sys.version_info[:2]
    writer = "py%d%d-torch%s" % (major, minor, torch.__version__.partition("+")[0])
    for kind in kinds:
        path = os.path.join(folder, "%s-%s.pth" % (kind, writer))
        if kind == "script":
            torch.jit.script(network()).save(path)
        elif kind == "tar":
            with open(path, "wb") as out:
                out.write(tar_bytes({"epoch": 3, "state_dict": tar_contents()}))
        elif kind == "legacy" and sys.version_info[0] == 3 and torch.__version__ >= "1.6":
            torch.save(checkpoint(), path, _use_new_zipfile_serialization=False)
        else:
            torch.save(checkpoint(), path)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
