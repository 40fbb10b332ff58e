"""The graphs of a ``caca-rnn`` bundle: two extractors, CACA-RNN, and Context-RNN for clips without a face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from moodreel.lab.models.caca_rnn import CacaRnn
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem, fallback_settings
from moodreel.lab.onnx_caca_rnn import write_caca_rnn_onnx
from moodreel.lab.onnx_files import compare_onnx, save_onnx, trace_onnx
from moodreel.lab.settings_caca_rnn import CacaRnnSettings

LENGTHS = ((1, 1), (2, 5), (7, 7), (33, 40))
"""(faces, context frames) of the clips that ONNX Runtime and torch are compared on."""


class ExtractorGraph(nn.Module):
    """One extractor from pixels: uint8 [N, S, S, 3] -> features [N, F].

    Args:
        net: the extractor.
        read: its features of pixels.
    """

    def __init__(self, net: nn.Module, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self._read = read

    def forward(self, frames: Tensor) -> Tensor:
        """Runs the extractor."""
        return self._read(frames)


def write_graphs(net: CacaRnnSystem, settings: CacaRnnSettings, folder: Path) -> None:
    """Writes the four files, each compared with torch.

    Raises:
        BundleError: ONNX Runtime and torch disagree.
    """
    read = net.extractors
    generator = torch.Generator().manual_seed(0)
    for file, extractor, run, size in (
        ("face.onnx", read.face, read.read_faces, settings.face_size),
        ("context.onnx", read.context, read.read_context, settings.context_size),
    ):
        graph = ExtractorGraph(extractor, run).eval()
        pixels = [
            torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
            for count in (2, 1, 5)
        ]
        save_onnx(trace_onnx(graph, pixels[0], ["features"]), folder / file)
        with torch.no_grad():
            compare_onnx(folder / file, [({"frames": p}, [graph(p)]) for p in pixels])
    for file, rnn, own in (
        ("model.onnx", net.rnn, settings),
        ("fallback.onnx", net.fallback, fallback_settings(settings)),
    ):
        save_onnx(write_caca_rnn_onnx(rnn, own), folder / file)
        compare_onnx(folder / file, [_case(rnn, own, *lengths) for lengths in LENGTHS])


def _case(
    net: CacaRnn, settings: CacaRnnSettings, faces: int, frames: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Inputs of one clip, and what torch says of it."""
    if settings.network == "concatenated":
        frames = faces
    generator = torch.Generator().manual_seed(faces)
    streams = {
        "face": torch.rand((faces, settings.face_features), generator=generator),
        "context": torch.rand((frames, settings.context_features), generator=generator),
    }
    reads = {"face": settings.reads_face, "context": settings.reads_context}
    lengths = {name: torch.tensor([len(x)]) for name, x in streams.items()}
    with torch.no_grad():
        out = net(streams["face"][None], streams["context"][None], lengths["face"], lengths["context"])
    expected = [torch.softmax(out.logits[0], dim=0)]
    if out.attention is not None:
        expected.append(out.attention[0])
    return {name: x for name, x in streams.items() if reads[name]}, expected
