"""A GPU that is not there: tensors lie on the CPU and say that they are on `simulated:0`.

Code for a GPU goes wrong in ways that no CPU shows: operands on two devices, an array taken from
device memory, a generator of the other side. Inside `simulated_device()` every tensor that is made
on the device or moved to it is a `DeviceTensor`, whose operations are computed on the CPU after the
checks that CUDA would make. It says nothing about speed, nor about CUDA's own kernels; a sparse
tensor of it says that it is dense, and the fused GRU is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

NAME = "simulated"


class BackendModule(torch.utils.backend_registration._DummyBackendModule):
    """What `torch.autocast` and `torch.random.fork_rng` ask a device for."""

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        """Its random numbers are the CPU's, which are put back by themselves."""

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
INDEXING = (
    aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_,
    aten._unsafe_index, aten._unsafe_index_put,
)  # fmt: skip
"""What takes indices on the CPU for a tensor on the device."""
WITH_A_NUMBER = (
    aten.fill, aten.fill_, aten.masked_fill, aten.masked_fill_, aten.where, *INDEXING,
)  # fmt: skip
"""What takes one number on the CPU though it is not pointwise."""
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


class Generators(TorchFunctionMode):
    """Refuses a generator of the other side; below, one has lost where it says it is."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        named = named or {}
        flat = tree_flatten((arguments, named))[0]
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        device = named.get("device") or (tensors[0].device if tensors else CPU)
        for generator in (value for value in flat if isinstance(value, SimulatedGenerator)):
            if generator.device.type != torch.device(device).type:
                raise WrongDevice(
                    f"{function}: a generator on {generator.device} for numbers on {device}"
                )
        return function(*arguments, **named)


class DeviceTensor(torch.Tensor):
    """A tensor that says it is on the device; `inner` holds its numbers."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> DeviceTensor:
        place = {}
        if inner.layout == torch.strided:
            place = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        tensor: DeviceTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), dtype=inner.dtype, device=DEVICE, **place
        )
        tensor.inner = inner
        return tensor

    def __repr__(self, *arguments: Any, **named: Any) -> str:
        return f"DeviceTensor({self.inner!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceTensor:
        if id(self) not in memo:
            made = DeviceTensor(self.inner.detach().clone()).requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                made._is_param = True
            memo[id(self)] = made
        return memo[id(self)]

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
        # It tells tensors apart. `graphcl.kernels.compiled.address` is what gives it to kernels.
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
    """The result on the CPU, said to be on the device where CUDA's would be."""
    tensors = [v for v in tree_flatten((arguments, named))[0] if isinstance(v, torch.Tensor)]
    involved = any(isinstance(tensor, DeviceTensor) for tensor in tensors)
    packet, wanted = function.overloadpacket, named.get("device")
    on_device = involved if wanted is None else torch.device(wanted).type == NAME
    if not on_device and not involved:
        return function(*arguments, **named)
    if packet not in ACROSS:
        check(packet, arguments, tensors)
    inner_arguments, inner_named = tree_map(
        lambda value: value.inner if isinstance(value, DeviceTensor) else value,
        (arguments, named),
    )
    if wanted is not None:
        inner_named["device"] = CPU
        inner_named.pop("pin_memory", None)
    result = function(*inner_arguments, **inner_named)
    if packet is aten.copy_ and not isinstance(arguments[0], DeviceTensor):
        return arguments[0]
    if not on_device:
        return result
    wrapped = tree_map(
        lambda value: DeviceTensor(value) if type(value) is torch.Tensor else value, result
    )
    if packet in SPARSE:
        return wrapped
    return return_and_correct_aliasing(function, arguments, named, wrapped)


def check(packet: Any, arguments: Any, tensors: list[torch.Tensor]) -> None:
    """Refuse tensors that CUDA would refuse together."""
    if packet in INDEXING:
        target, indices = arguments[0], arguments[1]
        if not isinstance(target, DeviceTensor) and any(
            isinstance(index, DeviceTensor) for index in indices
        ):
            raise WrongDevice(f"{packet}: a CPU tensor indexed by one on the device")
        tensors = [target, *(value for value in arguments[2:] if isinstance(value, torch.Tensor))]
    # One number on the CPU may take part in what is done number by number.
    takes_a_number = packet in WITH_A_NUMBER or any(
        torch.Tag.pointwise in getattr(packet, name).tags for name in packet.overloads()
    )
    sides = {
        isinstance(tensor, DeviceTensor)
        for tensor in tensors
        if isinstance(tensor, DeviceTensor) or tensor.dim() > 0 or not takes_a_number
    }
    if len(sides) == 2:
        raise WrongDevice(f"{packet}: tensors on the device and on the CPU")


@contextmanager
def simulated_device() -> Iterator[torch.device]:
    """The device for the length of a block."""
    tensor_function = torch.tensor

    # These two make the numbers on the CPU and move them where no mode looks.
    def make_tensor(data: Any, **named: Any) -> torch.Tensor:
        device = named.pop("device", None)
        made = tensor_function(data, **named)
        return made if device is None else made.to(device)

    def as_tensor(data: Any, **named: Any) -> torch.Tensor:
        if isinstance(data, torch.Tensor):
            return data.to(**named)
        return make_tensor(data, **named)

    with (
        mock.patch.object(torch, "tensor", make_tensor),
        mock.patch.object(torch, "as_tensor", as_tensor),
        mock.patch.object(torch, "Generator", SimulatedGenerator),
        Device(),
        Generators(),
    ):
        yield DEVICE
