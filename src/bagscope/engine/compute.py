"""Where the work is done: device, number format and threads, decided once."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from bagscope.errors import SettingsError
from bagscope.settings.sections import ComputeSection

# Names of mallopt's parameters, from malloc.h; _USUAL is where glibc's own rule ends up after large blocks.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER_TRIM = 2**31 - 1
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@dataclass(frozen=True)
class Execution:
    """Where and how a training computes.

    bf16 : multiply in bfloat16.
    seed, stream : of dropout. Two trainings with one seed draw independent numbers when their streams differ.
    """

    device: torch.device
    bf16: bool = False
    seed: int = 0
    stream: int = 4


def device_of(compute: ComputeSection) -> torch.device:
    """Return the device asked for; auto takes a GPU when there is one.

    Raises
    ------
    SettingsError : a GPU that is not there.
    """
    wanted = compute.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            cause = f"no device {wanted}: this machine has {count} CUDA device(s)"
            raise SettingsError(cause, "Use --device cpu (slower, same results within rounding).", code="no_device")
    return device


def trains_in_bf16(compute: ComputeSection, device: torch.device) -> bool:
    """Tell whether training multiplies in bfloat16: when asked, or when the hardware does it natively."""
    if compute.precision != "auto":
        return compute.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(ask() for ask in native if ask is not None)


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on a device, weights of images or volumes with their channels last, which is faster there."""
    ranks = {parameter.ndim for parameter in network.parameters()}
    last = torch.channels_last_3d if 5 in ranks else torch.channels_last
    if {4, 5} <= ranks:
        return network.to(device)
    return network.to(device, memory_format=last)  # type: ignore[call-overload]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use this many CPU threads for a while; 0 leaves the number as it is."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed for the next tensors for a while, and give it back at the end.

    glibc returns each block above 32 MiB to the system at once and gets it back as pages that are cleared one
    by one: a third of a training step (benchmarks/README.md). Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)
