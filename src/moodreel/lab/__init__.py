"""The lab: train, evaluate and export. Everything that imports torch lives here.

Nothing outside this package imports it but the command line, inside its functions.
"""

from __future__ import annotations

from moodreel.errors import MissingExtra

try:
    import torch
except ImportError as error:  # pragma: no cover - exercised by the core-only check
    raise MissingExtra("lab", "training, evaluation and export") from error


def _declare_missing_torchvision_operators() -> None:
    """Makes torchvision importable where its compiled operators cannot load.

    A torchvision built for another torch (the registry's CUDA build beside a CPU torch) fails at
    import because it describes operators that its own library did not bring. The networks and
    weights need none of them; declared by name, they let the Python part import. Calling one of them
    still fails, as it should.
    """
    declared: set[str] = set()
    while True:
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            words = str(error).split()
            name = next((w for w in words if w.startswith("torchvision::")), None)
            if name is None or name in declared or "does not exist" not in str(error):
                raise
            declared.add(name)
            torch.library.define(name, "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except ImportError:
            return
        else:
            return


_declare_missing_torchvision_operators()
