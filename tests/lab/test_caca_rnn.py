"""CACA-RNN, its relatives and the 2D-3D-CNN against float64 references written from the paper."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel.errors import DataError, SettingsError
from moodreel.lab.layers.dot_attention import AttentiveLSTM, SequenceLSTM, attend, mask_padding
from moodreel.lab.models.caca_rnn import build_caca_rnn
from moodreel.lab.models.cnn_2d_3d import Cnn2d3d
from moodreel.lab.settings_caca_rnn import NETWORKS, SUBMITTED_CACA_RNN, CacaRnnSettings
from reference import caca_rnn as reference

RNNS = NETWORKS[:-1]
SMALL = {"face_features": 24, "context_features": 40}
FACES, FRAMES = [5, 1, 3], [2, 6, 4]

each_network = pytest.mark.parametrize("network", RNNS)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_network(chosen):
    """In float64, every bias at random and attention far from uniform."""
    net = build_caca_rnn(chosen).double().eval()
    with torch.no_grad():
        for value in net.parameters():
            value += 0.1 * torch.randn_like(value)
    return net


def make_streams(chosen, faces, frames):
    face = torch.randn(len(faces), max(faces), chosen.face_features).double()
    context = torch.randn(len(frames), max(frames), chosen.context_features).double()
    return face, context, torch.tensor(faces), torch.tensor(frames)


def to_numpy(tensor):
    return tensor.detach().numpy()


def dense(layer):
    """A fully connected layer of the reference; of an encoder, its only one."""
    if isinstance(layer, torch.nn.Identity):
        return None
    layer = layer[0] if isinstance(layer, torch.nn.Sequential) else layer
    return to_numpy(layer.weight), to_numpy(layer.bias)


def gates(module):
    """Layers of the reference."""
    if isinstance(module, AttentiveLSTM):
        names = [[f"nodes.{n}.{part}" for part in PARTS] for n in range(len(module.nodes))]
    else:
        names = [[f"{part}_l{n}" for part in PARTS] for n in range(module.num_layers)]
    state = module.state_dict()
    return [reference.split_gates(*(to_numpy(state[name]) for name in layer)) for layer in names]


PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def run_reference(net, network, face, context):
    """Logits and attention of one clip, [T, F] and [S, F]."""
    out = dense(net.classify)
    if network in ("face", "context"):
        stream = face if network == "face" else context
        return reference.single(stream, dense(net.encoder), gates(net.rnn), out), None
    if network in ("caca-a", "caca-b"):
        pair = (context, face) if network == "caca-a" else (face, context)
        encoders = dense(net.first_encoder), dense(net.second_encoder)
        return reference.cascade(*pair, encoders, gates(net.first), gates(net.second), out)
    encoders = dense(net.face_encoder), dense(net.context_encoder)
    if network == "parallel":
        layers = gates(net.face_rnn), gates(net.context_rnn)
        return reference.parallel(face, context, encoders, layers, out), None
    return reference.concatenated(face, context, encoders, gates(net.rnn), out), None


class TestNetworks:
    @pytest.mark.parametrize(
        "chosen",
        [*(CacaRnnSettings(network=name, **SMALL) for name in RNNS), SUBMITTED_CACA_RNN],
        ids=[*RNNS, "submitted"],
    )
    def test_networks_are_the_reference(self, chosen):
        net = make_network(chosen)
        frames = FACES if chosen.network == "concatenated" else FRAMES
        streams = make_streams(chosen, FACES, frames)
        out = net(*streams)
        assert out.logits.shape == (3, 8)
        cascade = chosen.network.startswith("caca")
        assert (out.attention is not None) == cascade
        for n in range(3):
            face, context = to_numpy(streams[0][n, : FACES[n]]), to_numpy(streams[1][n, : frames[n]])
            logits, attention = run_reference(net, chosen.network, face, context)
            np.testing.assert_allclose(to_numpy(out.logits[n]), logits, atol=1e-9, rtol=0)
            if cascade:
                whole = np.zeros((6, 5) if chosen.network == "caca-b" else (5, 6))
                whole[: attention.shape[0], : attention.shape[1]] = attention
                np.testing.assert_allclose(to_numpy(out.attention[n]), whole, atol=1e-9, rtol=0)
        if cascade:
            spread = to_numpy(out.attention)[0][: 5 if chosen.network == "caca-a" else 2]
            assert np.ptp(spread[spread > 0]) > 0.01  # else an attention that ignores its query would do

    def test_classes_are_those_of_the_vocabulary(self):
        assert build_caca_rnn(CacaRnnSettings(vocabulary="ekman")).classify.out_features == 7

    def test_parameter_counts_are_table_1(self):
        counts = {
            name: sum(p.numel() for p in build_caca_rnn(CacaRnnSettings(network=name)).parameters())
            for name in RNNS
        }
        assert counts == {
            "face": 1_579_528,
            "context": 1_185_928,
            "parallel": 858_376,
            "concatenated": 1_382_664,
            "caca-a": 790_792,
            "caca-b": 790_792,
        }
        # 25,088 -> 128: 4 128 (25,088 + 130) = 12,911,616; 512 -> 128: 65,664; two layers on 256 and on 128:
        # 512 (258 + 128) + 512 258 = 329,728; classes: 1,032
        submitted = sum(p.numel() for p in build_caca_rnn(SUBMITTED_CACA_RNN).parameters())
        assert submitted == 12_911_616 + 65_664 + 329_728 + 1_032

    def test_b_is_a_with_its_streams_swapped(self):
        a, b = (
            make_network(CacaRnnSettings(network=name, face_features=24, context_features=24))
            for name in ("caca-a", "caca-b")
        )
        b.load_state_dict(a.state_dict())
        chosen = CacaRnnSettings(face_features=24, context_features=24)
        face, context, faces, frames = make_streams(chosen, FACES, FRAMES)
        of_a, of_b = a(face, context, faces, frames), b(context, face, frames, faces)
        torch.testing.assert_close(of_a.logits, of_b.logits, atol=0, rtol=0)
        torch.testing.assert_close(of_a.attention, of_b.attention, atol=0, rtol=0)

    @each_network
    def test_a_stream_that_is_not_read_may_be_missing(self, network):
        chosen = CacaRnnSettings(network=network, **SMALL)
        net = make_network(chosen)
        face, context, lengths, _ = make_streams(chosen, FACES, FACES)
        whole = net(face, context, lengths, lengths).logits
        for name, arguments in (
            ("face", (None, context, None, lengths)),
            ("context", (face, None, lengths, None)),
        ):
            if getattr(chosen, f"reads_{name}"):
                with pytest.raises(DataError, match=f"reads the {name} stream: none was given"):
                    net(*arguments)
            else:
                torch.testing.assert_close(net(*arguments).logits, whole, atol=0, rtol=0)

    @each_network
    def test_what_is_refused(self, network):
        chosen = CacaRnnSettings(network=network, **SMALL)
        net = make_network(chosen)
        face, context, lengths, _ = make_streams(chosen, FACES, FACES)
        stream = "context" if network == "context" else "face"
        for wrong, what in (([5, 0, 3], "clip 1 has length 0"), ([5, 1, 6], "clip 2 has length 6")):
            bad = torch.tensor(wrong)
            with pytest.raises(DataError, match=f"{stream}: {what}, expected 1 to 5"):
                net(face, context, bad, bad)
        with pytest.raises(DataError, match=rf"{stream}: expected \[N, T, \d+\] and N lengths"):
            net(face[..., :7], context[..., :7], lengths, lengths)
        with pytest.raises(DataError, match=rf"{stream}: expected \[N, T, \d+\] and N lengths"):
            net(face, context, lengths[:2], lengths[:2])

    def test_concatenated_joins_one_to_one(self):
        chosen = CacaRnnSettings(network="concatenated", **SMALL)
        net = make_network(chosen)
        face, context, faces, _ = make_streams(chosen, FACES, FACES)
        with pytest.raises(DataError, match=r"one to one, got \[5, 1, 3\] and \[5, 2, 3\]"):
            net(face, context, faces, torch.tensor([5, 2, 3]))
        further = torch.nn.functional.pad(context, (0, 0, 0, 4), value=float("nan"))
        # not to the bit: some processors add up in another order where the rows lie farther apart
        torch.testing.assert_close(
            net(face, further, faces, faces).logits,
            net(face, context, faces, faces).logits,
            atol=1e-12,
            rtol=1e-12,
        )

    @each_network
    def test_gradients_reach_everything_past_any_padding(self, network):
        chosen = CacaRnnSettings(network=network, **SMALL)
        net = make_network(chosen)
        face, context, lengths, _ = make_streams(chosen, FACES, FACES)
        out = torch.nan  # in the padding
        face[~mask_padding(lengths, 5)], context[~mask_padding(lengths, 5)] = out, out
        net(face, context, lengths, lengths).logits.square().sum().backward()
        for name, value in net.named_parameters():
            assert torch.isfinite(value.grad).all(), name
            assert value.grad.abs().max() > 0, name

    @each_network
    def test_bf16_gives_single_precision_logits(self, network):
        chosen = CacaRnnSettings(network=network, **SMALL)
        net = make_network(chosen)
        face, context, lengths, _ = make_streams(chosen, FACES, FACES)
        exact = net(face, context, lengths, lengths).logits
        net = net.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = net(face.float(), context.float(), lengths, lengths)
        assert out.logits.dtype == torch.float32
        torch.testing.assert_close(out.logits.double(), exact, atol=0.1, rtol=0.1)

    def test_dropout_is_off_unless_asked_for(self):
        chosen = CacaRnnSettings(**SMALL)
        streams = [x.float() if x.is_floating_point() else x for x in make_streams(chosen, FACES, FRAMES)]
        for rate, same in ((0.0, True), (0.5, False)):
            net = build_caca_rnn(dataclasses.replace(chosen, dropout=rate)).train()
            torch.manual_seed(1)
            first = net(*streams).logits
            assert torch.equal(first, net(*streams).logits) == same

    def test_the_2d_3d_cnn_is_no_recurrent_network(self):
        with pytest.raises(SettingsError, match=r"model\.network = '2d-3d'"):
            build_caca_rnn(CacaRnnSettings(network="2d-3d"))


@functools.cache
def small_network(name):
    return make_network(CacaRnnSettings(network=name, **SMALL))


BAD = (float("nan"), float("inf"), -1e300, 7.0)


class TestPadding:
    @pytest.mark.parametrize("network", RNNS)
    @settings(max_examples=20)
    @given(data=st.data())
    def test_padding_never_changes_a_result(self, network, data):
        net = small_network(network)
        count = data.draw(st.integers(1, 4))
        lengths = st.lists(st.integers(1, 7), min_size=count, max_size=count)
        faces = data.draw(lengths)
        frames = faces if network == "concatenated" else data.draw(lengths)
        generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
        padded, alone = [], []
        for size, own in zip((24, 40), (faces, frames), strict=True):
            more = data.draw(st.integers(0, 3))
            x = torch.full(
                (count, max(own) + more, size), data.draw(st.sampled_from(BAD)), dtype=torch.float64
            )
            clips = [torch.randn(n, size, generator=generator).double() for n in own]
            for n, clip in enumerate(clips):
                x[n, : len(clip)] = clip
            padded.append(x)
            alone.append(clips)
        with torch.no_grad():
            out = net(*padded, torch.tensor(faces), torch.tensor(frames))
            for n in range(count):
                one = net(
                    alone[0][n][None], alone[1][n][None], torch.tensor([faces[n]]), torch.tensor([frames[n]])
                )
                torch.testing.assert_close(out.logits[n], one.logits[0], atol=1e-12, rtol=0)
                if out.attention is not None:
                    rows, columns = one.attention.shape[1:]
                    torch.testing.assert_close(
                        out.attention[n, :rows, :columns], one.attention[0], atol=1e-12, rtol=0
                    )
                    rest = out.attention[n].clone()
                    rest[:rows, :columns] = 0
                    assert (rest == 0).all()
                    torch.testing.assert_close(one.attention[0].sum(1), torch.ones(rows).double())

    @settings(max_examples=10)
    @given(st.integers(0, 2**31), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.sampled_from(BAD))
    def test_padding_never_changes_a_result_of_the_2d_3d_cnn(self, seed, lengths, filler):
        torch.manual_seed(seed)
        net = Cnn2d3d(channels=3).double()
        clips = [torch.randn(n, 3, 5, 4).double() for n in lengths]
        maps = torch.full((len(clips), max(lengths) + 2, 3, 5, 4), filler, dtype=torch.float64)
        for n, clip in enumerate(clips):
            maps[n, : len(clip)] = clip
        out = net(maps, torch.tensor(lengths))
        for n, clip in enumerate(clips):
            one = net(clip[None], torch.tensor([len(clip)]))
            torch.testing.assert_close(out[n], one[0], atol=1e-12, rtol=0)
        out.sum().backward()
        assert all(torch.isfinite(value.grad).all() for value in net.parameters())


class TestLayers:
    def test_attention_is_equations_2_and_3(self):
        query, memory = torch.randn(3, 4).double(), torch.randn(3, 6, 4).double()
        context, weights = attend(query, memory, mask_padding(torch.tensor(FRAMES), 6))
        for n, length in enumerate(FRAMES):
            own = to_numpy(memory[n, :length])
            a = reference.alignment(to_numpy(query[n]), own)
            np.testing.assert_allclose(to_numpy(weights[n]), [*a, *[0] * (6 - length)], atol=1e-12)
            np.testing.assert_allclose(to_numpy(context[n]), reference.context_vector(a, own), atol=1e-12)

    def test_attention_of_scores_beyond_exp(self):
        memory = torch.tensor([[[1000.0], [999.0], [-1000.0]]])
        context, weights = attend(torch.tensor([[1.0]]), memory, torch.ones(1, 3, dtype=torch.bool))
        e = np.exp(-1)
        np.testing.assert_allclose(weights[0], [1 / (1 + e), e / (1 + e), 0], atol=1e-6)
        assert context.item() == pytest.approx((1000 + 999 * e) / (1 + e), rel=1e-6)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_second_lstm_that_hears_nothing_is_torch_lstm(self, layers):
        ours = AttentiveLSTM(3, 4, layers).double()
        theirs = torch.nn.LSTM(7, 4, layers, batch_first=True).double()
        parts = [(n, part) for n in range(layers) for part in PARTS]
        state = ours.state_dict()
        theirs.load_state_dict({f"{part}_l{n}": state[f"nodes.{n}.{part}"] for n, part in parts})
        x, start = torch.randn(3, 5, 3).double(), (torch.randn(3, 4).double(), torch.randn(3, 4).double())
        silence = torch.zeros(3, 2, 4).double()
        h, attention = ours(x, torch.tensor(FACES), silence, mask_padding(torch.tensor([2, 2, 2]), 2), start)
        assert attention.unique().tolist() == [0, 0.5]
        for n, length in enumerate(FACES):
            heard = torch.cat([x[n : n + 1, :length], torch.zeros(1, length, 4)], dim=2)
            begin = tuple(part[n].expand(layers, 1, 4).contiguous() for part in start)
            _, (last, _) = theirs(heard, begin)
            torch.testing.assert_close(h[n], last[-1, 0], atol=1e-12, rtol=0)

    def test_both_lstms_start_alike(self):
        for cell, hidden in ((SequenceLSTM(6, 5, 2), 5), (AttentiveLSTM(6, 5, 2), 5)):
            for name, value in cell.named_parameters():
                if "bias_ih" in name:
                    expected = torch.zeros(4 * hidden)
                    expected[hidden : 2 * hidden] = 1
                    assert torch.equal(value, expected)
                elif "bias_hh" in name:
                    assert not value.any()
                elif "weight_hh" in name:
                    for gate in value.chunk(4):
                        torch.testing.assert_close(gate @ gate.T, torch.eye(hidden), atol=1e-5, rtol=0)

    def test_gradients_of_the_second_lstm(self):
        cell = AttentiveLSTM(2, 3, 1).double()
        x, memory = (torch.randn(2, 3, size, dtype=torch.float64, requires_grad=True) for size in (2, 3))
        start = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        lengths, mask = torch.tensor([3, 2]), mask_padding(torch.tensor([2, 3]), 3)

        def run(x, memory, start, *parameters):
            del parameters  # gradcheck moves them in place
            return cell(x, lengths, memory, mask, (start, 2 * start))

        assert torch.autograd.gradcheck(run, (x, memory, start, *cell.parameters()))


class TestCnn2d3d:
    def test_network_is_the_reference(self):
        net = Cnn2d3d(channels=5).double().eval()
        with torch.no_grad():
            for value in net.parameters():
                value += 0.1 * torch.randn_like(value)
        lengths = [4, 1, 3]
        maps = torch.randn(3, 4, 5, 4, 6).double()
        blocks = [
            (to_numpy(block.conv.weight), to_numpy(block.norm.weight), to_numpy(block.norm.bias), stride)
            for block, stride in ((net.block1, 1), (net.block2, 2))
        ]
        out = to_numpy(net(maps, torch.tensor(lengths)))
        for n, length in enumerate(lengths):
            expected = reference.cnn_2d_3d(to_numpy(maps[n, :length]), blocks, dense(net.classify))
            np.testing.assert_allclose(out[n], expected, atol=1e-9, rtol=0)

    def test_parameter_count(self):
        # 27 256 64 + 2 64, 27 64 128 + 2 128, 128 8 + 8
        assert sum(p.numel() for p in Cnn2d3d().parameters()) == 442_368 + 128 + 221_184 + 256 + 1_032

    def test_what_is_refused(self):
        net = Cnn2d3d(channels=3)
        maps = torch.randn(2, 4, 3, 5, 5)
        with pytest.raises(DataError, match=r"lengths \[4, 0\], expected each from 1 to 4"):
            net(maps, torch.tensor([4, 0]))
        with pytest.raises(
            DataError, match=r"expected \[N, T, 3, h, w\] and N lengths, got \[2, 4, 2, 5, 5\]"
        ):
            net(maps[:, :, :2], torch.tensor([4, 1]))


class TestSettings:
    def test_defaults_are_of_simple_types(self):
        assert all(type(f.default) in (str, int, float) for f in dataclasses.fields(CacaRnnSettings))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"network": "caca"}, "model.network = 'caca'"),
            ({"preset": "paper"}, "model.preset = 'paper'"),
            ({"network": "concatenated", "context": "all"}, "model.context = 'all'"),
            ({"preset": "submitted"}, "model.context_features = 2048: expected 25088"),
            ({"preset": "submitted", "network": "caca-b"}, "model.network = 'caca-b': expected 'caca-a'"),
            ({"dropout": 1.0}, "model.dropout"),
            ({"face_features": 0}, "model.face_features"),
            ({"context_features": 0}, "model.context_features"),
            ({"face_size": 100}, "model.face_size"),
            ({"context_size": 100}, "model.context_size"),
            ({"fps": 0.0}, "model.fps"),
            ({"extractor": "vgg"}, "model.extractor = 'vgg'"),
            ({"extractor_weights": "imagenet"}, "model.extractor_weights = 'imagenet': expected 'none'"),
        ],
    )
    def test_each_wrong_field_is_named(self, values, message):
        with pytest.raises(SettingsError, match=message):
            CacaRnnSettings(**values)

    def test_streams_that_are_read(self):
        read = {name: CacaRnnSettings(network=name) for name in NETWORKS}
        assert [name for name in NETWORKS if not read[name].reads_face] == ["context"]
        assert [name for name in NETWORKS if not read[name].reads_context] == ["face", "2d-3d"]
