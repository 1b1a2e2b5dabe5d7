"""How large a decoded image may be: asked before memory is taken."""

from __future__ import annotations

from pathlib import Path

import psutil

from bagscope.errors import ImageReadError

# PNG, JPEG and BMP cannot be read in parts, so all of such a picture is in memory at once; 2 GiB is
# twelve times what Pillow takes for a bomb (179 million pixels).
LARGEST_UNDIVIDED = 2 << 30
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the bytes this process may still take: of the machine, its container and its own limit."""
    return max(0, min(psutil.virtual_memory().available, _container_leaves(), _limit_leaves()))


def allowed_bytes(max_bytes: int, *, undivided: bool = False) -> int:
    """Return the largest decoded image: `max_bytes` when given, else a quarter of the free memory."""
    if max_bytes:
        return max_bytes
    quarter = free_memory() // 4
    return min(quarter, LARGEST_UNDIVIDED) if undivided else quarter


def refuse_larger(needed: int, allowed: int, what: str = "the image") -> None:
    """Refuse what would take more memory than is allowed.

    Raises
    ------
    ImageReadError : code "too_large", with both sizes.
    """
    if needed > allowed:
        cause = f"{what} takes {needed / 1e9:,.2f} GB decoded, {allowed / 1e9:,.2f} GB are allowed"
        fix = f"If it is meant to be so large, use --set images.max_gb={max(1, -(-needed // 10**9))}."
        raise ImageReadError(cause, fix, code="too_large")


def _container_leaves() -> int:
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        # Files that were read lately count as used, but give way at once.
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used -= int(counts.get("inactive_file", 0))
    except (OSError, ValueError):
        return 1 << 62
    return (1 << 62) if most == "max" else int(most) - used


def _limit_leaves() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 62
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (1 << 62) if most == resource.RLIM_INFINITY else most - psutil.Process().memory_info().vms
