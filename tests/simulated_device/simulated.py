"""A CUDA device that is not there: tensors lie on the CPU and say that they are on `cuda:0`.

Code for a GPU goes wrong in ways that no CPU shows: operands on two devices, an array taken from
device memory, a compiled kernel given an address of it, a generator of the other side. Inside
`simulated_device()` every tensor that is made on or moved to "cuda" is a `DeviceTensor`, whose
operations are computed on the CPU after the check that CUDA would make. It says nothing about
speed or about CUDA's own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

NAME = "simulated"


class BackendModule(torch.utils.backend_registration._DummyBackendModule):
    """What `torch.autocast` asks a device for."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


torch.utils.backend_registration._setup_privateuseone_for_python_backend(
    NAME, backend_module=BackendModule()
)
DEVICE = torch.device(NAME, 0)
CPU = torch.device("cpu")
aten = torch.ops.aten
ACROSS = (aten._to_copy, aten.copy_, aten.set_)
"""What takes tensors of two devices."""
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_,
            aten._unsafe_index, aten._unsafe_index_put)  # fmt: skip
SPARSE = (aten._sparse_csr_tensor_unsafe, aten._sparse_compressed_tensor_unsafe)


class WrongDevice(RuntimeError):
    """What CUDA would refuse."""


class SimulatedGenerator(torch.Generator):
    """A generator that says it is where it was asked for."""

    def __new__(cls, device: Any = "cpu") -> SimulatedGenerator:
        generator = super().__new__(cls)
        generator.claimed = torch.device(device)
        return generator

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.claimed


class DeviceTensor(torch.Tensor):
    """A tensor that says it is on the device; `inner` holds its numbers."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> DeviceTensor:
        place = {}
        if inner.layout == torch.strided:
            place = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        # A wrapper cannot be sparse; it says that it is dense.
        tensor: DeviceTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), dtype=inner.dtype, device=DEVICE, **place
        )
        tensor.inner = inner
        return tensor

    def __repr__(self, *arguments: Any, **named: Any) -> str:
        return f"DeviceTensor({self.inner!r})"

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=DEVICE)

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise WrongDevice("an array of a tensor on the device; give it to the CPU first")
        return self.inner.detach().numpy(force=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise WrongDevice("an array of a tensor on the device; give it to the CPU first")

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        return dispatched(function, arguments, named or {})


class Device(TorchDispatchMode):
    """Catches what has no tensor on the device among its arguments: factories and moves."""

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        return dispatched(function, arguments, named or {})


def dispatched(function: Any, arguments: Any, named: dict[str, Any]) -> Any:
    """The result on the CPU, on the device where CUDA's would be."""
    flat, _ = tree_flatten((arguments, named))
    tensors = [value for value in flat if isinstance(value, torch.Tensor)]
    packet = getattr(function, "overloadpacket", None)
    wanted = named.get("device")
    if wanted is not None:
        on_device = torch.device(wanted).type == NAME
    else:
        on_device = any(isinstance(tensor, DeviceTensor) for tensor in tensors)
    if packet not in ACROSS:
        check(packet, arguments, tensors, named, on_device)
    if on_device or any(isinstance(tensor, DeviceTensor) for tensor in tensors):
        inner_arguments, inner_named = tree_map(
            lambda value: value.inner if isinstance(value, DeviceTensor) else value,
            (arguments, named),
        )
        if wanted is not None:
            inner_named["device"] = CPU
            inner_named.pop("pin_memory", None)
        generator = inner_named.get("generator")
        if generator is not None:
            inner_named["generator"] = generator
        result = function(*inner_arguments, **inner_named)
        if packet is aten.copy_ and not isinstance(arguments[0], DeviceTensor):
            return arguments[0]
        if wanted is not None and not on_device:
            # `.cpu()` of a CPU tensor would not copy.
            return result
        if not on_device:
            return result
        wrapped = tree_map(
            lambda value: (
                DeviceTensor(value)
                if isinstance(value, torch.Tensor) and not isinstance(value, DeviceTensor)
                else value
            ),
            result,
        )
        if packet in SPARSE:
            return wrapped
        return return_and_correct_aliasing(function, arguments, named, wrapped)
    return function(*arguments, **named)


def check(
    packet: Any, arguments: Any, tensors: list[torch.Tensor], named: dict[str, Any], on_device: bool
) -> None:
    """Refuse what CUDA would refuse."""
    generators = [
        value for value in tree_flatten((arguments, named))[0] if isinstance(value, torch.Generator)
    ]
    for generator in generators:
        if (generator.device.type == NAME) != on_device:
            raise WrongDevice(
                f"{packet}: generator on {generator.device}, tensors on the other side"
            )
    if packet in INDEXING:
        target, indices = arguments[0], [index for index in arguments[1] if index is not None]
        if not isinstance(target, DeviceTensor) and any(
            isinstance(index, DeviceTensor) for index in indices
        ):
            raise WrongDevice(f"{packet}: a CPU tensor indexed by one on the device")
        tensors = [target, *(value for value in arguments[2:] if isinstance(value, torch.Tensor))]
    devices = {
        isinstance(tensor, DeviceTensor)
        for tensor in tensors
        if isinstance(tensor, DeviceTensor) or tensor.dim() > 0
    }
    if len(devices) == 2:
        raise WrongDevice(f"{packet}: tensors on the device and on the CPU")


@contextmanager
def simulated_device() -> Iterator[torch.device]:
    """The device for the length of a block."""

    def make_tensor(data: Any, **named: Any) -> torch.Tensor:
        device = named.pop("device", None)
        made = tensor_function(data, **named)
        return made if device is None else made.to(device)

    def as_tensor(data: Any, **named: Any) -> torch.Tensor:
        if isinstance(data, torch.Tensor):
            return data.to(**named)
        return make_tensor(data, **named)

    tensor_function = torch.tensor
    with (
        mock.patch.object(torch, "as_tensor", as_tensor),
        mock.patch.object(torch, "tensor", make_tensor),
        mock.patch.object(torch, "Generator", SimulatedGenerator),
        Device(),
    ):
        yield DEVICE
